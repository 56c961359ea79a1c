/** What a node is told at its start. Durations in milliseconds, sizes in bytes. */

import type { MembershipOptions } from '../membership/options.ts'
import type { RebalanceOptions } from '../rebalance/rebalance-driver.ts'
import type { JobDefinition } from '../topology/jobs.ts'
import type { Durability, EvictionPolicyName, ReadKind } from '../topology/topology.ts'

export interface BootstrapNode {
  readonly nodeId: string
  /** Where clients and peers reach it, `host:port`. */
  readonly address: string
  readonly zone: string
  /** Share of the data, relative to the others. Default 1. */
  readonly weight?: number
}

export interface BootstrapRegion {
  readonly name: string
  readonly sizeBytes: number
  readonly maxEntries: number
  readonly ttlMs: number
  readonly policy: EvictionPolicyName
  readonly durability: Durability
  readonly read: ReadKind
  readonly minInSync: number
}

/** When a node writes down what it holds, and how. */
export interface SnapshotOptions {
  /** From one snapshot to the next. */
  readonly intervalMs: number
  /** Whether an orderly stop ends with one. */
  readonly onStop: boolean
  /** Full snapshots that are kept, each with those that build on it. */
  readonly keepFulls: number
  /** Bytes of entries a second; 0: without limit. */
  readonly bytesPerSecond: number
}

export interface NodeOptions {
  readonly clusterName: string
  /** This node's name. */
  readonly nodeId: string
  /** Where clients and peers reach this node; by default what `nodes` says. */
  readonly address?: string
  /** Its zone, by default what `nodes` says. */
  readonly zone?: string
  /** Nodes of the cluster's first topology. A node that is not among them joins a cluster that runs. */
  readonly nodes: readonly BootstrapNode[]
  /** Addresses of nodes of a cluster that runs: this node joins it. */
  readonly join?: readonly string[]
  /** What becomes of a partition of which no valid set is left: it starts over with what is there, or waits for an operator. */
  readonly onMajorityLoss: 'serve' | 'block'
  /** Constants of membership, where they differ from the defaults. */
  readonly membership?: Partial<MembershipOptions>
  /** How replicas are moved, where that differs from the defaults. */
  readonly rebalance?: Partial<RebalanceOptions>
  readonly regions: readonly BootstrapRegion[]
  readonly partitionCount: number
  readonly replicationFactor: number
  readonly memoryLimitBytes: number
  /** Share of the limit from which on entries are evicted, 0..1. */
  readonly memoryHighShare: number
  readonly backlogBytes: number
  readonly replicaTimeoutMs: number
  readonly keyBytesMax: number
  readonly valueBytesMax: number
  /** Client streams open at one time. */
  readonly sessionsMax: number
  /** Bytes of requests unanswered at one time, per client stream. */
  readonly creditBytes: number
  /** Operations unanswered at one time, per client stream. */
  readonly operationsMax: number
  readonly timeoutMaxMs: number
  /** Undefined: there are no snapshots, and a process that starts holds nothing. */
  readonly snapshots?: SnapshotOptions
  /** Jobs that the cluster is given, where it has none of that name. */
  readonly jobs?: readonly JobDefinition[]
}

const MIB = 1024 * 1024

export const DEFAULT_REGION: BootstrapRegion = {
  name: 'default',
  sizeBytes: 0,
  maxEntries: 0,
  ttlMs: 0,
  policy: 'lru',
  durability: 'quorum',
  read: 'primary',
  minInSync: 1,
}

/** The options of a node that is a cluster of its own; what embedded mode starts from. */
export const SINGLE_NODE: NodeOptions = {
  clusterName: 'ringcache',
  nodeId: 'node-1',
  nodes: [{ nodeId: 'node-1', address: 'embedded:node-1', zone: '' }],
  onMajorityLoss: 'serve',
  regions: [DEFAULT_REGION],
  partitionCount: 64,
  replicationFactor: 1,
  memoryLimitBytes: 1024 * MIB,
  memoryHighShare: 0.85,
  backlogBytes: 64 * MIB,
  replicaTimeoutMs: 1000,
  keyBytesMax: 1024,
  valueBytesMax: 16 * MIB,
  sessionsMax: 1000,
  creditBytes: 4 * MIB,
  operationsMax: 16_384,
  timeoutMaxMs: 30_000,
}

/** Where clients and peers reach this node. */
export function ownAddress(options: NodeOptions): string {
  return options.address ?? options.nodes.find((node) => node.nodeId === options.nodeId)?.address ?? ''
}
