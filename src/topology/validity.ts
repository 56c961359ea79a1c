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
export function holdsAll(set: UnsettledSet, members: readonly NodeIndex[]): boolean {
  if (members.includes(set.primary)) return true
  let held = 0
  for (const member of set.members) if (members.includes(member)) held++
  return held >= set.members.length - majorityOf(set.members.length) + 1
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
 * Whether those of the in-sync set that are up may have lost acknowledged writes, so that only the return of the others, the
 * present primary if it serves, or Recovered can help.
 */
export function lacksValidSet(topology: Topology, partition: PartitionRecord, broken?: BrokenRules): boolean {
  const up = partition.inSync.filter((node) => isUp(topology.nodes[node]?.state))
  return up.length < partition.inSync.length && !validInSync(setsToHold(partition, broken), up)
}
