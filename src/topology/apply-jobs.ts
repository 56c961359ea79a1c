/**
 * Changes of jobs and their runs. What makes a run exactly one process's is here alone: a scheduled time is given away once, since
 * the time up to which a job's schedule is accounted for only rises and each change names the one it expects; and an open run
 * changes hands only when the record does not hold its owner up any more.
 */

import {
  ATTEMPTS_MAX,
  type EndedRun,
  HISTORY_MAX,
  isSameRun,
  JOB_NAME_MAX,
  JOBS_MAX,
  type JobDefinition,
  type JobRecord,
  type JobsRecord,
  NO_JOBS,
  type OpenRun,
  RESULT_LENGTH_MAX,
  RUNS_MAX,
  type RunName,
  SPEC_LENGTH_MAX,
} from './jobs.ts'
import type { JobTransform } from './jobs-codec.ts'
import { type Outcome, type Refused, refuse } from './outcome.ts'
import { isUp, type Topology } from './topology.ts'
import type { ProcessName } from './transforms.ts'

export type { JobTransform } from './jobs-codec.ts'

type JobOutcome = JobsRecord | Refused

/** The schedule of a job that is accounted for this far ahead of somebody's clock was so by a clock that was wrong. */
const CLOCK_ERROR_MS = 60_000

export function applyToJobs(topology: Topology, transform: JobTransform): Outcome {
  const changed = apply(topology, topology.jobs ?? NO_JOBS, transform)
  return isRefusedJob(changed) ? changed : { ...topology, jobs: changed }
}

/** Whether the record holds this process up. */
export function isProcessUp({ nodes }: Topology, { nodeId, incarnation }: ProcessName): boolean {
  return nodes.some((node) => node.nodeId === nodeId && node.incarnation === incarnation && isUp(node.state))
}

function apply(topology: Topology, record: JobsRecord, transform: JobTransform): JobOutcome {
  switch (transform.kind) {
    case 'JobDefined':
      return define(record, transform.job, transform.sinceMs)
    case 'JobAltered':
      return alter(record, transform.job, transform.sinceMs)
    case 'JobDropped': {
      const jobs = record.jobs.filter(({ name }) => name !== transform.name)
      if (jobs.length === record.jobs.length) return refuse(`there is no job ${transform.name}`)
      if (record.runs.some(({ job }) => job === transform.name)) return refuse(`${transform.name} is running`)
      return { ...record, jobs }
    }
    case 'JobClaimed':
      return claim(topology, record, transform)
    case 'JobStarted':
      return start(topology, record, {
        ...transform.run,
        isManual: true,
        attempt: 1,
        isCancelled: false,
      })
    case 'JobTaken':
      return take(topology, record, transform)
    case 'JobCancelled': {
      const open = openRun(record, transform.run)
      if (open === undefined || open.isCancelled) return refuse(`${transform.run.job} has no such run to end`)
      return withRun(record, { ...open, isCancelled: true })
    }
    case 'JobEnded':
      return end(record, transform)
    case 'JobMissed':
      return miss(record, transform)
  }
}

function define(record: JobsRecord, job: JobDefinition, sinceMs: number): JobOutcome {
  const wrong = wrongIn(job)
  if (wrong !== undefined) return refuse(wrong)
  if (!isCount(sinceMs)) return refuse('no time')
  if (record.jobs.some(({ name }) => name === job.name)) return refuse(`the job ${job.name} exists already`)
  if (record.jobs.length >= JOBS_MAX) return refuse(`there are ${JOBS_MAX} jobs, no more are allowed`)
  const none = { busyUntilMs: 0, doneCount: 0, failedCount: 0, missedCount: 0 }
  return { ...record, jobs: [...record.jobs, { ...definitionOf(job), accountedMs: sinceMs, ...none }] }
}

function alter(record: JobsRecord, job: JobDefinition, sinceMs: number): JobOutcome {
  const wrong = wrongIn(job)
  if (wrong !== undefined) return refuse(wrong)
  const known = record.jobs.find(({ name }) => name === job.name)
  if (known === undefined || !isCount(sinceMs)) return refuse(`there is no job ${job.name}`)
  const isAhead = known.accountedMs > sinceMs + CLOCK_ERROR_MS
  const isOther = known.schedule !== job.schedule || known.timeZone !== job.timeZone
  if (!isAhead && isSameDefinition(known, job)) return refuse(`the job ${job.name} is so already`)
  const accountedMs = isAhead ? sinceMs : isOther ? Math.max(sinceMs, known.accountedMs) : known.accountedMs
  return withJob(record, { ...known, ...definitionOf(job), accountedMs })
}

function claim(
  topology: Topology,
  record: JobsRecord,
  { job: name, after, atMs, owner, startedMs }: Extract<JobTransform, { kind: 'JobClaimed' }>,
): JobOutcome {
  const job = record.jobs.find((one) => one.name === name)
  if (job === undefined || job.schedule === '') return refuse(`${name} has no schedule`)
  if (job.accountedMs !== after || atMs <= after) return refuse(`${name} is accounted for otherwise`)
  const { kind, spec, timeLimitMs } = job
  const at = { job: name, atMs, isManual: false, isDryRun: false, isCancelled: false }
  const run: OpenRun = { ...at, kind, spec, timeLimitMs, owner, attempt: 1, startedMs }
  const started = start(topology, record, run)
  return isRefusedJob(started) ? started : withJob(started, { ...job, accountedMs: atMs })
}

function start(topology: Topology, record: JobsRecord, run: OpenRun): JobOutcome {
  const { job, kind, spec, timeLimitMs, atMs, startedMs } = run
  const wrong = wrongName(job) ?? wrongName(kind) ?? wrongSpec(spec)
  if (wrong !== undefined) return refuse(wrong)
  if (![timeLimitMs, atMs, startedMs].every(isCount)) return refuse('no time')
  if (record.runs.some((one) => one.job === job)) return refuse(`${job} is running already`)
  if (record.history.some((one) => isSameRun(one, run))) return refuse(`${job} has had that run`)
  if (record.runs.length >= RUNS_MAX) return refuse(`${RUNS_MAX} runs are open, no more are allowed`)
  if (!isProcessUp(topology, run.owner)) return refuse(`${run.owner.nodeId} is not up`)
  return { ...record, runs: [...record.runs, run] }
}

function take(
  topology: Topology,
  record: JobsRecord,
  { run, attempt, owner, startedMs }: Extract<JobTransform, { kind: 'JobTaken' }>,
): JobOutcome {
  const open = openRun(record, run)
  if (open === undefined || open.attempt + 1 !== attempt) return refuse(`${run.job} has no such run to take`)
  if (attempt > ATTEMPTS_MAX) return refuse(`${run.job} was tried ${ATTEMPTS_MAX} times`)
  const isOwn = open.owner.nodeId === owner.nodeId && open.owner.incarnation === owner.incarnation
  if (!isOwn && isProcessUp(topology, open.owner)) return refuse(`${open.owner.nodeId} runs ${run.job}`)
  if (!isProcessUp(topology, owner)) return refuse(`${owner.nodeId} is not up`)
  return isCount(startedMs) ? withRun(record, { ...open, attempt, owner, startedMs }) : refuse('no time')
}

function end(
  record: JobsRecord,
  { run, attempt, outcome, result, endedMs }: Extract<JobTransform, { kind: 'JobEnded' }>,
): JobOutcome {
  const open = openRun(record, run)
  if (open === undefined || open.attempt !== attempt) return refuse(`${run.job} has no such run to end`)
  if (!isCount(endedMs) || result.length > RESULT_LENGTH_MAX) return refuse('no such end')
  const { job: name, atMs, isManual, kind, isDryRun, startedMs, owner } = open
  const at = { job: name, atMs, isManual, kind, isDryRun, startedMs, attempt }
  const ended: EndedRun = { ...at, nodeId: owner.nodeId, outcome, endedMs, count: 1, result }
  const runs = record.runs.filter((one) => one !== open)
  const next = { ...record, runs, history: withEnded(record.history, ended) }
  const job = next.jobs.find((one) => one.name === name)
  if (job === undefined) return next
  const busyUntilMs = Math.max(job.busyUntilMs, endedMs)
  if (isDryRun || outcome === 'cancelled') return withJob(next, { ...job, busyUntilMs })
  const doneCount = job.doneCount + (outcome === 'done' ? 1 : 0)
  const failedCount = job.failedCount + (outcome === 'failed' ? 1 : 0)
  return withJob(next, { ...job, busyUntilMs, doneCount, failedCount })
}

function miss(
  record: JobsRecord,
  { job: name, after, fromMs, toMs, count, reason }: Extract<JobTransform, { kind: 'JobMissed' }>,
): JobOutcome {
  const job = record.jobs.find((one) => one.name === name)
  if (job === undefined || job.accountedMs !== after) return refuse(`${name} is accounted for otherwise`)
  if (![fromMs, toMs, count].every(isCount) || fromMs <= after || toMs < fromMs || count < 1)
    return refuse('no such times')
  if (reason.length > RESULT_LENGTH_MAX) return refuse('no such reason')
  if (record.runs.some((one) => one.job === name)) return refuse(`${name} is running`)
  const { history } = record
  const last = history.findLast((one) => one.job === name)
  const missed: EndedRun = {
    job: name,
    atMs: fromMs,
    isManual: false,
    kind: job.kind,
    isDryRun: false,
    outcome: 'missed',
    nodeId: '',
    attempt: 0,
    startedMs: 0,
    endedMs: toMs,
    count,
    result: reason,
  }
  // One entry for times that pass one after the other for the same reason.
  const isSame = last?.outcome === 'missed' && last.result === reason
  const next = isSame
    ? history.map((one) => (one === last ? { ...last, endedMs: toMs, count: last.count + count } : one))
    : withEnded(history, missed)
  const jobs = { ...record, history: next }
  return withJob(jobs, { ...job, accountedMs: toMs, missedCount: job.missedCount + count })
}

/** The oldest of the job that has the most goes first, so that one that runs each second hides none that runs each day. */
function withEnded(history: readonly EndedRun[], ended: EndedRun): readonly EndedRun[] {
  const all = [...history, ended]
  if (all.length <= HISTORY_MAX) return all
  const counts = new Map<string, number>()
  for (const { job } of all) counts.set(job, (counts.get(job) ?? 0) + 1)
  const most = Math.max(...counts.values())
  const expendable = all.findIndex(({ job }) => counts.get(job) === most)
  return all.filter((_, i) => i !== expendable)
}

function openRun({ runs }: JobsRecord, run: RunName): OpenRun | undefined {
  return runs.find((one) => isSameRun(one, run))
}

function withRun(record: JobsRecord, run: OpenRun): JobsRecord {
  return { ...record, runs: record.runs.map((one) => (one.job === run.job ? run : one)) }
}

function withJob(record: JobsRecord, job: JobRecord): JobsRecord {
  return { ...record, jobs: record.jobs.map((one) => (one.name === job.name ? job : one)) }
}

function definitionOf(job: JobDefinition): JobDefinition {
  const { name, kind, schedule, timeZone, timeLimitMs, startWithinMs, spec } = job
  return { name, kind, schedule, timeZone, timeLimitMs, startWithinMs, spec }
}

function isSameDefinition(a: JobDefinition, b: JobDefinition): boolean {
  return (
    a.kind === b.kind &&
    a.schedule === b.schedule &&
    a.timeZone === b.timeZone &&
    a.timeLimitMs === b.timeLimitMs &&
    a.startWithinMs === b.startWithinMs &&
    a.spec === b.spec
  )
}

function wrongIn(job: JobDefinition): string | undefined {
  if (![job.timeLimitMs, job.startWithinMs].every(isCount)) return `the job ${job.name} has no times`
  if (job.schedule.length > 4 * JOB_NAME_MAX || job.timeZone.length > JOB_NAME_MAX)
    return `the schedule of ${job.name} is too long`
  return wrongName(job.name) ?? wrongName(job.kind) ?? wrongSpec(job.spec)
}

function wrongName(name: string): string | undefined {
  return name.length >= 1 && name.length <= JOB_NAME_MAX ? undefined : `"${name}" is no name for a job`
}

function wrongSpec(spec: string): string | undefined {
  return spec.length <= SPEC_LENGTH_MAX ? undefined : 'the settings of the job are too long'
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0
}

function isRefusedJob(outcome: JobOutcome): outcome is Refused {
  return 'refused' in outcome
}
