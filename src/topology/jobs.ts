/**
 * What the topology record knows of jobs: which there are and when they are due, which runs are open and who owns each, and how the
 * last ones ended. So the register decides who runs what, and nothing of it is lost with a node.
 *
 * Invariants, kept by apply-jobs.ts:
 * 1. A job has one open run at most, and an open run one owner.
 * 2. `accountedMs` of a job only rises while its schedule stays: a scheduled time is given to one run, or reported missed, once.
 * 3. An open run goes to another owner only when its owner is up no more, or by its own hand.
 * 4. A run ends once, by who owns it, and leaves one entry of history. The history is bounded.
 *
 * A record without jobs has none of this, and its bytes are those of a record that never heard of jobs.
 */

import type { ProcessName } from './process-name.ts'

/** What an operator says of a job. */
export interface JobDefinition {
  readonly name: string
  /** Which kind of work it is. */
  readonly kind: string
  /** A cron expression. Empty: it runs when somebody asks for it. */
  readonly schedule: string
  /** Of the schedule: a name of the IANA database. */
  readonly timeZone: string
  /** A run is ended when it takes longer. */
  readonly timeLimitMs: number
  /** A run that is late by more than this is missed. */
  readonly startWithinMs: number
  /** What the kind of work is told, as JSON. */
  readonly spec: string
}

export interface JobRecord extends JobDefinition {
  /** Every scheduled time up to this one was given to a run or reported missed. Wall clock. */
  readonly accountedMs: number
  /** When its last run ended. Wall clock of the owner. 0: none did. */
  readonly busyUntilMs: number
  readonly doneCount: number
  readonly failedCount: number
  readonly missedCount: number
}

/** Names a run. */
export interface RunName {
  readonly job: string
  /** The scheduled time; of a run that somebody asked for, when they did. */
  readonly atMs: number
  /** Somebody asked for it. */
  readonly isManual: boolean
}

export interface OpenRun extends RunName {
  readonly kind: string
  readonly spec: string
  readonly timeLimitMs: number
  /** It only says what it would do. */
  readonly isDryRun: boolean
  readonly owner: ProcessName
  /** From 1; rises with each owner. */
  readonly attempt: number
  readonly startedMs: number
  /** It is to end. */
  readonly isCancelled: boolean
}

export type RunOutcome = 'done' | 'failed' | 'cancelled' | 'missed'

/** A run that ended, or scheduled times that passed without one. */
export interface EndedRun extends RunName {
  readonly kind: string
  readonly isDryRun: boolean
  readonly outcome: RunOutcome
  /** Of its last owner. Empty: nobody ran it. */
  readonly nodeId: string
  readonly attempt: number
  readonly startedMs: number
  /** Of times missed: the last of them. */
  readonly endedMs: number
  /** How many times were missed, or more of them; else 1. */
  readonly count: number
  /** One line: what came of it, or why nothing did. */
  readonly result: string
}

export interface JobsRecord {
  readonly jobs: readonly JobRecord[]
  readonly runs: readonly OpenRun[]
  /** Oldest first. */
  readonly history: readonly EndedRun[]
}

export const NO_JOBS: JobsRecord = { jobs: [], runs: [], history: [] }

export const JOBS_MAX: number = 32
/** Open at one time: those of jobs, and as many that somebody asked for. */
export const RUNS_MAX: number = 64
export const HISTORY_MAX: number = 64
export const JOB_NAME_MAX: number = 64
export const SPEC_LENGTH_MAX: number = 2048
export const RESULT_LENGTH_MAX: number = 512
/** Attempts of one run; after that many owners it has failed. */
export const ATTEMPTS_MAX: number = 5

export function isSameRun(a: RunName, b: RunName): boolean {
  return a.job === b.job && a.atMs === b.atMs && a.isManual === b.isManual
}
