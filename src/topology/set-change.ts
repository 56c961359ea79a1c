/**
 * Changes of one partition's primary and in-sync set. Each keeps the set it replaces in `unsettled` and raises the
 * partition's epoch: nothing that was ordered before can be taken for something ordered after.
 */

import type { PartitionEpoch } from '../kernel/ids.ts'
import { type BrokenRules, keeps } from '../kernel/rule-switch.ts'
import { UNSETTLED_MAX } from './record-codec.ts'
import { isUp, type NodeIndex, type NodeRecord, type PartitionRecord, type UnsettledSet } from './topology.ts'
import { takeoverSet } from './validity.ts'

/**
 * The partition with this in-sync set, the primary first.
 * @returns undefined when its unsettled sets are too many to keep one more
 */
export function withSet(
  partition: PartitionRecord,
  members: readonly NodeIndex[],
  primary: NodeIndex,
  broken?: BrokenRules,
): PartitionRecord | undefined {
  const replaced: UnsettledSet = { primary: partition.primary, members: partition.inSync }
  const earlier = keeps(broken, 'unsettled-sets') ? partition.unsettled : []
  const unsettled = earlier.some((set) => isSameSet(set, replaced)) ? earlier : [...earlier, replaced]
  if (unsettled.length > UNSETTLED_MAX) return undefined
  return {
    ...partition,
    partitionEpoch: (partition.partitionEpoch + 1) as PartitionEpoch,
    primary,
    inSync: [primary, ...members.filter((member) => member !== primary)],
    learners: partition.learners.filter(({ node }) => !members.includes(node)),
    unsettled,
  }
}

/**
 * Takes nodes that are not up out of every set that can do without them, and out of all learners. Where the others would not
 * make a valid set, not even with those that left it and are not settled yet, it stays as it is: whoever returns with its
 * memory finds its place.
 * @returns the same list when nothing changes
 */
export function withoutLost(
  partitions: readonly PartitionRecord[],
  nodes: readonly NodeRecord[],
  broken?: BrokenRules,
): readonly PartitionRecord[] {
  const up = nodes.map((node) => isUp(node.state))
  const primaries = countPrimaries(partitions, nodes.length)
  let changed: PartitionRecord[] | undefined
  partitions.forEach((partition, p) => {
    const next = withoutLostIn(partition, nodes, up, primaries, broken)
    if (next === partition) return
    changed ??= partitions.slice()
    changed[p] = next
  })
  return changed ?? partitions
}

function withoutLostIn(
  partition: PartitionRecord,
  nodes: readonly NodeRecord[],
  up: readonly boolean[],
  primaries: number[],
  broken: BrokenRules | undefined,
): PartitionRecord {
  const isNodeUp = (node: NodeIndex): boolean => up[node] === true
  const learners = partition.learners.filter(({ node }) => up[node] === true)
  const kept = learners.length === partition.learners.length ? partition : { ...partition, learners }
  if (partition.inSync.every(isNodeUp)) return kept
  const members = takeoverSet(kept, isNodeUp, broken)
  if (members === undefined) return kept
  // Who was in sync until now misses the least.
  const present = members.filter((node) => partition.inSync.includes(node))
  const candidates = present.length > 0 ? present : members
  const stays = isNodeUp(partition.primary)
  const primary = stays ? partition.primary : choosePrimary(candidates, nodes, primaries)
  const next = withSet(kept, members, primary, broken)
  if (next === undefined) return kept
  primaries[partition.primary] = (primaries[partition.primary] ?? 0) - 1
  primaries[primary] = (primaries[primary] ?? 0) + 1
  return next
}

/** The member that is primary of the fewest partitions for its weight, so that a dead node's work spreads; nodes that leave come last. */
function choosePrimary(
  members: readonly NodeIndex[],
  nodes: readonly NodeRecord[],
  primaries: readonly number[],
): NodeIndex {
  let best = members[0] as NodeIndex
  let lowest = Number.POSITIVE_INFINITY
  for (const member of members) {
    const { weight, state } = nodes[member] as NodeRecord
    const load = (primaries[member] ?? 0) / weight + (state === 'leaving' ? 1e9 : 0)
    if (load >= lowest) continue
    best = member
    lowest = load
  }
  return best
}

function countPrimaries(partitions: readonly PartitionRecord[], nodes: number): number[] {
  const counts = new Array<number>(nodes).fill(0)
  for (const { primary } of partitions) counts[primary] = (counts[primary] ?? 0) + 1
  return counts
}

function isSameSet(a: UnsettledSet, b: UnsettledSet): boolean {
  return (
    a.primary === b.primary &&
    a.members.length === b.members.length &&
    a.members.every((member) => b.members.includes(member))
  )
}
