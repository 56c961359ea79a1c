/** Whether a partition has as many copies as it should: what is done to it then moves copies, and restores none. */

import { isUp, type PartitionRecord, type Topology } from './topology.ts'

/** Whether as many members of its in-sync set are up as its group asks for. */
export function hasAllCopies(topology: Topology, partition: number): boolean {
  const record = topology.partitions[partition]
  if (record === undefined) return false
  let copies = 0
  for (const node of record.inSync) if (isUp(topology.nodes[node]?.state)) copies++
  for (const { firstPartition, partitionCount, replicationFactor } of topology.groups) {
    if (partition >= firstPartition && partition < firstPartition + partitionCount)
      return copies >= replicationFactor
  }
  return false
}

/** Whether fewer nodes than its group asks for hold it or are being brought up to. */
export function lacksReplica(topology: Topology, record: PartitionRecord, partition: number): boolean {
  const group = topology.groups.find(
    (one) => partition >= one.firstPartition && partition < one.firstPartition + one.partitionCount,
  )
  return record.inSync.length + record.learners.length < (group?.replicationFactor ?? 0)
}
