/** Partitions dealt out in turn: partition p on nodes p, p + 1, …, so that a test can tell who holds what. */

import { firstPartitions } from '../../src/topology/placement.ts'
import type { GroupRecord, PartitionRecord } from '../../src/topology/topology.ts'

export function placesInTurn(group: GroupRecord, nodes: number): number[][] {
  const replicas = Math.min(group.replicationFactor, nodes)
  return Array.from({ length: group.partitionCount }, (_, p) =>
    Array.from({ length: replicas }, (_unused, i) => (p + i) % nodes),
  )
}

export function placeInTurn(group: GroupRecord, nodes: number): PartitionRecord[] {
  return firstPartitions(placesInTurn(group, nodes))
}
