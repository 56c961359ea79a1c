/**
 * The register's acceptors and proposers on a network that loses, repeats and reorders messages, with voters that crash and come back
 * with what their disk kept: whatever happens, one value at most is decided for a slot.
 */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { integerBetween, SeededRandom, uniform } from '../../../../src/kernel/random.ts'
import { Acceptor, type AcceptorState } from '../../../../src/topology/register/acceptor.ts'
import { Proposer, type ProposerStep } from '../../../../src/topology/register/proposer.ts'
import type { Vote } from '../../../../src/wire/control-frames.ts'

const SLOT = 8

type Message =
  | { readonly to: 'voter'; readonly at: number; readonly from: number; readonly step: ProposerStep }
  | { readonly to: 'proposer'; readonly at: number; readonly life: number; readonly vote: Vote }

interface Voter {
  acceptor: Acceptor
  /** What is on the disk. */
  disk: AcceptorState | undefined
  /** Written, not yet on the disk: answers that wait for it. */
  writing: { state: AcceptorState; synced: () => void }[]
}

interface Desk {
  proposer: Proposer
  life: number
}

/** One run; @returns the values decided by anybody. */
class Run {
  readonly decided: string[] = []
  readonly #random: SeededRandom
  readonly #voters: Voter[] = []
  readonly #desks: Desk[] = []
  readonly #names: string[]
  #messages: Message[] = []

  constructor(seed: number, voters: number, proposers: number) {
    this.#random = new SeededRandom(seed)
    this.#names = Array.from({ length: voters }, (_, i) => `v${i}`)
    for (const name of this.#names)
      this.#voters.push({ acceptor: new Acceptor(name, SLOT - 1), disk: undefined, writing: [] })
    for (let i = 0; i < proposers; i++) this.#desks.push({ proposer: this.#propose(i, 0), life: 0 })
  }

  go(steps: number): void {
    for (let i = 0; i < this.#desks.length; i++) this.#perform(i, this.#desk(i).proposer.current())
    for (let i = 0; i < steps; i++) this.#step()
  }

  /** Without faults, with one proposer at a time: it ends in a decision. */
  calm(): void {
    for (let round = 0; round < 50; round++) {
      for (const [i, desk] of this.#desks.entries()) {
        for (let attempt = 0; attempt < 3; attempt++) {
          this.#perform(i, desk.proposer.retry())
          this.#quiet()
        }
      }
    }
  }

  #quiet(): void {
    for (let i = 0; i < 10_000; i++) {
      for (const voter of this.#voters) while (voter.writing.length > 0) this.#sync(voter)
      const message = this.#messages.shift()
      if (message === undefined) return
      this.#deliver(message)
    }
  }

  #step(): void {
    const random = this.#random
    const roll = uniform(random)
    if (roll < 0.6 && this.#messages.length > 0) {
      const at = integerBetween(random, 0, this.#messages.length - 1)
      const message = this.#messages[at] as Message
      // One in ten is delivered twice, one in ten is lost.
      const fate = uniform(random)
      if (fate > 0.1) this.#messages.splice(at, 1)
      if (fate < 0.9) this.#deliver(message)
    } else if (roll < 0.85) {
      const voter = this.#voters[integerBetween(random, 0, this.#voters.length - 1)] as Voter
      if (voter.writing.length > 0) this.#sync(voter)
    } else if (roll < 0.9) {
      this.#crashVoter(integerBetween(random, 0, this.#voters.length - 1))
    } else if (roll < 0.97) {
      const i = integerBetween(random, 0, this.#desks.length - 1)
      this.#perform(i, this.#desk(i).proposer.retry())
    } else {
      // A process started again: its name is new, its rounds begin anew.
      const i = integerBetween(random, 0, this.#desks.length - 1)
      const desk = this.#desk(i)
      desk.life++
      desk.proposer = this.#propose(i, desk.life)
      this.#perform(i, desk.proposer.current())
    }
  }

  #sync(voter: Voter): void {
    const write = voter.writing.shift()
    if (write === undefined) return
    voter.disk = write.state
    write.synced()
  }

  #crashVoter(i: number): void {
    const voter = this.#voters[i] as Voter
    // Some of what was being written may have reached the disk, though nobody heard.
    const kept = integerBetween(this.#random, 0, voter.writing.length)
    if (kept > 0) voter.disk = voter.writing[kept - 1]?.state
    voter.writing = []
    voter.acceptor = new Acceptor(this.#names[i] as string, SLOT - 1, voter.disk)
  }

  #deliver(message: Message): void {
    if (message.to === 'proposer') {
      const desk = this.#desk(message.at)
      if (desk.life === message.life) this.#perform(message.at, desk.proposer.vote(message.vote))
      return
    }
    const voter = this.#voters[message.at] as Voter
    const { step, from } = message
    if (step.kind !== 'prepare' && step.kind !== 'accept') return
    const answer =
      step.kind === 'prepare'
        ? voter.acceptor.prepare(step.slot, step.ballot)
        : voter.acceptor.accept(step.slot, step.ballot, step.value)
    const { life } = this.#desk(from)
    const reply = (): void => {
      this.#messages.push({ to: 'proposer', at: from, life, vote: answer.vote })
    }
    if (answer.persist || voter.writing.length > 0)
      voter.writing.push({ state: voter.acceptor.state, synced: reply })
    else reply()
  }

  #perform(from: number, step: ProposerStep | undefined): void {
    if (step === undefined) return
    if (step.kind === 'decided') {
      this.decided.push(new TextDecoder().decode(step.value))
      return
    }
    for (let at = 0; at < this.#voters.length; at++) this.#messages.push({ to: 'voter', at, from, step })
  }

  #propose(i: number, life: number): Proposer {
    const value = new TextEncoder().encode(`value ${i}.${life}`)
    return new Proposer(`p${i}/${life}`, SLOT, this.#names, value, 1)
  }

  #desk(i: number): Desk {
    return this.#desks[i] as Desk
  }
}

describe('single-decree Paxos', () => {
  it('decides one value at most for a slot, whatever is lost, repeated, reordered or crashes', () => {
    let decisions = 0
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2 ** 31 }),
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 4 }),
        (seed, voters, proposers) => {
          const run = new Run(seed, voters, proposers)
          run.go(400)
          run.calm()
          decisions += run.decided.length
          expect(new Set(run.decided).size).toBeLessThanOrEqual(1)
        },
      ),
      { numRuns: 1500 },
    )
    expect(decisions).toBeGreaterThan(1000)
  })

  it('decides something once faults stop', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 31 }), fc.integer({ min: 1, max: 5 }), (seed, voters) => {
        const run = new Run(seed, voters, 3)
        run.go(200)
        run.calm()
        expect(new Set(run.decided).size).toBe(1)
      }),
      { numRuns: 300 },
    )
  })
})
