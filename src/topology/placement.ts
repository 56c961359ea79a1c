/**
 * The first topology: partitions dealt out in turn, so that each node is primary of the same number of them (± 1) and the
 * replicas of a partition lie on consecutive nodes.
 */

import type { PartitionEpoch } from '../kernel/ids.ts'
import type { GroupRecord, PartitionRecord } from './topology.ts'

/** Partition records of one group over nodes `0..nodeCount − 1`, all at epoch 1 and settled. */
export function placeInTurn(group: GroupRecord, nodeCount: number): PartitionRecord[] {
  const replicas = Math.min(group.replicationFactor, nodeCount)
  const partitions: PartitionRecord[] = []
  for (let p = 0; p < group.partitionCount; p++) {
    const inSync: number[] = []
    for (let i = 0; i < replicas; i++) inSync.push((p + i) % nodeCount)
    partitions.push({
      partitionEpoch: 1 as PartitionEpoch,
      primary: inSync[0] as number,
      inSync,
      learners: [],
      unsettled: [],
    })
  }
  return partitions
}
