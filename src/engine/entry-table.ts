/**
 * What is known of each entry outside its record, in columns: entries are numbers, links are numbers.
 *
 * A row is four 32-bit words that lie side by side, since they are used together: the key's hash, where the record is,
 * and the neighbours in the eviction list. Rows live in chunks, so that growth copies nothing. Entry 0 does not exist;
 * as a link it means "none". A free entry has no location and is chained through its `next`.
 *
 * Expiry costs another 16 bytes per entry (time, two links of the timing wheel), allocated for a chunk of entries when
 * its first one expires. Expired or not is decided elsewhere; this is only the memory.
 */

import { CacheError } from '../kernel/errors.ts'
import type { MemoryAccount } from '../kernel/memory-account.ts'
import { chargeMemory } from './segment-pool.ts'

/** Number of an entry, valid until the entry is removed. Moving its bytes does not change it. */
export type EntryIndex = number

/** The link that leads nowhere. */
export const NIL = 0
/** The location of an entry that does not exist. */
const NO_LOCATION = 0xffff_ffff
/** Entry numbers take 27 bits: the key index keeps 5 bits of the hash beside them. */
export const ENTRY_BITS = 27
const ENTRIES_MAX = 2 ** ENTRY_BITS - 1

const CHUNK_SHIFT = 14
const CHUNK_ENTRIES = 1 << CHUNK_SHIFT
const CHUNK_MASK = CHUNK_ENTRIES - 1

const LOCATION = 1
const PREVIOUS = 2
const NEXT = 3

/** Wheel link of an entry that is in no slot of the timing wheel. */
export const UNSCHEDULED = 0xffff_ffff

interface ExpiryChunk {
  readonly expiresAtMs: Float64Array
  /** Two links per entry: previous, next. */
  readonly links: Uint32Array
}

export class EntryTable {
  readonly #memory: MemoryAccount
  readonly #rows: Uint32Array[] = []
  readonly #expiry: (ExpiryChunk | undefined)[] = []
  /** First entry never used. */
  #fresh = 1
  #free = NIL
  #count = 0
  #expiryBytes = 0

  constructor(memory: MemoryAccount) {
    this.#memory = memory
  }

  get count(): number {
    return this.#count
  }

  /** One more than the highest number ever used. */
  get limit(): number {
    return this.#fresh
  }

  get bytes(): number {
    return this.#rows.length * CHUNK_ENTRIES * 16 + this.#expiryBytes
  }

  /** Makes sure that the next `add` succeeds. @throws CacheError OVERLOADED */
  reserve(): void {
    if (this.#free !== NIL || this.#fresh >>> CHUNK_SHIFT < this.#rows.length) return
    if (this.#fresh > ENTRIES_MAX) {
      throw new CacheError('OVERLOADED', `a node holds at most ${ENTRIES_MAX} entries; add nodes`)
    }
    chargeMemory(this.#memory, CHUNK_ENTRIES * 16)
    this.#rows.push(new Uint32Array(CHUNK_ENTRIES * 4))
    this.#expiry.push(undefined)
  }

  /** The number the next `add` gives. Only after `reserve`. */
  get nextEntry(): EntryIndex {
    return this.#free === NIL ? this.#fresh : this.#free
  }

  /** A new entry, whose expiry is still to be set. Only after `reserve`. */
  add(hash: number, location: number): EntryIndex {
    let e = this.#free
    if (e === NIL) e = this.#fresh++
    else this.#free = this.next(e)
    const rows = this.#rows[e >>> CHUNK_SHIFT] as Uint32Array
    const at = (e & CHUNK_MASK) << 2
    rows[at] = hash
    rows[at + LOCATION] = location
    rows[at + PREVIOUS] = NIL
    rows[at + NEXT] = NIL
    this.#count++
    return e
  }

  remove(e: EntryIndex): void {
    this.setLocation(e, NO_LOCATION)
    this.setNext(e, this.#free)
    this.#free = e
    this.#count--
  }

  hash(e: EntryIndex): number {
    return (this.#rows[e >>> CHUNK_SHIFT] as Uint32Array)[(e & CHUNK_MASK) << 2] as number
  }
  location(e: EntryIndex): number {
    return (this.#rows[e >>> CHUNK_SHIFT] as Uint32Array)[((e & CHUNK_MASK) << 2) + LOCATION] as number
  }
  setLocation(e: EntryIndex, location: number): void {
    ;(this.#rows[e >>> CHUNK_SHIFT] as Uint32Array)[((e & CHUNK_MASK) << 2) + LOCATION] = location
  }
  previous(e: EntryIndex): EntryIndex {
    return (this.#rows[e >>> CHUNK_SHIFT] as Uint32Array)[((e & CHUNK_MASK) << 2) + PREVIOUS] as number
  }
  setPrevious(e: EntryIndex, to: EntryIndex): void {
    ;(this.#rows[e >>> CHUNK_SHIFT] as Uint32Array)[((e & CHUNK_MASK) << 2) + PREVIOUS] = to
  }
  next(e: EntryIndex): EntryIndex {
    return (this.#rows[e >>> CHUNK_SHIFT] as Uint32Array)[((e & CHUNK_MASK) << 2) + NEXT] as number
  }
  setNext(e: EntryIndex, to: EntryIndex): void {
    ;(this.#rows[e >>> CHUNK_SHIFT] as Uint32Array)[((e & CHUNK_MASK) << 2) + NEXT] = to
  }

  /** Makes sure that an expiry can be set on `e`. @throws CacheError OVERLOADED */
  reserveExpiry(e: EntryIndex): void {
    const chunk = e >>> CHUNK_SHIFT
    if (this.#expiry[chunk] !== undefined) return
    chargeMemory(this.#memory, CHUNK_ENTRIES * 16)
    this.#expiryBytes += CHUNK_ENTRIES * 16
    this.#expiry[chunk] = {
      expiresAtMs: new Float64Array(CHUNK_ENTRIES),
      links: new Uint32Array(CHUNK_ENTRIES * 2).fill(UNSCHEDULED),
    }
  }

  /** Milliseconds since the epoch, 0 for an entry that does not expire. */
  expiresAtMs(e: EntryIndex): number {
    const chunk = this.#expiry[e >>> CHUNK_SHIFT]
    return chunk === undefined ? 0 : (chunk.expiresAtMs[e & CHUNK_MASK] as number)
  }
  /** A time other than 0 only after `reserveExpiry`. */
  setExpiresAtMs(e: EntryIndex, timeMs: number): void {
    const chunk = this.#expiry[e >>> CHUNK_SHIFT]
    if (chunk !== undefined) chunk.expiresAtMs[e & CHUNK_MASK] = timeMs
  }
  wheelPrevious(e: EntryIndex): number {
    const chunk = this.#expiry[e >>> CHUNK_SHIFT]
    return chunk === undefined ? UNSCHEDULED : (chunk.links[(e & CHUNK_MASK) << 1] as number)
  }
  setWheelPrevious(e: EntryIndex, to: number): void {
    ;(this.#expiry[e >>> CHUNK_SHIFT] as ExpiryChunk).links[(e & CHUNK_MASK) << 1] = to
  }
  wheelNext(e: EntryIndex): EntryIndex {
    return (this.#expiry[e >>> CHUNK_SHIFT] as ExpiryChunk).links[((e & CHUNK_MASK) << 1) + 1] as number
  }
  setWheelNext(e: EntryIndex, to: EntryIndex): void {
    ;(this.#expiry[e >>> CHUNK_SHIFT] as ExpiryChunk).links[((e & CHUNK_MASK) << 1) + 1] = to
  }
}
