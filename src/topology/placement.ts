/**
 * Where the hash ring wants the replicas of each partition. It is computed when the ring changes and kept in the record, beside
 * what it was before: so all nodes want the same, a change of the ring moves no more than it must, and one that is taken
 * back wants exactly what was there.
 *
 * The first table of a cluster is what its ring wants, so that a new cluster has nothing to move.
 */

import type { PartitionEpoch } from '../kernel/ids.ts'
import { placeBounded } from './bounded-placement.ts'
import { ConsistentHashRing } from './hash-ring.ts'
import type { GroupRecord, NodeIndex, PartitionRecord, RingNode, RingRecord, Topology } from './topology.ts'

/** By cluster-wide partition: places in the list of ring nodes, the primary's first. */
export type RingPlacement = RingRecord['placement']

/** An earlier ring, to keep as much of as possible. */
export interface PlacedRing {
  readonly nodes: readonly RingNode[]
  readonly placement: RingPlacement
}

/** What these nodes should hold of all groups. Nodes of weight 0 hold nothing. */
export function placeOnRing(
  nodes: readonly RingNode[],
  groups: readonly GroupRecord[],
  earlier?: PlacedRing,
): number[][] {
  const takers = nodes.flatMap((node, i) => (node.weight > 0 ? [i] : []))
  const ring = new ConsistentHashRing(
    takers.map((i) => {
      const { nodeId, weight, zone } = nodes[i] as RingNode
      return { id: nodeId, weight, zone }
    }),
  )
  const memberOf = new Map(takers.map((i, member) => [(nodes[i] as RingNode).nodeId, member]))
  const placement: number[][] = []
  for (const group of groups) {
    const { name, firstPartition, partitionCount, replicationFactor } = group
    const keys = Array.from({ length: partitionCount }, (_, p) => `${name}/${p}`)
    const kept = earlier?.placement
      .slice(firstPartition, firstPartition + partitionCount)
      .map((places) =>
        places
          .map((place) => memberOf.get(earlier.nodes[place]?.nodeId ?? ('' as RingNode['nodeId'])))
          .filter((member) => member !== undefined),
      )
    const placed = placeBounded(ring, keys, replicationFactor, kept)
    placed.forEach((members, p) => {
      placement[firstPartition + p] = members.map((member) => takers[member] as number)
    })
  }
  return placement
}

/**
 * The same placement under another list of the same nodes; those that hold nothing do not count.
 * @returns undefined when the nodes that hold something differ in name, weight or zone
 */
export function placeAsBefore(nodes: readonly RingNode[], earlier: PlacedRing): number[][] | undefined {
  const takers = (ring: readonly RingNode[]): Set<string> =>
    new Set(
      ring
        .filter(({ weight }) => weight > 0)
        .map((node) => JSON.stringify([node.nodeId, node.weight, node.zone])),
    )
  const now = takers(nodes)
  const before = takers(earlier.nodes)
  if (now.size !== before.size || [...now].some((node) => !before.has(node))) return undefined
  const places = new Map(nodes.map(({ nodeId }, place) => [nodeId, place]))
  return earlier.placement.map((list) =>
    list.map((place) => places.get((earlier.nodes[place] as RingNode).nodeId) as number),
  )
}

/** Positions in `topology.nodes` that are to hold each partition, the primary's first. -1: a node of the ring that is gone. */
export function wantedPlacement(topology: Topology): NodeIndex[][] {
  const { nodes, placement } = topology.ring
  const positions = nodes.map(({ nodeId }) =>
    topology.nodes.findIndex((node) => node.nodeId === nodeId && node.state !== 'gone'),
  )
  return placement.map((places) => places.map((place) => positions[place] ?? -1))
}

/** The ring of these nodes with the placement it wants. */
export function firstRing(nodes: readonly RingNode[], groups: readonly GroupRecord[]): RingRecord {
  const placement = placeOnRing(nodes, groups)
  return { nodes, placement, previous: nodes, previousPlacement: placement, paused: false }
}

/** The records of partitions that nobody has written to yet, placed on these nodes. */
export function firstPartitions(placement: readonly (readonly NodeIndex[])[]): PartitionRecord[] {
  return placement.map((inSync) => ({
    partitionEpoch: 1 as PartitionEpoch,
    primary: inSync[0] as NodeIndex,
    inSync,
    learners: [],
    unsettled: [],
    recoveredAt: 0,
  }))
}
