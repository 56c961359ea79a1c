/**
 * How often the record is changed for what can wait. Each commit costs every node and every client some microseconds per partition,
 * and all of them at one moment; while data moves, thousands of steps are due. So the voter that drives lets steps of moves that
 * nothing waits for come together for a while after the latest commit, and whoever proposed them waits so much longer before
 * asking another voter.
 *
 * What ends an outage, or holds writes off until it is decided, never waits.
 */

import type { Topology } from '../topology.ts'
import type { Transform } from '../transforms.ts'

const PAUSE_PER_PARTITION_MS = 0.4
const PAUSE_MAX_MS = 400

/** Between two commits of what can wait, in milliseconds. */
export function pauseMs({ partitions }: Topology): number {
  return Math.min(PAUSE_MAX_MS, PAUSE_PER_PARTITION_MS * partitions.length)
}

/** Whether nothing is worse for this change coming a while later. */
export function canWait({ kind }: Transform): boolean {
  switch (kind) {
    case 'LearnerAdded':
    case 'LearnerDropped':
    case 'LearnerPromoted':
    case 'ReplicaRemoved':
    case 'Settled':
      return true
    default:
      return false
  }
}
