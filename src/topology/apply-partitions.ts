/** Changes of single partitions: who holds copies, who is in sync, who orders the writes (docs/protocol.md, "Takeover"). */

import type { Epoch, PartitionEpoch } from '../kernel/ids.ts'
import { type BrokenRules, keeps } from '../kernel/rule-switch.ts'
import { type Outcome, refuse } from './outcome.ts'
import { withSet } from './set-change.ts'
import { isUp, type LearnerRecord, type NodeIndex, type PartitionRecord, type Topology } from './topology.ts'
import type { PartitionAt, Transform } from './transforms.ts'
import { isKept, lacksValidSet, setsToHold, validInSync } from './validity.ts'

export type PartitionTransform = Extract<
  Transform,
  {
    kind:
      | 'LearnerAdded'
      | 'LearnerDropped'
      | 'LearnerPromoted'
      | 'InSyncShrunk'
      | 'PrimaryMoved'
      | 'ReplicaRemoved'
      | 'Settled'
      | 'Recovered'
  }
>

/** What a change makes of one partition; undefined when it does not apply there. */
type Change<Item> = (partition: PartitionRecord, items: readonly Item[]) => PartitionRecord | undefined

export function applyToPartitions(
  topology: Topology,
  transform: PartitionTransform,
  broken?: BrokenRules,
): Outcome {
  const { nodes } = topology
  const isActive = (node: NodeIndex): boolean => nodes[node]?.state === 'active'
  const isServing = (node: NodeIndex): boolean => isUp(nodes[node]?.state)
  const isSettled = (partition: PartitionRecord): boolean =>
    partition.unsettled.length === 0 || !keeps(broken, 'unsettled-sets')

  switch (transform.kind) {
    case 'LearnerAdded': {
      // The commit that this change becomes part of names the session.
      const session = (topology.epoch + 1) as Epoch
      return each(topology, transform.learners, (partition, items) => {
        const added = items.map(({ node }): LearnerRecord => ({ node, session }))
        const held = [...partition.inSync, ...partition.learners.map(({ node }) => node)]
        if (added.some(({ node }) => held.includes(node) || !isActive(node))) return undefined
        // A learner forgets, and what these hold may be needed until the earlier sets are settled.
        if (added.some(({ node }) => isKept(partition, node))) return undefined
        if (hasTwice(added.map(({ node }) => node))) return undefined
        return { ...partition, learners: [...partition.learners, ...added] }
      })
    }
    case 'LearnerDropped':
      return each(topology, transform.learners, (partition, items) => {
        if (!items.every((item) => isLearner(partition, item))) return undefined
        const learners = partition.learners.filter(({ node }) => !items.some((item) => item.node === node))
        return { ...partition, learners }
      })
    case 'LearnerPromoted': {
      const anySession = !keeps(broken, 'learner-session')
      return each(topology, transform.learners, (partition, items) => {
        const known = items.every(
          (item) =>
            isLearner(partition, item) ||
            (anySession && partition.learners.some(({ node }) => node === item.node)),
        )
        const promoted = items.map(({ node }) => node)
        if (!known || hasTwice(promoted) || !isSettled(partition)) return undefined
        return withSet(partition, [...partition.inSync, ...promoted], partition.primary, broken)
      })
    }
    case 'InSyncShrunk':
      return each(topology, transform.members, (partition, items) => {
        const { primary, inSync } = partition
        const leave = items.map(({ node }) => node)
        if (leave.includes(primary) || !leave.every((node) => inSync.includes(node)) || !isServing(primary))
          return undefined
        const members = inSync.filter((node) => !leave.includes(node))
        // Only a primary that serves proposes this, and one that serves holds what all earlier sets acknowledged.
        const unsettled = partition.unsettled.map((set) => ({ ...set, primary }))
        const rebased = { ...partition, unsettled }
        if (!validInSync(setsToHold(rebased, broken), members)) return undefined
        return withSet(rebased, members, primary, broken)
      })
    case 'PrimaryMoved':
      return each(topology, transform.moves, (partition, items) => {
        const to = items[0]?.node as NodeIndex
        const { inSync, primary } = partition
        if (items.length > 1 || to === primary || !inSync.includes(to) || !isServing(to)) return undefined
        // The set stays the same and whoever leads it hears all of it first. So this needs no settled sets: a takeover that
        // can't get the longest log hands over to its holder, and is never settled itself.
        return validInSync(setsToHold(partition, broken), inSync)
          ? withSet(partition, inSync, to, broken)
          : undefined
      })
    case 'ReplicaRemoved':
      return each(topology, transform.replicas, (partition, items) => {
        const { inSync, primary } = partition
        const leave = items.map(({ node }) => node)
        if (leave.includes(primary) || !leave.every((node) => inSync.includes(node))) return undefined
        const members = inSync.filter((node) => !leave.includes(node))
        return isSettled(partition) ? withSet(partition, members, primary, broken) : undefined
      })
    case 'Settled':
      return each(topology, transform.partitions, (partition) =>
        partition.unsettled.length === 0 ? undefined : { ...partition, unsettled: [] },
      )
    case 'Recovered':
      return each(topology, transform.partitions, (partition, items) => {
        const node = items[0]?.node as NodeIndex
        const { inSync, primary } = partition
        if (items.length > 1 || !isServing(node) || !lacksValidSet(topology, partition, broken))
          return undefined
        // It may have come back since this was asked for, with what nobody else holds.
        if (node !== primary && isServing(primary)) return undefined
        // A member that survived holds more than anybody else.
        if (!inSync.includes(node) && inSync.some(isServing)) return undefined
        const partitionEpoch = (partition.partitionEpoch + 1) as PartitionEpoch
        return {
          partitionEpoch,
          primary: node,
          inSync: [node],
          learners: [],
          unsettled: [],
          recoveredAt: partitionEpoch,
        }
      })
  }
}

/** Applies a change to each partition it names, with all items of a partition at once, where the epochs are as expected. */
function each<Item extends PartitionAt>(
  topology: Topology,
  items: readonly Item[],
  change: Change<Item>,
): Outcome {
  const byPartition = new Map<number, Item[]>()
  for (const item of items) {
    const list = byPartition.get(item.partition)
    if (list === undefined) byPartition.set(item.partition, [item])
    else list.push(item)
  }
  const partitions = topology.partitions.slice()
  let applied = 0
  for (const [p, list] of byPartition) {
    const partition = partitions[p]
    if (partition === undefined || list.some((item) => item.partitionEpoch !== partition.partitionEpoch))
      continue
    const next = change(partition, list)
    if (next === undefined) continue
    partitions[p] = next
    applied++
  }
  if (applied === 0) return refuse('no partition is as the change expects it')
  return { ...topology, partitions }
}

function isLearner(partition: PartitionRecord, { node, session }: LearnerRecord): boolean {
  return partition.learners.some((learner) => learner.node === node && learner.session === session)
}

function hasTwice(nodes: readonly NodeIndex[]): boolean {
  return new Set(nodes).size < nodes.length
}
