/**
 * When this node was last in contact with a majority of the voters, none of whom had accepted a later epoch than this node knows.
 * A node without it for long is cut off: others may decide without it (docs/protocol.md, "Reads and leases").
 *
 * Time counts from the sending of the round, so that what a voter learned since can't be older than what is claimed.
 */

import type { Contacted } from '../../wire/control-frames.ts'
import { majorityOf } from '../topology.ts'

interface Round {
  readonly number: number
  readonly sentMs: number
  /** The epoch this node knew when it asked. */
  readonly epoch: number
  readonly heard: Set<string>
}

const ROUNDS_OPEN = 8

export class VoterContact {
  #rounds: Round[] = []
  #number = 0
  #contactMs = Number.NEGATIVE_INFINITY

  /** Monotonic time of the sending of the last round that a majority answered; −∞: there was none. */
  get contactMs(): number {
    return this.#contactMs
  }

  /** @returns the number of a new round. */
  begin(nowMs: number, epoch: number): number {
    this.#rounds.push({ number: ++this.#number, sentMs: nowMs, epoch, heard: new Set() })
    if (this.#rounds.length > ROUNDS_OPEN) this.#rounds.shift()
    return this.#number
  }

  /** @param voters those of the epoch this node knows */
  heard(answer: Contacted, epoch: number, voters: readonly string[]): void {
    const at = this.#rounds.findIndex((round) => round.number === answer.round)
    const round = this.#rounds[at]
    if (round === undefined) return
    // Whoever has accepted a later epoch may know that it is decided.
    if (answer.accepted > round.epoch || round.epoch !== epoch || !voters.includes(answer.voter)) return
    round.heard.add(answer.voter)
    if (round.heard.size < majorityOf(voters.length)) return
    this.#contactMs = Math.max(this.#contactMs, round.sentMs)
    this.#rounds = this.#rounds.slice(at + 1)
  }
}
