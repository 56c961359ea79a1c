/**
 * Kinds of work that jobs do. Whoever knows how to do one registers it with the node (src/node/jobs); the register decides on which
 * node a run of it goes on.
 *
 * A run may have had an owner before that died in the middle of it: it goes on by what it finds done, or does it again without harm.
 */

import type { RunName } from '../topology/jobs.ts'

export interface JobRun extends RunName {
  readonly kind: string
  /** From 1. Above: an owner before this one did not come to its end. */
  readonly attempt: number
}

export interface RunProgress {
  readonly done: number
  /** 0: it is not known. */
  readonly total: number
  readonly text: string
}

/** Settings of one job, as its kind reads them. */
export type JobSpec = Readonly<Record<string, unknown>>

export interface JobContext {
  readonly run: JobRun
  readonly spec: JobSpec
  /** Nothing is to be changed: the result says what would be. */
  readonly isDryRun: boolean
  /** Fires when the run was cancelled, took too long or is somebody else's, and when the node stops. */
  readonly signal: AbortSignal
  /**
   * To be called before each effect that two owners must not both have.
   * @throws CacheError ABORTED unless the run is certainly this process's still
   */
  check(): void
  report(progress: RunProgress): void
}

export interface JobKind {
  readonly kind: string
  /**
   * @returns one line that says what was done
   * @throws CacheError whose message says what is to be done about it
   */
  run(context: JobContext): Promise<string>
}
