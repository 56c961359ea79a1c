/**
 * When an operation is tried again, and how long to wait before.
 *
 * Tried again is what certainly did nothing, and what can be repeated without harm: reads, and writes with their id, to
 * which a node gives the first outcome. The wait doubles from 20 ms to 500 ms, jittered between half and all of it. A node
 * that says it is not responsible will say so again until the topology changes, so that is tried a few times only.
 */

import type { CacheError, ErrorCode } from '../kernel/errors.ts'
import { type Random, uniform } from '../kernel/random.ts'
import type { Scheduler, Timer } from '../kernel/scheduler.ts'
import type { Call } from './pending.ts'

/** The delay in milliseconds before attempt number `attempt` (the first retry is 1), or false to give up. */
export type RetryPolicy = (attempt: number, error: CacheError) => number | false

const DELAY_MIN_MS = 20
const DELAY_MAX_MS = 500
/** Retries after "not responsible" under one topology: about 300 ms. */
const FRUITLESS_MAX = 4
/** Delays that end closer together than this, in milliseconds, end together. */
const GRAIN_MS = 5

const FRUITLESS: ReadonlySet<ErrorCode> = new Set(['NOT_PRIMARY', 'NO_ROLE', 'STALE_EPOCH'])
const TRANSIENT: ReadonlySet<ErrorCode> = new Set([
  'NOT_PRIMARY',
  'NO_ROLE',
  'STALE_EPOCH',
  'NOT_READY',
  'OVERLOADED',
  'UNAVAILABLE',
])

/** Whether this failure may go away by itself. */
export function isTransient(error: CacheError): boolean {
  return TRANSIENT.has(error.code)
}

export function defaultRetryPolicy(random: Random): RetryPolicy {
  return (attempt, error) => {
    if (attempt > FRUITLESS_MAX && FRUITLESS.has(error.code)) return false
    const ceilingMs = Math.min(DELAY_MAX_MS, DELAY_MIN_MS * 2 ** Math.min(10, attempt - 1))
    return ceilingMs * (0.5 + 0.5 * uniform(random))
  }
}

interface Waiting {
  readonly call: Call
  readonly slot: number
  readonly dueMs: number
}

/** Operations that wait to be submitted again, under one timer. Its size is bounded by the budget they hold. */
export class RetryQueue {
  readonly #scheduler: Scheduler
  readonly #submit: (call: Call, slot: number) => void
  #waiting: Waiting[] = []
  #timer: Timer | undefined
  #timerMs = Number.POSITIVE_INFINITY

  constructor(scheduler: Scheduler, submit: (call: Call, slot: number) => void) {
    this.#scheduler = scheduler
    this.#submit = submit
  }

  add(call: Call, slot: number, nowMs: number, delayMs: number): void {
    const dueMs = nowMs + delayMs
    this.#waiting.push({ call, slot, dueMs })
    if (dueMs < this.#timerMs) this.#arm(nowMs, dueMs)
  }

  /** Empties the queue. */
  takeAll(): readonly { readonly call: Call; readonly slot: number }[] {
    const waiting = this.#waiting
    this.#waiting = []
    this.#timer?.cancel()
    this.#timer = undefined
    this.#timerMs = Number.POSITIVE_INFINITY
    return waiting
  }

  #arm(nowMs: number, dueMs: number): void {
    this.#timer?.cancel()
    this.#timerMs = dueMs
    this.#timer = this.#scheduler.after(Math.max(0, dueMs - nowMs), () => this.#run(dueMs))
  }

  #run(nowMs: number): void {
    this.#timer = undefined
    this.#timerMs = Number.POSITIVE_INFINITY
    const waiting = this.#waiting
    this.#waiting = []
    const due: Waiting[] = []
    let nextMs = Number.POSITIVE_INFINITY
    for (const entry of waiting) {
      if (entry.dueMs <= nowMs + GRAIN_MS) {
        due.push(entry)
      } else {
        this.#waiting.push(entry)
        nextMs = Math.min(nextMs, entry.dueMs)
      }
    }
    if (nextMs < Number.POSITIVE_INFINITY) this.#arm(nowMs, nextMs)
    for (const { call, slot } of due) this.#submit(call, slot)
  }
}
