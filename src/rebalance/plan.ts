/**
 * What is to happen next so that the table of partitions becomes what the ring wants. A move is a sequence of commits, each of
 * which any node may propose after the one before, so that nothing but the record needs to be known to go on with it:
 *
 *     LearnerAdded → (the primary brings it up) LearnerPromoted → (the primary hands over) PrimaryMoved → ReplicaRemoved
 *
 * The driver proposes the first and the last; the two between need the primary, which finds in the record what to do
 * (`wantedHandover`). A replica is removed only when all that are wanted are in sync: a move never lowers the number of copies.
 *
 * Repairs, where copies are missing, come before moves and may run more at a time; a pause stops moves alone.
 */

import { wantedPlacement } from '../topology/placement.ts'
import { isUp, type NodeIndex, type PartitionRecord, type Topology } from '../topology/topology.ts'
import type { NodeAt, Transform } from '../topology/transforms.ts'
import { isBlocked, isKept } from '../topology/validity.ts'

/** With many partitions, one in so many may move at one time, so that few changes of the record are needed for all of them. */
const PARTITIONS_PER_MOVE = 32
/** Where copies are missing: so many are made one after the other all the same, and the fewer changes, the sooner all are there. */
const PARTITIONS_PER_REPAIR = 2

export interface TransferLimits {
  /** Partitions a node receives, and a primary sends, at one time to move them; more where there are many partitions. */
  readonly movesPerNodeMax: number
  /** The same where copies are missing. */
  readonly repairsPerNodeMax: number
}

/** Partitions that lack a replica, as the plan sees them. */
interface Lack {
  readonly partition: number
  readonly node: NodeIndex
  /** Copies in sync on nodes that are up. */
  readonly copies: number
  readonly isRepair: boolean
}

/**
 * The next changes.
 * @param isReachable whether a node is held alive, so that bringing it up can succeed
 */
export function nextMoves(
  topology: Topology,
  limits: TransferLimits,
  isReachable: (node: NodeIndex) => boolean,
): Transform[] {
  const wanted = wantedPlacement(topology)
  // Asked once per node: there are many partitions.
  const able = topology.nodes.map(({ state }, node) => state === 'active' && isReachable(node))
  const incoming = topology.nodes.map(() => 0)
  const outgoing = topology.nodes.map(() => 0)
  for (const { primary, learners } of topology.partitions) {
    for (const { node } of learners) {
      incoming[node] = (incoming[node] ?? 0) + 1
      outgoing[primary] = (outgoing[primary] ?? 0) + 1
    }
  }

  const dropped: Extract<Transform, { kind: 'LearnerDropped' }>['learners'][number][] = []
  const removed: NodeAt[] = []
  const lacks: Lack[] = []
  topology.partitions.forEach((record, partition) => {
    const places = wanted[partition] ?? []
    // Nearly all partitions are as they should be, nearly always.
    if (isAsWanted(record, places) || isBlocked(topology, record)) return
    const at = { partition, partitionEpoch: record.partitionEpoch }
    for (const { node, session } of record.learners)
      if (!places.includes(node)) dropped.push({ ...at, node, session })
    const copies = record.inSync.filter((node) => isUp(topology.nodes[node]?.state)).length
    for (const node of places) {
      if (able[node] !== true) continue
      if (record.inSync.includes(node) || record.learners.some((learner) => learner.node === node)) continue
      if (isKept(record, node)) continue
      lacks.push({ partition, node, copies, isRepair: copies < places.length })
    }
    for (const node of superfluous(topology, record, places)) removed.push({ ...at, node })
  })

  const movesMax = Math.max(
    limits.movesPerNodeMax,
    Math.floor(topology.partitions.length / PARTITIONS_PER_MOVE),
  )
  const repairsMax = Math.max(
    limits.repairsPerNodeMax,
    Math.floor(topology.partitions.length / PARTITIONS_PER_REPAIR),
  )
  // What has the fewest copies comes first.
  lacks.sort((a, b) => Number(b.isRepair) - Number(a.isRepair) || a.copies - b.copies)
  const added: NodeAt[] = []
  for (const { partition, node, isRepair } of lacks) {
    if (topology.ring.paused && !isRepair) continue
    const { partitionEpoch, primary } = topology.partitions[partition] as PartitionRecord
    const most = isRepair ? repairsMax : movesMax
    if ((incoming[node] ?? 0) >= most || (outgoing[primary] ?? 0) >= most) continue
    incoming[node] = (incoming[node] ?? 0) + 1
    outgoing[primary] = (outgoing[primary] ?? 0) + 1
    added.push({ partition, partitionEpoch, node })
  }

  const changes: Transform[] = []
  if (dropped.length > 0) changes.push({ kind: 'LearnerDropped', learners: dropped })
  if (added.length > 0) changes.push({ kind: 'LearnerAdded', learners: added })
  if (removed.length > 0) changes.push({ kind: 'ReplicaRemoved', replicas: removed })
  return changes
}

/** Whether exactly those hold it that should, each brought up already. */
function isAsWanted({ inSync, learners }: PartitionRecord, places: readonly NodeIndex[]): boolean {
  if (learners.length > 0 || inSync.length !== places.length) return false
  for (const node of places) if (!inSync.includes(node)) return false
  return true
}

/** Members that nobody wants any more, once all that are wanted are in sync. */
function superfluous(
  topology: Topology,
  { primary, inSync, unsettled }: PartitionRecord,
  places: readonly NodeIndex[],
): NodeIndex[] {
  if (unsettled.length > 0 || places.length === 0) return []
  if (!places.every((node) => inSync.includes(node) && isUp(topology.nodes[node]?.state))) return []
  return inSync.filter((node) => node !== primary && !places.includes(node))
}

/**
 * To whom the primary of a partition should hand it over now; undefined when it should keep it. The primary itself asks, freezes
 * writes and proposes PrimaryMoved.
 */
export function wantedHandover(
  topology: Topology,
  partition: number,
  wanted: readonly (readonly NodeIndex[])[] = wantedPlacement(topology),
): NodeIndex | undefined {
  const record = topology.partitions[partition]
  const places = wanted[partition]
  if (record === undefined || places === undefined) return undefined
  const { primary, inSync, learners, unsettled } = record
  // Whoever is being brought up would have to begin anew under another primary.
  if (unsettled.length > 0 || learners.length > 0 || places[0] === primary) return undefined
  const able = places.filter((node) => inSync.includes(node) && topology.nodes[node]?.state === 'active')
  const [first] = able
  if (first === undefined) return undefined
  const mustGo = !places.includes(primary)
  if (mustGo) return places.every((node) => inSync.includes(node)) ? first : undefined
  // For balance alone: to the one that the ring wants, or to nobody.
  return first === places[0] && !topology.ring.paused ? first : undefined
}
