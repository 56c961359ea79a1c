/** Jobs, their runs and their changes in bytes. The record of a cluster without jobs holds none of this. */

import type { ByteReader, ByteWriter } from '../kernel/bytes.ts'
import { CacheError } from '../kernel/errors.ts'
import {
  ATTEMPTS_MAX,
  type EndedRun,
  HISTORY_MAX,
  JOB_NAME_MAX,
  JOBS_MAX,
  type JobDefinition,
  type JobRecord,
  type JobsRecord,
  type OpenRun,
  RESULT_LENGTH_MAX,
  RUNS_MAX,
  type RunName,
  type RunOutcome,
  SPEC_LENGTH_MAX,
} from './jobs.ts'
import { check, readFlag, readList, readNodeId, readProcess, writeProcess } from './record-codec.ts'
import type { Transform } from './transforms.ts'

export type JobTransform = Extract<Transform, { kind: `Job${string}` }>

/** Numbers in the record; never reused. */
const OUTCOMES: readonly RunOutcome[] = ['done', 'failed', 'cancelled', 'missed']
/** UTF-8 takes four bytes for a character at most. */
const BYTES_PER_LETTER = 4

export function writeJobs(w: ByteWriter, { jobs, runs, history }: JobsRecord): void {
  w.varint(jobs.length)
  for (const job of jobs) writeJob(w, job)
  w.varint(runs.length)
  for (const run of runs) writeOpenRun(w, run)
  w.varint(history.length)
  for (const run of history) writeEndedRun(w, run)
}

/** @throws CacheError PROTOCOL_ERROR when these are no consistent jobs, or more follows */
export function readJobs(r: ByteReader): JobsRecord {
  const jobs = readList(r, JOBS_MAX, 'jobs', readJob)
  const runs = readList(r, RUNS_MAX, 'runs', readOpenRun)
  const history = readList(r, HISTORY_MAX, 'runs that ended', readEndedRun)
  check(r.remaining === 0, 'bytes follow its jobs')
  check(new Set(jobs.map(({ name }) => name)).size === jobs.length, 'two jobs have the same name')
  check(new Set(runs.map(({ job }) => job)).size === runs.length, 'a job has two open runs')
  return { jobs, runs, history }
}

export function writeJobTransform(w: ByteWriter, transform: JobTransform): void {
  switch (transform.kind) {
    case 'JobDefined':
    case 'JobAltered':
      writeDefinition(w, transform.job)
      w.varint(transform.sinceMs)
      return
    case 'JobDropped':
      w.text(transform.name)
      return
    case 'JobClaimed':
      w.text(transform.job)
      w.varint(transform.after)
      w.varint(transform.atMs)
      writeProcess(w, transform.owner)
      w.varint(transform.startedMs)
      return
    case 'JobStarted':
      writeOpenRun(w, { ...transform.run, isManual: true, attempt: 1, isCancelled: false })
      return
    case 'JobTaken':
      writeRunName(w, transform.run)
      w.varint(transform.attempt)
      writeProcess(w, transform.owner)
      w.varint(transform.startedMs)
      return
    case 'JobCancelled':
      writeRunName(w, transform.run)
      return
    case 'JobEnded':
      writeRunName(w, transform.run)
      w.varint(transform.attempt)
      w.uint8(OUTCOMES.indexOf(transform.outcome))
      w.text(transform.result)
      w.varint(transform.endedMs)
      return
    case 'JobMissed':
      w.text(transform.job)
      w.varint(transform.after)
      w.varint(transform.fromMs)
      w.varint(transform.toMs)
      w.varint(transform.count)
      w.text(transform.reason)
  }
}

export function readJobTransform(r: ByteReader, kind: JobTransform['kind']): JobTransform {
  switch (kind) {
    case 'JobDefined':
    case 'JobAltered':
      return { kind, job: readDefinition(r), sinceMs: r.varint() }
    case 'JobDropped':
      return { kind, name: readName(r) }
    case 'JobClaimed':
      return {
        kind,
        job: readName(r),
        after: r.varint(),
        atMs: r.varint(),
        owner: readProcess(r),
        startedMs: r.varint(),
      }
    case 'JobStarted': {
      const { isManual, attempt, isCancelled, ...run } = readOpenRun(r)
      check(isManual && attempt === 1 && !isCancelled, 'a run that somebody asked for is another')
      return { kind, run }
    }
    case 'JobTaken':
      return {
        kind,
        run: readRunName(r),
        attempt: readAttempt(r),
        owner: readProcess(r),
        startedMs: r.varint(),
      }
    case 'JobCancelled':
      return { kind, run: readRunName(r) }
    case 'JobEnded': {
      const run = readRunName(r)
      const attempt = readAttempt(r)
      return {
        kind,
        run,
        attempt,
        outcome: readEnd(r),
        result: readText(r, RESULT_LENGTH_MAX),
        endedMs: r.varint(),
      }
    }
    case 'JobMissed':
      return {
        kind,
        job: readName(r),
        after: r.varint(),
        fromMs: r.varint(),
        toMs: r.varint(),
        count: r.varint(),
        reason: readText(r, RESULT_LENGTH_MAX),
      }
  }
}

function writeDefinition(w: ByteWriter, job: JobDefinition): void {
  w.text(job.name)
  w.text(job.kind)
  w.text(job.schedule)
  w.text(job.timeZone)
  w.varint(job.timeLimitMs)
  w.varint(job.startWithinMs)
  w.text(job.spec)
}

function readDefinition(r: ByteReader): JobDefinition {
  return {
    name: readName(r),
    kind: readName(r),
    schedule: readText(r, JOB_NAME_MAX * 4),
    timeZone: readText(r, JOB_NAME_MAX),
    timeLimitMs: r.varint(),
    startWithinMs: r.varint(),
    spec: readText(r, SPEC_LENGTH_MAX),
  }
}

function writeJob(w: ByteWriter, job: JobRecord): void {
  writeDefinition(w, job)
  w.varint(job.accountedMs)
  w.varint(job.busyUntilMs)
  w.varint(job.doneCount)
  w.varint(job.failedCount)
  w.varint(job.missedCount)
}

function readJob(r: ByteReader): JobRecord {
  return {
    ...readDefinition(r),
    accountedMs: r.varint(),
    busyUntilMs: r.varint(),
    doneCount: r.varint(),
    failedCount: r.varint(),
    missedCount: r.varint(),
  }
}

function writeRunName(w: ByteWriter, run: RunName): void {
  w.text(run.job)
  w.varint(run.atMs)
  w.uint8(run.isManual ? 1 : 0)
}

function readRunName(r: ByteReader): RunName {
  return { job: readName(r), atMs: r.varint(), isManual: readFlag(r) }
}

function writeOpenRun(w: ByteWriter, run: OpenRun): void {
  writeRunName(w, run)
  w.text(run.kind)
  w.text(run.spec)
  w.varint(run.timeLimitMs)
  w.uint8(run.isDryRun ? 1 : 0)
  writeProcess(w, run.owner)
  w.varint(run.attempt)
  w.varint(run.startedMs)
  w.uint8(run.isCancelled ? 1 : 0)
}

function readOpenRun(r: ByteReader): OpenRun {
  return {
    ...readRunName(r),
    kind: readName(r),
    spec: readText(r, SPEC_LENGTH_MAX),
    timeLimitMs: r.varint(),
    isDryRun: readFlag(r),
    owner: readProcess(r),
    attempt: readAttempt(r),
    startedMs: r.varint(),
    isCancelled: readFlag(r),
  }
}

function writeEndedRun(w: ByteWriter, run: EndedRun): void {
  writeRunName(w, run)
  w.text(run.kind)
  w.uint8(run.isDryRun ? 1 : 0)
  w.uint8(OUTCOMES.indexOf(run.outcome))
  w.text(run.nodeId)
  w.varint(run.attempt)
  w.varint(run.startedMs)
  w.varint(run.endedMs)
  w.varint(run.count)
  w.text(run.result)
}

function readEndedRun(r: ByteReader): EndedRun {
  return {
    ...readRunName(r),
    kind: readName(r),
    isDryRun: readFlag(r),
    outcome: readOutcome(r),
    nodeId: readNodeId(r),
    attempt: r.varint(),
    startedMs: r.varint(),
    endedMs: r.varint(),
    count: r.varint(),
    result: readText(r, RESULT_LENGTH_MAX),
  }
}

function readAttempt(r: ByteReader): number {
  const attempt = r.varint()
  check(attempt >= 1 && attempt <= ATTEMPTS_MAX, `attempt ${attempt} of a run`)
  return attempt
}

function readOutcome(r: ByteReader): RunOutcome {
  const outcome = OUTCOMES[r.uint8()]
  if (outcome === undefined) throw new CacheError('PROTOCOL_ERROR', 'a run ended in an unknown way')
  return outcome
}

/** Whatever was missed was no run, and ends no more. */
function readEnd(r: ByteReader): Exclude<RunOutcome, 'missed'> {
  const outcome = readOutcome(r)
  if (outcome === 'missed') throw new CacheError('PROTOCOL_ERROR', 'a run ends as missed')
  return outcome
}

function readName(r: ByteReader): string {
  return readText(r, JOB_NAME_MAX)
}

function readText(r: ByteReader, lettersMax: number): string {
  const text = r.text(lettersMax * BYTES_PER_LETTER)
  check(text.length <= lettersMax, `a text of a job has ${text.length} letters`)
  return text
}
