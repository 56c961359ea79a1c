/**
 * The topology record: who the nodes are and, per partition, who orders its writes and who holds copies. It is the only
 * source of ownership; membership and the ring merely propose changes to it.
 *
 * Partitions are numbered across the whole cluster: a placement group owns `partitionCount` consecutive numbers from
 * `firstPartition` on, so that one number names a partition everywhere. A region lives in one group.
 *
 * Nodes are named by their position in `nodes` inside the record. A position belongs to one (nodeId, incarnation): a
 * restarted process is another node to the record until a committed change takes it back.
 */

import type { HashKey } from '../kernel/hash.ts'
import type { ClusterId, Epoch, Incarnation, NodeId, PartitionEpoch, RegionId } from '../kernel/ids.ts'
import { partitionOf } from '../kernel/key.ts'
import type { JobsRecord } from './jobs.ts'

/** Position of a node in `Topology.nodes`. */
export type NodeIndex = number

/**
 * - `active`: holds roles and may be given more.
 * - `leaving`: keeps its roles until they have moved away, gets no new ones.
 * - `failed`: held dead. It keeps its place in sets that could not do without it (blocked partitions) and may return with
 *   the same incarnation.
 * - `gone`: restarted, removed or left. Its record stays only while an unsettled set names it; then its position is free.
 */
export type NodeState = 'active' | 'leaving' | 'failed' | 'gone'

export interface NodeRecord {
  readonly nodeId: NodeId
  readonly incarnation: Incarnation
  /** Drawn once per data directory: a voter is (nodeId, diskId). Empty in a node that keeps nothing. */
  readonly diskId: string
  /** Where clients and peers reach it, `host:port`. */
  readonly address: string
  readonly zone: string
  /** Share of the data it should hold, relative to the others. Default 1, range 0.1–100. */
  readonly weight: number
  readonly state: NodeState
}

/** A node that keeps the topology register. */
export interface VoterRecord {
  readonly nodeId: NodeId
  readonly diskId: string
  readonly address: string
}

/** A node that is being brought up to date for a partition. Never counted for a quorum. */
export interface LearnerRecord {
  readonly node: NodeIndex
  /** The epoch of the commit that added it: names the sync session. */
  readonly session: Epoch
}

/** One node on the hash ring. */
export interface RingNode {
  readonly nodeId: NodeId
  /** 0.1–100, or 0: drained, it is to hold nothing until the operator takes that back. */
  readonly weight: number
  readonly zone: string
}

/**
 * Which nodes placement is computed from. The table of partitions is what holds; where it differs from the placement that
 * these nodes give, replicas are to be moved.
 */
export interface RingRecord {
  readonly nodes: readonly RingNode[]
  /** By partition: who is to hold it, as places in `nodes`, the primary's first. */
  readonly placement: readonly (readonly number[])[]
  /** What `nodes` was before the last change: cancelling a rebalance goes back to it. */
  readonly previous: readonly RingNode[]
  readonly previousPlacement: readonly (readonly number[])[]
  /** No new move begins. */
  readonly paused: boolean
}

/** The ring of a topology that has none, as clients receive it. */
export const NO_RING: RingRecord = {
  nodes: [],
  placement: [],
  previous: [],
  previousPlacement: [],
  paused: false,
}

export type Durability = 'one' | 'quorum' | 'all'
export type ReadKind = 'primary' | 'replica' | 'nearest' | 'majority' | 'linearizable'
export type EvictionPolicyName = 'lru' | 'fifo'

export interface RegionRecord {
  readonly regionId: RegionId
  readonly name: string
  /** The placement group it lives in. */
  readonly group: string
  /** Bytes (keys and values and their bookkeeping) it may hold in the whole cluster, counted once. 0: no limit of its own. */
  readonly sizeBytes: number
  /** Entries it may hold in the whole cluster, counted once. 0: no limit of its own. */
  readonly maxEntries: number
  /** Time to live of entries written without one, in milliseconds. 0: they don't expire. */
  readonly ttlMs: number
  readonly policy: EvictionPolicyName
  readonly durability: Durability
  readonly read: ReadKind
  /** Quorum writes are refused while fewer replicas than this are in sync. */
  readonly minInSync: number
}

/** A set that once could acknowledge writes; see docs/protocol.md, "Takeover". */
export interface UnsettledSet {
  readonly primary: NodeIndex
  readonly members: readonly NodeIndex[]
}

export interface PartitionRecord {
  readonly partitionEpoch: PartitionEpoch
  readonly primary: NodeIndex
  /** Primary included, which stands first. */
  readonly inSync: readonly NodeIndex[]
  readonly learners: readonly LearnerRecord[]
  readonly unsettled: readonly UnsettledSet[]
  /** The partition epoch at which it last started over, after its sets were lost. 0: never. Clients are not told. */
  readonly recoveredAt: number
}

export interface GroupRecord {
  readonly name: string
  readonly replicationFactor: number
  readonly firstPartition: number
  readonly partitionCount: number
}

export interface Topology {
  readonly clusterId: ClusterId
  readonly clusterName: string
  readonly epoch: Epoch
  /** Seeds key indexes and digests. A secret of the nodes: undefined in what clients receive. */
  readonly hashKey: HashKey | undefined
  readonly nodes: readonly NodeRecord[]
  /** Who decides the next epoch. Empty in what clients receive. */
  readonly voters: readonly VoterRecord[]
  readonly ring: RingRecord
  readonly groups: readonly GroupRecord[]
  readonly regions: readonly RegionRecord[]
  /** The number of the next region to be created: numbers are never reused. 0 in what clients receive. */
  readonly nextRegionId: number
  /** Indexed by the cluster-wide partition number. */
  readonly partitions: readonly PartitionRecord[]
  /** Undefined: the cluster has none and had none. Clients are not told. */
  readonly jobs?: JobsRecord
}

/** Whether a node in this state may hold roles: it is held alive and is still the process the record names. */
export function isUp(state: NodeState | undefined): boolean {
  return state === 'active' || state === 'leaving'
}

/** How many nodes keep the register: as many as there are up to three, five from five nodes on. */
export function wantedVoterCount(nodes: number): number {
  return nodes >= 5 ? 5 : Math.min(nodes, 3)
}

/** Smallest majority of `members` replicas. */
export function majorityOf(members: number): number {
  return (members >> 1) + 1
}

/** The group a region lives in. @throws RangeError when the record is inconsistent, which decoding rules out. */
export function groupOf(topology: Topology, region: RegionRecord): GroupRecord {
  const group = topology.groups.find((g) => g.name === region.group)
  if (group === undefined)
    throw new RangeError(`region ${region.name} names the unknown group ${region.group}`)
  return group
}

/** The cluster-wide number of the partition that a key of this region belongs to. */
export function locate(
  group: GroupRecord,
  regionId: number,
  key: Uint8Array,
  keyStart: number,
  keyEnd: number,
): number {
  return group.firstPartition + partitionOf(key, keyStart, keyEnd, regionId, group.partitionCount)
}
