/** Holds work to so many entries a second, and waits in a way that can be given up. */

import type { Clock } from '../../kernel/clock.ts'
import { CacheError } from '../../kernel/errors.ts'
import type { Scheduler, Timer } from '../../kernel/scheduler.ts'

/** Time not used is kept for so long, in milliseconds: what stood still does not rush afterwards. */
const CREDIT_MS = 1000

export interface TimePorts {
  readonly clock: Clock
  readonly scheduler: Scheduler
}

export class Pace {
  readonly #ports: TimePorts
  readonly #perSecond: number
  readonly #signal: AbortSignal
  /** When the work admitted so far is done at that rate, monotonic. */
  #doneMs: number

  /** @param perSecond undefined: as fast as it goes */
  constructor(ports: TimePorts, perSecond: number | undefined, signal: AbortSignal) {
    this.#ports = ports
    this.#perSecond = perSecond ?? Number.POSITIVE_INFINITY
    this.#signal = signal
    this.#doneMs = ports.clock.monotonicMs()
  }

  /** How many entries may be under way at one time without exceeding the rate noticeably. */
  widthMax(wanted: number): number {
    return Math.max(1, Math.min(wanted, Math.floor(this.#perSecond / 10)))
  }

  /** Resolves when `count` more entries may be begun. @throws CacheError ABORTED */
  async admit(count: number): Promise<void> {
    checkAborted(this.#signal)
    if (this.#perSecond === Number.POSITIVE_INFINITY) return
    const nowMs = this.#ports.clock.monotonicMs()
    const startMs = Math.max(this.#doneMs, nowMs - CREDIT_MS)
    this.#doneMs = startMs + (1000 * count) / this.#perSecond
    if (startMs > nowMs) await wait(this.#ports.scheduler, startMs - nowMs, this.#signal)
  }
}

/** @throws CacheError ABORTED */
export function checkAborted(signal: AbortSignal): void {
  if (signal.aborted) throw aborted(signal)
}

function wait(scheduler: Scheduler, delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    let timer: Timer | undefined
    const stop = (): void => {
      timer?.cancel()
      reject(aborted(signal))
    }
    timer = scheduler.after(delayMs, () => {
      signal.removeEventListener('abort', stop)
      resolve()
    })
    signal.addEventListener('abort', stop, { once: true })
  })
}

function aborted(signal: AbortSignal): CacheError {
  return new CacheError('ABORTED', 'stopped', { cause: signal.reason })
}
