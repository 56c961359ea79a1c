/**
 * What the rest of a node may ask of its control plane: the committed topology, who is held alive, and changes.
 *
 * Those who administer the cluster (src/node/admin) and the rebalance driver (src/rebalance) know nothing else of it.
 */

import type { Incarnation, NodeId } from '../kernel/ids.ts'
import type { NodeIndex, Topology } from '../topology/topology.ts'
import type { Transform } from '../topology/transforms.ts'

/** What this node holds of another process. `proven`: it certainly runs no more. */
export interface MemberView {
  readonly nodeId: NodeId
  readonly incarnation: Incarnation
  readonly address: string
  readonly liveness: 'alive' | 'suspect' | 'dead' | 'left'
  readonly proven: boolean
  /** When this liveness began, in milliseconds of the monotonic clock. */
  readonly sinceMs: number
}

export interface ClusterControl {
  /** The newest committed topology this node knows; undefined while the cluster is starting. */
  topology(): Topology | undefined
  /**
   * Has these changes committed. Settles once this node has learned a topology in which each of them was applied or
   * refused: look at the new topology to see which.
   * @throws CacheError UNAVAILABLE when no majority of the voters answers in time, OUTCOME_UNKNOWN when it may still happen,
   *   NOT_READY before there is a topology
   */
  propose(transforms: readonly Transform[]): Promise<void>
  /**
   * Who is to start a partition over of which no valid set is left; undefined when nobody can.
   * @param primaries how many partitions each node is primary of
   */
  heirOf(topology: Topology, partition: number, primaries: readonly number[]): NodeIndex | undefined
  /** All processes this node has heard of, itself included. */
  members(): readonly MemberView[]
}
