/**
 * Copies of large values, in memory that is used again.
 *
 * A value to store belongs to the application, which may change it as soon as `set` has returned; so it is copied, once.
 * Into fresh memory that takes a page fault for every 4 KiB (8 ms for 16 MiB instead of 1), and V8 collects the whole
 * heap after every few such buffers. So buffers are kept for the next value: FREE_BYTES_MAX at most, and none once
 * nothing was copied for a while.
 *
 * A copy is counted by reference: the call has one, each chunk of it that a stream has not sent yet has one. A buffer whose
 * last reference is never given back is lost to the pool, and to nobody else.
 */

import type { Scheduler, Timer } from '../kernel/scheduler.ts'

/** Four of the largest values that the default limit allows: as many as a node is sent at a time. */
const FREE_BYTES_MAX = 64 * 1024 * 1024
const BUFFER_BYTES_MIN = 64 * 1024
const IDLE_MS = 2_000

export class CopyPool {
  readonly #scheduler: Scheduler
  readonly #free: Uint8Array[] = []
  #freeBytes = 0
  #timer: Timer | undefined
  #isIdle = false
  #closed = false

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler
  }

  /** Bytes of buffers that wait for the next value. */
  get freeBytes(): number {
    return this.#freeBytes
  }

  /** A copy of the bytes, with one reference. */
  copy(bytes: Uint8Array): PooledCopy {
    const buffer = this.#take(bytes.length)
    const copy = buffer.subarray(0, bytes.length)
    copy.set(bytes)
    return new PooledCopy(copy, () => this.#give(buffer))
  }

  close(): void {
    this.#closed = true
    this.#clear()
  }

  #take(length: number): Uint8Array {
    this.#isIdle = false
    const size = Math.max(BUFFER_BYTES_MIN, 2 ** Math.ceil(Math.log2(length)))
    const at = this.#free.findIndex((buffer) => buffer.length === size)
    const [buffer] = at < 0 ? [] : this.#free.splice(at, 1)
    if (buffer === undefined) return new Uint8Array(Buffer.allocUnsafeSlow(size).buffer)
    this.#freeBytes -= size
    return buffer
  }

  #give(buffer: Uint8Array): void {
    if (this.#closed || this.#freeBytes + buffer.length > FREE_BYTES_MAX) return
    this.#free.push(buffer)
    this.#freeBytes += buffer.length
    if (this.#timer === undefined) this.#watch()
  }

  #watch(): void {
    this.#isIdle = true
    this.#timer = this.#scheduler.after(IDLE_MS, () => {
      if (this.#isIdle) this.#clear()
      else this.#watch()
    })
  }

  #clear(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#free.length = 0
    this.#freeBytes = 0
  }
}

export class PooledCopy {
  readonly bytes: Uint8Array
  readonly #free: () => void
  #references = 1

  constructor(bytes: Uint8Array, free: () => void) {
    this.bytes = bytes
    this.#free = free
  }

  get isFree(): boolean {
    return this.#references === 0
  }

  retain(): void {
    this.#references++
  }

  release(): void {
    if (--this.#references === 0) this.#free()
  }
}
