/**
 * A limit of bytes a second, over whatever is counted here: each byte pays for its time, and while more is paid for than has passed,
 * nothing is to go. What goes at once is bounded by whoever sends, for only the next is held back.
 */

import type { Clock } from '../kernel/clock.ts'
import type { Scheduler, Timer } from '../kernel/scheduler.ts'

export class ByteRate {
  readonly #bytesPerSecond: number
  readonly #clock: Clock
  readonly #scheduler: Scheduler
  readonly #goOn: () => void
  /** Monotonic time up to which it is paid for. */
  #paidMs = 0
  #timer: Timer | undefined

  /**
   * @param bytesPerSecond 0: without limit
   * @param goOn called when bytes may go again
   */
  constructor(bytesPerSecond: number, clock: Clock, scheduler: Scheduler, goOn: () => void) {
    this.#bytesPerSecond = bytesPerSecond
    this.#clock = clock
    this.#scheduler = scheduler
    this.#goOn = goOn
  }

  /** Whether the rate is used up; if so `goOn` is called when it is not any more. */
  holdsBack(nowMs: number): boolean {
    if (this.#bytesPerSecond <= 0 || this.#paidMs <= nowMs) return false
    this.#timer ??= this.#scheduler.after(this.#paidMs - nowMs, () => {
      this.#timer = undefined
      this.#goOn()
    })
    return true
  }

  /** Counts bytes that went. */
  spend(bytes: number): void {
    if (this.#bytesPerSecond <= 0) return
    this.#paidMs = Math.max(this.#paidMs, this.#clock.monotonicMs()) + (1000 * bytes) / this.#bytesPerSecond
  }

  close(): void {
    this.#timer?.cancel()
  }
}
