/**
 * From a key to its entry, one index per partition, by extendible hashing (Fagin, Nievergelt, Pippenger & Strong, 1979).
 *
 * A page holds up to 68 entries in 80 slots; a directory over the hash's top bits leads to it. A full page splits into two,
 * two sparse neighbours merge: growth and shrinkage cost microseconds, whatever the size. The pages of all partitions
 * come from one pool, so nothing is thrown away when an index grows.
 *
 * - Pages lie in the order of the hash, so a digest bucket (its top six bits) is one run of the directory.
 * - A slot is an entry's number with the hash's low 5 bits above it, which spare 31 of 32 looks at other entries' keys. Within a
 *   page: linear probing from the place that the hash's next bits give, deletion by shifting back, no tombstones.
 * - Hashes are keyed with the cluster's secret: nobody can choose keys that fill one page.
 */

import { CacheError } from '../kernel/errors.ts'
import type { MemoryAccount } from '../kernel/memory-account.ts'
import { ENTRY_BITS, type EntryIndex, type EntryTable, NIL } from './entry-table.ts'
import { invariant } from './invariant.ts'
import type { MemoryLog } from './memory-log.ts'
import { KEY_MASK, KEY_SHIFT, keyStart, RECORD_LENGTHS, RECORD_SLOTS, sameBytes } from './record.ts'
import { chargeMemory } from './segment-pool.ts'

/** Five cache lines. */
const SLOTS = 80
const PAGE_ENTRIES_MAX = 68
const MERGE_PAGE_ENTRIES = 20
const MERGED_ENTRIES_MAX = 40
/** The head of a page: its depth (hash bits that all its entries share) in the low 5 bits, the number of its entries above. */
const DEPTH_MASK = 0x1f
const COUNT_SHIFT = 5

const CHUNK_SHIFT = 9
const CHUNK_PAGES = 1 << CHUNK_SHIFT
const CHUNK_MASK = CHUNK_PAGES - 1
const CHUNK_BYTES = CHUNK_PAGES * (SLOTS * 4 + 2)

const ENTRY_MASK = 2 ** ENTRY_BITS - 1
/** Hash bits that a directory may use; beyond, keys share so many bits that splitting does not help. */
const DEPTH_MAX = 22

/** The index of one partition. */
export interface Directory {
  /** 2^depth page numbers, by the hash's top bits. */
  pages: Uint32Array
  depth: number
}

export class KeyIndex {
  readonly #memory: MemoryAccount
  readonly #table: EntryTable
  readonly #log: MemoryLog
  readonly #chunks: Uint32Array[] = []
  /** Heads of pages, by chunk: apart from the slots, so that they fit the processor's cache. */
  readonly #heads: Uint16Array[] = []
  readonly #freePages: number[] = []
  readonly #split: Uint32Array = new Uint32Array(SLOTS)
  #freshPage = 0
  #directoryBytes = 0

  constructor(memory: MemoryAccount, table: EntryTable, log: MemoryLog) {
    this.#memory = memory
    this.#table = table
    this.#log = log
  }

  get bytes(): number {
    return this.#chunks.length * CHUNK_BYTES + this.#directoryBytes
  }

  /** Pages in use. */
  get pageCount(): number {
    return this.#freshPage - this.#freePages.length
  }

  /** @throws CacheError OVERLOADED */
  createDirectory(): Directory {
    const page = this.#takePage(0)
    this.#directoryBytes += 4
    this.#memory.add('engine', 4)
    return { pages: new Uint32Array([page]), depth: 0 }
  }

  /** Gives the pages back. The index must be empty. */
  dropDirectory(directory: Directory): void {
    this.#forEachPage(directory, (page) => {
      this.#freePages.push(page)
    })
    this.#directoryBytes -= directory.pages.byteLength
    this.#memory.add('engine', -directory.pages.byteLength)
  }

  /** The entry with this key, or NIL. */
  find(
    directory: Directory,
    hash: number,
    regionSlot: number,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): EntryIndex {
    const page = pageOf(directory, hash)
    const chunk = this.#chunks[page >>> CHUNK_SHIFT] as Uint32Array
    const base = (page & CHUNK_MASK) * SLOTS
    let slot = homeSlot(hash, this.#head(page) & DEPTH_MASK)
    const print = hash << ENTRY_BITS
    const keyBytes = end - start
    for (;;) {
      const content = chunk[base + slot] as number
      if (content === 0) return NIL
      if ((content ^ print) >>> ENTRY_BITS === 0) {
        const e = content & ENTRY_MASK
        const location = this.#table.location(e)
        const words = this.#log.wordsAt(location)
        const at = this.#log.wordOf(location)
        const lengths = words[at + RECORD_LENGTHS] as number
        if (
          ((lengths >>> KEY_SHIFT) & KEY_MASK) === keyBytes &&
          ((words[at + RECORD_SLOTS] as number) & 0xffff) === regionSlot &&
          sameBytes(this.#log.bytesAt(location), keyStart(at, lengths), bytes, start, keyBytes)
        ) {
          return e
        }
      }
      if (++slot === SLOTS) slot = 0
    }
  }

  /** Makes sure that the next `add` with this hash succeeds. @throws CacheError OVERLOADED */
  reserve(directory: Directory, hash: number): void {
    for (;;) {
      const page = pageOf(directory, hash)
      const head = this.#head(page)
      if (head >>> COUNT_SHIFT < PAGE_ENTRIES_MAX) return
      this.#splitPage(directory, hash, page, head & DEPTH_MASK)
    }
  }

  /** Only after `reserve`. */
  add(directory: Directory, hash: number, e: EntryIndex): void {
    this.#insert(pageOf(directory, hash), hash, e)
  }

  remove(directory: Directory, hash: number, e: EntryIndex): void {
    const page = pageOf(directory, hash)
    const chunk = this.#chunks[page >>> CHUNK_SHIFT] as Uint32Array
    const base = (page & CHUNK_MASK) * SLOTS
    const head = this.#head(page)
    const depth = head & DEPTH_MASK
    const content = slotContent(hash, e)
    let hole = homeSlot(hash, depth)
    for (let steps = 0; chunk[base + hole] !== content; steps++) {
      invariant(steps < SLOTS, 'an entry is missing from its index page')
      if (++hole === SLOTS) hole = 0
    }
    // Shift back what would not be found any more across the hole.
    for (let slot = hole; ; ) {
      if (++slot === SLOTS) slot = 0
      const moved = chunk[base + slot] as number
      if (moved === 0) break
      const home = homeSlot(this.#table.hash(moved & ENTRY_MASK), depth)
      const reach = slot >= home ? slot - home : slot - home + SLOTS
      const gap = slot >= hole ? slot - hole : slot - hole + SLOTS
      if (reach < gap) continue
      chunk[base + hole] = moved
      hole = slot
    }
    chunk[base + hole] = 0
    this.#setHead(page, head - (1 << COUNT_SHIFT))
    if ((head >>> COUNT_SHIFT) - 1 <= MERGE_PAGE_ENTRIES && depth > 0)
      this.#mergePage(directory, hash, page, depth)
  }

  /** Entries whose hash's top 6 bits are `bucket`, appended to `into`. */
  collectBucket(directory: Directory, bucket: number, into: EntryIndex[]): void {
    const { depth } = directory
    const first = depth <= 6 ? bucket >>> (6 - depth) : bucket << (depth - 6)
    const last = depth <= 6 ? first : ((bucket + 1) << (depth - 6)) - 1
    let previous = -1
    for (let i = first; i <= last; i++) {
      const page = directory.pages[i] as number
      if (page === previous) continue
      previous = page
      this.#collectPage(page, bucket, into)
    }
  }

  /** All entries of the index, in the order of their pages, appended to `into`, until it has `countMax`. */
  collect(directory: Directory, into: EntryIndex[], countMax: number = Number.POSITIVE_INFINITY): void {
    let previous = -1
    for (let i = 0; i < directory.pages.length && into.length < countMax; i++) {
      const page = directory.pages[i] as number
      if (page === previous) continue
      previous = page
      this.#collectPage(page, -1, into)
    }
  }

  /**
   * Entries of the page that `hash` belongs to, from that hash on, appended to `into`.
   * @returns the first hash behind the page; 2^32 behind the last one
   */
  collectFrom(directory: Directory, hash: number, into: EntryIndex[]): number {
    const { depth } = directory
    const at = depth === 0 ? 0 : hash >>> (32 - depth)
    const page = directory.pages[at] as number
    const first = into.length
    this.#collectPage(page, -1, into)
    let kept = first
    for (let i = first; i < into.length; i++) {
      const e = into[i] as EntryIndex
      if (this.#table.hash(e) >>> 0 >= hash) into[kept++] = e
    }
    into.length = kept
    let next = at
    while (next < directory.pages.length && directory.pages[next] === page) next++
    return next * 2 ** (32 - depth)
  }

  #collectPage(page: number, bucket: number, into: EntryIndex[]): void {
    const chunk = this.#chunks[page >>> CHUNK_SHIFT] as Uint32Array
    const base = (page & CHUNK_MASK) * SLOTS
    for (let slot = 0; slot < SLOTS; slot++) {
      const content = chunk[base + slot] as number
      if (content === 0) continue
      const e = content & ENTRY_MASK
      if (bucket < 0 || this.#table.hash(e) >>> 26 === bucket) into.push(e)
    }
  }

  #insert(page: number, hash: number, e: EntryIndex): void {
    const chunk = this.#chunks[page >>> CHUNK_SHIFT] as Uint32Array
    const base = (page & CHUNK_MASK) * SLOTS
    const head = this.#head(page)
    let slot = homeSlot(hash, head & DEPTH_MASK)
    while (chunk[base + slot] !== 0) if (++slot === SLOTS) slot = 0
    chunk[base + slot] = slotContent(hash, e)
    this.#setHead(page, head + (1 << COUNT_SHIFT))
  }

  /** Divides a page by the first hash bit that its entries need not share. */
  #splitPage(directory: Directory, hash: number, page: number, depth: number): void {
    if (depth === directory.depth) this.#doubleDirectory(directory)
    const upper = this.#takePage(depth + 1)
    const kept = this.#drain(page, depth + 1)
    // The directory's run of this page: the upper half leads to the new one.
    const run = 2 ** (directory.depth - depth)
    const first = depth === 0 ? 0 : (hash >>> (32 - depth)) * run
    directory.pages.fill(upper, first + run / 2, first + run)
    for (let i = 0; i < kept; i++) {
      const e = this.#split[i] as number
      const of = this.#table.hash(e)
      this.#insert((of >>> (31 - depth)) & 1 ? upper : page, of, e)
    }
  }

  #mergePage(directory: Directory, hash: number, page: number, depth: number): void {
    const run = 2 ** (directory.depth - depth)
    const prefix = hash >>> (32 - depth)
    const buddy = directory.pages[(prefix ^ 1) * run] as number
    const buddyHead = this.#head(buddy)
    if ((buddyHead & DEPTH_MASK) !== depth) return
    if ((this.#head(page) >>> COUNT_SHIFT) + (buddyHead >>> COUNT_SHIFT) > MERGED_ENTRIES_MAX) return
    const ofPage = this.#drain(page, depth - 1)
    for (let i = 0; i < ofPage; i++) {
      // Entries of both pages are put in anew: their places depend on the depth.
      const e = this.#split[i] as number
      this.#insert(page, this.#table.hash(e), e)
    }
    const ofBuddy = this.#drain(buddy, 0)
    for (let i = 0; i < ofBuddy; i++) {
      const e = this.#split[i] as number
      this.#insert(page, this.#table.hash(e), e)
    }
    this.#freePages.push(buddy)
    const first = (prefix & ~1) * run
    directory.pages.fill(page, first, first + 2 * run)
  }

  /** Empties a page, gives it another depth, and leaves its entries in `#split`. */
  #drain(page: number, depth: number): number {
    const chunk = this.#chunks[page >>> CHUNK_SHIFT] as Uint32Array
    const base = (page & CHUNK_MASK) * SLOTS
    let count = 0
    for (let slot = 0; slot < SLOTS; slot++) {
      const content = chunk[base + slot] as number
      if (content !== 0) this.#split[count++] = content & ENTRY_MASK
      chunk[base + slot] = 0
    }
    this.#setHead(page, depth)
    return count
  }

  #doubleDirectory(directory: Directory): void {
    if (directory.depth === DEPTH_MAX) {
      throw new CacheError(
        'OVERLOADED',
        'a page of the key index is full and its keys hash alike; nothing was stored',
      )
    }
    const { pages } = directory
    chargeMemory(this.#memory, pages.byteLength)
    this.#directoryBytes += pages.byteLength
    const doubled = new Uint32Array(pages.length * 2)
    for (let i = 0; i < pages.length; i++) {
      doubled[2 * i] = pages[i] as number
      doubled[2 * i + 1] = pages[i] as number
    }
    directory.pages = doubled
    directory.depth++
  }

  #takePage(depth: number): number {
    let page = this.#freePages.pop()
    if (page === undefined) {
      if (this.#freshPage >>> CHUNK_SHIFT === this.#chunks.length) {
        chargeMemory(this.#memory, CHUNK_BYTES)
        this.#chunks.push(new Uint32Array(CHUNK_PAGES * SLOTS))
        this.#heads.push(new Uint16Array(CHUNK_PAGES))
      }
      page = this.#freshPage++
    }
    const base = (page & CHUNK_MASK) * SLOTS
    ;(this.#chunks[page >>> CHUNK_SHIFT] as Uint32Array).fill(0, base, base + SLOTS)
    this.#setHead(page, depth)
    return page
  }

  #head(page: number): number {
    return (this.#heads[page >>> CHUNK_SHIFT] as Uint16Array)[page & CHUNK_MASK] as number
  }

  #setHead(page: number, head: number): void {
    ;(this.#heads[page >>> CHUNK_SHIFT] as Uint16Array)[page & CHUNK_MASK] = head
  }

  #forEachPage(directory: Directory, visit: (page: number) => void): void {
    let previous = -1
    for (const page of directory.pages) {
      if (page !== previous) visit(page)
      previous = page
    }
  }
}

function pageOf(directory: Directory, hash: number): number {
  const { depth, pages } = directory
  // A shift by 32 would be a shift by 0.
  return (depth === 0 ? pages[0] : pages[hash >>> (32 - depth)]) as number
}

/** Where in its page an entry is looked for first: the 16 hash bits after those the page shares, scaled to the slots. */
function homeSlot(hash: number, depth: number): number {
  return (((hash << depth) >>> 16) * SLOTS) >>> 16
}

function slotContent(hash: number, e: EntryIndex): number {
  return ((hash << ENTRY_BITS) | e) >>> 0
}
