/**
 * How fast copies are made of what only moves, while clients are served.
 *
 * A copy goes as fast as its ends can, when nothing else is to be done or when it restores one that was lost. One of which there are
 * enough has time: after each step this node rests for so much longer than the step took that all its copies together have a small
 * share of the event loop. A rest that ends late tells that the loop, or the machine, has more to do than it can: then another
 * follows. The other end sets the pace too, for a step waits until the one before was applied there.
 */

import type { Clock } from '../kernel/clock.ts'
import type { Scheduler, Timer } from '../kernel/scheduler.ts'

/** A step takes one part of the time, the rest after it so many. */
const REST_PARTS = 40
const REST_MIN_MS = 4
const REST_MAX_MS = 100
/** A timer that comes later than this met a busy loop. */
const LATE_MS = 2
/** The rest that follows, as a multiple of the delay. */
const LATE_PARTS = 4

export class MovePace {
  readonly #clock: Clock
  readonly #scheduler: Scheduler
  readonly #goOn: () => void
  #rest: Timer | undefined

  /** @param goOn called when a rest is over */
  constructor(clock: Clock, scheduler: Scheduler, goOn: () => void) {
    this.#clock = clock
    this.#scheduler = scheduler
    this.#goOn = goOn
  }

  /** Whether nothing more is to go until `goOn`. */
  get isResting(): boolean {
    return this.#rest !== undefined
  }

  /** A step took so long. */
  spend(stepMs: number): void {
    this.#restFor(stepMs * REST_PARTS, true)
  }

  close(): void {
    this.#rest?.cancel()
  }

  #restFor(wantedMs: number, mayExtend: boolean): void {
    const restMs = Math.min(REST_MAX_MS, Math.max(REST_MIN_MS, wantedMs))
    const dueMs = this.#clock.monotonicMs() + restMs
    this.#rest?.cancel()
    this.#rest = this.#scheduler.after(restMs, () => {
      this.#rest = undefined
      const lateMs = this.#clock.monotonicMs() - dueMs
      if (mayExtend && lateMs > LATE_MS) this.#restFor(lateMs * LATE_PARTS, false)
      else this.#goOn()
    })
  }
}
