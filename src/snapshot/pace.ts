/**
 * How long work in slices may hold the event loop, and how many bytes a second it may move. One slice a turn.
 */

import type { Clock } from '../kernel/clock.ts'
import { CacheError } from '../kernel/errors.ts'
import type { Scheduler } from '../kernel/scheduler.ts'

export interface PaceOptions {
  /** Length of a slice in milliseconds. Default 2, at most 5. */
  readonly sliceMs?: number
  /** Bytes of entries in a slice. Default 256 KiB. */
  readonly sliceBytes?: number
  /** Bytes of entries a second; 0: without limit, the default. */
  readonly bytesPerSecond?: number
  /** Ends the work at the next slice. */
  readonly signal?: AbortSignal
}

const SLICE_MS = 2
const SLICE_MS_MAX = 5
const WAIT_MS_MAX = 250

export class Pace {
  readonly sliceBytes: number
  readonly #clock: Clock
  readonly #scheduler: Scheduler
  readonly #sliceMs: number
  readonly #bytesPerSecond: number
  readonly #signal: AbortSignal | undefined
  #sliceEndsMs = 0
  /** Monotonic time up to which the bytes moved have been paid for. */
  #paidMs = 0

  constructor(clock: Clock, scheduler: Scheduler, options: PaceOptions = {}) {
    this.#clock = clock
    this.#scheduler = scheduler
    this.#sliceMs = Math.min(SLICE_MS_MAX, options.sliceMs ?? SLICE_MS)
    this.sliceBytes = options.sliceBytes ?? 256 * 1024
    this.#bytesPerSecond = options.bytesPerSecond ?? 0
    this.#signal = options.signal
    this.#sliceEndsMs = clock.monotonicMs() + this.#sliceMs
  }

  /** Whether this slice has taken its time. */
  get over(): boolean {
    return this.#clock.monotonicMs() >= this.#sliceEndsMs
  }

  /** Whether more was moved than the rate allows by now. */
  get owes(): boolean {
    return this.#paidMs > this.#clock.monotonicMs()
  }

  /** What was moved; a later `turn` waits for it. */
  moved(bytes: number): void {
    if (this.#bytesPerSecond <= 0) return
    this.#paidMs = Math.max(this.#paidMs, this.#clock.monotonicMs()) + (1000 * bytes) / this.#bytesPerSecond
  }

  /** Settles in a later turn, in which a new slice begins. @throws CacheError ABORTED */
  async turn(options: { readonly hurry?: boolean } = {}): Promise<void> {
    do {
      const owedMs = options.hurry === true ? 0 : this.#paidMs - this.#clock.monotonicMs()
      await new Promise<void>((resolve) => {
        // Not all at once, so that the signal is heard.
        if (owedMs > 0) this.#scheduler.after(Math.min(owedMs, WAIT_MS_MAX), resolve)
        else this.#scheduler.nextTurn(resolve)
      })
      this.begin()
    } while (options.hurry !== true && this.#paidMs > this.#clock.monotonicMs())
  }

  /** A new slice begins in this turn, after something else was waited for. @throws CacheError ABORTED */
  begin(): void {
    if (this.#signal?.aborted === true)
      throw new CacheError('ABORTED', 'the snapshot work was ended by its signal')
    this.#sliceEndsMs = this.#clock.monotonicMs() + this.#sliceMs
  }
}
