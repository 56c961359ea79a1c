/**
 * Does the runs that the record gives to this process, and has their ends committed.
 *
 * A run begins when a record names this process as its owner. It is ended here when a later record takes it away, it was cancelled or
 * takes too long, the node stops, or nothing proves any more that it is still this process's: without contact with a majority of the
 * voters for `OWNERSHIP_MS` others may have taken it over. They wait longer than that before they do (job-driver.ts), so that at no
 * time two processes do one run. When the contact returns and nobody took it, it begins anew here, as another attempt.
 *
 * An end is proposed until a record shows it, or shows that the run is somebody else's.
 */

import type { JobContext, JobKind, JobSpec, RunProgress } from '../../jobs/job-kind.ts'
import type { Clock } from '../../kernel/clock.ts'
import { CacheError, toCacheError } from '../../kernel/errors.ts'
import type { Log } from '../../kernel/log.ts'
import { onDemand, type Scheduler, type SleepingTimer, type Timer } from '../../kernel/scheduler.ts'
import { ATTEMPTS_MAX, isSameRun, type OpenRun, RESULT_LENGTH_MAX } from '../../topology/jobs.ts'
import type { ProcessName } from '../../topology/process-name.ts'
import type { Topology } from '../../topology/topology.ts'
import type { Transform } from '../../topology/transforms.ts'

export interface JobRunnerPorts {
  readonly clock: Clock
  readonly scheduler: Scheduler
  readonly log: Log
  readonly self: ProcessName
  topology(): Topology | undefined
  /** Monotonic time of the last proof of contact with a majority of the voters. */
  voterContactMs(): number
  propose(change: Transform): void
}

/** So long after the last proof a run is still this process's. */
export const OWNERSHIP_MS: number = 3000
const CHECK_MS = 500

type Stop = 'lost' | 'uncertain' | 'cancelled' | 'late' | 'stopping'

interface Running {
  readonly run: OpenRun
  readonly abort: AbortController
  readonly startedMs: number
  limit: Timer | undefined
  stop: Stop | undefined
  progress: RunProgress | undefined
  /** What came of it; undefined while it goes on. */
  end: { readonly outcome: 'done' | 'failed'; readonly result: string } | undefined
  /** The end to be committed, said the same way each time. */
  ending: Transform | undefined
}

export class JobRunner {
  readonly #ports: JobRunnerPorts
  readonly #kinds = new Map<string, JobKind>()
  /** By job. */
  readonly #running = new Map<string, Running>()
  readonly #timer: SleepingTimer
  #isStopping = false

  constructor(ports: JobRunnerPorts) {
    this.#ports = ports
    this.#timer = onDemand(ports.scheduler, CHECK_MS, () => this.#check())
  }

  register(kind: JobKind): void {
    this.#kinds.set(kind.kind, kind)
  }

  /** How far a run on this node is. */
  progress(job: string): RunProgress | undefined {
    return this.#running.get(job)?.progress
  }

  /** There is a newer record. */
  adopted(): void {
    const runs = this.#ports.topology()?.jobs?.runs
    if (runs === undefined || (runs.length === 0 && this.#running.size === 0)) return
    for (const [job, running] of this.#running) {
      const open = runs.find((one) => isSameRun(one, running.run))
      const isOurs = open !== undefined && this.#owns(open) && open.attempt === running.run.attempt
      if (!isOurs) this.#stop(running, 'lost')
      else if (open.isCancelled) this.#stop(running, 'cancelled')
      if (!isOurs && running.end !== undefined) this.#running.delete(job)
    }
    if (this.#isStopping) return
    for (const run of runs) if (this.#owns(run) && !this.#running.has(run.job)) this.#begin(run)
  }

  /** The node stops: others go on with what it has begun. */
  stop(): void {
    this.#isStopping = true
    this.#timer.cancel()
    for (const running of this.#running.values()) this.#stop(running, 'stopping')
  }

  #owns({ owner }: OpenRun): boolean {
    const { nodeId, incarnation } = this.#ports.self
    return owner.nodeId === nodeId && owner.incarnation === incarnation
  }

  #isCertain(): boolean {
    return this.#ports.clock.monotonicMs() - this.#ports.voterContactMs() < OWNERSHIP_MS
  }

  #begin(run: OpenRun): void {
    const { clock, scheduler, log } = this.#ports
    // It begins with the next check, when that is so.
    if (!this.#isCertain()) {
      this.#timer.wake()
      return
    }
    const { job, atMs, attempt, isManual, kind, isDryRun, timeLimitMs } = run
    const running: Running = {
      run,
      abort: new AbortController(),
      startedMs: clock.monotonicMs(),
      limit: undefined,
      stop: undefined,
      progress: undefined,
      end: undefined,
      ending: undefined,
    }
    this.#running.set(job, running)
    running.limit = scheduler.after(timeLimitMs, () => this.#stop(running, 'late'))
    this.#timer.wake()
    log.info('job begins', { job, atMs, attempt, kind })
    if (run.isCancelled) this.#stop(running, 'cancelled')
    const context: JobContext = {
      run: { job, atMs, attempt, isManual, kind },
      spec: specOf(run.spec),
      isDryRun,
      signal: running.abort.signal,
      check: () => {
        if (running.stop === undefined && !this.#isCertain()) this.#stop(running, 'uncertain')
        if (running.stop !== undefined) throw running.abort.signal.reason as CacheError
      },
      report: (progress) => {
        running.progress = progress
      },
    }
    this.#work(context).then(
      (result) => this.#settled(running, 'done', result),
      (error: unknown) => this.#settled(running, 'failed', toCacheError(error).message),
    )
  }

  async #work(context: JobContext): Promise<string> {
    const { kind } = context.run
    const known = this.#kinds.get(kind)
    if (known === undefined)
      throw new CacheError(
        'UNSUPPORTED',
        `this node knows no work of the kind ${kind}: is it older than the others?`,
      )
    context.check()
    return known.run(context)
  }

  #stop(running: Running, why: Stop): void {
    // What has come to its end has done so, but for whose it is.
    if (running.end !== undefined || running.stop !== undefined) return
    running.stop = why
    running.limit?.cancel()
    running.abort.abort(new CacheError('ABORTED', reasonOf(why, running.run)))
  }

  #settled(running: Running, outcome: 'done' | 'failed', result: string): void {
    running.limit?.cancel()
    running.end = { outcome, result: oneLine(result) }
    const { job, atMs, attempt } = running.run
    const ms = Math.round(this.#ports.clock.monotonicMs() - running.startedMs)
    const said = { job, atMs, attempt, outcome, result: running.end.result, ms }
    if (outcome === 'failed') this.#ports.log.warn('job ends', said)
    else this.#ports.log.info('job ends', said)
    if (this.#isStopping && outcome === 'failed') return
    if (running.stop === 'lost') {
      this.#running.delete(job)
      this.adopted()
    } else {
      this.#commitEnd(running)
      this.#timer.wake()
    }
  }

  #commitEnd(running: Running): void {
    const { run, end, stop } = running
    if (end === undefined) return
    running.ending ??= this.#ending(run, end, stop)
    this.#ports.propose(running.ending)
  }

  #ending(run: OpenRun, end: NonNullable<Running['end']>, stop: Stop | undefined): Transform {
    const { job, atMs, isManual, attempt } = run
    const name = { job, atMs, isManual }
    const nowMs = Math.max(0, Math.round(this.#ports.clock.wallMs()))
    const wasGivenUp = stop === 'uncertain' && end.outcome === 'failed'
    if (wasGivenUp && attempt < ATTEMPTS_MAX)
      return { kind: 'JobTaken', run: name, attempt: attempt + 1, owner: this.#ports.self, startedMs: nowMs }
    const isCancelled = stop === 'cancelled' && end.outcome === 'failed'
    const outcome = isCancelled ? 'cancelled' : end.outcome
    return { kind: 'JobEnded', run: name, attempt, outcome, result: end.result, endedMs: nowMs }
  }

  /** While there are runs here. */
  #check(): boolean {
    const isCertain = this.#isCertain()
    for (const running of this.#running.values()) {
      if (running.end !== undefined) {
        if (isCertain) this.#commitEnd(running)
      } else if (!isCertain) this.#stop(running, 'uncertain')
    }
    this.adopted()
    const runs = this.#ports.topology()?.jobs?.runs ?? []
    return !this.#isStopping && (this.#running.size > 0 || runs.some((run) => this.#owns(run)))
  }
}

function reasonOf(why: Stop, { job, timeLimitMs }: OpenRun): string {
  switch (why) {
    case 'lost':
      return `${job} goes on elsewhere`
    case 'uncertain':
      return `${job} was given up: this node is cut off from the nodes that vote`
    case 'cancelled':
      return 'cancelled'
    case 'late':
      return `it took longer than its time limit of ${timeLimitMs} ms: raise timeLimit, or look at what it was doing`
    case 'stopping':
      return 'the node is stopping'
  }
}

function specOf(text: string): JobSpec {
  const value: unknown = text === '' ? {} : JSON.parse(text)
  return typeof value === 'object' && value !== null ? (value as JobSpec) : {}
}

/** Fit for the record: all nodes must read the same bytes. */
function oneLine(text: string): string {
  // Lone surrogates have no UTF-8.
  const clean = Buffer.from(text.replace(/\s+/g, ' ').trim()).toString()
  return clean.length <= RESULT_LENGTH_MAX
    ? clean
    : Buffer.from(clean.slice(0, RESULT_LENGTH_MAX - 2)).toString()
}
