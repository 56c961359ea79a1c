/**
 * What calls have in common: the services they use, their deadline, and their promise.
 */

import { CacheError } from '../kernel/errors.ts'
import type { ValueCodec } from './codecs/value-codec.ts'
import type { Call, Link } from './pending.ts'
import type { Router } from './router.ts'
import type { Signals } from './signals.ts'
import type { TurnClock } from './turn-clock.ts'

export interface CallServices {
  readonly router: Router
  readonly values: ValueCodec
  readonly clock: TurnClock
  readonly signals: Signals
  /** Milliseconds since the Unix epoch. */
  wallMs(): number
}

/** How long a call may take. */
export interface CallBudget {
  /** Monotonic milliseconds. */
  readonly deadlineMs: number
  /** What the operation says; 0: nothing, for it is what HELLO said. */
  readonly timeoutMs: number
}

/** A call of one operation. */
export abstract class OneCall<T> {
  readonly promise: Promise<T>
  readonly deadlineMs: number
  readonly link: Link | undefined
  #resolve: ((value: T) => void) | undefined
  #reject: ((error: unknown) => void) | undefined
  #attempts = 0
  #lost = false
  /** Runs when the call is over. */
  onSettled: (() => void) | undefined

  constructor(deadlineMs: number, link: Link | undefined) {
    this.deadlineMs = deadlineMs
    this.link = link
    this.promise = new Promise<T>((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  get settled(): boolean {
    return this.#resolve === undefined
  }

  isSettled(_slot: number): boolean {
    return this.#resolve === undefined
  }

  nextAttempt(_slot: number): number {
    return ++this.#attempts
  }

  lost(_slot: number): void {
    this.#lost = true
  }

  wasLost(_slot: number): boolean {
    return this.#lost
  }

  resolve(value: T): void {
    const resolve = this.#resolve
    if (resolve === undefined) return
    this.#resolve = undefined
    this.#reject = undefined
    resolve(value)
    this.onSettled?.()
  }

  reject(_slot: number, error: CacheError): void {
    const reject = this.#reject
    if (reject === undefined) return
    this.#resolve = undefined
    this.#reject = undefined
    reject(error)
    this.onSettled?.()
  }
}

/** The part of a call that has to do with being given up. */
interface Abortable extends Call {
  onSettled: (() => void) | undefined
  readonly slots: number
}

/** Gives the call up when the signal fires. */
export function watchSignal(call: Abortable, signal: AbortSignal, services: CallServices): void {
  const { router } = services
  const abort = (reason: unknown): void => {
    const error = new CacheError('ABORTED', 'the call was aborted by its signal', { cause: reason })
    router.abandon(call, error)
    // What waits to be tried again is nowhere under way.
    for (let slot = 0; slot < call.slots; slot++) router.failed(call, slot, error, 'unsent')
  }
  if (signal.aborted) abort(signal.reason)
  else call.onSettled = services.signals.watch(signal, abort)
}
