/**
 * Where the engine's memory comes from: buffers of one size, handed out and taken back.
 *
 * A dropped ArrayBuffer keeps its pages until a garbage collection notices, so a process that drops and allocates
 * buffers in turn holds far more than it uses. Therefore given-back segments are kept (a share of those in use) and
 * handed out again, to the record log and to the blocks of large values alike. What is kept counts as held.
 *
 * Large values turn over many segments at once: one is overwritten, the next is written. Theirs are all kept, up to
 * TURNOVER_BYTES_MAX, as long as they are taken again: fresh ones would cost page faults for every byte, and V8 would begin
 * a collection of the whole heap for each such value. What lay idle all through a window of trims is let go.
 *
 * `take` gives undefined, and changes nothing, when the memory account has no room for one more segment.
 */

import { CacheError } from '../kernel/errors.ts'
import type { MemoryAccount } from '../kernel/memory-account.ts'

/** One buffer, seen as bytes and as 32-bit words. */
export interface Segment {
  readonly bytes: Uint8Array
  readonly words: Uint32Array
}

/** Idle segments kept at least, and as a share of those in use. */
const IDLE_MIN = 4
const IDLE_SHARE = 1 / 8
/** Kept when the account is above its high watermark: enough for compaction to turn over. */
const IDLE_UNDER_PRESSURE = 2
/** What is kept of what large values gave back: four of the largest that the default limit allows. */
const TURNOVER_BYTES_MAX = 64 * 1024 * 1024
/** Calls of `trim` in a window: 2 s of maintenance. */
const WINDOW_TRIMS = 40

export class SegmentPool {
  readonly segmentBytes: number
  readonly memory: MemoryAccount
  readonly #idle: Segment[] = []
  #inUse = 0
  /** Idle segments kept because large values may want them again. */
  #turnover = 0
  /** Fewest idle ones since the window began, and how many trims ago that was. */
  #fewestIdle = 0
  #trims = 0

  constructor(memory: MemoryAccount, segmentBytes: number) {
    this.memory = memory
    this.segmentBytes = segmentBytes
  }

  get idleCount(): number {
    return this.#idle.length
  }

  get inUseCount(): number {
    return this.#inUse
  }

  take(): Segment | undefined {
    let segment = this.#idle.pop()
    this.#fewestIdle = Math.min(this.#fewestIdle, this.#idle.length)
    if (segment === undefined) {
      if (!hasRoom(this.memory, this.segmentBytes)) return undefined
      const buffer = new ArrayBuffer(this.segmentBytes)
      segment = { bytes: new Uint8Array(buffer), words: new Uint32Array(buffer) }
      this.memory.add('engine', this.segmentBytes)
    }
    this.#inUse++
    return segment
  }

  give(segment: Segment): void {
    this.#inUse--
    this.#idle.push(segment)
    this.#drop()
  }

  /** `give` for a segment of large values. */
  giveTurnover(segment: Segment): void {
    const max = Math.floor(TURNOVER_BYTES_MAX / this.segmentBytes)
    this.#turnover = Math.min(max, Math.max(this.#turnover, this.#idle.length + 1))
    this.give(segment)
  }

  /** Lets go of idle segments beyond what is worth keeping. To be called at every maintenance. */
  trim(): void {
    if (++this.#trims >= WINDOW_TRIMS) {
      this.#turnover = Math.max(0, this.#turnover - this.#fewestIdle)
      this.#trims = 0
      this.#fewestIdle = this.#idle.length
    }
    this.#drop()
  }

  #drop(): void {
    if (this.memory.level !== 'normal') this.#turnover = 0
    const keep =
      this.memory.level === 'normal'
        ? Math.max(IDLE_MIN, Math.floor(this.#inUse * IDLE_SHARE), this.#turnover)
        : IDLE_UNDER_PRESSURE
    while (this.#idle.length > keep) {
      this.#idle.pop()
      this.memory.add('engine', -this.segmentBytes)
    }
    this.#fewestIdle = Math.min(this.#fewestIdle, this.#idle.length)
  }
}

/** Whether `bytes` more stay within the account's limit. */
function hasRoom(memory: MemoryAccount, bytes: number): boolean {
  return memory.totalBytes + bytes <= memory.limitBytes
}

export function memoryFull(memory: MemoryAccount): CacheError {
  return new CacheError(
    'OVERLOADED',
    `the node holds ${memory.totalBytes} of ${memory.limitBytes} bytes; nothing was stored. ` +
      'Try again later; if it lasts, make regions smaller, raise the memory limit, or add nodes',
  )
}

/** Reserves `bytes` of the account for columns and tables. @throws CacheError OVERLOADED when there is no room. */
export function chargeMemory(memory: MemoryAccount, bytes: number): void {
  if (!hasRoom(memory, bytes)) throw memoryFull(memory)
  memory.add('engine', bytes)
}
