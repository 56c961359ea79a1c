/**
 * Which entries expire when: a hierarchical timing wheel (Varghese & Lauck, "Hashed and Hierarchical Timing Wheels",
 * 1987) with ticks of one millisecond, six levels of 256 slots, over the entry table's expiry columns.
 *
 * `#tick` is the first millisecond not done yet. A time is kept at the level of the highest byte in which it differs
 * from `#tick`, in the slot of that byte. So every slot a level has left lies ahead, and the slot of the tick's own byte
 * holds only what has to move down now. Bit sets lead from one used slot to the next: time may jump by years.
 *
 * Scheduling and cancelling are O(1); an entry moves down five times at most. A call of `advance` does a bounded number of
 * steps; what is left is done by the next.
 */

import { type EntryIndex, type EntryTable, NIL, UNSCHEDULED } from './entry-table.ts'
import { TWO_32 } from './record.ts'

const LEVELS = 6
const SLOTS = 256
const LOW_BITS = 24
const TWO_24 = 2 ** LOW_BITS
/** The slot of times that lie before the tick: entries scheduled when already expired. */
const OVERDUE: number = LEVELS * SLOTS
/** As a link to the previous entry: this is the first of the slot in the low bits. */
const IS_FIRST = 0x8000_0000
/** Moves between levels allowed per entry asked for. */
const MOVES_FACTOR = 4
/** The last time that can be scheduled. */
export const EXPIRY_MS_MAX: number = 2 ** 48 - 1

export class TimingWheel {
  readonly #table: EntryTable
  /** First entry of each slot. */
  readonly #first: Uint32Array = new Uint32Array(LEVELS * SLOTS + 1)
  /** One bit per slot: whether it has entries. */
  readonly #used: Uint32Array = new Uint32Array((LEVELS * SLOTS) / 32 + 1)
  #tick = 0
  #count = 0

  constructor(table: EntryTable) {
    this.#table = table
  }

  /** Entries scheduled. */
  get count(): number {
    return this.#count
  }

  /** Schedules `e`, which must not be, for the time in its expiry column. */
  schedule(e: EntryIndex): void {
    this.#count++
    this.#push(this.#slotOf(this.#table.expiresAtMs(e)), e)
  }

  /** Takes `e` out if it is scheduled. */
  cancel(e: EntryIndex): void {
    const previous = this.#table.wheelPrevious(e)
    if (previous === UNSCHEDULED) return
    this.#count--
    this.#unlink(e, previous)
  }

  /** Whether `advance(nowMs)` has anything to do, or has to look whether it does. */
  isBehind(nowMs: number): boolean {
    return this.#count > 0 && (this.#tick <= nowMs || this.#first[OVERDUE] !== NIL)
  }

  /**
   * Hands over up to `limit` entries whose time is `nowMs` or earlier, each taken out of the wheel before. `onDue` may
   * schedule and cancel. @returns how many; fewer than `limit` does not mean that all are done, see `isBehind`.
   */
  advance(nowMs: number, limit: number, onDue: (e: EntryIndex) => void): number {
    let given = this.#giveOverdue(nowMs, limit, onDue)
    let moves = limit * MOVES_FACTOR + SLOTS
    while (given < limit && moves > 0 && this.#tick <= nowMs) {
      if (this.#count === 0) {
        this.#tick = nowMs + 1
        break
      }
      const moved = this.#moveDown(moves)
      moves -= moved
      if (moves <= 0) break
      const slot = byteOf(this.#tick, 0)
      for (let e = this.#first[slot] as number; e !== NIL && given < limit; e = this.#first[slot] as number) {
        this.#count--
        this.#unlink(e, this.#table.wheelPrevious(e))
        given++
        onDue(e)
      }
      if (this.#first[slot] !== NIL) break
      moves--
      this.#tick = Math.min(this.#nextTick(), nowMs + 1)
    }
    return given
  }

  #giveOverdue(nowMs: number, limit: number, onDue: (e: EntryIndex) => void): number {
    let given = 0
    let next = NIL
    // The clock may have been set back since: what is not due then stays. The loop goes by position in the list, so it
    // begins anew when the callback might have changed it.
    let looked = 0
    for (
      let e = this.#first[OVERDUE] as number;
      e !== NIL && given < limit && looked < limit * MOVES_FACTOR;
      e = next
    ) {
      looked++
      next = this.#table.wheelNext(e)
      if (this.#table.expiresAtMs(e) > nowMs) continue
      this.#count--
      this.#unlink(e, this.#table.wheelPrevious(e))
      given++
      onDue(e)
      next = this.#first[OVERDUE] as number
    }
    return given
  }

  /** Empties the slots of the tick's own bytes, from the highest level down; `max` moves at most. */
  #moveDown(max: number): number {
    let moves = 0
    for (let level = LEVELS - 1; level > 0; level--) {
      const slot = level * SLOTS + byteOf(this.#tick, level)
      for (let e = this.#first[slot] as number; e !== NIL; e = this.#first[slot] as number) {
        if (moves === max) return moves
        this.#unlink(e, this.#table.wheelPrevious(e))
        this.#push(this.#slotOf(this.#table.expiresAtMs(e)), e)
        moves++
      }
    }
    return moves
  }

  /** The first tick after this one at which there is something to do; far ahead when there is nothing. */
  #nextTick(): number {
    let unit = 1
    for (let level = 0; level < LEVELS; level++) {
      const byte = byteOf(this.#tick, level)
      const next = this.#nextUsed(level, byte + 1)
      const span = unit * SLOTS
      if (next < SLOTS) return Math.floor(this.#tick / span) * span + next * unit
      unit = span
    }
    return EXPIRY_MS_MAX + 1
  }

  /** The first used slot of a level from `byte` on; SLOTS when there is none. */
  #nextUsed(level: number, byte: number): number {
    if (byte >= SLOTS) return SLOTS
    const base = level * (SLOTS / 32)
    let word = byte >>> 5
    let bits = (this.#used[base + word] as number) & (-1 << (byte & 31))
    for (;;) {
      if (bits !== 0) return word * 32 + 31 - Math.clz32(bits & -bits)
      if (++word === SLOTS / 32) return SLOTS
      bits = this.#used[base + word] as number
    }
  }

  #slotOf(timeMs: number): number {
    if (timeMs < this.#tick) return OVERDUE
    const high = Math.floor(timeMs / TWO_24) ^ Math.floor(this.#tick / TWO_24)
    // The remainders of 2^32 differ in the low 24 bits exactly where the times do.
    const low = ((timeMs % TWO_32) ^ (this.#tick % TWO_32)) & (TWO_24 - 1)
    const level =
      high !== 0 ? 3 + ((31 - Math.clz32(high)) >>> 3) : low !== 0 ? (31 - Math.clz32(low)) >>> 3 : 0
    return level * SLOTS + byteOf(timeMs, level)
  }

  #push(slot: number, e: EntryIndex): void {
    const first = this.#first[slot] as number
    this.#table.setWheelPrevious(e, (IS_FIRST | slot) >>> 0)
    this.#table.setWheelNext(e, first)
    if (first !== NIL) this.#table.setWheelPrevious(first, e)
    else this.#used[slot >>> 5] = (this.#used[slot >>> 5] as number) | (1 << (slot & 31))
    this.#first[slot] = e
  }

  #unlink(e: EntryIndex, previous: number): void {
    const next = this.#table.wheelNext(e)
    if (previous >= IS_FIRST) {
      const slot = previous - IS_FIRST
      this.#first[slot] = next
      if (next === NIL) this.#used[slot >>> 5] = (this.#used[slot >>> 5] as number) & ~(1 << (slot & 31))
    } else {
      this.#table.setWheelNext(previous, next)
    }
    if (next !== NIL) this.#table.setWheelPrevious(next, previous)
    this.#table.setWheelPrevious(e, UNSCHEDULED)
  }
}

/** Byte `level` of a 48-bit time. */
function byteOf(timeMs: number, level: number): number {
  return level < 3
    ? ((timeMs % TWO_32) >>> (8 * level)) & 0xff
    : (Math.floor(timeMs / TWO_24) >>> (8 * (level - 3))) & 0xff
}
