/**
 * Whether this node was out of touch with the voters for so long that others may have gone on without it.
 *
 * It is asked with each operation, and reading the clock costs as much as a lookup. So the clock is read by a timer instead: in the
 * moment in which the contact that was known last has grown too old, and often while it is.
 */

import type { Clock } from '../kernel/clock.ts'
import type { Scheduler, Timer } from '../kernel/scheduler.ts'

export interface QuarantinePorts {
  readonly clock: Clock
  readonly scheduler: Scheduler
  /** Monotonic time of the last proof of contact with a majority of the voters. */
  voterContactMs(): number
}

/** A node that is out of touch looks this often whether it still is. */
const CHECK_MS = 50

export class Quarantine {
  readonly #ports: QuarantinePorts
  readonly #afterMs: number
  #isOutOfTouch = false
  #timer: Timer

  /** @param afterMs how old the contact may grow, in milliseconds */
  constructor(ports: QuarantinePorts, afterMs: number) {
    this.#ports = ports
    this.#afterMs = afterMs
    this.#timer = this.#checkIn(CHECK_MS)
  }

  get isOutOfTouch(): boolean {
    return this.#isOutOfTouch
  }

  close(): void {
    this.#timer.cancel()
  }

  #check(): void {
    const silentMs = this.#ports.clock.monotonicMs() - this.#ports.voterContactMs()
    this.#isOutOfTouch = silentMs > this.#afterMs
    this.#timer = this.#checkIn(this.#isOutOfTouch ? CHECK_MS : this.#afterMs - silentMs + 1)
  }

  #checkIn(delayMs: number): Timer {
    return this.#ports.scheduler.after(delayMs, () => this.#check())
  }
}
