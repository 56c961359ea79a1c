/**
 * The named changes of the topology. Each says what it expects to find (incarnations, partition epochs) and does nothing
 * where that no longer holds, so that a late one can't hit what came after. A commit applies a list of them in turn and
 * raises the epoch by one; `partitionEpoch` rises for each partition whose primary or in-sync set changed.
 */

import type { Epoch, NodeId, PartitionEpoch } from '../kernel/ids.ts'
import type { JobDefinition, OpenRun, RunName } from './jobs.ts'
import type { ProcessName } from './process-name.ts'
import type { GroupRecord, NodeIndex, NodeRecord, RegionRecord, RingNode, VoterRecord } from './topology.ts'

export type { ProcessName } from './process-name.ts'

/** A partition as the proposer knew it. */
export interface PartitionAt {
  readonly partition: number
  readonly partitionEpoch: PartitionEpoch
}

export interface NodeAt extends PartitionAt {
  readonly node: NodeIndex
}

export type Transform =
  /** A new node, or one that `failed` and is back with the same incarnation. It holds nothing yet. */
  | { readonly kind: 'NodeJoined'; readonly node: Omit<NodeRecord, 'state'> }
  /** A new process of a known node: the old incarnation leaves all sets that can do without it, and is gone. */
  | {
      readonly kind: 'NodeRestarted'
      readonly old: ProcessName
      readonly node: Omit<NodeRecord, 'state'>
    }
  /** Held dead: it leaves all sets that can do without it, primaries are chosen anew. */
  | { readonly kind: 'NodeFailed'; readonly process: ProcessName }
  /** It is to be emptied: drain and decommission begin so. `active` takes that back. */
  | { readonly kind: 'NodeLeaving'; readonly process: ProcessName; readonly leaving: boolean }
  /** It holds no roles any more (or is failed and given up) and leaves the record. */
  | { readonly kind: 'NodeRemoved'; readonly process: ProcessName }
  | { readonly kind: 'LearnerAdded'; readonly learners: readonly NodeAt[] }
  | { readonly kind: 'LearnerDropped'; readonly learners: readonly (NodeAt & { readonly session: Epoch })[] }
  | { readonly kind: 'LearnerPromoted'; readonly learners: readonly (NodeAt & { readonly session: Epoch })[] }
  /** Members that do not follow leave the in-sync set, proposed by a primary that serves. */
  | { readonly kind: 'InSyncShrunk'; readonly members: readonly NodeAt[] }
  | { readonly kind: 'PrimaryMoved'; readonly moves: readonly NodeAt[] }
  | { readonly kind: 'ReplicaRemoved'; readonly replicas: readonly NodeAt[] }
  | { readonly kind: 'Settled'; readonly partitions: readonly PartitionAt[] }
  | { readonly kind: 'VoterAdded'; readonly voter: VoterRecord }
  | { readonly kind: 'VoterRemoved'; readonly nodeId: NodeId; readonly diskId: string }
  /** No valid set is left of these partitions: `node` starts over with what it holds. */
  | { readonly kind: 'Recovered'; readonly partitions: readonly NodeAt[] }
  /** Placement is computed from these nodes from now on: a rebalance begins (or goes back, when cancelled). */
  | {
      readonly kind: 'RingChanged'
      /** What the ring must be for this to apply. */
      readonly expected: readonly RingNode[]
      readonly nodes: readonly RingNode[]
    }
  | { readonly kind: 'RingPaused'; readonly paused: boolean }
  | { readonly kind: 'GroupCreated'; readonly group: Omit<GroupRecord, 'firstPartition'> }
  | { readonly kind: 'RegionCreated'; readonly region: Omit<RegionRecord, 'regionId'> }
  | { readonly kind: 'RegionAltered'; readonly region: RegionRecord }
  | { readonly kind: 'RegionDropped'; readonly regionId: number }
  /** A job there was not. Times from `sinceMs` on count. */
  | { readonly kind: 'JobDefined'; readonly job: JobDefinition; readonly sinceMs: number }
  /** A job is another from now on; with another schedule, times from `sinceMs` on count. */
  | { readonly kind: 'JobAltered'; readonly job: JobDefinition; readonly sinceMs: number }
  | { readonly kind: 'JobDropped'; readonly name: string }
  /** A scheduled time is given to a run, the first after `after`. */
  | {
      readonly kind: 'JobClaimed'
      readonly job: string
      readonly after: number
      readonly atMs: number
      readonly owner: ProcessName
      readonly startedMs: number
    }
  /** Somebody asked for a run; there need not be such a job. */
  | {
      readonly kind: 'JobStarted'
      readonly run: Omit<OpenRun, 'attempt' | 'isCancelled' | 'isManual'>
    }
  /** An open run goes to another process, or begins anew in the same. */
  | {
      readonly kind: 'JobTaken'
      readonly run: RunName
      readonly attempt: number
      readonly owner: ProcessName
      readonly startedMs: number
    }
  | { readonly kind: 'JobCancelled'; readonly run: RunName }
  | {
      readonly kind: 'JobEnded'
      readonly run: RunName
      readonly attempt: number
      readonly outcome: 'done' | 'failed' | 'cancelled'
      readonly result: string
      readonly endedMs: number
    }
  /** Scheduled times after `after`, up to `toMs`, pass without a run. */
  | {
      readonly kind: 'JobMissed'
      readonly job: string
      readonly after: number
      readonly fromMs: number
      readonly toMs: number
      readonly count: number
      readonly reason: string
    }
