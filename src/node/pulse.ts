/**
 * When a node looks at what is to be done for its topology: at the end of a turn in which something happened, ten times a second while
 * there may be something to do, and else only when the next thing that is always done is due. Most of the time there is nothing.
 *
 * It falls quiet by itself, after a beat that found all at rest; whatever may end that rest has to stir it.
 */

import type { Scheduler, Timer } from '../kernel/scheduler.ts'

export interface PulsePorts {
  readonly scheduler: Scheduler
  beat(): void
  /** For how long there will be nothing to do, in milliseconds, unless it is stirred; undefined: there may be at any time. */
  restMs(): number | undefined
}

/** While something goes on, or may be about to. */
const BEAT_MS = 100

export class Pulse {
  readonly #ports: PulsePorts
  #timer: Timer | undefined
  #isQuiet = false
  #isPlanned = false
  #closed = false

  constructor(ports: PulsePorts) {
    this.#ports = ports
  }

  start(): void {
    this.#beatIn(BEAT_MS)
  }

  /** Something happened: there may be more to do. */
  stir(): void {
    if (!this.#isQuiet) return
    this.#isQuiet = false
    this.#beatIn(BEAT_MS)
  }

  /** Something is to be done: beats at the end of this turn, too. */
  beatSoon(): void {
    this.stir()
    if (this.#isPlanned || this.#closed) return
    this.#isPlanned = true
    this.#ports.scheduler.endOfTurn(() => {
      this.#isPlanned = false
      if (!this.#closed) this.#ports.beat()
    })
  }

  close(): void {
    this.#closed = true
    this.#timer?.cancel()
  }

  #beatIn(delayMs: number): void {
    this.#timer?.cancel()
    if (this.#closed) return
    this.#timer = this.#ports.scheduler.after(delayMs, () => {
      this.#ports.beat()
      const restMs = this.#ports.restMs()
      this.#isQuiet = restMs !== undefined
      this.#beatIn(restMs ?? BEAT_MS)
    })
  }
}
