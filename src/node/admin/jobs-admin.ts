/** Answers operators about jobs, on any node. */

import { parseSchedule } from '../../jobs/schedule.ts'
import type { Clock } from '../../kernel/clock.ts'
import { CacheError } from '../../kernel/errors.ts'
import type { EndedRun, JobRecord, OpenRun } from '../../topology/jobs.ts'
import type * as api from '../../wire/admin-jobs.ts'
import type { NodeJobs } from '../jobs/node-jobs.ts'

type Nothing = Readonly<Record<never, never>>

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/
const TIME_LIMIT_MAX_MS = 7 * 86_400_000

export class JobsAdmin implements api.JobsApi {
  readonly #jobs: NodeJobs
  readonly #clock: Clock

  constructor(jobs: NodeJobs, clock: Clock) {
    this.#jobs = jobs
    this.#clock = clock
  }

  async listJobs(): Promise<api.ListJobsReply> {
    const { jobs, runs } = this.#jobs.record
    const nowMs = this.#clock.wallMs()
    return {
      jobs: jobs.map((job) => jobView(job, nowMs)),
      runs: await Promise.all(runs.map((run) => this.#runView(run))),
    }
  }

  async runJob({ name, dryRun }: api.RunJobRequest): Promise<api.RunJobReply> {
    const { atMs } = await this.#jobs.run({ job: name, isDryRun: dryRun })
    return { atMs }
  }

  async cancelJob({ name }: api.JobRequest): Promise<Nothing> {
    await this.#jobs.cancel(name)
    return {}
  }

  async jobHistory({ name }: api.JobHistoryRequest): Promise<api.JobHistoryReply> {
    const { history } = this.#jobs.record
    return { runs: history.filter(({ job }) => name === '' || job === name).map(endedView) }
  }

  async setJob({ definition }: api.SetJobRequest): Promise<Nothing> {
    if (definition === null || !NAME.test(definition.name))
      throw new CacheError(
        'INVALID_ARGUMENT',
        'a job has a name of 1 to 64 letters, digits, dots, hyphens and underscores, the first a letter or digit',
      )
    const { name, kind, schedule, timeZone, timeLimitMs, startWithinMs, spec } = definition
    if (schedule !== '') parseSchedule(schedule, timeZone)
    if (!(timeLimitMs >= 1000 && timeLimitMs <= TIME_LIMIT_MAX_MS))
      throw new CacheError('INVALID_ARGUMENT', `the time limit of ${name} is ${timeLimitMs} ms; use 1s to 7d`)
    if (!isObject(spec))
      throw new CacheError('INVALID_ARGUMENT', `the settings of ${name} are no object of JSON`)
    await this.#jobs.define({ name, kind, schedule, timeZone, timeLimitMs, startWithinMs, spec })
    return {}
  }

  async dropJob({ name }: api.JobRequest): Promise<Nothing> {
    await this.#jobs.drop(name)
    return {}
  }

  async #runView(run: OpenRun): Promise<api.OpenRunMessage> {
    const { job, kind, atMs, isManual, isDryRun, owner, attempt, startedMs, isCancelled } = run
    const progress = await this.#jobs.progressOf(run)
    const at = { job, kind, atMs, manual: isManual, dryRun: isDryRun }
    const view = { ...at, nodeId: owner.nodeId, attempt, startedMs, cancelled: isCancelled }
    return progress === undefined ? view : { ...view, progress }
  }
}

function jobView(job: JobRecord, nowMs: number): api.JobMessage {
  const { name, kind, schedule, timeZone, timeLimitMs, startWithinMs, spec } = job
  const definition = { name, kind, schedule, timeZone, timeLimitMs, startWithinMs, spec }
  const counts = { done: job.doneCount, failed: job.failedCount, missed: job.missedCount }
  const nextMs = nextOf(job, nowMs)
  return nextMs === undefined ? { definition, ...counts } : { definition, nextMs, ...counts }
}

function nextOf({ schedule, timeZone, accountedMs }: JobRecord, nowMs: number): number | undefined {
  if (schedule === '') return undefined
  try {
    return parseSchedule(schedule, timeZone).next(Math.max(nowMs, accountedMs))
  } catch {
    // A node of another release set it. The log says so.
    return undefined
  }
}

function endedView(run: EndedRun): api.EndedRunMessage {
  const { isManual, isDryRun, ...rest } = run
  return { ...rest, manual: isManual, dryRun: isDryRun }
}

function isObject(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
  } catch {
    return false
  }
}
