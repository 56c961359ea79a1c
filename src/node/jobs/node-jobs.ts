/**
 * Jobs on one node: it drives them while it is the voter that drives (job-driver.ts), does the runs that are its own (job-runner.ts),
 * and lets operators ask for more. A cluster that has no jobs, and is to have none, costs no timer and no commit.
 */

import type { JobKind, RunProgress } from '../../jobs/job-kind.ts'
import type { Clock } from '../../kernel/clock.ts'
import { CacheError, toCacheError } from '../../kernel/errors.ts'
import type { Log } from '../../kernel/log.ts'
import type { Scheduler, Timer } from '../../kernel/scheduler.ts'
import type { Observer } from '../../observability/observer.ts'
import {
  type EndedRun,
  isSameRun,
  type JobDefinition,
  type JobsRecord,
  NO_JOBS,
  type OpenRun,
  type RunName,
} from '../../topology/jobs.ts'
import type { ProcessName } from '../../topology/process-name.ts'
import type { ProposalEnd } from '../../topology/register/proposals.ts'
import { isUp, type Topology } from '../../topology/topology.ts'
import type { Transform } from '../../topology/transforms.ts'
import { JobDriver } from './job-driver.ts'
import { JobReports } from './job-reports.ts'
import { JobRunner } from './job-runner.ts'
import type { NodeCalls } from './node-calls.ts'

export interface NodeJobsPorts {
  readonly clock: Clock
  readonly scheduler: Scheduler
  readonly log: Log
  readonly observer: Observer
  readonly self: ProcessName
  /** Jobs of the configuration. */
  readonly jobs: readonly JobDefinition[]
  readonly control: JobControl
  isAlive(process: ProcessName): boolean
}

/** What jobs need of the control plane. */
export interface JobControl {
  readonly topology: Topology | undefined
  readonly driver: string | undefined
  readonly calls: NodeCalls
  voterContactMs(): number
  isProvenDead(node: number): boolean
  propose(transform: Transform): void
  submit(transform: Transform): Promise<ProposalEnd>
}

/** A run that somebody asks for. */
export interface RunRequest {
  /** Of a job, or of nothing that the record knows. */
  readonly job: string
  /** What it does, where the record knows no such job. */
  readonly work?: { readonly kind: string; readonly spec: object; readonly timeLimitMs: number }
  readonly isDryRun?: boolean
}

const ATTEMPTS = 5
const PROGRESS = 'progress'
const PROGRESS_TIMEOUT_MS = 1000

export class NodeJobs {
  readonly #ports: NodeJobsPorts
  readonly #driver: JobDriver
  readonly #runner: JobRunner
  readonly #reports: JobReports
  #timer: Timer | undefined
  #seen: JobsRecord | undefined
  readonly #ended = new Set<() => void>()
  #closed = false

  constructor(ports: NodeJobsPorts) {
    this.#ports = ports
    const { control, clock, scheduler, log, observer, self } = ports
    this.#reports = new JobReports(log, observer, self)
    this.#driver = new JobDriver({
      clock,
      jobs: ports.jobs,
      isAlive: ports.isAlive,
      isProvenDead: (topology, process) => isProvenDead(control, topology, process),
      unreadable: ({ name }, error) =>
        log.error('the schedule of a job can not be read', {
          job: name,
          reason: toCacheError(error).message,
        }),
    })
    this.#runner = new JobRunner({
      clock,
      scheduler,
      log,
      self,
      topology: () => control.topology,
      voterContactMs: () => control.voterContactMs(),
      propose: (change) => control.propose(change),
    })
  }

  /** Other nodes may ask how far the runs on this one are. */
  serve(): void {
    this.calls.serve(PROGRESS, async (request) => {
      const progress = this.#runner.progress(String((request as { job?: unknown }).job))
      return progress === undefined ? {} : { progress }
    })
  }

  /** Work of this kind can be done on this node from now on. */
  register(kind: JobKind): void {
    this.#runner.register(kind)
  }

  /** Work that jobs have done on other nodes. */
  get calls(): NodeCalls {
    return this.#ports.control.calls
  }

  get record(): JobsRecord {
    return this.#ports.control.topology?.jobs ?? NO_JOBS
  }

  /** How far a run is, wherever it is; undefined: its owner did not say. */
  async progressOf({ job, owner }: OpenRun): Promise<RunProgress | undefined> {
    try {
      const reply = await this.calls.call(owner.nodeId, PROGRESS, { job }, { timeoutMs: PROGRESS_TIMEOUT_MS })
      return (reply as { progress?: RunProgress }).progress
    } catch {
      return undefined
    }
  }

  /** There is a newer record. */
  adopted(): void {
    if (this.#closed) return
    const { jobs } = this.#ports.control.topology ?? {}
    if (jobs !== this.#seen) {
      const { topology, driver } = this.#ports.control
      if (topology !== undefined) this.#reports.adopted(this.#seen, topology, driver)
      this.#seen = jobs
      for (const ended of [...this.#ended]) ended()
    }
    this.#runner.adopted()
    this.#step()
  }

  /**
   * Begins a run now, on the node that the register is told of: this one.
   * @returns its name, once it is committed
   * @throws CacheError INVALID_ARGUMENT when there is no such job or it runs already, NOT_READY, UNAVAILABLE, OUTCOME_UNKNOWN
   */
  async run({ job, work, isDryRun = false }: RunRequest): Promise<RunName> {
    const known = this.record.jobs.find(({ name }) => name === job)
    const { kind, spec, timeLimitMs } = known ?? definitionOf(job, work)
    let atMs = this.#wallMs()
    for (let attempt = 0; attempt < ATTEMPTS; attempt++, atMs++) {
      const open = this.record.runs.find((run) => run.job === job)
      if (open !== undefined)
        throw new CacheError(
          'INVALID_ARGUMENT',
          `${job} is running on ${open.owner.nodeId} since ${new Date(open.startedMs).toISOString()}: wait for it, or end it with \`ringcache jobs cancel ${job}\``,
        )
      const name = { job, atMs, isManual: true }
      if (this.record.history.some((run) => isSameRun(run, name))) continue
      const at = { ...name, kind, spec, timeLimitMs, isDryRun }
      const run = { ...at, owner: this.#ports.self, startedMs: this.#wallMs() }
      const end = await this.#submit({ kind: 'JobStarted', run })
      if (end.kind === 'committed' || this.#find(name) !== undefined) return name
      if (end.kind === 'expired') throw unknownOutcome()
    }
    throw new CacheError('UNAVAILABLE', `the run of ${job} was refused: try again`)
  }

  /** Resolves with how the run ended; rejects with the signal's reason. @throws CacheError INVALID_ARGUMENT when it is not known any more */
  ended(name: RunName, signal?: AbortSignal): Promise<EndedRun> {
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#ended.delete(look)
        signal?.removeEventListener('abort', giveUp)
      }
      const giveUp = (): void => {
        leave()
        reject(signal?.reason as Error)
      }
      const look = (): void => {
        const { runs, history } = this.record
        const ended = history.find((run) => isSameRun(run, name))
        if (ended === undefined && runs.some((run) => isSameRun(run, name))) return
        leave()
        if (ended !== undefined) resolve(ended)
        else
          reject(new CacheError('INVALID_ARGUMENT', `nothing is known of that run of ${name.job} any more`))
      }
      this.#ended.add(look)
      signal?.addEventListener('abort', giveUp, { once: true })
      look()
    })
  }

  /** @throws CacheError INVALID_ARGUMENT when it does not run; as `run` */
  async cancel(job: string): Promise<void> {
    const open = this.record.runs.find((run) => run.job === job)
    if (open === undefined) throw new CacheError('INVALID_ARGUMENT', `${job} is not running`)
    const { atMs, isManual, isCancelled } = open
    if (isCancelled) return
    const end = await this.#submit({ kind: 'JobCancelled', run: { job, atMs, isManual } })
    if (end.kind === 'expired') throw unknownOutcome()
  }

  /** Gives the cluster this job, in place of one of this name. */
  async define(job: JobDefinition): Promise<void> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const known = this.record.jobs.some(({ name }) => name === job.name)
      const sinceMs = this.#wallMs()
      const end = await this.#submit({ kind: known ? 'JobAltered' : 'JobDefined', job, sinceMs })
      if (end.kind === 'expired') throw unknownOutcome()
      if (end.kind === 'committed') return
      // It is so already, or somebody was faster.
      if (known) return
    }
    throw new CacheError('UNAVAILABLE', `the job ${job.name} could not be changed: try again`)
  }

  /** @throws CacheError INVALID_ARGUMENT when it runs */
  async drop(name: string): Promise<void> {
    if (!this.record.jobs.some((job) => job.name === name)) return
    const end = await this.#submit({ kind: 'JobDropped', name })
    if (end.kind === 'expired') throw unknownOutcome()
    if (end.kind === 'refused' && this.record.jobs.some((job) => job.name === name))
      throw new CacheError(
        'INVALID_ARGUMENT',
        `${name} is running: wait, or \`ringcache jobs cancel ${name}\` first`,
      )
  }

  /** The node stops: it begins nothing more, and others go on with what it has begun. */
  stop(): void {
    this.#closed = true
    this.#timer?.cancel()
    this.#runner.stop()
  }

  #find(name: RunName): object | undefined {
    const { runs, history } = this.record
    return runs.find((run) => isSameRun(run, name)) ?? history.find((run) => isSameRun(run, name))
  }

  #submit(change: Transform): Promise<ProposalEnd> {
    const { topology, driver } = this.#ports.control
    if (topology === undefined) throw new CacheError('NOT_READY', 'the cluster is still starting: try again')
    if (driver === undefined)
      throw new CacheError('UNAVAILABLE', 'no node that votes can be reached: look at `ringcache status`')
    return this.#ports.control.submit(change)
  }

  #step(): void {
    const { control, scheduler, jobs, self } = this.#ports
    const { topology, driver } = control
    this.#timer?.cancel()
    this.#timer = undefined
    if (this.#closed || topology === undefined) return
    const record = topology.jobs ?? NO_JOBS
    if (record.jobs.length === 0 && record.runs.length === 0 && jobs.length === 0) return
    const isMember = topology.nodes.some(
      ({ nodeId, incarnation, state }) =>
        nodeId === self.nodeId && incarnation === self.incarnation && isUp(state),
    )
    const { changes, waitMs } = this.#driver.step(topology, isMember && driver === self.nodeId)
    for (const change of changes) control.propose(change)
    this.#timer = scheduler.after(waitMs, () => this.#step())
  }

  #wallMs(): number {
    return Math.max(0, Math.floor(this.#ports.clock.wallMs()))
  }
}

function definitionOf(
  job: string,
  work: RunRequest['work'],
): { kind: string; spec: string; timeLimitMs: number } {
  if (work === undefined)
    throw new CacheError(
      'INVALID_ARGUMENT',
      `there is no job ${job}; \`ringcache jobs list\` names those there are`,
    )
  return { kind: work.kind, spec: JSON.stringify(work.spec), timeLimitMs: Math.ceil(work.timeLimitMs) }
}

function isProvenDead(control: JobControl, topology: Topology, process: ProcessName): boolean {
  const at = topology.nodes.findIndex(
    ({ nodeId, incarnation }) => nodeId === process.nodeId && incarnation === process.incarnation,
  )
  if (at >= 0) return control.isProvenDead(at)
  return topology.nodes.some(({ nodeId, state }) => nodeId === process.nodeId && state !== 'gone')
}

function unknownOutcome(): CacheError {
  return new CacheError(
    'OUTCOME_UNKNOWN',
    'no majority of the nodes that vote answered in time: it may still happen; look at `ringcache jobs list`',
  )
}
