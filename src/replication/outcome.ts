/**
 * What a write came to, on its way back to who asked: kept until the durability asked for is reached or its time is over.
 * It completes exactly once; after that nothing it is told has an effect.
 */

import type { LargeValue } from '../engine/engine.ts'
import type { CacheError } from '../kernel/errors.ts'

/** Who gets outcomes: a client's session, or a test. Called at most once per outcome. */
export interface OutcomeSink {
  /** It does not complete at once: until it does, it holds its payload. */
  waits(outcome: Outcome): void
  completed(outcome: Outcome): void
  failed(outcome: Outcome, error: CacheError): void
}

export class Outcome {
  readonly sink: OutcomeSink
  readonly requestId: number
  /** Which result is due (wire/operations.ts). */
  readonly opcode: number
  /** Monotonic time, in milliseconds, at which waiting ends. */
  readonly deadlineMs: number
  /** wire/results.ts */
  status = 0
  partitionEpoch = 0
  sequence = 0
  /** A sum or a count, where the operation returns one. */
  number = 0
  /** A result that is more than that, in the form it travels. */
  payload: Uint8Array | undefined
  /** A large value that follows the result in chunks; held until it is told. */
  large: LargeValue | undefined
  /** Whether the operation was applied: then it can't be said that nothing happened. */
  applied = true
  /** The sequence that has to be held widely enough. */
  waitSequence = 0
  settled = false
  /** Whether it had to wait. */
  waits = false

  constructor(sink: OutcomeSink, requestId: number, opcode: number, deadlineMs: number) {
    this.sink = sink
    this.requestId = requestId
    this.opcode = opcode
    this.deadlineMs = deadlineMs
  }

  wait(): void {
    if (this.settled || this.waits) return
    this.waits = true
    this.sink.waits(this)
  }

  complete(): void {
    if (this.settled) return
    this.settled = true
    this.sink.completed(this)
    this.large?.release()
  }

  fail(error: CacheError): void {
    if (this.settled) return
    this.settled = true
    this.large?.release()
    this.sink.failed(this, error)
  }
}
