/**
 * A node's attempts to have a value decided for one slot (the next epoch): prepare at a majority of the voters, take over the
 * value of the highest ballot that any of them has accepted, have that accepted by a majority.
 *
 * A value it had to take over is decided as well as its own; the caller looks at what was decided. Rounds only rise, and the
 * name holds the process's incarnation, so that a ballot is never used twice, not even after a restart.
 *
 * A state machine without clock or network: the caller sends what it asks for to every voter, calls `retry` when an attempt has
 * gone on for too long (jittered, since two that prepare in turn can hold each other up), and drops it once the slot is known
 * to be decided.
 */

import type { AcceptedValue, Ballot, Vote } from '../../wire/control-frames.ts'
import { majorityOf } from '../topology.ts'
import { compareBallots } from './ballot.ts'

/** What the caller is to do. */
export type ProposerStep =
  | { readonly kind: 'prepare'; readonly slot: number; readonly ballot: Ballot }
  | {
      readonly kind: 'accept'
      readonly slot: number
      readonly ballot: Ballot
      readonly value: Uint8Array
    }
  | { readonly kind: 'decided'; readonly slot: number; readonly value: Uint8Array }
  /** There was nothing to complete and nothing of its own to propose. */
  | { readonly kind: 'idle'; readonly slot: number }

type Phase = 'preparing' | 'accepting' | 'over'

export class Proposer {
  readonly slot: number
  readonly #voters: ReadonlySet<string>
  readonly #own: Uint8Array | undefined
  #phase: Phase = 'preparing'
  #ballot: Ballot
  /** The highest round heard of. */
  #highestRound: number
  /** A voter has promised a higher ballot to somebody else. */
  #contested = false
  #heard = new Set<string>()
  /** The accepted value of the highest ballot that a promise told of. */
  #found: AcceptedValue | undefined
  #value: Uint8Array | undefined

  /**
   * @param name unique to this process
   * @param voters those of epoch slot − 1
   * @param value what to propose; undefined: only completes what others began
   * @param round above any this process has used for the slot
   */
  constructor(
    name: string,
    slot: number,
    voters: readonly string[],
    value: Uint8Array | undefined,
    round: number,
  ) {
    this.slot = slot
    this.#voters = new Set(voters)
    this.#own = value
    this.#ballot = { round, proposer: name }
    this.#highestRound = round
  }

  /** The highest round it has used or heard of. */
  get round(): number {
    return this.#highestRound
  }

  get isOver(): boolean {
    return this.#phase === 'over'
  }

  /** What is to be sent now: at the beginning, and again to a voter that may have missed it. */
  current(): ProposerStep | undefined {
    const { slot } = this
    const ballot = this.#ballot
    if (this.#phase === 'preparing') return { kind: 'prepare', slot, ballot }
    if (this.#phase === 'accepting' && this.#value !== undefined)
      return { kind: 'accept', slot, ballot, value: this.#value }
    return undefined
  }

  /** The attempt took too long: the same question again when it was merely lost, a higher ballot when it was refused. */
  retry(): ProposerStep | undefined {
    if (this.#contested && this.#phase !== 'over') {
      this.#ballot = { round: ++this.#highestRound, proposer: this.#ballot.proposer }
      this.#contested = false
      this.#phase = 'preparing'
      this.#heard = new Set()
      this.#found = undefined
      this.#value = undefined
    }
    return this.current()
  }

  vote(vote: Vote): ProposerStep | undefined {
    if (vote.slot !== this.slot || this.#phase === 'over' || !this.#voters.has(vote.voter)) return undefined
    if (compareBallots(vote.ballot, this.#ballot) !== 0) return undefined
    switch (vote.kind) {
      case 'promised':
        return this.#phase === 'preparing' ? this.#promised(vote.voter, vote.accepted) : undefined
      case 'accepted':
        return this.#phase === 'accepting' ? this.#accepted(vote.voter) : undefined
      case 'refused':
        this.#highestRound = Math.max(this.#highestRound, vote.promised.round)
        this.#contested = true
        return undefined
      default:
        // Whoever is behind or ahead: learning is the caller's.
        return undefined
    }
  }

  #promised(voter: string, accepted: AcceptedValue | undefined): ProposerStep | undefined {
    this.#heard.add(voter)
    const found = this.#found
    if (accepted !== undefined && (found === undefined || compareBallots(accepted.ballot, found.ballot) > 0))
      this.#found = accepted
    if (!this.#isMajority()) return undefined
    this.#value = this.#found?.value ?? this.#own
    if (this.#value === undefined) {
      this.#phase = 'over'
      return { kind: 'idle', slot: this.slot }
    }
    this.#phase = 'accepting'
    this.#heard = new Set()
    return this.current()
  }

  #accepted(voter: string): ProposerStep | undefined {
    this.#heard.add(voter)
    if (!this.#isMajority() || this.#value === undefined) return undefined
    this.#phase = 'over'
    return { kind: 'decided', slot: this.slot, value: this.#value }
  }

  #isMajority(): boolean {
    return this.#heard.size >= majorityOf(this.#voters.size)
  }
}
