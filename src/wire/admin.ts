/**
 * The calls of proto/admin.proto as plain objects and functions, without gRPC: a node implements them, a client calls them,
 * adapters carry them. Field names are those of the proto file in camel case; enum values are their names.
 */

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

export type Nothing = Readonly<Record<never, never>>

/** Each throws a CacheError when it fails. */
export interface AdminApi {
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
]
