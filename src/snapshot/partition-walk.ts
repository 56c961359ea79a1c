/**
 * One partition on its way into a snapshot: consistent at one moment, though it is read in slices while the node serves.
 *
 * The walk goes through the buckets in the order of the hashes. The engine tells which hashes are changed; those behind the
 * walk are read again. At a moment when nothing is left to walk and nothing to read again, what was read last of each hash is
 * what the engine holds: the partition can be sealed, in the same turn.
 *
 * - What was written and has been changed since is not taken back. A reader goes by the terms: an entry whose term is not among those that were
 *   alive at the seal does not count. A change of an entry always changes its version, and so its term.
 * - Buckets that are as in the base are not walked, unless they are changed meanwhile.
 * - An entry whose term is in the base is not written again. Two entries of one hash may share a version, and so a term; those
 *   are always written.
 * - Reading again goes before walking once DRAIN_FROM hashes wait. CHANGES_MAX waiting ones are too many: `overrun`.
 */

import { DIGEST_BUCKETS, digestTerm } from '../engine/digest.ts'
import type { Engine, EntryIndex, PartitionWatcher } from '../engine/engine.ts'
import type { EntryBatch } from './entry-record.ts'
import type { LiveTerms } from './live-terms.ts'
import type { Pace } from './pace.ts'
import type { TermTable } from './term-table.ts'

const CHANGES_MAX = 65_536
/** Hashes read again, of one partition. */
const REPEATED_MAX = 2 * CHANGES_MAX
const DRAIN_FROM = 4096
/** Large values of a slice: those pinned until they are written. */
const LARGE_BYTES_WALKING = 4 * 1024 * 1024
const LARGE_BYTES_DRAINING = 64 * 1024 * 1024
/** Entries between two looks at the clock. */
const CLOCK_EVERY = 16
const HASHES = 2 ** 32

const Bucket = { asBase: 0, wanted: 1, walked: 2 } as const

export interface WalkOptions {
  readonly engine: Engine
  readonly partition: number
  /** 1 for each of the 64 buckets that is as in the base. */
  readonly asBase: Uint8Array
  readonly terms: LiveTerms
  /** Hashes that may wait to be read again. */
  readonly changesMax?: number
}

export class PartitionWalk implements PartitionWatcher {
  readonly #options: WalkOptions
  readonly #changesMax: number
  readonly #buckets: Uint8Array
  readonly #changed = new Set<number>()
  readonly #page: EntryIndex[] = []
  readonly #term: Uint32Array = new Uint32Array(2)
  /** Where the walk goes on; 2^32 when it stands nowhere. */
  #nextHash = HASHES
  #wanted: number
  #overrun = false
  /** Terms alive in the base: what has them is not written again. Set before the first slice. */
  known: TermTable | undefined

  constructor(options: WalkOptions) {
    this.#options = options
    this.#changesMax = options.changesMax ?? CHANGES_MAX
    this.#buckets = options.asBase.map((same) => (same === 1 ? Bucket.asBase : Bucket.wanted))
    this.#wanted = this.#buckets.reduce((count, state) => count + (state === Bucket.wanted ? 1 : 0), 0)
    options.engine.watch(options.partition, this)
  }

  /** More was changed than can be kept in mind: the partition can't be sealed any more. */
  get overrun(): boolean {
    return this.#overrun
  }

  /** Nothing to do at this moment: the partition may be sealed in this turn. */
  get whole(): boolean {
    return this.#wanted === 0 && this.#changed.size === 0 && !this.#overrun
  }

  /** All buckets have been passed; what was changed since may wait. */
  get passed(): boolean {
    return this.#wanted === 0
  }

  /** Hashes that are to be read again at once, whatever the throttle says. */
  get pressing(): boolean {
    return this.#wanted === 0 || this.#changed.size >= DRAIN_FROM
  }

  /** Whether the partition was held all the time. */
  get held(): boolean {
    return this.#options.engine.isWatchedBy(this.#options.partition, this)
  }

  /** 1 for each bucket that was walked. */
  get described(): number[] {
    return [...this.#buckets].map((state) => (state === Bucket.walked ? 1 : 0))
  }

  changed(hash: number): void {
    const bucket = hash >>> 26
    const state = this.#buckets[bucket]
    if (state === Bucket.asBase) {
      this.#buckets[bucket] = Bucket.wanted
      this.#wanted++
      return
    }
    // Ahead of the walk: it will be met.
    if (state === Bucket.wanted && (bucket !== this.#bucket || hash >>> 0 >= this.#nextHash)) return
    this.#changed.add(hash >>> 0)
    if (this.#changed.size > this.#changesMax) this.#overrun = true
  }

  /** Fills the batch, until a slice is over or nothing is left to do. The partition must be held. */
  slice(batch: EntryBatch, pace: Pace): void {
    const bytesEnd = batch.bytes + pace.sliceBytes
    for (;;) {
      const drains = this.#changed.size >= DRAIN_FROM || this.#wanted === 0
      if (drains ? this.#drain(batch, pace, bytesEnd) : this.#walk(batch, pace, bytesEnd)) return
      if (this.whole || this.#overrun) return
    }
  }

  stop(): void {
    this.#options.engine.unwatch(this.#options.partition, this)
  }

  get #bucket(): number {
    return this.#nextHash >= HASHES ? -1 : Math.floor(this.#nextHash / 2 ** 26)
  }

  /** Reads hashes again. @returns whether the slice is over */
  #drain(batch: EntryBatch, pace: Pace, bytesEnd: number): boolean {
    const { engine, partition, terms } = this.#options
    const page = this.#page
    let count = 0
    for (const hash of this.#changed) {
      this.#changed.delete(hash)
      page.length = 0
      engine.collectFrom(partition, hash, page)
      const found = page.filter((e) => engine.hash(e) >>> 0 === hash)
      const words: number[] = []
      for (const e of found) {
        this.#readTerm(e)
        words.push(this.#term[0] as number, this.#term[1] as number)
        this.#write(batch, e, found.length > 1)
      }
      terms.replace(hash, words)
      if (terms.repeated > REPEATED_MAX) this.#overrun = true
      if (batch.bytes >= bytesEnd || batch.largeBytes >= LARGE_BYTES_DRAINING) return true
      if (++count % CLOCK_EVERY === 0 && pace.over) return true
    }
    return false
  }

  /** Goes on by one page of the index. @returns whether the slice is over */
  #walk(batch: EntryBatch, pace: Pace, bytesEnd: number): boolean {
    const { engine, partition, terms } = this.#options
    if (this.#nextHash >= HASHES) this.#nextHash = this.#buckets.indexOf(Bucket.wanted) * 2 ** 26
    const page = this.#page
    page.length = 0
    const pageEnd = engine.collectFrom(partition, this.#nextHash, page)
    page.sort((a, b) => engine.hash(a) - engine.hash(b))
    for (let i = 0; i < page.length; ) {
      const hash = engine.hash(page[i] as number) >>> 0
      if (!this.#advance(hash)) return pace.over
      let end = i + 1
      while (end < page.length && engine.hash(page[end] as number) >>> 0 === hash) end++
      for (let at = i; at < end; at++) {
        const e = page[at] as number
        this.#readTerm(e)
        terms.add(hash, this.#term[0] as number, this.#term[1] as number)
        this.#write(batch, e, end - i > 1)
      }
      i = end
      const over =
        batch.bytes >= bytesEnd ||
        batch.largeBytes >= LARGE_BYTES_WALKING ||
        (i % CLOCK_EVERY === 0 && pace.over)
      if (!this.#advance(hash + 1) || over) return over
    }
    this.#advance(pageEnd)
    return pace.over
  }

  /**
   * The walk has passed everything below `hash`. It goes on there, as far as the buckets follow each other that are wanted.
   * @returns whether it does
   */
  #advance(hash: number): boolean {
    while (this.#nextHash < hash) {
      const bucket = this.#bucket
      const end = (bucket + 1) * 2 ** 26
      if (hash < end) {
        this.#nextHash = hash
        return true
      }
      this.#buckets[bucket] = Bucket.walked
      this.#wanted--
      this.#nextHash = this.#buckets[bucket + 1] === Bucket.wanted ? end : HASHES
    }
    return this.#nextHash < HASHES
  }

  #readTerm(e: EntryIndex): void {
    const { engine } = this.#options
    digestTerm(engine.hash(e), engine.versionEpoch(e), engine.versionSequence(e), this.#term)
  }

  /** Writes the entry whose term was read last, unless the base has it. */
  #write(batch: EntryBatch, e: EntryIndex, sharesHash: boolean): void {
    const isKnown = this.known?.count(this.#term[0] as number, this.#term[1] as number) === 1
    if (!isKnown || sharesHash) batch.add(e)
  }
}

/** Which buckets of two digests are the same. */
export function sameBuckets(a: ArrayLike<number>, b: ArrayLike<number>): Uint8Array {
  return Uint8Array.from({ length: DIGEST_BUCKETS }, (_, bucket) =>
    a[bucket * 2] === b[bucket * 2] && a[bucket * 2 + 1] === b[bucket * 2 + 1] ? 1 : 0,
  )
}
