/**
 * Calls that are due at moments fixed beforehand, whatever becomes of those before: every millisecond as many as the rate asks for.
 * Latency counts from the moment a call was due, so that a stall is seen by every call that was due while it lasted, and so that
 * the driver's own lateness counts, too. That is also told by itself, for on a machine with few cores it may be most of it.
 */

import { nowMs } from '../../test/chaos/monotonic.ts'
import { LatencyHistogram } from '../peers/latency-histogram.ts'
import { type LoadSamples, NOT_FOUND, type PhaseSamples, type SecondSample } from './messages.ts'

export interface TimedCall {
  readonly isRead: boolean
  /** Resolves with what went wrong, or undefined; does not reject. */
  run(): Promise<string | undefined>
}

const STEP_MS = 1
/** More calls than this are not kept under way: what is due then counts as failed. */
const PENDING_MAX = 100_000
const ERROR_KINDS_MAX = 20

export class SteadyLoad {
  readonly #perStep: number
  readonly #next: () => TimedCall
  readonly #startMs: number = nowMs()
  readonly #phases: Phase[] = []
  readonly #timeline: SecondSample[] = []
  readonly #errors = new Map<string, number>()
  readonly #timer: NodeJS.Timeout
  readonly #second: LatencyHistogram = new LatencyHistogram()
  #secondMaxMs = 0
  #secondAt = 0
  #steps = 0
  #issued = 0
  #pending = 0
  #idle: (() => void) | undefined

  constructor(perSecond: number, phase: string, next: () => TimedCall) {
    this.#perStep = (perSecond * STEP_MS) / 1000
    this.#next = next
    this.phase(phase)
    this.#timer = setInterval(() => this.#catchUp(), STEP_MS)
  }

  phase(name: string): void {
    this.#phases.at(-1)?.end()
    this.#phases.push(new Phase(name))
  }

  /** Issues nothing more, and waits for what is under way. */
  async stop(): Promise<LoadSamples> {
    clearInterval(this.#timer)
    if (this.#pending > 0)
      await new Promise<void>((resolve) => {
        this.#idle = resolve
      })
    this.#phases.at(-1)?.end()
    return {
      phases: this.#phases.map((phase) => phase.samples()),
      timeline: this.#timeline,
      errors: Object.fromEntries([...this.#errors].sort(([, a], [, b]) => b - a)),
    }
  }

  #catchUp(): void {
    const elapsedMs = nowMs() - this.#startMs
    const phase = this.#phases.at(-1) as Phase
    while ((this.#steps + 1) * STEP_MS <= elapsedMs) {
      this.#steps++
      const dueMs = this.#startMs + this.#steps * STEP_MS
      const due = Math.floor(this.#steps * this.#perStep)
      if (due > this.#issued) phase.late.record(nowMs() - dueMs)
      for (; this.#issued < due; this.#issued++) this.#issue(phase, dueMs)
    }
    if (elapsedMs - this.#secondAt >= 1000) this.#endSecond(phase, elapsedMs)
  }

  #issue(phase: Phase, dueMs: number): void {
    if (this.#pending >= PENDING_MAX) {
      this.#failed(phase, 'too many calls under way')
      return
    }
    const call = this.#next()
    this.#pending++
    void call.run().then((problem) => {
      const ms = nowMs() - dueMs
      if (problem !== undefined) this.#failed(phase, problem)
      // A failed call counts with the time it took: leaving it out would flatter the others.
      if (call.isRead) {
        phase.read(ms)
        this.#second.record(ms)
        if (ms > this.#secondMaxMs) this.#secondMaxMs = ms
      } else phase.written(ms)
      if (--this.#pending === 0) this.#idle?.()
    })
  }

  #failed(phase: Phase, problem: string): void {
    phase.errors++
    if (problem === NOT_FOUND) phase.misses++
    const known = this.#errors.get(problem)
    if (known !== undefined || this.#errors.size < ERROR_KINDS_MAX)
      this.#errors.set(problem, (known ?? 0) + 1)
  }

  #endSecond({ name }: Phase, elapsedMs: number): void {
    const second = this.#second
    this.#timeline.push({
      phase: name,
      reads: second.total,
      p50Us: second.percentileUs(0.5),
      p99Us: second.percentileUs(0.99),
      maxMs: this.#secondMaxMs,
    })
    second.reset()
    this.#secondMaxMs = 0
    this.#secondAt = elapsedMs
  }
}

class Phase {
  readonly name: string
  readonly late: LatencyHistogram = new LatencyHistogram()
  readonly #reads: LatencyHistogram = new LatencyHistogram()
  readonly #writes: LatencyHistogram = new LatencyHistogram()
  readonly #startMs: number = nowMs()
  #endMs = 0
  #readMaxMs = 0
  #writeMaxMs = 0
  errors = 0
  misses = 0

  constructor(name: string) {
    this.name = name
  }

  end(): void {
    this.#endMs = nowMs()
  }

  read(ms: number): void {
    this.#reads.record(ms)
    if (ms > this.#readMaxMs) this.#readMaxMs = ms
  }

  written(ms: number): void {
    this.#writes.record(ms)
    if (ms > this.#writeMaxMs) this.#writeMaxMs = ms
  }

  samples(): PhaseSamples {
    return {
      name: this.name,
      seconds: (this.#endMs - this.#startMs) / 1000,
      reads: this.#reads.toSparse(),
      readMaxMs: this.#readMaxMs,
      writes: this.#writes.toSparse(),
      writeMaxMs: this.#writeMaxMs,
      late: this.late.toSparse(),
      errors: this.errors,
      misses: this.misses,
    }
  }
}
