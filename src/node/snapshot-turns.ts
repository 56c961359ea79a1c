/**
 * When a node writes its next snapshot: the nodes of a cluster take turns, so that no two read and write all they hold at the same time.
 *
 * Each interval of the wall clock is cut into as many parts as there are nodes, and a node begins with its own part. Nothing is agreed upon:
 * the topology says who has which place, and clocks that differ by less than a part keep them apart.
 */

/** Shorter than the shortest interval, so that a timer that fired early does not make one turn two. */
const SOON_MS = 500

export interface SnapshotTurn {
  readonly intervalMs: number
  /** Since the Unix epoch. */
  readonly wallMs: number
  /** Of `places`, counted from 0. Below 0: the node has none yet. */
  readonly place: number
  readonly places: number
}

/** @returns milliseconds to the node's turn, 500 ms to 500 ms more than an interval */
export function untilTurnMs({ intervalMs, wallMs, place, places }: SnapshotTurn): number {
  const turnMs = (intervalMs * Math.max(0, place)) / Math.max(1, places)
  const earliestMs = wallMs + SOON_MS
  const sinceTurnMs = (((earliestMs - turnMs) % intervalMs) + intervalMs) % intervalMs
  return SOON_MS + (sinceTurnMs === 0 ? 0 : intervalMs - sinceTurnMs)
}
