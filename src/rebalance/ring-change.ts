/**
 * Lists of ring nodes as the wishes of operators and of the cluster itself make them. Each is the whole next ring; RingChanged
 * names the one before, so that two wishes at one time do not undo each other.
 */

import type { NodeId } from '../kernel/ids.ts'
import type { NodeRecord, RingNode, Topology } from '../topology/topology.ts'
import type { Transform } from '../topology/transforms.ts'

/** A change to this ring; undefined when it is so already. */
export function ringChange(topology: Topology, nodes: readonly RingNode[]): Transform | undefined {
  const { ring } = topology
  const text = (list: readonly RingNode[]): string =>
    JSON.stringify(list.map(({ nodeId, weight, zone }) => [nodeId, weight, zone]))
  return text(nodes) === text(ring.nodes) ? undefined : { kind: 'RingChanged', expected: ring.nodes, nodes }
}

function ringNode({ nodeId, weight, zone }: NodeRecord): RingNode {
  return { nodeId, weight, zone }
}

/** All active nodes with their own weights, but those that were drained. */
export function fullRing(topology: Topology, drained: 'keep' | 'take back'): RingNode[] {
  const listed = new Map(topology.ring.nodes.map((node) => [node.nodeId, node]))
  const present = topology.nodes.filter(({ state }) => state === 'active')
  const nodes = present.map((node) => {
    const isDrained = listed.get(node.nodeId)?.weight === 0
    return isDrained && drained === 'keep' ? { ...ringNode(node), weight: 0 } : ringNode(node)
  })
  // Members that are away for a moment keep their place; the order stays, so that no change is seen where there is none.
  const names = new Set(nodes.map(({ nodeId }) => nodeId))
  const away = topology.ring.nodes.filter(
    ({ nodeId }) =>
      !names.has(nodeId) &&
      topology.nodes.some(
        (node) => node.nodeId === nodeId && (node.state === 'failed' || node.state === 'leaving'),
      ),
  )
  return inOrder(topology, [...nodes, ...away])
}

/** The ring with one node drained (weight 0), or taken back with its own weight. */
export function drainedRing(topology: Topology, node: NodeRecord, isDrained: boolean): RingNode[] {
  const others = topology.ring.nodes.filter(({ nodeId }) => nodeId !== node.nodeId)
  return inOrder(topology, [...others, { ...ringNode(node), weight: isDrained ? 0 : node.weight }])
}

/** What the ring was before its last change; nodes that have come since stay, and hold nothing. */
export function cancelledRing(topology: Topology): RingNode[] {
  const { nodes, previous } = topology.ring
  const names = new Set(topology.nodes.filter(({ state }) => state !== 'gone').map(({ nodeId }) => nodeId))
  const before = previous.filter(({ nodeId }) => names.has(nodeId))
  const since = nodes.filter(({ nodeId }) => !previous.some((one) => one.nodeId === nodeId))
  return [...before, ...since.map((node) => ({ ...node, weight: 0 }))]
}

/** Nodes that stood on the ring in the order they had, then the others. */
function inOrder(topology: Topology, nodes: readonly RingNode[]): RingNode[] {
  const places = new Map<NodeId, number>(topology.ring.nodes.map(({ nodeId }, i) => [nodeId, i]))
  const place = ({ nodeId }: RingNode): number => places.get(nodeId) ?? Number.MAX_SAFE_INTEGER
  return [...nodes].sort((a, b) => place(a) - place(b) || (a.nodeId < b.nodeId ? -1 : 1))
}
