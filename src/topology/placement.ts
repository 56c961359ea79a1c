/**
 * The first topology: partitions dealt out in turn, so that each node is primary of the same number of them (± 1) and the
 * replicas of a partition lie on consecutive nodes, in an order that alternates between zones.
 */

import type { PartitionEpoch } from '../kernel/ids.ts'
import type { GroupRecord, NodeIndex, PartitionRecord, Topology } from './topology.ts'

/**
 * Partition records of one group over the nodes in these zones, all at epoch 1 and settled. Where every zone has as many
 * nodes and there are as many zones as replicas, the replicas of a partition lie in distinct zones.
 * @param zones the zone of each node, by its position; an empty zone is one of its own
 */
export function placeInTurn(group: GroupRecord, zones: readonly string[]): PartitionRecord[] {
  const order = alternating(zones)
  const replicas = Math.min(group.replicationFactor, order.length)
  const partitions: PartitionRecord[] = []
  for (let p = 0; p < group.partitionCount; p++) {
    const inSync: NodeIndex[] = []
    for (let i = 0; i < replicas; i++) inSync.push(order[(p + i) % order.length] as NodeIndex)
    partitions.push({
      partitionEpoch: 1 as PartitionEpoch,
      primary: inSync[0] as NodeIndex,
      inSync,
      learners: [],
      unsettled: [],
      recoveredAt: 0,
    })
  }
  return partitions
}

/** All nodes, one of each zone after the other as long as zones have some left. */
function alternating(zones: readonly string[]): NodeIndex[] {
  const byZone = new Map<string, NodeIndex[]>()
  zones.forEach((zone, node) => {
    const name = zone === '' ? `node ${node}` : zone
    const nodes = byZone.get(name)
    if (nodes === undefined) byZone.set(name, [node])
    else nodes.push(node)
  })
  const order: NodeIndex[] = []
  for (let round = 0; order.length < zones.length; round++) {
    for (const nodes of byZone.values()) {
      const node = nodes[round]
      if (node !== undefined) order.push(node)
    }
  }
  return order
}

/** Partition records of a new group, over the active nodes of the ring. Empty when there are none. */
export function placeGroup(topology: Topology, group: GroupRecord): PartitionRecord[] {
  const positions: NodeIndex[] = []
  const zones: string[] = []
  for (const { nodeId, weight, zone } of topology.ring.nodes) {
    const at = topology.nodes.findIndex((node) => node.nodeId === nodeId && node.state === 'active')
    if (at < 0 || weight === 0) continue
    positions.push(at)
    zones.push(zone)
  }
  if (positions.length === 0) return []
  return placeInTurn(group, zones).map((partition) => {
    const inSync = partition.inSync.map((i) => positions[i] as NodeIndex)
    return { ...partition, primary: inSync[0] as NodeIndex, inSync }
  })
}
