/**
 * Who keeps the register: as many nodes as there are, up to three; five of them from five nodes on. They are spread over the zones
 * first, so that the loss of one costs as few as possible.
 *
 * One voter changes in one commit. A voter whose disk is gone (its node came back with another one) can never vote again and
 * leaves first; one whose node is failed stays until it has been away for long and another node can take its place.
 */

import type { NodeId } from '../kernel/ids.ts'
import {
  isUp,
  majorityOf,
  type NodeRecord,
  type Topology,
  type VoterRecord,
  wantedVoterCount,
} from './topology.ts'
import type { Transform } from './transforms.ts'

/** How the register names a voter: the node's name says who, the disk's that it is the same who promised. */
export function voterName(nodeId: string, diskId: string): string {
  return `${nodeId}/${diskId}`
}

export function voterNames(topology: Topology): string[] {
  return topology.voters.map((voter) => voterName(voter.nodeId, voter.diskId))
}

/** Those of `nodes` that are to be voters, `kept` before others. */
export function votersWanted(nodes: readonly NodeRecord[], kept: readonly NodeId[] = []): NodeRecord[] {
  const count = wantedVoterCount(nodes.length)
  const candidates = [...nodes].sort(
    (a, b) =>
      Number(kept.includes(b.nodeId)) - Number(kept.includes(a.nodeId)) || (a.nodeId < b.nodeId ? -1 : 1),
  )
  const chosen: NodeRecord[] = []
  const zones = new Map<string, number>()
  while (chosen.length < count) {
    let best: NodeRecord | undefined
    for (const node of candidates) {
      if (chosen.includes(node)) continue
      if (best === undefined || inZone(zones, node) < inZone(zones, best)) best = node
    }
    if (best === undefined) break
    chosen.push(best)
    zones.set(best.zone, inZone(zones, best) + 1)
  }
  return chosen
}

function inZone(zones: ReadonlyMap<string, number>, node: NodeRecord): number {
  // A node without a zone is a zone of its own.
  return node.zone === '' ? 0 : (zones.get(node.zone) ?? 0)
}

/**
 * The next change of voters, if there is one to make.
 * @param replaceable whether a failed voter has been away for so long that another takes its place
 */
export function nextVoterChange(
  topology: Topology,
  replaceable: (voter: VoterRecord) => boolean,
): Transform | undefined {
  const nodes = topology.nodes.filter((node) => isUp(node.state))
  const { voters } = topology
  const stays = nodes.filter((node) => node.state === 'active')
  const pool = stays.length > 0 ? stays : nodes
  // Away for a while is not away for good: it counts as a node until it may be replaced.
  const away = topology.nodes.filter(
    (node) =>
      node.state === 'failed' &&
      voters.some((voter) => isVoter(voter, node) && !replaceable(voter)) &&
      !nodes.some((other) => other.nodeId === node.nodeId),
  )
  const wanted = votersWanted(
    [...pool, ...away],
    voters.filter((voter) => [...pool, ...away].some((node) => isVoter(voter, node))).map((v) => v.nodeId),
  )
  const superfluous = voters.find((voter) => !wanted.some((node) => isVoter(voter, node)))
  const lacking = wanted.find((node) => !voters.some((voter) => isVoter(voter, node)))
  const alive = voters.filter((voter) => nodes.some((node) => isVoter(voter, node))).length
  if (superfluous !== undefined) {
    // Never leave a set whose majority is not alive; a new voter is added first then.
    const dead = !nodes.some((node) => isVoter(superfluous, node))
    const left = voters.length - 1
    if (left > 0 && (dead ? alive : alive - 1) >= majorityOf(left) && (lacking === undefined || dead))
      return { kind: 'VoterRemoved', nodeId: superfluous.nodeId, diskId: superfluous.diskId }
  }
  if (lacking === undefined) return undefined
  const { nodeId, diskId, address } = lacking
  return { kind: 'VoterAdded', voter: { nodeId, diskId, address } }
}

function isVoter(voter: VoterRecord, node: NodeRecord): boolean {
  return voter.nodeId === node.nodeId && voter.diskId === node.diskId
}
