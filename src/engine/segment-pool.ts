/**
 * Where the engine's memory comes from: buffers of one size, handed out and taken back.
 *
 * A dropped ArrayBuffer keeps its pages until a garbage collection notices, so a process that drops and allocates
 * buffers in turn holds far more than it uses. Therefore given-back segments are kept (a share of those in use) and
 * handed out again, to the record log and to the blocks of large values alike. What is kept counts as held.
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

export class SegmentPool {
  readonly segmentBytes: number
  readonly memory: MemoryAccount
  readonly #idle: Segment[] = []
  #inUse = 0

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
    this.trim()
  }

  /** Lets go of idle segments beyond what is worth keeping. */
  trim(): void {
    const pressed = this.memory.level !== 'normal'
    const keep = pressed ? IDLE_UNDER_PRESSURE : Math.max(IDLE_MIN, Math.floor(this.#inUse * IDLE_SHARE))
    while (this.#idle.length > keep) {
      this.#idle.pop()
      this.memory.add('engine', -this.segmentBytes)
    }
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
