/**
 * What the voter that drives sees to for jobs: scheduled times become runs or are reported missed, and a run whose owner is gone goes
 * to another node. All of it follows from the record and the clock, so that whoever drives next goes on with it; two that take
 * themselves for the driver propose changes of which the register makes one.
 *
 * The owner of a run is any active node, drawn by job and time, so that not all work falls to the driver.
 */

import { nextDue } from '../../jobs/due.ts'
import { parseSchedule, type Schedule } from '../../jobs/schedule.ts'
import type { Clock } from '../../kernel/clock.ts'
import { xxh32 } from '../../kernel/hash.ts'
import { isProcessUp } from '../../topology/apply-jobs.ts'
import {
  ATTEMPTS_MAX,
  type JobDefinition,
  type JobRecord,
  NO_JOBS,
  type OpenRun,
  type RunName,
} from '../../topology/jobs.ts'
import type { ProcessName } from '../../topology/process-name.ts'
import type { Topology } from '../../topology/topology.ts'
import type { Transform } from '../../topology/transforms.ts'
import { OWNERSHIP_MS } from './job-runner.ts'

export interface JobDriverPorts {
  readonly clock: Clock
  /** Jobs of the configuration. */
  readonly jobs: readonly JobDefinition[]
  isAlive(process: ProcessName): boolean
  /** Whether that process certainly serves no more. */
  isProvenDead(topology: Topology, process: ProcessName): boolean
  /** A schedule of the record can't be read here. */
  unreadable(job: JobRecord, error: unknown): void
}

/** After that a process that may still be there has given its runs up. */
const TAKEOVER_MS = 1.25 * OWNERSHIP_MS
/** An owner ends its runs in time; one that did not is past hoping for. */
const OVERDUE_MS = 30_000
/** A change that was proposed is proposed again, with the time of then, when nothing came of it. */
const REPEAT_MS = 2000
/** Times are compared anew this often: the clock may be set. */
const WAIT_MAX_MS = 60_000
const RETRY_MS = 500

export interface DriverStep {
  readonly changes: readonly Transform[]
  /** When to ask again. */
  readonly waitMs: number
}

export class JobDriver {
  readonly #ports: JobDriverPorts
  readonly #schedules = new Map<string, Schedule | undefined>()
  /** Since when an owner has been held gone, or a run been open, by run and attempt. */
  readonly #sinceMs = new Map<string, number>()
  readonly #proposedMs = new Map<string, number>()

  constructor(ports: JobDriverPorts) {
    this.#ports = ports
  }

  /** @param isDriver whether this node is to make proposals; if not, only the waiting time matters */
  step(topology: Topology, isDriver: boolean): DriverStep {
    const { jobs, runs } = topology.jobs ?? NO_JOBS
    const nowMs = this.#ports.clock.monotonicMs()
    const wallMs = Math.max(0, Math.floor(this.#ports.clock.wallMs()))
    const changes: Transform[] = []
    const propose = (key: string, change: Transform): void => {
      const beforeMs = this.#proposedMs.get(key)
      if (!isDriver || (beforeMs !== undefined && nowMs - beforeMs < REPEAT_MS)) return
      this.#proposedMs.set(key, nowMs)
      changes.push(change)
    }
    let waitMs = WAIT_MAX_MS
    for (const job of this.#ports.jobs) {
      if (jobs.some(({ name }) => name === job.name)) continue
      waitMs = Math.min(waitMs, RETRY_MS)
      propose(`define/${job.name}`, { kind: 'JobDefined', job, sinceMs: wallMs })
    }
    for (const job of jobs) {
      if (job.schedule === '' || runs.some((run) => run.job === job.name)) continue
      const schedule = this.#schedule(job)
      if (schedule === undefined) continue
      const due = nextDue(job, schedule, wallMs)
      if (due.kind === 'wait') {
        if (due.untilMs !== undefined) waitMs = Math.min(waitMs, Math.max(1, due.untilMs - wallMs))
        continue
      }
      waitMs = Math.min(waitMs, RETRY_MS)
      const at = { job: job.name, after: job.accountedMs }
      const key = `due/${job.name}/${job.accountedMs}/${due.kind}`
      if (due.kind === 'missed') {
        const { fromMs, toMs, count, reason } = due
        propose(key, { kind: 'JobMissed', ...at, fromMs, toMs, count, reason })
        continue
      }
      const owner = this.chooseOwner(topology, { job: job.name, atMs: due.atMs, isManual: false }, 1)
      if (owner !== undefined)
        propose(key, { kind: 'JobClaimed', ...at, atMs: due.atMs, owner, startedMs: wallMs })
    }
    for (const run of runs) {
      waitMs = Math.min(waitMs, RETRY_MS)
      const change = this.#overseen(topology, run, nowMs, wallMs)
      if (change !== undefined) propose(`${change.kind}/${runKey(run)}`, change)
    }
    this.#forget(runs, nowMs)
    return { changes, waitMs }
  }

  /** Who is to do a run; undefined: nobody is there. */
  chooseOwner(topology: Topology, run: RunName, attempt: number): ProcessName | undefined {
    const able = topology.nodes
      .filter((node) => node.state === 'active' && this.#ports.isAlive(node))
      .sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1))
    const name = Buffer.from(`${run.job}/${run.atMs}`)
    const chosen = able[(xxh32(name, 0, name.length, 0) + attempt) % Math.max(1, able.length)]
    return chosen && { nodeId: chosen.nodeId, incarnation: chosen.incarnation }
  }

  #overseen(topology: Topology, run: OpenRun, nowMs: number, wallMs: number): Transform | undefined {
    const { job, atMs, isManual, attempt, owner, timeLimitMs } = run
    const name = { job, atMs, isManual }
    const openMs = nowMs - this.#since(`open/${runKey(run)}`, nowMs)
    const ended = (outcome: 'failed' | 'cancelled', result: string): Transform => {
      return { kind: 'JobEnded', run: name, attempt, outcome, result, endedMs: wallMs }
    }
    if (isProcessUp(topology, owner)) {
      this.#sinceMs.delete(`gone/${runKey(run)}`)
      return openMs > timeLimitMs + OVERDUE_MS
        ? ended('failed', `${owner.nodeId} did not end it within its time limit`)
        : undefined
    }
    const goneMs = nowMs - this.#since(`gone/${runKey(run)}`, nowMs)
    if (goneMs < TAKEOVER_MS && !this.#ports.isProvenDead(topology, owner)) return undefined
    if (run.isCancelled) return ended('cancelled', `${owner.nodeId}, which ran it, is gone`)
    if (attempt >= ATTEMPTS_MAX) return ended('failed', `${attempt} nodes that ran it are gone`)
    const next = this.chooseOwner(topology, name, attempt + 1)
    if (next === undefined) return undefined
    return { kind: 'JobTaken', run: name, attempt: attempt + 1, owner: next, startedMs: wallMs }
  }

  #since(key: string, nowMs: number): number {
    const sinceMs = this.#sinceMs.get(key) ?? nowMs
    this.#sinceMs.set(key, sinceMs)
    return sinceMs
  }

  #forget(runs: readonly OpenRun[], nowMs: number): void {
    const open = new Set(runs.flatMap((run) => [`open/${runKey(run)}`, `gone/${runKey(run)}`]))
    for (const key of this.#sinceMs.keys()) if (!open.has(key)) this.#sinceMs.delete(key)
    for (const [key, atMs] of this.#proposedMs) if (nowMs - atMs >= REPEAT_MS) this.#proposedMs.delete(key)
  }

  #schedule(job: JobRecord): Schedule | undefined {
    const key = `${job.name} ${job.timeZone} ${job.schedule}`
    if (this.#schedules.has(key)) return this.#schedules.get(key)
    // Few are ever known at one time.
    if (this.#schedules.size > 100) this.#schedules.clear()
    try {
      this.#schedules.set(key, parseSchedule(job.schedule, job.timeZone))
    } catch (error) {
      this.#schedules.set(key, undefined)
      this.#ports.unreadable(job, error)
    }
    return this.#schedules.get(key)
  }
}

function runKey({ job, atMs, isManual, attempt }: OpenRun): string {
  return `${job}/${atMs}/${isManual}/${attempt}`
}
