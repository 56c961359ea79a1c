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

/** Position of a node in `Topology.nodes`. */
export type NodeIndex = number

export interface NodeRecord {
  readonly nodeId: NodeId
  readonly incarnation: Incarnation
  /** Where clients and peers reach it, `host:port`. */
  readonly address: string
  readonly zone: string
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
  readonly learners: readonly NodeIndex[]
  readonly unsettled: readonly UnsettledSet[]
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
  readonly groups: readonly GroupRecord[]
  readonly regions: readonly RegionRecord[]
  /** Indexed by the cluster-wide partition number. */
  readonly partitions: readonly PartitionRecord[]
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
