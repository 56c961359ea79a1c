/**
 * How fast large values go while small operations are about.
 *
 * Alone, a large value goes as fast as streams drain. It then keeps every process it passes busy at once, and a small call
 * beside it waits for a core at each of its hops. So while small operations arrive, the bytes of large values go in steps:
 * STEP_BYTES, then nothing for STEP_MS, on each stream. What a stream is not read for, its sender can't send; so this
 * holds back clients too.
 */

import type { Clock } from '../kernel/clock.ts'
import type { Scheduler, Timer } from '../kernel/scheduler.ts'

/** Bytes of one step: less than a millisecond of work at either end. */
export const STEP_BYTES: number = 192 * 1024
const STEP_MS = 1
/** Without small operations for so long, large values go unhindered. */
const QUIET_MS = 100

export class BulkPace {
  readonly #clock: Clock
  readonly #scheduler: Scheduler
  #lastSmallMs = Number.NEGATIVE_INFINITY

  constructor(clock: Clock, scheduler: Scheduler) {
    this.#clock = clock
    this.#scheduler = scheduler
  }

  /** Small operations arrived. */
  sawSmall(): void {
    this.#lastSmallMs = this.#clock.monotonicMs()
  }

  /** For how long none has arrived; infinite when none ever did. */
  get quietMs(): number {
    return this.#clock.monotonicMs() - this.#lastSmallMs
  }

  get isShared(): boolean {
    return this.quietMs < QUIET_MS
  }

  /** @param goOn called when the rest after a step is over */
  steps(goOn: () => void): BulkSteps {
    return new BulkSteps(this, this.#scheduler, goOn)
  }
}

/** The steps of one stream. */
export class BulkSteps {
  readonly #pace: BulkPace
  readonly #scheduler: Scheduler
  readonly #goOn: () => void
  #bytes = 0
  #rest: Timer | undefined

  constructor(pace: BulkPace, scheduler: Scheduler, goOn: () => void) {
    this.#pace = pace
    this.#scheduler = scheduler
    this.#goOn = goOn
  }

  /** Whether nothing more is to go until `goOn`. */
  get isResting(): boolean {
    return this.#rest !== undefined
  }

  /** Counts bytes that went. */
  spend(bytes: number): void {
    this.#bytes += bytes
    if (this.#bytes < STEP_BYTES) return
    this.#bytes = 0
    if (this.#rest !== undefined || !this.#pace.isShared) return
    this.#rest = this.#scheduler.after(STEP_MS, () => {
      this.#rest = undefined
      this.#goOn()
    })
  }

  stop(): void {
    this.#rest?.cancel()
    this.#rest = undefined
  }
}
