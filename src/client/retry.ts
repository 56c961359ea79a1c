/**
 * When an operation is tried again, and how long to wait before.
 *
 * Tried again is what certainly did nothing, and what can be repeated without harm: reads, and writes with their id, to
 * which a node gives the first outcome; so also where a node that is primary no longer can't tell whether its write lasts. The wait doubles from 10 ms to 500 ms, jittered between half and all of it. What waits
 * for another primary or for replicas (its node is gone, not responsible, or alone) is tried at least every 100 ms, and at once
 * when a newer topology is heard of: until the call's own timeout, since a cluster that lost a node gives its partitions a new
 * primary within that.
 */

import type { CacheError, ErrorCode } from '../kernel/errors.ts'
import { type Random, uniform } from '../kernel/random.ts'
import type { Scheduler, Timer } from '../kernel/scheduler.ts'
import type { Call } from './pending.ts'

/** The delay in milliseconds before attempt number `attempt` (the first retry is 1), or false to give up. */
export type RetryPolicy = (attempt: number, error: CacheError) => number | false

const DELAY_MIN_MS = 10
const DELAY_MAX_MS = 500
const MOVED_DELAY_MAX_MS = 100
/** Delays that end closer together than this, in milliseconds, end together. */
const GRAIN_MS = 5

/** A newer topology may put these right. */
const MOVED: ReadonlySet<ErrorCode> = new Set([
  'NOT_PRIMARY',
  'NO_ROLE',
  'STALE_EPOCH',
  'NOT_READY',
  'NOT_ENOUGH_REPLICAS',
  'UNAVAILABLE',
  'CLOSED',
  'OUTCOME_UNKNOWN',
])
const TRANSIENT: ReadonlySet<ErrorCode> = new Set([
  'NOT_PRIMARY',
  'NO_ROLE',
  'STALE_EPOCH',
  'NOT_READY',
  'NOT_ENOUGH_REPLICAS',
  'OVERLOADED',
  'UNAVAILABLE',
])

/** A node that stops says so, and one that another took over from does not know its write's outcome; said by nobody it is this call's end. */
const SAID_BY_NODES: ReadonlySet<ErrorCode> = new Set(['CLOSED', 'OUTCOME_UNKNOWN'])

/** Whether this failure may go away by itself. */
export function isTransient(error: CacheError): boolean {
  return TRANSIENT.has(error.code) || (SAID_BY_NODES.has(error.code) && error.node !== undefined)
}

export function defaultRetryPolicy(random: Random): RetryPolicy {
  return (attempt, error) => {
    const maxMs = MOVED.has(error.code) ? MOVED_DELAY_MAX_MS : DELAY_MAX_MS
    const ceilingMs = Math.min(maxMs, DELAY_MIN_MS * 2 ** Math.min(10, attempt - 1))
    return ceilingMs * (0.5 + 0.5 * uniform(random))
  }
}

interface Waiting {
  readonly call: Call
  readonly slot: number
  readonly dueMs: number
  /** It waits for another primary. */
  readonly isMoved: boolean
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

  add(call: Call, slot: number, nowMs: number, delayMs: number, error: CacheError): void {
    const dueMs = nowMs + delayMs
    this.#waiting.push({ call, slot, dueMs, isMoved: MOVED.has(error.code) })
    if (dueMs < this.#timerMs) this.#arm(nowMs, dueMs)
  }

  /** A newer topology is known: what waits for another primary is tried now. */
  topologyChanged(): void {
    const moved = this.#waiting.filter((entry) => entry.isMoved)
    if (moved.length === 0) return
    this.#waiting = this.#waiting.filter((entry) => !entry.isMoved)
    for (const { call, slot } of moved) this.#submit(call, slot)
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
