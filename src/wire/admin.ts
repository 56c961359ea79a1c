/**
 * The calls of proto/admin.proto as plain objects and functions, without gRPC: a node implements them, a client calls them,
 * adapters carry them. Field names are those of the proto file in camel case; enum values are their names.
 */

import type { ErrorCode } from '../kernel/errors.ts'
import { JOBS_METHODS, type JobsApi } from './admin-jobs.ts'
import { OBSERVABILITY_METHODS, type ObservabilityApi } from './admin-observability.ts'

export interface ProgressMessage {
  readonly state: 'idle' | 'running' | 'paused'
  readonly copiesTotal: number
  readonly copiesLeft: number
  readonly copiesRunning: number
  readonly handoversLeft: number
  readonly removalsLeft: number
  readonly etaMs?: number
}

export interface StatusReply {
  readonly clusterId: string
  readonly clusterName: string
  readonly epoch: number
  readonly nodeId: string
  readonly nodes: number
  readonly nodesUp: number
  readonly partitions: number
  readonly partitionsFull: number
  readonly partitionsBlocked: number
  readonly partitionsUnsettled: number
  readonly voters: readonly string[]
  readonly regions: readonly string[]
  readonly safe: boolean
  readonly progress: ProgressMessage
}

export interface FindingMessage {
  readonly severity: 'critical' | 'warning' | 'info'
  readonly code: string
  readonly message: string
  readonly count: number
}
export interface ClusterCheckReply {
  readonly safe: boolean
  readonly findings: readonly FindingMessage[]
}

export interface ClusterSafeReply {
  readonly safe: boolean
  readonly reasons: readonly string[]
}

export type RebalanceAction = 'SHOW' | 'START' | 'DRY_RUN' | 'PAUSE' | 'RESUME' | 'CANCEL'
export interface RebalanceRequest {
  readonly action: RebalanceAction
  readonly includeDrained: boolean
}
export interface NodeLoadMessage {
  readonly nodeId: string
  readonly copies: number
  readonly copiesWanted: number
  readonly primaries: number
  readonly primariesWanted: number
}
export interface RebalanceReply {
  readonly progress: ProgressMessage
  readonly copiesToMove: number
  readonly loads: readonly NodeLoadMessage[]
}

export interface RecoverReply {
  readonly partitions: number
}

export interface NodeViewMessage {
  readonly nodeId: string
  readonly incarnation: string
  readonly address: string
  readonly zone: string
  readonly state: string
  readonly liveness: string
  readonly drained: boolean
  readonly voter: boolean
  readonly weight: number
  readonly primaries: number
  readonly backups: number
  readonly learners: number
}
export interface NodeRequest {
  readonly nodeId: string
}
export interface UndoableNodeRequest extends NodeRequest {
  readonly undo: boolean
  /** Also when fewer nodes are left than a partition is to have copies. */
  readonly force: boolean
}
export interface NodeReply {
  readonly node: NodeViewMessage
}
export interface ListNodesReply {
  readonly nodes: readonly NodeViewMessage[]
}

export interface RegionMessage {
  readonly regionId: number
  readonly name: string
  readonly group: string
  readonly sizeBytes: number
  readonly maxEntries: number
  readonly ttlMs: number
  readonly policy: string
  readonly durability: string
  readonly read: string
  readonly minInSync: number
}
export type RegionSettingsMessage = Partial<Omit<RegionMessage, 'regionId' | 'name' | 'group'>>
export interface ListRegionsReply {
  readonly regions: readonly RegionMessage[]
}
export interface CreateRegionRequest {
  readonly name: string
  readonly group: string
  readonly settings: RegionSettingsMessage | null
}
export interface AlterRegionRequest {
  readonly name: string
  readonly settings: RegionSettingsMessage | null
}
export interface RegionReply {
  readonly region: RegionMessage
}
export interface DropRegionRequest {
  readonly name: string
}

/** What a node is to write into the place of a backup, or, without partitions, how far it is with that. */
export interface WritePartsRequest {
  /** Names the work: asked again under it, the node goes on. */
  readonly task: string
  readonly backup: string
  readonly place: string
  readonly partitions: readonly number[]
  /** 0: without limit. */
  readonly bytesPerSecond: number
  readonly cancel: boolean
}
export interface WritePartsReply {
  /** `unknown`: it does not know the task. `busy`: it works on another. */
  readonly state: 'working' | 'done' | 'failed' | 'busy' | 'unknown'
  readonly partitionsDone: number
  readonly entries: number
  readonly rawBytes: number
  readonly storedBytes: number
  /** Those that are there, whole. */
  readonly parts: readonly string[]
  /** Why it failed. */
  readonly code: ErrorCode | ''
  readonly message: string
}

export type BackupAction = 'CREATE' | 'LIST' | 'SHOW' | 'VERIFY' | 'RESTORE' | 'DELETE'
export interface StartBackupRunRequest {
  readonly action: BackupAction
  /** '': none, for LIST. */
  readonly name: string
  /** A folder, `s3://bucket/prefix`, or '': as the configuration says. */
  readonly place: string
  readonly bytesPerSecond: number
  /** CREATE: goes on with what an earlier run left behind. */
  readonly resume: boolean
  /** RESTORE: names; none: all. */
  readonly regions: readonly string[]
  readonly prefix: string
  /** RESTORE: `absent`, `newer` or `overwrite`. */
  readonly mode: string
  readonly dryRun: boolean
  readonly skipDamaged: boolean
}
export interface BackupRunRequest {
  readonly runId: string
  readonly cancel: boolean
}
export interface BackupRunMessage {
  readonly runId: string
  readonly action: BackupAction
  readonly state: 'running' | 'done' | 'failed'
  readonly partitionsDone: number
  readonly partitions: number
  readonly entries: number
  readonly written: number
  readonly rawBytes: number
  readonly etaMs?: number
  /** Why it failed. */
  readonly code: ErrorCode | ''
  readonly message: string
  /** What came of it, in JSON. */
  readonly result: string
}

export type Nothing = Readonly<Record<never, never>>

/** Each throws a CacheError when it fails. */
export interface AdminApi extends JobsApi, ObservabilityApi {
  status(request: Nothing): Promise<StatusReply>
  clusterCheck(request: Nothing): Promise<ClusterCheckReply>
  clusterSafe(request: Nothing): Promise<ClusterSafeReply>
  rebalance(request: RebalanceRequest): Promise<RebalanceReply>
  recover(request: Nothing): Promise<RecoverReply>
  listNodes(request: Nothing): Promise<ListNodesReply>
  getNode(request: NodeRequest): Promise<NodeReply>
  drainNode(request: UndoableNodeRequest): Promise<NodeReply>
  decommissionNode(request: UndoableNodeRequest): Promise<NodeReply>
  removeNode(request: NodeRequest): Promise<Nothing>
  listRegions(request: Nothing): Promise<ListRegionsReply>
  createRegion(request: CreateRegionRequest): Promise<RegionReply>
  alterRegion(request: AlterRegionRequest): Promise<RegionReply>
  dropRegion(request: DropRegionRequest): Promise<Nothing>
  startBackupRun(request: StartBackupRunRequest): Promise<BackupRunMessage>
  getBackupRun(request: BackupRunRequest): Promise<BackupRunMessage>
  /** From one node to another. */
  writeParts(request: WritePartsRequest): Promise<WritePartsReply>
}

export const ADMIN_METHODS: readonly (keyof AdminApi)[] = [
  'status',
  'clusterCheck',
  'clusterSafe',
  'rebalance',
  'recover',
  'listNodes',
  'getNode',
  'drainNode',
  'decommissionNode',
  'removeNode',
  'listRegions',
  'createRegion',
  'alterRegion',
  'dropRegion',
  'startBackupRun',
  'getBackupRun',
  'writeParts',
  ...JOBS_METHODS,
  ...OBSERVABILITY_METHODS,
]
