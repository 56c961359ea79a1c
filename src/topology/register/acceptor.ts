/**
 * A voter's part in deciding the next epoch: single-decree Paxos (Lamport, "Paxos Made Simple", 2001), one instance per epoch.
 *
 * Only the slot behind the epoch it knows is open: an earlier one is decided, a later one waits until this voter has learned
 * what stands between, since it may not be a voter there. So one promise and one accepted value are all it ever keeps.
 *
 * Invariants: it accepts nothing below what it promised; whatever it answers was on the disk before. The second is the
 * caller's part: when `persist` is set, `state` has to be written durably before `vote` is sent. An answer that changes
 * nothing repeats what earlier answers said, whose writes may still be under way: it waits for them, too.
 */

import type { AcceptedValue, Ballot, Vote } from '../../wire/control-frames.ts'
import { compareBallots } from './ballot.ts'

/** What a voter must never forget. */
export interface AcceptorState {
  readonly slot: number
  readonly promised: Ballot | undefined
  readonly accepted: AcceptedValue | undefined
}

export interface Answer {
  readonly vote: Vote
  readonly persist: boolean
}

export class Acceptor {
  readonly voter: string
  #state: AcceptorState

  /**
   * @param epoch the last epoch this node knows
   * @param kept what was persisted; of an earlier slot it is forgotten
   */
  constructor(voter: string, epoch: number, kept?: AcceptorState) {
    this.voter = voter
    this.#state = kept !== undefined && kept.slot > epoch ? kept : open(epoch + 1)
  }

  get state(): AcceptorState {
    return this.#state
  }

  /** The highest epoch known or accepted: somebody may know that it is decided. */
  get highestAccepted(): number {
    const { slot, accepted } = this.#state
    return accepted === undefined ? slot - 1 : slot
  }

  prepare(slot: number, ballot: Ballot): Answer {
    const closed = this.#closed(slot, ballot)
    if (closed !== undefined) return closed
    const { promised, accepted } = this.#state
    const order = promised === undefined ? 1 : compareBallots(ballot, promised)
    if (promised !== undefined && order < 0) return this.#refuse(slot, ballot, promised)
    if (order > 0) this.#state = { slot, promised: ballot, accepted }
    return { vote: { kind: 'promised', slot, ballot, voter: this.voter, accepted }, persist: order > 0 }
  }

  accept(slot: number, ballot: Ballot, value: Uint8Array): Answer {
    const closed = this.#closed(slot, ballot)
    if (closed !== undefined) return closed
    const { promised, accepted } = this.#state
    if (promised !== undefined && compareBallots(ballot, promised) < 0)
      return this.#refuse(slot, ballot, promised)
    const repeated = accepted !== undefined && compareBallots(ballot, accepted.ballot) === 0
    if (!repeated) this.#state = { slot, promised: ballot, accepted: { ballot, value } }
    return { vote: { kind: 'accepted', slot, ballot, voter: this.voter }, persist: !repeated }
  }

  /** The node has learned this epoch: its slot, and all before, are over. */
  learned(epoch: number): void {
    if (epoch >= this.#state.slot) this.#state = open(epoch + 1)
  }

  #closed(slot: number, ballot: Ballot): Answer | undefined {
    const epoch = this.#state.slot - 1
    if (slot === epoch + 1) return undefined
    const kind = slot <= epoch ? 'decided' : 'behind'
    return { vote: { kind, slot, ballot, voter: this.voter, epoch }, persist: false }
  }

  #refuse(slot: number, ballot: Ballot, promised: Ballot): Answer {
    return { vote: { kind: 'refused', slot, ballot, voter: this.voter, promised }, persist: false }
  }
}

function open(slot: number): AcceptorState {
  return { slot, promised: undefined, accepted: undefined }
}
