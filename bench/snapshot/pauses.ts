/** How long the event loop stood still at most, and how long the garbage collector stopped it. */

import { PerformanceObserver } from 'node:perf_hooks'

/** A timer's own period, which is no pause. */
const TIMER_MS = 1

export interface PauseFigures {
  readonly longestMs: number
  readonly over5Ms: number
  readonly longestGcMs: number
}

export class Pauses {
  #longestMs = 0
  #over5Ms = 0
  #longestGcMs = 0
  #lastMs = performance.now()
  readonly #timer: NodeJS.Timeout
  readonly #observer: PerformanceObserver

  constructor() {
    this.#timer = setInterval(() => this.#look(), TIMER_MS)
    this.#observer = new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) this.#longestGcMs = Math.max(this.#longestGcMs, duration)
    })
    this.#observer.observe({ entryTypes: ['gc'] })
  }

  stop(): PauseFigures {
    this.#look()
    clearInterval(this.#timer)
    this.#observer.disconnect()
    return { longestMs: this.#longestMs, over5Ms: this.#over5Ms, longestGcMs: this.#longestGcMs }
  }

  #look(): void {
    const nowMs = performance.now()
    const pauseMs = nowMs - this.#lastMs - TIMER_MS
    if (pauseMs > 5) this.#over5Ms++
    this.#longestMs = Math.max(this.#longestMs, pauseMs)
    this.#lastMs = nowMs
  }
}
