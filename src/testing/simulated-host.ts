/**
 * One machine of a simulation: the clock and scheduler that a process on it sees. It can be paused (SIGSTOP, a stalled
 * event loop) and crash; tasks of a crashed process never run, tasks of a paused one run when it goes on.
 */

import type { Clock } from '../kernel/clock.ts'
import type { Scheduler, Timer } from '../kernel/scheduler.ts'
import type { VirtualTime } from './virtual-time.ts'

export class SimulatedHost implements Clock, Scheduler {
  readonly name: string
  readonly #time: VirtualTime
  /** Rises at each crash: what was armed before does not run any more. */
  #life = 0
  #paused = false
  #held: (() => void)[] = []
  /** Added to the wall clock, in milliseconds: skew, or a clock that was set. */
  wallOffsetMs = 0

  constructor(name: string, time: VirtualTime) {
    this.name = name
    this.#time = time
  }

  monotonicMs(): number {
    return this.#time.monotonicMs()
  }

  wallMs(): number {
    return this.#time.wallMs() + this.wallOffsetMs
  }

  after(delayMs: number, task: () => void): Timer {
    let cancelled = false
    const timer = this.#time.after(
      delayMs,
      this.#guard(() => {
        if (!cancelled) task()
      }),
    )
    return {
      cancel(): void {
        cancelled = true
        timer.cancel()
      },
    }
  }

  endOfTurn(task: () => void): void {
    this.#time.endOfTurn(this.#guard(task))
  }

  nextTurn(task: () => void): void {
    this.#time.nextTurn(this.#guard(task))
  }

  get paused(): boolean {
    return this.#paused
  }

  get life(): number {
    return this.#life
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    const held = this.#held
    this.#held = []
    for (const task of held) this.#time.nextTurn(this.#guard(task))
  }

  /** Ends the process: nothing it armed runs any more. The host itself is ready for the next one. */
  crash(): void {
    this.#life++
    this.#paused = false
    this.#held = []
  }

  #guard(task: () => void): () => void {
    const life = this.#life
    const guarded = (): void => {
      if (life !== this.#life) return
      if (this.#paused) this.#held.push(guarded)
      else task()
    }
    return guarded
  }
}
