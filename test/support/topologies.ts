/** Topologies as tests need them: nodes n0, n1, … in one group, placed in turn, all settled. */

import type { ClusterId, Epoch, Incarnation, NodeId } from '../../src/kernel/ids.ts'
import type { NodeRecord, PartitionRecord, RingNode, Topology } from '../../src/topology/topology.ts'
import { placeInTurn, placesInTurn } from './place-in-turn.ts'

export interface TopologyShape {
  readonly nodes: number
  readonly replicas?: number
  readonly partitions?: number
  /** The zone of each node, by its number. Default: none. */
  readonly zone?: (node: number) => string
  readonly weight?: (node: number) => number
}

export function nodeNamed(name: string, incarnation: string, zone = '', weight = 1): NodeRecord {
  return {
    nodeId: name as NodeId,
    incarnation: incarnation as Incarnation,
    diskId: `disk-${name}`,
    address: `${name}:7401`,
    zone,
    weight,
    state: 'active',
  }
}

export function makeTopology(shape: TopologyShape): Topology {
  const { nodes: count, replicas = 3, partitions = 8, zone = () => '', weight = () => 1 } = shape
  const nodes = Array.from({ length: count }, (_, i) => nodeNamed(`n${i}`, `i${i}.1`, zone(i), weight(i)))
  const ring = nodes.map((node): RingNode => ({ nodeId: node.nodeId, weight: node.weight, zone: node.zone }))
  const group = {
    name: 'default',
    replicationFactor: replicas,
    firstPartition: 0,
    partitionCount: partitions,
  }
  const placement = placesInTurn(group, count)
  return {
    clusterId: 'c1' as ClusterId,
    clusterName: 'test',
    epoch: 1 as Epoch,
    hashKey: { low: 1, high: 2 },
    nodes,
    voters: nodes.slice(0, 3).map(({ nodeId, diskId, address }) => ({ nodeId, diskId, address })),
    ring: { nodes: ring, placement, previous: ring, previousPlacement: placement, paused: false },
    groups: [group],
    regions: [],
    nextRegionId: 0,
    partitions: placeInTurn(group, count),
  }
}

/** The topology with one partition replaced. */
export function withPartition(topology: Topology, p: number, change: Partial<PartitionRecord>): Topology {
  return {
    ...topology,
    partitions: topology.partitions.map((one, i) => (i === p ? { ...one, ...change } : one)),
  }
}
