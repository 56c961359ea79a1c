/**
 * The register at work: this node's acceptor with its disk, and its attempts to have the next epoch decided.
 *
 * Changes that are to be made are collected; one attempt at a time proposes all that apply to the topology as it is. What is decided
 * goes to the control plane, which learns it and tells the others; then what is left is looked at again. A value that this node
 * accepted and that nobody seems to finish is finished here.
 *
 * Votes leave only once what they say is on the disk. When the disk fails, this node votes no more until a write succeeds again.
 */

import type { Clock } from '../kernel/clock.ts'
import type { Log } from '../kernel/log.ts'
import { type Random, uniform } from '../kernel/random.ts'
import type { Scheduler, Timer } from '../kernel/scheduler.ts'
import { Acceptor } from '../topology/register/acceptor.ts'
import type { Chain } from '../topology/register/chain.ts'
import { pauseMs } from '../topology/register/patience.ts'
import { Proposer, type ProposerStep } from '../topology/register/proposer.ts'
import type { RegisterStore } from '../topology/register/register-store.ts'
import { changeKey, draftValue } from '../topology/register/value.ts'
import type { Transform } from '../topology/transforms.ts'
import { voterName, voterNames } from '../topology/voters.ts'
import type { ControlMessage, Vote } from '../wire/control-frames.ts'

export interface RegisterPorts {
  readonly clock: Clock
  readonly scheduler: Scheduler
  readonly random: Random
  readonly log: Log
  readonly store: RegisterStore
  readonly chain: Chain
  /** @returns false when it can't be reached now. */
  send(voter: string, message: ControlMessage): boolean
  /** A value was decided by an attempt of this node. */
  decided(slot: number, value: Uint8Array): void
}

type Question = Extract<ControlMessage, { kind: 'prepare' | 'accept' }>

const AGENDA_MAX = 8192
const ATTEMPT_MS = 250
const CONTESTED_MIN_MS = 10
const CONTESTED_MAX_MS = 100
const DISK_RETRY_MS = 1000
/** An accepted value that is not known to be decided by then is finished by whoever holds it. */
const FINISH_AFTER_MS = 400

export class Register {
  readonly #ports: RegisterPorts
  readonly #name: string
  readonly #acceptor: Acceptor
  /** What is to be changed, by its key. */
  readonly #agenda = new Map<string, Transform>()
  #proposer: Proposer | undefined
  #lastSlot = 0
  #lastRound = 0
  #attempt: Timer | undefined
  #finish: Timer | undefined
  #diskRetry: Timer | undefined
  #patience: Timer | undefined
  /** How long after the latest commit that timer ends. */
  #patienceMs = 0
  #adoptedMs = Number.NEGATIVE_INFINITY
  #isScheduled = false
  #closed = false
  /** Settles when all writes begun so far have ended; true: all of them succeeded. */
  #written: Promise<boolean> = Promise.resolve(true)
  #diskFailed = false

  /** @param name this process, as a proposer */
  constructor(nodeId: string, incarnation: string, ports: RegisterPorts) {
    this.#ports = ports
    this.#name = `${nodeId}/${incarnation}`
    const { store, chain } = ports
    this.#acceptor = new Acceptor(voterName(nodeId, store.diskId), chain.epoch, store.kept.acceptor)
    this.#armFinish()
  }

  /** This node, as a voter. */
  get voter(): string {
    return this.#acceptor.voter
  }

  /** The highest epoch it knows or has accepted a value for. */
  get highestAccepted(): number {
    return this.#acceptor.highestAccepted
  }

  /** Whether its votes can be trusted to be kept. */
  get isSound(): boolean {
    return !this.#diskFailed
  }

  /** A proposer asks. `answer` is called once the answer may be heard; never, while the disk fails. */
  ask(question: Question, answer: (vote: Vote) => void): void {
    const { vote, persist } =
      question.kind === 'prepare'
        ? this.#acceptor.prepare(question.slot, question.ballot)
        : this.#acceptor.accept(question.slot, question.ballot, question.value)
    if (vote.kind === 'decided' || vote.kind === 'behind') {
      answer(vote)
      return
    }
    if (persist) this.#save()
    if (persist && question.kind === 'accept') this.#armFinish()
    this.#written.then(
      (ok) => {
        if (ok && !this.#closed) answer(vote)
      },
      () => {},
    )
  }

  /** A voter answered an attempt of this node. */
  vote(vote: Vote): void {
    const proposer = this.#proposer
    if (proposer === undefined || this.#closed) return
    this.#perform(proposer.vote(vote))
    if (vote.kind === 'refused' && vote.slot === proposer.slot && !proposer.isOver) {
      const spread = CONTESTED_MIN_MS + uniform(this.#ports.random) * (CONTESTED_MAX_MS - CONTESTED_MIN_MS)
      this.#armAttempt(spread)
    }
  }

  /** What the voter may have missed: what is asked of all just now. */
  repeat(voter: string): void {
    const step = this.#proposer?.current()
    if (step?.kind === 'prepare' || step?.kind === 'accept') this.#send(voter, step)
  }

  /** These changes are to be decided here. Those that do not apply (any more) are dropped. */
  drive(changes: readonly Transform[]): void {
    const { topology } = this.#ports.chain
    let leastMs = Number.POSITIVE_INFINITY
    for (const change of changes) {
      if (this.#agenda.size >= AGENDA_MAX) break
      this.#agenda.set(changeKey(change), change)
      if (topology !== undefined) leastMs = Math.min(leastMs, pauseMs(topology, change))
    }
    // While steps of moves come together, most of what comes changes nothing about when they are decided.
    if (this.#patience === undefined || leastMs < this.#patienceMs) this.#schedule()
  }

  /** The chain has moved on. */
  adopted(): void {
    const { chain } = this.#ports
    this.#acceptor.learned(chain.epoch)
    this.#adoptedMs = this.#ports.clock.monotonicMs()
    this.#patience?.cancel()
    this.#patience = undefined
    if (this.#agenda.size > 0)
      for (const change of chain.last?.changes ?? []) this.#agenda.delete(changeKey(change))
    if (this.#proposer !== undefined && this.#proposer.slot <= chain.epoch) this.#proposer = undefined
    this.#finish?.cancel()
    this.#finish = undefined
    this.#armFinish()
    this.#schedule()
  }

  close(): void {
    this.#closed = true
    this.#attempt?.cancel()
    this.#finish?.cancel()
    this.#diskRetry?.cancel()
    this.#patience?.cancel()
  }

  #schedule(): void {
    if (this.#isScheduled || this.#closed) return
    const pauseMs = this.#leastPauseMs()
    const waitMs = this.#adoptedMs + pauseMs - this.#ports.clock.monotonicMs()
    if (waitMs > 0) {
      this.#patience?.cancel()
      this.#patienceMs = pauseMs
      this.#patience = this.#ports.scheduler.after(waitMs, () => {
        this.#patience = undefined
        this.#schedule()
      })
      return
    }
    this.#isScheduled = true
    this.#ports.scheduler.endOfTurn(() => {
      this.#isScheduled = false
      this.#begin(false)
    })
  }

  /** How long after the latest commit all that is to be changed can wait for more to come. */
  #leastPauseMs(): number {
    const { topology } = this.#ports.chain
    if (topology === undefined || this.#agenda.size === 0) return 0
    let leastMs = Number.POSITIVE_INFINITY
    for (const change of this.#agenda.values()) {
      leastMs = Math.min(leastMs, pauseMs(topology, change))
      if (leastMs === 0) return 0
    }
    return leastMs
  }

  /** @param completing begins even without a change of its own */
  #begin(completing: boolean): void {
    const { chain } = this.#ports
    const { topology } = chain
    if (this.#closed || topology === undefined) return
    if (this.#proposer !== undefined && !this.#proposer.isOver) return
    const value = this.#draft()
    if (value === undefined && !completing) return
    const slot = topology.epoch + 1
    const round = slot === this.#lastSlot ? this.#lastRound + 1 : 1
    this.#proposer = new Proposer(this.#name, slot, voterNames(topology), value, round)
    this.#perform(this.#proposer.current())
    this.#armAttempt(this.#attemptMs())
  }

  #draft(): Uint8Array | undefined {
    const { chain } = this.#ports
    const { topology } = chain
    if (topology === undefined || this.#agenda.size === 0) return undefined
    const draft = draftValue(topology, [...this.#agenda.values()], undefined, (next) => chain.encode(next))
    for (const change of draft.refused) this.#agenda.delete(changeKey(change))
    return draft.value
  }

  #perform(step: ProposerStep | undefined): void {
    const proposer = this.#proposer
    if (proposer !== undefined) {
      this.#lastSlot = proposer.slot
      this.#lastRound = proposer.round
    }
    switch (step?.kind) {
      case undefined:
        return
      case 'prepare':
      case 'accept': {
        const { topology } = this.#ports.chain
        if (topology === undefined) return
        const voters = voterNames(topology)
        for (const voter of voters) if (voter !== this.voter) this.#send(voter, step)
        if (voters.includes(this.voter)) this.#send(this.voter, step)
        return
      }
      case 'decided':
        this.#attempt?.cancel()
        this.#ports.decided(step.slot, step.value)
        return
      case 'idle':
        this.#attempt?.cancel()
        this.#schedule()
    }
  }

  #send(voter: string, question: Question): void {
    if (voter === this.voter) this.ask(question, (vote) => this.vote(vote))
    else this.#ports.send(voter, question)
  }

  #armAttempt(delayMs: number): void {
    this.#attempt?.cancel()
    this.#attempt = this.#ports.scheduler.after(delayMs, () => {
      const proposer = this.#proposer
      if (proposer === undefined || proposer.isOver) return
      this.#perform(proposer.retry())
      this.#armAttempt(this.#attemptMs())
    })
  }

  #attemptMs(): number {
    return ATTEMPT_MS * (1 + uniform(this.#ports.random))
  }

  #armFinish(): void {
    const { scheduler, random, chain } = this.#ports
    if (this.#finish !== undefined || this.highestAccepted <= chain.epoch) return
    this.#finish = scheduler.after(FINISH_AFTER_MS * (1 + 2 * uniform(random)), () => {
      this.#finish = undefined
      if (this.highestAccepted > chain.epoch) this.#begin(true)
      this.#armFinish()
    })
  }

  #save(): void {
    const { store, log, scheduler } = this.#ports
    const write = store.saveSlot(this.#acceptor.state).then(
      () => true,
      (error: unknown) => {
        if (!this.#diskFailed && !this.#closed) {
          this.#diskFailed = true
          log.error('the data directory can not be written: this node does not vote until it can', {
            reason: error instanceof Error ? error.message : String(error),
          })
        }
        return false
      },
    )
    const before = this.#written
    this.#written = Promise.all([before, write]).then(([earlier, ok]) => {
      if (ok && earlier) return true
      // What an earlier write lost, a later one that succeeded holds: the state is written as a whole.
      if (ok) {
        this.#diskFailed = false
        return true
      }
      if (!this.#closed) {
        this.#diskRetry?.cancel()
        this.#diskRetry = scheduler.after(DISK_RETRY_MS, () => this.#save())
      }
      return false
    })
  }
}
