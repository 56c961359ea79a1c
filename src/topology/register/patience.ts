/**
 * How often the record is changed for what can wait. Each commit costs every node and every client some microseconds per partition,
 * and all of them at one moment; while data moves, thousands of steps are due. So the voter that drives lets steps that nothing waits
 * for come together for a while after the latest commit, and whoever proposed them waits so much longer before asking another voter.
 *
 * What ends an outage never waits, and what holds writes off for some milliseconds only. What restores a lost copy waits less than what moves
 * copies of which there are enough.
 */

import { hasAllCopies } from '../redundancy.ts'
import type { Topology } from '../topology.ts'
import type { PartitionAt, Transform } from '../transforms.ts'

const PAUSE_PER_PARTITION_MS = 0.4
const PAUSE_MAX_MS = 400
/** The same for steps of moves. */
const MOVE_PAUSE_PER_PARTITION_MS = 5
const MOVE_PAUSE_MAX_MS = 5000
/** The same for handovers, which hold writes off: those of several nodes come at one time and can share a commit. */
const HANDOVER_PAUSE_PER_PARTITION_MS = 0.06
const HANDOVER_PAUSE_MAX_MS = 60

/** How long after the latest commit this change may be held back for others to come; 0: not at all. */
export function pauseMs(topology: Topology, change: Transform): number {
  const { length } = topology.partitions
  // A takeover that hands over finds earlier sets that are not settled: it is to end an outage.
  if (change.kind === 'PrimaryMoved' && change.moves.every((move) => isSettled(topology, move)))
    return Math.min(HANDOVER_PAUSE_MAX_MS, HANDOVER_PAUSE_PER_PARTITION_MS * length)
  const named = waiting(change)
  if (named === undefined) return 0
  return named.every(({ partition }) => hasAllCopies(topology, partition))
    ? Math.min(MOVE_PAUSE_MAX_MS, MOVE_PAUSE_PER_PARTITION_MS * length)
    : Math.min(PAUSE_MAX_MS, PAUSE_PER_PARTITION_MS * length)
}

/**
 * Whether nodes may take up the change one after the other and not all at once: what it leads to is no more urgent than what went
 * before, and who meets a node that has not heard of it yet asks again.
 */
export function canSpread(topology: Topology, change: Transform): boolean {
  return change.kind === 'RingChanged' || pauseMs(topology, change) > 0
}

function isSettled({ partitions }: Topology, { partition }: PartitionAt): boolean {
  return partitions[partition]?.unsettled.length === 0
}

/** The partitions of a change that can come a while later without anything being worse; undefined: it can't. */
function waiting(change: Transform): readonly PartitionAt[] | undefined {
  switch (change.kind) {
    case 'LearnerAdded':
    case 'LearnerDropped':
    case 'LearnerPromoted':
      return change.learners
    case 'ReplicaRemoved':
      return change.replicas
    case 'Settled':
      return change.partitions
    default:
      return undefined
  }
}
