/** What operators are shown of the topology. */

import { copiesToMove, type Pace, progressOf } from '../../rebalance/progress.ts'
import { placeAsBefore, placeOnRing } from '../../topology/placement.ts'
import type { NodeRecord, RegionRecord, RingNode, Topology } from '../../topology/topology.ts'
import type { NodeLoadMessage, NodeViewMessage, ProgressMessage, RegionMessage } from '../../wire/admin.ts'

export function progressView(topology: Topology, pace: Pace, nowMs: number): ProgressMessage {
  const progress = progressOf(topology)
  const etaMs = progress.state === 'running' ? pace.etaMs(nowMs) : undefined
  return etaMs === undefined ? progress : { ...progress, etaMs }
}

export function nodeView(topology: Topology, node: NodeRecord, liveness: string): NodeViewMessage {
  const at = topology.nodes.indexOf(node)
  const { nodeId, incarnation, address, zone, state, weight } = node
  const counts = { primaries: 0, backups: 0, learners: 0 }
  for (const { primary, inSync, learners } of topology.partitions) {
    if (primary === at) counts.primaries++
    else if (inSync.includes(at)) counts.backups++
    else if (learners.some((learner) => learner.node === at)) counts.learners++
  }
  return {
    nodeId,
    incarnation,
    address,
    zone,
    state,
    liveness,
    drained: topology.ring.nodes.some((one) => one.nodeId === nodeId && one.weight === 0),
    voter: topology.voters.some((voter) => voter.nodeId === nodeId),
    weight,
    ...counts,
  }
}

export function regionView(region: RegionRecord): RegionMessage {
  return { ...region }
}

/** Copies per node: as they lie, and as this ring wants them. */
export function loadsView(topology: Topology, placement: RingPlacementOf): NodeLoadMessage[] {
  const present = topology.nodes.filter(({ state }) => state !== 'gone')
  return present.map((node) => {
    const at = topology.nodes.indexOf(node)
    const place = placement.nodes.findIndex(({ nodeId }) => nodeId === node.nodeId)
    const { partitions } = topology
    return {
      nodeId: node.nodeId,
      copies: partitions.filter(({ inSync }) => inSync.includes(at)).length,
      copiesWanted: placement.placement.filter((places) => places.includes(place)).length,
      primaries: partitions.filter(({ primary }) => primary === at).length,
      primariesWanted: placement.placement.filter(([first]) => first === place).length,
    }
  })
}

export interface RingPlacementOf {
  readonly nodes: readonly RingNode[]
  readonly placement: readonly (readonly number[])[]
}

/** What the topology would want of this ring. */
export function plannedPlacement(topology: Topology, nodes: readonly RingNode[]): RingPlacementOf {
  const { ring, groups } = topology
  const before = { nodes: ring.previous, placement: ring.previousPlacement }
  const placement =
    placeAsBefore(nodes, ring) ?? placeAsBefore(nodes, before) ?? placeOnRing(nodes, groups, ring)
  return { nodes, placement }
}

/** Copies that would have to be built, from the table as it is. */
export function copiesToBuild(topology: Topology, planned: RingPlacementOf): number {
  const nodes = topology.nodes.map(({ nodeId, weight, zone, state }) => {
    return { nodeId: (state === 'gone' ? '' : nodeId) as RingNode['nodeId'], weight, zone }
  })
  const held = topology.partitions.map(({ inSync }) => inSync)
  return copiesToMove(nodes, held, planned.nodes, planned.placement)
}
