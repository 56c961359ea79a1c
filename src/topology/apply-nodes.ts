/**
 * Changes of who the nodes are. A place in `nodes` belongs to one process for as long as any partition names it; a process
 * started again gets another place, for its memory is gone.
 */

import type { BrokenRules } from '../kernel/rule-switch.ts'
import { type Outcome, refuse } from './outcome.ts'
import { placeOnRing } from './placement.ts'
import { isWeight, NODES_MAX } from './record-codec.ts'
import { withoutLost } from './set-change.ts'
import {
  isUp,
  type NodeIndex,
  type NodeRecord,
  type NodeState,
  type PartitionRecord,
  type RingNode,
  type Topology,
} from './topology.ts'
import type { ProcessName, Transform } from './transforms.ts'

export type NodeTransform = Extract<
  Transform,
  { kind: 'NodeJoined' | 'NodeRestarted' | 'NodeFailed' | 'NodeLeaving' | 'NodeRemoved' }
>

export function applyToNodes(topology: Topology, transform: NodeTransform, broken?: BrokenRules): Outcome {
  switch (transform.kind) {
    case 'NodeJoined':
      return join(topology, transform.node, broken)
    case 'NodeRestarted':
      return restart(topology, transform.old, transform.node, broken)
    case 'NodeFailed':
      return fail(topology, transform.process, broken)
    case 'NodeLeaving':
      return leave(topology, transform.process, transform.leaving)
    case 'NodeRemoved':
      return remove(topology, transform.process, broken)
  }
}

/** Where this process stands in the record; -1 when it does not, or is gone. */
export function positionOf(topology: Topology, { nodeId, incarnation }: ProcessName): NodeIndex {
  return topology.nodes.findIndex(
    (node) => node.nodeId === nodeId && node.incarnation === incarnation && node.state !== 'gone',
  )
}

/** Whether any in-sync set, learner or unsettled set of a partition names the node. */
export function isNamed(partitions: readonly PartitionRecord[], node: NodeIndex): boolean {
  return partitions.some(
    ({ inSync, learners, unsettled }) =>
      inSync.includes(node) ||
      learners.some((learner) => learner.node === node) ||
      unsettled.some((set) => set.primary === node || set.members.includes(node)),
  )
}

function join(topology: Topology, node: Omit<NodeRecord, 'state'>, broken: BrokenRules | undefined): Outcome {
  const { nodes } = topology
  const known = nodes.find((one) => one.nodeId === node.nodeId && one.state !== 'gone')
  if (known === undefined) return place(topology, node, 'active')
  if (known.incarnation !== node.incarnation) return refuse(`${node.nodeId} is another process: it restarted`)
  if (known.state !== 'failed') return refuse(`${node.nodeId} is a member already`)
  return withState(topology, nodes.indexOf(known), 'active', broken)
}

function restart(
  topology: Topology,
  old: ProcessName,
  node: Omit<NodeRecord, 'state'>,
  broken: BrokenRules | undefined,
): Outcome {
  const at = positionOf(topology, old)
  if (at < 0) return refuse(`${old.nodeId} is no member under incarnation ${old.incarnation}`)
  if (node.nodeId !== old.nodeId || node.incarnation === old.incarnation)
    return refuse(`${node.nodeId} is no later process of ${old.nodeId}`)
  const leaving = topology.nodes[at]?.state === 'leaving'
  return place(withState(topology, at, 'gone', broken), node, leaving ? 'leaving' : 'active')
}

function fail(topology: Topology, process: ProcessName, broken: BrokenRules | undefined): Outcome {
  const at = positionOf(topology, process)
  if (at < 0 || !isUp(topology.nodes[at]?.state))
    return refuse(`${process.nodeId} does not serve under incarnation ${process.incarnation}`)
  return withState(topology, at, 'failed', broken)
}

function leave(topology: Topology, process: ProcessName, leaving: boolean): Outcome {
  const at = positionOf(topology, process)
  const expected: NodeState = leaving ? 'active' : 'leaving'
  if (at < 0 || topology.nodes[at]?.state !== expected) return refuse(`${process.nodeId} is not ${expected}`)
  return withState(topology, at, leaving ? 'leaving' : 'active', undefined)
}

function remove(topology: Topology, process: ProcessName, broken: BrokenRules | undefined): Outcome {
  const at = positionOf(topology, process)
  const node = topology.nodes[at]
  if (node === undefined) return refuse(`${process.nodeId} is no member under that incarnation`)
  if (node.state === 'active') return refuse(`${node.nodeId} has to leave, or to fail, first`)
  if (node.state === 'leaving') {
    if (isNamed(topology.partitions, at)) return refuse(`${node.nodeId} still holds data`)
    if (topology.voters.some((voter) => voter.nodeId === node.nodeId))
      return refuse(`${node.nodeId} still votes`)
  }
  const left = withState(topology, at, 'gone', broken)
  const { nodes, previous } = topology.ring
  const isOther = ({ nodeId }: RingNode): boolean => nodeId !== node.nodeId
  const stays = nodes.filter(isOther)
  if (stays.every(({ weight }) => weight === 0)) return refuse('the ring would be empty')
  if (stays.length === nodes.length && previous.every(isOther)) return left
  // There is no going back to a ring with a node that is no more.
  const { groups, ring } = topology
  const placement = placeOnRing(stays, groups, { nodes, placement: ring.placement })
  return {
    ...left,
    ring: { nodes: stays, placement, previous: stays, previousPlacement: placement, paused: ring.paused },
  }
}

/** The record with a node in another state, and sets that follow from it. */
function withState(
  topology: Topology,
  at: NodeIndex,
  state: NodeState,
  broken: BrokenRules | undefined,
): Topology {
  const nodes = topology.nodes.map((node, i) => (i === at ? { ...node, state } : node))
  return { ...topology, nodes, partitions: withoutLost(topology.partitions, nodes, broken) }
}

/** Gives a process the first free place. */
function place(topology: Topology, node: Omit<NodeRecord, 'state'>, state: NodeState): Outcome {
  const { nodes, partitions } = topology
  if (nodes.some((one) => one.nodeId === node.nodeId && one.incarnation === node.incarnation))
    return refuse(`this process of ${node.nodeId} has left: start it again`)
  if (!isWeight(node.weight)) return refuse(`${node.nodeId} has the weight ${node.weight}`)
  const record: NodeRecord = { ...node, state }
  const free = nodes.findIndex((one, i) => one.state === 'gone' && !isNamed(partitions, i))
  if (free < 0 && nodes.length >= NODES_MAX)
    return refuse(`there are ${NODES_MAX} nodes, no more are allowed`)
  const placed = free < 0 ? [...nodes, record] : nodes.map((one, i) => (i === free ? record : one))
  const voters = topology.voters.map((voter) =>
    voter.nodeId === node.nodeId && voter.diskId === node.diskId
      ? { ...voter, address: node.address }
      : voter,
  )
  return { ...topology, nodes: placed, voters }
}
