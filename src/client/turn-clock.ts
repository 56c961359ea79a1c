/**
 * The clock, read once per turn rather than once per operation: reading it costs as much as a tenth of an operation.
 * A long turn reads it again from time to time, so that what is issued late in it does not start with an old deadline.
 */

import type { Clock } from '../kernel/clock.ts'
import type { Scheduler } from '../kernel/scheduler.ts'

const USES_MAX = 64

export class TurnClock {
  readonly #clock: Clock
  readonly #scheduler: Scheduler
  #nowMs = 0
  #usesLeft = 0
  #scheduled = false
  readonly #expire = (): void => {
    this.#scheduled = false
    this.#usesLeft = 0
  }

  constructor(clock: Clock, scheduler: Scheduler) {
    this.#clock = clock
    this.#scheduler = scheduler
  }

  /** Monotonic milliseconds, not older than this turn. */
  nowMs(): number {
    if (this.#usesLeft-- > 0) return this.#nowMs
    this.#nowMs = this.#clock.monotonicMs()
    this.#usesLeft = USES_MAX
    if (!this.#scheduled) {
      this.#scheduled = true
      this.#scheduler.endOfTurn(this.#expire)
    }
    return this.#nowMs
  }
}
