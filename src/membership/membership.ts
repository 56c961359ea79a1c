/**
 * Who is alive: SWIM with Lifeguard, as a state machine. `handle` takes an event and the time and returns what is to be
 * done; the shell (node/gossip.ts) owns streams and timers. It decides nothing about ownership: a verdict may lead to a
 * proposal for the topology, no more.
 *
 * Silence makes a member suspect, then dead, which it can contradict by raising its counter. Some deaths are *proven* and
 * final:
 *
 * - **Refused at two.** Its streams to two nodes broke off, and connecting anew was refused at both: no process listens.
 *   Each tells the others what it met; two different reporters are the proof. A timeout is no evidence. A node whose own
 *   stream to the accused stands holds the proof back until that breaks, for it sees the process alive. Where only one other
 *   node is left there is no second reporter and so no proof: the member is dead once its suspicion has run out.
 * - **A later incarnation.** Two processes of one node id do not run at one time. So whoever answers a question (a dial, a
 *   ping) proves dead each other incarnation that was known when the question was asked.
 *
 * After a stall of its event loop a node hears late what it was sent meanwhile. `tick` says how late it comes; a lag above the
 * probe timeout voids the round, and every running suspicion is given the time back.
 */

import type { Random } from '../kernel/random.ts'
import {
  GOSSIP_MEMBERS_MAX,
  type GossipMessage,
  type GossipUpdate,
  type MemberRecord,
  type TopologyMark,
} from '../wire/gossip-frames.ts'
import { Awareness } from './awareness.ts'
import type { MembershipEffect, MembershipEvent, MembershipIdentity, MemberView } from './events.ts'
import { LoopLag } from './loop-lag.ts'
import { isFinal, type MemberState } from './member-state.ts'
import { type Member, MemberTable } from './member-table.ts'
import { MembershipCounters } from './membership-counters.ts'
import type { MembershipOptions } from './options.ts'
import { Outbox } from './outbox.ts'
import { Prober, shuffled } from './prober.ts'
import { Questions } from './questions.ts'
import { confirmationsExpected, Suspicion } from './suspicion.ts'

/** Different reporters of a refused connection that make a proof. */
const REPORTERS_FOR_PROOF = 2
/** Share of the probe timeout after which a helper says that it has no answer. */
const NACK_SHARE = 0.8

export class Membership {
  readonly counters: MembershipCounters = new MembershipCounters()
  readonly #self: MembershipIdentity
  readonly #options: MembershipOptions
  readonly #random: Random
  readonly #table: MemberTable
  readonly #outbox: Outbox
  readonly #awareness: Awareness
  readonly #lag: LoopLag
  readonly #prober: Prober
  readonly #questions = new Questions()
  /** This node's welcomed streams: node id → incarnation. */
  readonly #streams = new Map<string, string>()
  #state: MemberState = { counter: 1, status: 'alive', proven: false }
  #condemned = false
  #pushDueMs: number
  /** Nodes that have not yet acknowledged this one's goodbye. */
  #unaware: Set<string> | undefined
  #nowMs: number

  constructor(self: MembershipIdentity, options: MembershipOptions, random: Random, nowMs: number) {
    this.#self = self
    this.#options = options
    this.#random = random
    this.#nowMs = nowMs
    this.#table = new MemberTable(options.membersMax)
    this.#outbox = new Outbox(options, random)
    this.#awareness = new Awareness(options.awarenessMax)
    this.#lag = new LoopLag(2 * options.probeIntervalMs)
    this.#pushDueMs = nowMs + options.pushPullIntervalMs
    this.#prober = new Prober(
      options,
      this.#awareness,
      random,
      () => this.#questions.next(),
      {
        candidates: () => [...this.#table.all()],
        ping: (target, sequence) => this.#ping(target, sequence),
        ask: (target, sequence) => this.#ask(target, sequence),
        failed: (target) => this.#failed(target),
      },
      nowMs,
    )
  }

  /** When `tick` is wanted next. */
  get dueMs(): number {
    let dueMs = Math.min(this.#outbox.dueMs, this.#pushDueMs, this.#nackDueMs)
    if (!this.#hasLeft) dueMs = Math.min(dueMs, this.#prober.dueMs)
    for (const member of this.#table.all()) {
      if (member.suspicion !== undefined) dueMs = Math.min(dueMs, this.#deadlineMs(member.suspicion))
    }
    return dueMs
  }

  /** News waiting to be passed on, and how much had to give way unsent. */
  get news(): { readonly size: number; readonly dropped: number } {
    return { size: this.#outbox.newsSize, dropped: this.#outbox.newsDropped }
  }

  /** Of the topology this node has; 0: none. */
  get epoch(): number {
    return this.#outbox.topology.epoch
  }

  get awareness(): number {
    return this.#awareness.score
  }

  /** This process first, then every other that is known, those that ended included. */
  members(): MemberView[] {
    const self = viewOf(this.#self, this.#state, 0, this.#lag.recent(this.#nowMs))
    return [self, ...[...this.#table.all()].map(memberView)]
  }

  handle(event: MembershipEvent, nowMs: number): MembershipEffect[] {
    this.#nowMs = nowMs
    switch (event.type) {
      case 'late':
        // At once: acks that leave before the tick are late for this reason.
        this.#lag.note(event.lagMs, nowMs)
        break
      case 'tick':
        this.#tick(event.lagMs)
        break
      case 'message':
        this.#message(event.nodeId, event.incarnation, event.topology, event.message)
        break
      case 'stream-up':
        this.#streamUp(event.nodeId, event.incarnation, event.dialledMs)
        break
      case 'stream-down':
        this.#streamDown(event.nodeId, event.incarnation, event.failure !== 'timeout')
        break
      case 'refused':
        this.#refused(event.nodeId)
        break
      case 'check':
        for (const member of this.#table.ofNode(event.nodeId)) this.#ping(member, this.#questions.next())
        break
      case 'expect':
        for (const one of event.members) this.#expect(one)
        break
      case 'topology':
        this.#outbox.topology = event.topology
        break
      case 'leave':
        this.#leave()
    }
    return this.#outbox.takeEffects()
  }

  // Time

  #tick(lagMs: number): void {
    const { probeTimeoutMs, probeIntervalMs, pushPullIntervalMs } = this.#options
    if (lagMs > probeTimeoutMs) {
      if (this.#prober.isProbing) this.counters.roundsVoided++
      this.#prober.void(this.#nowMs)
      this.#awareness.change(1)
      for (const { suspicion } of this.#table.all()) suspicion?.postpone(lagMs)
    }
    if (!this.#hasLeft) this.#prober.tick(this.#nowMs)
    for (const member of this.#table.all()) {
      if (member.suspicion === undefined || this.#nowMs < this.#deadlineMs(member.suspicion)) continue
      this.counters.deaths++
      this.#join(member, { ...member.state, status: 'dead' }, this.#self.nodeId)
    }
    for (const { nodeId, sequence } of this.#questions.overdue(
      this.#nowMs,
      NACK_SHARE * probeTimeoutMs,
      4 * probeIntervalMs,
    )) {
      this.#outbox.reply(nodeId, { type: 'nack', sequence, updates: this.#updates() })
    }
    if (this.#nowMs >= this.#outbox.dueMs)
      this.#outbox.gossip([...this.#streams.keys()], this.#memberCount, this.#nowMs)
    if (this.#nowMs >= this.#pushDueMs) {
      this.#pushDueMs = this.#nowMs + pushPullIntervalMs
      const [peer] = shuffled([...this.#streams.keys()], this.#random)
      if (peer !== undefined) this.#push(peer)
    }
  }

  get #hasLeft(): boolean {
    return this.#state.status === 'left'
  }

  get #nackDueMs(): number {
    return this.#questions.nackDueMs(NACK_SHARE * this.#options.probeTimeoutMs)
  }

  #deadlineMs(suspicion: Suspicion): number {
    const { suspicionMultiplier, probeIntervalMs } = this.#options
    return suspicion.deadlineMs(suspicionMultiplier, probeIntervalMs, this.#memberCount)
  }

  /** Members not given up, this one included. */
  get #memberCount(): number {
    return this.#table.aliveCount + 1
  }

  // Probes

  #ping(target: Member, sequence: number, onBehalf?: { nodeId: string; sequence: number }): boolean {
    const { nodeId, incarnation } = target
    if (this.#streams.get(nodeId) !== incarnation) return false
    this.counters.probes++
    this.#questions.add(sequence, { nodeId, incarnation, askedMs: this.#nowMs, onBehalf })
    this.#outbox.send(nodeId, { type: 'ping', sequence, updates: this.#updates(target) })
    return true
  }

  #ask(target: Member, sequence: number): readonly string[] {
    const { nodeId, incarnation } = target
    const well = [...this.#streams].filter(
      ([id, process]) => id !== nodeId && this.#table.get(id, process)?.state.status === 'alive',
    )
    const helpers = shuffled(well, this.#random).slice(0, this.#options.indirectProbes)
    for (const [helper] of helpers) {
      this.counters.indirectProbes++
      this.#outbox.send(helper, {
        type: 'ping-request',
        sequence,
        nodeId,
        incarnation,
        updates: this.#updates(),
      })
    }
    return helpers.map(([id]) => id)
  }

  #failed(target: Member): void {
    this.counters.probesFailed++
    if (target.state.status === 'alive') this.counters.suspicions++
    this.#join(target, { ...target.state, status: 'suspect' }, this.#self.nodeId)
  }

  /** This process answered a question that was asked at `askedMs`: its node's other incarnations known then are gone. */
  #answered(nodeId: string, incarnation: string, askedMs: number): void {
    for (const member of this.#table.ofNode(nodeId)) {
      if (member.incarnation !== incarnation && member.knownSinceMs < askedMs) this.#prove(member)
    }
  }

  // Messages

  #message(nodeId: string, incarnation: string, topology: TopologyMark, message: GossipMessage): void {
    const mine = this.#outbox.topology
    if (topology.epoch > mine.epoch || (topology.epoch === mine.epoch && topology.hash !== mine.hash)) {
      this.#outbox.effect({ type: 'topology-differs', nodeId, topology })
    }
    const sender = this.#table.get(nodeId, incarnation)
    // What a process that is gone for good has to say is old; it is answered all the same, so that it learns of its end.
    const heeded = sender === undefined || !isFinal(sender.state)
    if ('updates' in message && heeded) for (const update of message.updates) this.#update(update)
    if ('members' in message && heeded) for (const record of message.members) this.#merge(record)
    switch (message.type) {
      case 'ping': {
        const { sequence } = message
        const lagMs = this.#lag.recent(this.#nowMs)
        this.#outbox.reply(nodeId, { type: 'ack', sequence, lagMs, updates: this.#updates(sender) })
        return
      }
      case 'ping-request':
        this.#relay(nodeId, message)
        return
      case 'push':
        this.#outbox.reply(nodeId, { type: 'pull', members: this.#records() })
        return
      case 'ack':
        this.#ack(nodeId, incarnation, message)
        return
      case 'nack':
        this.#prober.nack(message.sequence, nodeId)
    }
  }

  #relay(from: string, request: Extract<GossipMessage, { type: 'ping-request' }>): void {
    const { sequence, nodeId, incarnation } = request
    const target = this.#table.get(nodeId, incarnation)
    const asked =
      target !== undefined && this.#ping(target, this.#questions.next(), { nodeId: from, sequence })
    // Without a stream to the target there is nothing to wait for.
    if (!asked) this.#outbox.reply(from, { type: 'nack', sequence, updates: this.#updates() })
  }

  #ack(nodeId: string, incarnation: string, ack: Extract<GossipMessage, { type: 'ack' }>): void {
    const { sequence, lagMs } = ack
    if (this.#prober.ack(sequence, nodeId, this.#nowMs)) this.counters.probesAcked++
    const question = this.#questions.answered(sequence, nodeId, incarnation)
    if (question === undefined) return
    const member = this.#table.get(nodeId, incarnation)
    if (member !== undefined) member.loopLagMs = lagMs
    this.#answered(nodeId, incarnation, question.askedMs)
    const { onBehalf } = question
    if (onBehalf !== undefined) {
      this.#outbox.reply(onBehalf.nodeId, {
        type: 'ack',
        sequence: onBehalf.sequence,
        lagMs,
        updates: this.#updates(),
      })
    }
    if (this.#unaware?.delete(nodeId) && this.#unaware.size === 0)
      this.#outbox.effect({ type: 'goodbye-heard' })
  }

  // Opinions

  #update(update: GossipUpdate): void {
    if (update.kind === 'member') this.#learn(update.record, update.by)
    else this.#report(update)
  }

  /** A death in another's table may be long contradicted, unless it is proven: the member gets the chance to do so. */
  #merge(record: MemberRecord): void {
    const isRumour = record.status === 'dead' && !record.proven
    // The sender may only have heard of it too, so this is no accusation of its own.
    this.#learn(isRumour ? { ...record, status: 'suspect' } : record, this.#self.nodeId)
  }

  #learn(record: MemberRecord, by: string): void {
    if (record.nodeId === this.#self.nodeId) {
      if (record.incarnation === this.#self.incarnation) this.#hearOfSelf(record)
      return
    }
    const { counter, status, proven } = record
    const opinion: MemberState = { counter, status, proven }
    const member = this.#table.get(record.nodeId, record.incarnation)
    if (member === undefined) {
      const isHeld = proven && this.#streams.get(record.nodeId) === record.incarnation
      this.#admit(record, isHeld ? { counter, status: 'suspect', proven: false } : opinion, by)
      return
    }
    if (!isFinal(member.state) && record.address !== '' && counter > member.state.counter)
      member.address = record.address
    if (proven && status === 'dead' && !isFinal(member.state)) this.#prove(member, counter)
    else this.#join(member, opinion, by)
  }

  #admit(identity: MembershipIdentity, state: MemberState, by: string): void {
    const member = this.#table.add(identity, state, this.#nowMs)
    if (member === undefined) {
      this.counters.membersRefused++
      return
    }
    if (state.status === 'suspect') member.suspicion = new Suspicion(by, this.#nowMs)
    this.#changed(member, undefined, by)
  }

  /** A process that the topology names, heard of by nobody yet: counter 0 gives way to whatever it says itself. */
  #expect(identity: MembershipIdentity): void {
    if (identity.nodeId === this.#self.nodeId) return
    if (this.#table.get(identity.nodeId, identity.incarnation) !== undefined) return
    this.#admit(identity, { counter: 0, status: 'alive', proven: false }, this.#self.nodeId)
  }

  /** Joins an opinion into a member's state, and does what follows from a change or from one more accuser. */
  #join(member: Member, opinion: MemberState, by: string): void {
    const before = member.state
    const changed = this.#table.join(member, opinion, this.#nowMs)
    const { state } = member
    if (changed) {
      if (before.status === 'suspect' && state.status === 'alive') this.counters.suspicionsRefuted++
      if (before.status === 'dead' && state.status === 'alive') this.counters.deathsRefuted++
      if (state.status === 'suspect') member.suspicion = new Suspicion(by, this.#nowMs)
      this.#changed(member, before, by)
    } else if (opinion.status === 'suspect' && opinion.counter === state.counter && by !== member.nodeId) {
      const expected = confirmationsExpected(this.#options.suspicionMultiplier, this.#memberCount)
      if (member.suspicion?.confirm(by, expected)) this.#tell(member, by)
    }
  }

  #changed(member: Member, before: MemberState | undefined, by: string): void {
    const { state } = member
    this.#tell(member, by, isFinal(state) || (before?.status === 'dead' && state.status === 'alive'))
    if (before?.status === state.status && before.proven === state.proven) return
    this.#outbox.effect({ type: 'changed', member: memberView(member), before: before?.status })
  }

  #hearOfSelf(record: MemberRecord): void {
    const isGoodbye = this.#hasLeft
    if (isFinal(record)) {
      if (isGoodbye || this.#condemned) return
      this.#condemned = true
      this.#outbox.effect({ type: 'condemned' })
      return
    }
    if (record.status === 'alive' || isGoodbye) {
      if (record.counter > this.#state.counter) this.#state = { ...this.#state, counter: record.counter }
      return
    }
    this.#contradict(record.counter)
  }

  /** Somebody doubts that this process lives, in what it last said of itself. */
  #contradict(counter: number): void {
    if (counter < this.#state.counter || this.#condemned) return
    this.#state = { ...this.#state, counter: counter + 1 }
    this.counters.selfRefuted++
    this.#awareness.change(1)
    this.#tellOfSelf()
  }

  // Evidence

  #streamUp(nodeId: string, incarnation: string, dialledMs: number): void {
    this.#streams.set(nodeId, incarnation)
    const member = this.#table.get(nodeId, incarnation)
    if (member !== undefined) {
      member.lostStream = false
      member.refusals.delete(this.#self.nodeId)
    }
    this.#answered(nodeId, incarnation, dialledMs)
    this.#push(nodeId)
  }

  #streamDown(nodeId: string, incarnation: string, brokeOff: boolean): void {
    if (this.#streams.get(nodeId) === incarnation) this.#streams.delete(nodeId)
    const member = this.#table.get(nodeId, incarnation)
    if (member === undefined) return
    member.lostStream = brokeOff
    if (member.proofHeld) this.#prove(member)
    else this.#weigh(member)
    if (this.#unaware?.delete(nodeId) && this.#unaware.size === 0)
      this.#outbox.effect({ type: 'goodbye-heard' })
  }

  /** Connecting to the node was refused. */
  #refused(nodeId: string): void {
    for (const member of this.#table.ofNode(nodeId)) {
      if (!member.lostStream || member.state.proven) continue
      const { incarnation, state } = member
      this.#report({
        kind: 'refused',
        nodeId,
        incarnation,
        counter: state.counter,
        by: this.#self.nodeId,
      })
    }
  }

  #report(report: Extract<GossipUpdate, { kind: 'refused' }>): void {
    const { nodeId, incarnation, counter, by } = report
    if (nodeId === this.#self.nodeId) {
      if (incarnation === this.#self.incarnation) this.#contradict(counter)
      return
    }
    const member = this.#table.get(nodeId, incarnation)
    if (member === undefined || member.state.proven || counter < member.state.counter) return
    if (by === nodeId || !this.#isWitness(by)) return
    const known = member.refusals.get(by)
    const isNews =
      known === undefined ||
      known.counter < counter ||
      this.#nowMs - known.heardMs > this.#options.evidenceTtlMs / 2
    if (!isNews) return
    if (known === undefined) this.counters.refusals++
    member.refusals.set(by, { counter, heardMs: this.#nowMs })
    this.#outbox.tell(report, this.#nowMs, true)
    this.#join(member, { counter, status: 'suspect', proven: false }, by)
    this.#weigh(member)
  }

  /** Whether the node's word on another counts: it is known and not given up itself. */
  #isWitness(nodeId: string): boolean {
    return (
      nodeId === this.#self.nodeId ||
      this.#table.ofNode(nodeId).some(({ state }) => state.status === 'alive' || state.status === 'suspect')
    )
  }

  #weigh(member: Member): void {
    let reporters = 0
    for (const { counter, heardMs } of member.refusals.values()) {
      const isFresh = this.#nowMs - heardMs <= this.#options.evidenceTtlMs
      if (isFresh && counter >= member.state.counter) reporters++
    }
    if (reporters >= REPORTERS_FOR_PROOF) this.#prove(member)
  }

  /** @param counter what the member said last, where the proof was found. */
  #prove(member: Member, counter: number = member.state.counter): void {
    if (member.state.proven) return
    const { nodeId, incarnation } = member
    if (this.#streams.get(nodeId) === incarnation) {
      if (!member.proofHeld) this.#ping(member, this.#questions.next())
      member.proofHeld = true
      return
    }
    this.counters.deathsProven++
    this.#join(member, { counter, status: 'dead', proven: true }, this.#self.nodeId)
  }

  // Telling

  #leave(): void {
    if (this.#hasLeft) return
    this.#state = { ...this.#state, status: 'left' }
    this.#tellOfSelf()
    this.#unaware = new Set(this.#streams.keys())
    for (const [nodeId, incarnation] of this.#streams) {
      const sequence = this.#questions.next()
      this.#questions.add(sequence, { nodeId, incarnation, askedMs: this.#nowMs, onBehalf: undefined })
      this.#outbox.send(nodeId, { type: 'ping', sequence, updates: [this.#selfUpdate()] })
    }
    if (this.#unaware.size === 0) this.#outbox.effect({ type: 'goodbye-heard' })
  }

  #tell(member: Member, by: string, urgent = false): void {
    this.#outbox.tell({ kind: 'member', record: recordOf(member), by }, this.#nowMs, urgent)
  }

  #tellOfSelf(): void {
    this.#outbox.tell(this.#selfUpdate(), this.#nowMs, true)
  }

  #selfUpdate(): GossipUpdate {
    return { kind: 'member', record: { ...this.#self, ...this.#state }, by: this.#self.nodeId }
  }

  /** News for one frame. A process in doubt hears of it first, so that it can contradict. */
  #updates(target?: Member): GossipUpdate[] {
    if (target === undefined || target.state.status === 'alive')
      return this.#outbox.updates(this.#memberCount)
    const doubt: GossipUpdate = { kind: 'member', record: recordOf(target), by: this.#self.nodeId }
    return this.#outbox.updates(this.#memberCount, [doubt])
  }

  #push(nodeId: string): void {
    this.counters.pushes++
    this.#outbox.send(nodeId, { type: 'push', members: this.#records() })
  }

  #records(): MemberRecord[] {
    const others = [...this.#table.all()].map(recordOf).slice(0, GOSSIP_MEMBERS_MAX - 1)
    return [{ ...this.#self, ...this.#state }, ...others]
  }
}

function recordOf({ nodeId, incarnation, address, state }: Member): MemberRecord {
  return { nodeId, incarnation, address, ...state }
}

function memberView(member: Member): MemberView {
  return viewOf(member, member.state, member.changedMs, member.loopLagMs)
}

function viewOf(
  { nodeId, incarnation, address }: MembershipIdentity,
  { counter, status, proven }: MemberState,
  sinceMs: number,
  loopLagMs: number,
): MemberView {
  return { nodeId, incarnation, address, verdict: status, proven, counter, sinceMs, loopLagMs }
}
