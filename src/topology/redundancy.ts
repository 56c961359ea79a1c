/** Whether a partition has as many copies as it should: what is done to it then moves copies, and restores none. */

import { isUp, type Topology } from './topology.ts'

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
