/**
 * Records in segments that are only appended to (Rosenblum & Ousterhout, "The Design and Implementation of a
 * Log-Structured File System", 1991; for memory, RAMCloud).
 *
 * A location is a 32-bit word number: the segment in the high bits, the word in it in the low ones, so a log holds up
 * to 16 GiB. Live words are counted per segment. Compaction takes the emptiest full segment, copies its live records to
 * a segment of survivors, and gives it back. A record is live when its entry points at it.
 *
 * - Dead words stay below a tenth of the log and two segments: each append pays for that with a bounded multiple
 *   of its own size, so no append ever waits for a whole compaction.
 * - Survivors have a segment of their own: what lived once tends to live on, and segments of it stay full.
 * - One segment is kept aside for survivors: compaction works when memory is full. Compacting one segment needs one new
 *   segment at most, and frees one.
 */

import { CacheError } from '../kernel/errors.ts'
import type { EntryTable } from './entry-table.ts'
import { invariant } from './invariant.ts'
import { RECORD_ENTRY, recordWords } from './record.ts'
import { memoryFull, type Segment, type SegmentPool } from './segment-pool.ts'

/** Dead words tolerated: a share of the log, plus two segments. */
const DEAD_SHARE = 0.1
/** The same while memory is short. */
const DEAD_SHARE_PRESSED = 0.05
/** Words that compaction may look at or copy for each word appended, and for each append. */
const PAY_FACTOR = 12
const PAY_WORDS = 64
/** Segments' worth of compaction before an append is refused. */
const LAST_RESORT_SEGMENTS = 4
const LAST_RESORT_DEAD_SHARE = 0.03
const NO_SEGMENT = -1
const WORD_NUMBERS = 2 ** 32

export class MemoryLog {
  /** By segment number; read through `wordsAt` and `bytesAt`. */
  readonly #words: (Uint32Array | undefined)[] = []
  readonly #segments: (Segment | undefined)[] = []
  readonly #liveWords: number[] = []
  readonly #filledWords: number[] = []
  readonly #freeNumbers: number[] = []
  readonly #pool: SegmentPool
  readonly #table: EntryTable
  readonly #segmentWords: number
  readonly #shift: number
  readonly #mask: number
  #head = NO_SEGMENT
  #survivors = NO_SEGMENT
  #reserve: Segment | undefined
  #victim = NO_SEGMENT
  #victimAt = 0
  #used = 0
  #live = 0
  #moved = 0

  constructor(pool: SegmentPool, table: EntryTable) {
    this.#pool = pool
    this.#table = table
    this.#segmentWords = pool.segmentBytes >>> 2
    this.#shift = 31 - Math.clz32(this.#segmentWords)
    this.#mask = this.#segmentWords - 1
  }

  get liveBytes(): number {
    return this.#live * 4
  }
  /** Bytes of the segments in use, the one kept aside not counted. */
  get usedBytes(): number {
    return this.#used * this.#segmentWords * 4
  }
  /** Bytes in use that hold no live record and never will before they are compacted. */
  get deadBytes(): number {
    return this.#deadWords() * 4
  }
  get segmentCount(): number {
    return this.#used
  }
  /** Bytes copied by compaction so far. */
  get movedBytes(): number {
    return this.#moved * 4
  }

  /** The segment of a location, as words; the record begins at `wordOf(location)`. */
  wordsAt(location: number): Uint32Array {
    return this.#words[location >>> this.#shift] as Uint32Array
  }
  bytesAt(location: number): Uint8Array {
    return (this.#segments[location >>> this.#shift] as Segment).bytes
  }
  wordOf(location: number): number {
    return location & this.#mask
  }

  /** Makes sure that the next append of `count` words succeeds. @throws CacheError OVERLOADED */
  prepare(count: number): void {
    if (this.#hasRoom(this.#head, count)) return
    // One number is left over for survivors.
    if ((this.#used + 2) * this.#segmentWords > WORD_NUMBERS) {
      throw new CacheError('OVERLOADED', 'the record log of a node holds at most 16 GiB; add nodes')
    }
    const fresh = this.#openSegment(this.#pool.take())
    if (fresh !== NO_SEGMENT) {
      this.#setHead(fresh)
      return
    }
    let budget = LAST_RESORT_SEGMENTS * this.#segmentWords
    while (budget > 0) {
      // With little to gain the refusal is to be quick: it is then repeated for every write.
      const gain = this.#deadWords() > (this.#used * LAST_RESORT_DEAD_SHARE + 1) * this.#segmentWords
      const worked = gain ? this.compact(Math.min(budget, this.#segmentWords)) : 0
      const segment = this.#openSegment(this.#pool.take())
      if (segment !== NO_SEGMENT) {
        this.#setHead(segment)
        return
      }
      // The survivors' segment serves too, as long as compaction keeps one to go on with.
      if (this.#reserve !== undefined && this.#hasRoom(this.#survivors, count)) {
        const survivors = this.#survivors
        this.#survivors = NO_SEGMENT
        this.#setHead(survivors)
        return
      }
      if (worked === 0) break
      budget -= worked
    }
    throw memoryFull(this.#pool.memory)
  }

  /** Room for a record of `count` words; the caller writes it. Only after `prepare`. */
  append(count: number): number {
    return this.#appendTo(this.#head, count)
  }

  /** The record of `count` words at `location` is dead. */
  release(location: number, count: number): void {
    const segment = location >>> this.#shift
    this.#live -= count
    const live = (this.#liveWords[segment] as number) - count
    this.#liveWords[segment] = live
    if (live === 0 && segment !== this.#head && segment !== this.#survivors) this.#free(segment)
  }

  /** Pays for an append of `count` words with compaction in proportion, when there is need of it. */
  pay(count: number): void {
    if (this.needsCompaction) this.compact(count * PAY_FACTOR + PAY_WORDS)
  }

  get needsCompaction(): boolean {
    const share = this.#pool.memory.level === 'normal' ? DEAD_SHARE : DEAD_SHARE_PRESSED
    return this.#deadWords() > (this.#used * share + 2) * this.#segmentWords
  }

  /**
   * Compacts until about `wordsMax` words were looked at or copied, or nothing is to be gained.
   * @returns the words it worked on.
   */
  compact(wordsMax: number): number {
    let work = 0
    while (work < wordsMax) {
      if (this.#victim === NO_SEGMENT && !this.#chooseVictim()) return work
      const victim = this.#victim
      const words = this.#words[victim] as Uint32Array
      const filled = this.#filledWords[victim] as number
      const base = victim * this.#segmentWords
      let at = this.#victimAt
      while (work < wordsMax && at < filled && this.#victim === victim) {
        const count = recordWords(words, at)
        // A dead record costs a look at its entry.
        work += 8
        if (this.#table.location(words[at + RECORD_ENTRY] as number) === base + at) {
          this.#move(words, at, count)
          work += count
        }
        at += count
        this.#victimAt = at
      }
      if (this.#victim === victim && at >= filled) {
        invariant(this.#liveWords[victim] === 0, 'a compacted segment has live records')
        this.#free(victim)
      }
    }
    return work
  }

  #move(words: Uint32Array, at: number, count: number): void {
    if (!this.#hasRoom(this.#survivors, count)) {
      let segment = this.#pool.take()
      if (segment === undefined) {
        segment = this.#reserve
        this.#reserve = undefined
      }
      const next = this.#openSegment(segment)
      invariant(next !== NO_SEGMENT, 'no segment is left for survivors')
      const full = this.#survivors
      this.#survivors = next
      this.#freeIfDead(full)
    }
    const location = this.#appendTo(this.#survivors, count)
    const target = this.wordsAt(location)
    const to = location & this.#mask
    if (count > 64) target.set(words.subarray(at, at + count), to)
    else for (let i = 0; i < count; i++) target[to + i] = words[at + i] as number
    this.#table.setLocation(words[at + RECORD_ENTRY] as number, location)
    this.#moved += count
    this.release(this.#victim * this.#segmentWords + at, count)
  }

  /** The full segment with the least live words, if compacting it gains anything. */
  #chooseVictim(): boolean {
    let best = NO_SEGMENT
    let bestLive = this.#segmentWords - (this.#segmentWords >>> 6)
    for (let segment = 0; segment < this.#liveWords.length; segment++) {
      const live = this.#liveWords[segment] as number
      if (live >= bestLive || segment === this.#head || segment === this.#survivors) continue
      if (this.#words[segment] === undefined) continue
      best = segment
      bestLive = live
    }
    if (best === NO_SEGMENT) return false
    this.#reserve ??= this.#pool.take()
    if (this.#reserve === undefined && this.#room(this.#survivors) < bestLive) return false
    this.#victim = best
    this.#victimAt = 0
    return true
  }

  #deadWords(): number {
    return this.#used * this.#segmentWords - this.#live - this.#room(this.#head) - this.#room(this.#survivors)
  }

  #room(segment: number): number {
    return segment === NO_SEGMENT ? 0 : this.#segmentWords - (this.#filledWords[segment] as number)
  }

  #hasRoom(segment: number, count: number): boolean {
    return segment !== NO_SEGMENT && (this.#filledWords[segment] as number) + count <= this.#segmentWords
  }

  #appendTo(segment: number, count: number): number {
    const at = this.#filledWords[segment] as number
    this.#filledWords[segment] = at + count
    this.#liveWords[segment] = (this.#liveWords[segment] as number) + count
    this.#live += count
    return segment * this.#segmentWords + at
  }

  #setHead(segment: number): void {
    const full = this.#head
    this.#head = segment
    this.#freeIfDead(full)
    if (this.#reserve === undefined) this.#reserve = this.#pool.take()
  }

  #openSegment(segment: Segment | undefined): number {
    if (segment === undefined) return NO_SEGMENT
    const number = this.#freeNumbers.pop() ?? this.#segments.length
    this.#segments[number] = segment
    this.#words[number] = segment.words
    this.#liveWords[number] = 0
    this.#filledWords[number] = 0
    this.#used++
    return number
  }

  #freeIfDead(segment: number): void {
    if (segment !== NO_SEGMENT && this.#liveWords[segment] === 0) this.#free(segment)
  }

  #free(number: number): void {
    const segment = this.#segments[number] as Segment
    this.#segments[number] = undefined
    this.#words[number] = undefined
    this.#freeNumbers.push(number)
    this.#used--
    if (this.#victim === number) this.#victim = NO_SEGMENT
    if (this.#reserve === undefined) this.#reserve = segment
    else this.#pool.give(segment)
  }

  /** Live words as the records themselves say; for tests. */
  *liveRecords(): Generator<{ location: number; words: number }> {
    for (let segment = 0; segment < this.#segments.length; segment++) {
      const words = this.#words[segment]
      if (words === undefined) continue
      const filled = this.#filledWords[segment] as number
      for (let at = 0; at < filled; ) {
        const count = recordWords(words, at)
        const location = segment * this.#segmentWords + at
        if (this.#table.location(words[at] as number) === location) yield { location, words: count }
        at += count
      }
    }
  }
}
