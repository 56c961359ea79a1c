/**
 * What is held true of one process, and how two opinions become one.
 *
 * Joining is commutative, associative and idempotent, so nodes that heard the same agree, in whatever order they heard it:
 *
 * - `left` and proven dead are final. No counter takes them back: such a process is gone, and a restart is another incarnation.
 * - Otherwise the higher counter wins, and among equal ones the worse opinion. Only the process itself raises its counter, so
 *   only it can contradict a suspicion, or a death that was concluded from silence.
 */

import type { MemberStatus } from '../wire/gossip-frames.ts'

export interface MemberState {
  readonly counter: number
  readonly status: MemberStatus
  readonly proven: boolean
}

const RANKS: Readonly<Record<MemberStatus, number>> = { alive: 0, suspect: 1, dead: 2, left: 3 }

/** Whether the process is gone for good. */
export function isFinal(state: MemberState): boolean {
  return state.proven || state.status === 'left'
}

export function joinStates(a: MemberState, b: MemberState): MemberState {
  if (isFinal(a) || isFinal(b)) {
    return {
      counter: Math.max(a.counter, b.counter),
      status: a.status === 'left' || b.status === 'left' ? 'left' : 'dead',
      proven: a.proven || b.proven,
    }
  }
  if (a.counter !== b.counter) return a.counter > b.counter ? a : b
  return RANKS[a.status] >= RANKS[b.status] ? a : b
}

export function sameState(a: MemberState, b: MemberState): boolean {
  return a.counter === b.counter && a.status === b.status && a.proven === b.proven
}
