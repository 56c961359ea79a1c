/** The calls of proto/admin.proto about jobs, as plain objects and functions (see admin.ts). */

export interface JobDefinitionMessage {
  readonly name: string
  readonly kind: string
  readonly schedule: string
  readonly timeZone: string
  readonly timeLimitMs: number
  readonly startWithinMs: number
  readonly spec: string
}

export interface JobMessage {
  readonly definition: JobDefinitionMessage
  readonly nextMs?: number
  readonly done: number
  readonly failed: number
  readonly missed: number
}

export interface JobProgressMessage {
  readonly done: number
  readonly total: number
  readonly text: string
}

export interface OpenRunMessage {
  readonly job: string
  readonly kind: string
  readonly atMs: number
  readonly manual: boolean
  readonly dryRun: boolean
  readonly nodeId: string
  readonly attempt: number
  readonly startedMs: number
  readonly cancelled: boolean
  readonly progress?: JobProgressMessage
}

export interface EndedRunMessage {
  readonly job: string
  readonly kind: string
  readonly atMs: number
  readonly manual: boolean
  readonly dryRun: boolean
  readonly outcome: string
  readonly nodeId: string
  readonly attempt: number
  readonly startedMs: number
  readonly endedMs: number
  readonly count: number
  readonly result: string
}

export interface ListJobsReply {
  readonly jobs: readonly JobMessage[]
  readonly runs: readonly OpenRunMessage[]
}

export interface RunJobRequest {
  readonly name: string
  readonly dryRun: boolean
}
export interface RunJobReply {
  readonly atMs: number
}

export interface JobRequest {
  readonly name: string
}

export interface JobHistoryRequest {
  /** Empty: of all. */
  readonly name: string
}
export interface JobHistoryReply {
  readonly runs: readonly EndedRunMessage[]
}

export interface SetJobRequest {
  readonly definition: JobDefinitionMessage | null
}

/** Each throws a CacheError when it fails. */
export interface JobsApi {
  listJobs(request: Readonly<Record<never, never>>): Promise<ListJobsReply>
  runJob(request: RunJobRequest): Promise<RunJobReply>
  cancelJob(request: JobRequest): Promise<Readonly<Record<never, never>>>
  jobHistory(request: JobHistoryRequest): Promise<JobHistoryReply>
  setJob(request: SetJobRequest): Promise<Readonly<Record<never, never>>>
  dropJob(request: JobRequest): Promise<Readonly<Record<never, never>>>
}

export const JOBS_METHODS: readonly (keyof JobsApi)[] = [
  'listJobs',
  'runJob',
  'cancelJob',
  'jobHistory',
  'setJob',
  'dropJob',
]
