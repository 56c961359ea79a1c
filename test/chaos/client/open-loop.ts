/**
 * Calls at a fixed rate, each due at a moment that does not depend on the answers to those before: what a stall costs is then
 * seen by every call that was due while it lasted. Latencies count from the moment a call was due.
 */

import { nowMs } from '../monotonic.ts'
import type { Samples } from './messages.ts'

/** What one call came to. */
export type CallOutcome = 'ok' | 'failed' | 'unknown'

export interface OpenLoopCall {
  /** Resolves with the outcome, and does not reject. `note` keeps what was said of a failure. */
  run(note: (error: string) => void): Promise<CallOutcome>
  readonly group: number
}

const OUTCOMES: readonly CallOutcome[] = ['ok', 'failed', 'unknown']
const TICK_MS = 2
const ERRORS_KEPT = 20
/** More calls than this are not kept under way: what is due then counts as failed at once. */
const PENDING_MAX = 50_000
const GROW = 65_536

export class OpenLoop {
  readonly #perSecond: number
  readonly #next: () => OpenLoopCall
  readonly #startedMs: number = nowMs()
  readonly #errors = new Map<string, number>()
  readonly #timer: NodeJS.Timeout
  #dueMs = new Float64Array(GROW)
  #endMs = new Float64Array(GROW)
  #outcome = new Uint8Array(GROW)
  #group = new Uint8Array(GROW)
  #issued = 0
  #pending = 0
  #idle: (() => void) | undefined

  constructor(perSecond: number, next: () => OpenLoopCall) {
    this.#perSecond = perSecond
    this.#next = next
    this.#timer = setInterval(() => this.#tick(), TICK_MS)
  }

  /** Issues nothing more, and waits for what is under way. */
  async stop(): Promise<Samples> {
    clearInterval(this.#timer)
    if (this.#pending > 0)
      await new Promise<void>((resolve) => {
        this.#idle = resolve
      })
    const errors = [...this.#errors].sort(([, a], [, b]) => b - a)
    return {
      dueMs: this.#dueMs.slice(0, this.#issued),
      endMs: this.#endMs.slice(0, this.#issued),
      outcome: this.#outcome.slice(0, this.#issued),
      group: this.#group.slice(0, this.#issued),
      errors: Object.fromEntries(errors),
    }
  }

  #tick(): void {
    const due = Math.floor(((nowMs() - this.#startedMs) * this.#perSecond) / 1000)
    while (this.#issued < due) this.#issue()
  }

  #issue(): void {
    const at = this.#issued++
    if (at === this.#dueMs.length) this.#grow()
    this.#dueMs[at] = this.#startedMs + (at * 1000) / this.#perSecond
    if (this.#pending === PENDING_MAX) {
      this.#ended(at, 'failed')
      return
    }
    const call = this.#next()
    this.#group[at] = call.group
    this.#pending++
    void call
      .run((error) => this.#note(error))
      .then((outcome) => {
        this.#ended(at, outcome)
        if (--this.#pending === 0) this.#idle?.()
      })
  }

  #ended(at: number, outcome: CallOutcome): void {
    this.#endMs[at] = nowMs()
    this.#outcome[at] = OUTCOMES.indexOf(outcome)
  }

  #note(error: string): void {
    const known = this.#errors.get(error)
    if (known !== undefined || this.#errors.size < ERRORS_KEPT) this.#errors.set(error, (known ?? 0) + 1)
  }

  #grow(): void {
    const grow = <A extends Float64Array | Uint8Array>(old: A, fresh: A): A => {
      fresh.set(old)
      return fresh
    }
    const size = this.#dueMs.length * 2
    this.#dueMs = grow(this.#dueMs, new Float64Array(size))
    this.#endMs = grow(this.#endMs, new Float64Array(size))
    this.#outcome = grow(this.#outcome, new Uint8Array(size))
    this.#group = grow(this.#group, new Uint8Array(size))
  }
}
