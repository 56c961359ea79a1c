/**
 * Which in-sync sets may take over (docs/protocol.md, "Takeover").
 *
 * A write is acknowledged once a majority of a set holds it, its primary among them. So whoever is to hold all acknowledged
 * writes of that set must contain its primary, or so many of its members that every majority has one of them among it:
 * `|members| − majority + 1`. This has to be so for the present set and for each earlier one that is not settled yet,
 * for what it acknowledged may be held by nobody else.
 */

import { type BrokenRules, keeps } from '../kernel/rule-switch.ts'
import {
  isUp,
  majorityOf,
  type NodeIndex,
  type PartitionRecord,
  type Topology,
  type UnsettledSet,
} from './topology.ts'

/** Whether `members` certainly hold, together, every write that `set` may have acknowledged. */
function holdsAll(set: UnsettledSet, members: readonly NodeIndex[]): boolean {
  return holds(set.primary, set.members, members)
}

function holds(primary: NodeIndex, set: readonly NodeIndex[], members: readonly NodeIndex[]): boolean {
  if (members.includes(primary)) return true
  let held = 0
  for (const member of set) if (members.includes(member)) held++
  return held >= set.length - majorityOf(set.length) + 1
}

/**
 * Whether `newSet` may be the next in-sync set.
 * @param unsettledAndCurrent the earlier sets that are not settled, and the present one
 */
export function validInSync(
  unsettledAndCurrent: readonly UnsettledSet[],
  newSet: readonly NodeIndex[],
): boolean {
  return newSet.length > 0 && unsettledAndCurrent.every((set) => holdsAll(set, newSet))
}

/** The sets that a new in-sync set of this partition has to hold. */
export function setsToHold(partition: PartitionRecord, broken?: BrokenRules): UnsettledSet[] {
  const current: UnsettledSet = { primary: partition.primary, members: partition.inSync }
  return keeps(broken, 'unsettled-sets') ? [...partition.unsettled, current] : [current]
}

/** Whether nobody may serve the partition: its primary is held dead or has lost its memory, and no valid set took its place. */
export function isBlocked(topology: Topology, partition: PartitionRecord): boolean {
  return !isUp(topology.nodes[partition.primary]?.state)
}

/**
 * Who takes over once those that are not up are left out: the others of the in-sync set, if that is valid without more; else
 * also members of earlier sets that are not settled, for such a process keeps what it held until then (docs/protocol.md, "Takeover").
 * @returns undefined when even all of them together may lack acknowledged writes
 */
export function takeoverSet(
  partition: PartitionRecord,
  isNodeUp: (node: NodeIndex) => boolean,
  broken?: BrokenRules,
): readonly NodeIndex[] | undefined {
  const members = partition.inSync.filter(isNodeUp)
  // A death concerns all partitions of a node at once, and nearly all are settled: no lists are made for those.
  if (partition.unsettled.length === 0) {
    if (members.length > 0 && holds(partition.primary, partition.inSync, members)) return members
  }
  const sets = setsToHold(partition, broken)
  if (validInSync(sets, members)) return members
  const named = new Set(sets.flatMap((set) => [set.primary, ...set.members]))
  // Who is being brought up holds nothing to rely on.
  for (const { node } of partition.learners) named.delete(node)
  for (const node of partition.inSync) named.delete(node)
  const all = [...members, ...[...named].filter(isNodeUp)]
  return validInSync(sets, all) ? all : undefined
}

/** Whether an earlier set that is not settled names the node: it must keep what it holds then, and not be brought up anew. */
export function isKept(partition: PartitionRecord, node: NodeIndex): boolean {
  return partition.unsettled.some((set) => set.primary === node || set.members.includes(node))
}

/**
 * Whether those that are up may lack acknowledged writes, so that only the return of others, the present primary if it
 * serves, or Recovered can help.
 */
export function lacksValidSet(topology: Topology, partition: PartitionRecord, broken?: BrokenRules): boolean {
  const { nodes } = topology
  // Asked of all partitions again and again, and mostly so.
  let complete = true
  for (const node of partition.inSync) if (!isUp(nodes[node]?.state)) complete = false
  if (complete) return false
  return takeoverSet(partition, (node) => isUp(nodes[node]?.state), broken) === undefined
}
