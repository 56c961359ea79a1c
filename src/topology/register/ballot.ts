/** The order of proposals for one slot: by round, then by the proposer's name, so that no two are equal. */

import type { Ballot } from '../../wire/control-frames.ts'

/** Negative, zero or positive as `a` stands below, at or above `b`. */
export function compareBallots(a: Ballot, b: Ballot): number {
  if (a.round !== b.round) return a.round - b.round
  return a.proposer === b.proposer ? 0 : a.proposer < b.proposer ? -1 : 1
}
