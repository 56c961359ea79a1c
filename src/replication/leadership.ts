/**
 * How this node becomes primary of partitions and stays it: drives takeovers, settles earlier sets, and proposes to do without
 * members that don't follow (docs/protocol.md, "Takeover").
 *
 * Invariants:
 * - a replica turns `primary` only here, when its takeover says so;
 * - Settled is proposed for the epoch that is served, once a quorum acknowledged under it all that was held when it began ◆;
 * - a member counts until the commit that removes it is learned ◆, and slowness alone never leaves a set of fewer than two.
 */

import type { Engine } from '../engine/engine.ts'
import { ByteReader } from '../kernel/bytes.ts'
import type { Clock } from '../kernel/clock.ts'
import type { Log } from '../kernel/log.ts'
import { type BrokenRules, keeps } from '../kernel/rule-switch.ts'
import type { Scheduler, Timer } from '../kernel/scheduler.ts'
import { majorityOf, type NodeIndex, type PartitionRecord, type UnsettledSet } from '../topology/topology.ts'
import type { NodeAt } from '../topology/transforms.ts'
import { decodeTailHead, encodeFetchTail, type Position, TailStatus } from '../wire/replica-frames.ts'
import type { ClusterPort } from './cluster-port.ts'
import { foldDigest } from './epoch-fence.ts'
import { LEASE_MS } from './lease-grants.ts'
import type { LogFollower } from './log-follower.ts'
import type { PeerLog } from './peer-log.ts'
import { PROPOSE_AGAIN_MS, type Proposals } from './proposals.ts'
import type { Member, Replica } from './replica.ts'
import { NO_NODE, PRIMARY } from './role.ts'
import { Takeover } from './takeover.ts'

export interface LeadershipPorts {
  readonly engine: Engine
  readonly clock: Clock
  readonly scheduler: Scheduler
  readonly log: Log
  readonly cluster: ClusterPort
  readonly proposals: Proposals
  readonly follower: LogFollower
  readonly brokenRules: BrokenRules | undefined
  readonly quarantineAfterMs: number
  readonly replicaTimeoutMs: number
  peer(node: NodeIndex): PeerLog | undefined
  /** Sends what is due at the end of the turn. */
  flushSoon(): void
  /** The replica serves from now on. */
  serves(replica: Replica): void
  /** Logs the entry with which the term begins. */
  beginTerm(replica: Replica): void
  diverged(replica: Replica, what: string): void
}

/** What is known of one takeover beside its state machine. */
interface Under {
  readonly replica: Replica
  readonly record: PartitionRecord
  fetchedMs: number
  handedOverMs: number
}

const FETCH_AGAIN_MS = 200
/** A lost primary may have served this much longer than its lease or its contact allowed. */
const RECOVERED_MARGIN = 1.1
/** A member that answers, but for so many replica timeouts not to what it is asked, is of no use. */
const UNKNOWN_TIMEOUTS = 3
const NEVER = Number.NEGATIVE_INFINITY

export class Leadership {
  readonly #ports: LeadershipPorts
  readonly #under = new Map<Replica, Under>()
  readonly #settledMs = new Map<Replica, number>()
  readonly #reader: ByteReader = new ByteReader(new Uint8Array(0))
  #timer: Timer | undefined
  #timerMs = Number.POSITIVE_INFINITY
  #closed = false
  readonly #hearsAll: boolean
  readonly #waitsForLeases: boolean
  readonly #countsOwnGrant: boolean
  readonly #provesProcess: boolean
  readonly #longestWins: boolean
  readonly #settlesByQuorum: boolean
  readonly #recoveredWaits: boolean
  readonly #shrinksAfterCommit: boolean
  readonly isProvenDead: (node: NodeIndex) => boolean
  /** Takeovers that ended in serving. */
  takeovers = 0

  constructor(ports: LeadershipPorts) {
    this.#ports = ports
    const { brokenRules, cluster } = ports
    this.#hearsAll = keeps(brokenRules, 'takeover-hears-all')
    this.#waitsForLeases = keeps(brokenRules, 'takeover-waits-for-leases')
    this.#countsOwnGrant = keeps(brokenRules, 'lease-own-grant')
    this.#provesProcess = keeps(brokenRules, 'proven-dead-by-process')
    this.#longestWins = keeps(brokenRules, 'takeover-longest-log')
    this.#settlesByQuorum = keeps(brokenRules, 'settle-after-quorum')
    this.#recoveredWaits = keeps(brokenRules, 'recovered-waits')
    this.#shrinksAfterCommit = keeps(brokenRules, 'shrink-after-commit')
    this.isProvenDead = (node) => !this.#provesProcess || cluster.isProvenDead(node)
  }

  /**
   * The record names this node primary: how it comes to serve. `before` is what this node knew last.
   */
  begin(replica: Replica, record: PartitionRecord, before: PartitionRecord | undefined): Takeover {
    const { clock } = this.#ports
    const { self } = replica
    const members = record.inSync.filter((node) => node !== self)
    const recovered = record.recoveredAt === record.partitionEpoch
    const former = recovered ? lostPrimaries(record, before, self) : primariesOf(record.unsettled, self)
    const waitMs = RECOVERED_MARGIN * Math.max(LEASE_MS, this.#ports.quarantineAfterMs)
    return new Takeover({
      members,
      former: this.#waitsForLeases && (!recovered || this.#recoveredWaits) ? former : [],
      ownLeaseUntilMs: this.#countsOwnGrant ? replica.leaseUntilMs : NEVER,
      recoveredUntilMs: recovered ? clock.monotonicMs() + waitMs : undefined,
      longestWins: this.#longestWins,
      ...(this.#hearsAll ? {} : { heardMin: record.inSync.length - majorityOf(record.inSync.length) }),
    })
  }

  /** Starts the takeover that the replica's role holds. */
  start(replica: Replica, record: PartitionRecord): void {
    this.#under.set(replica, { replica, record, fetchedMs: NEVER, handedOverMs: NEVER })
    for (const member of replica.members) this.#ports.peer(member.node)?.ask(replica)
    this.#ports.flushSoon()
    this.#step(replica)
  }

  /** The replica stays primary under a new epoch: members adopt it and say what they hold, while it goes on serving. */
  leadOn(replica: Replica, record: PartitionRecord): void {
    this.#beginSettling(replica, record)
    for (const member of replica.members) this.#ports.peer(member.node)?.ask(replica)
    for (const learner of replica.learners) this.#ports.peer(learner.node)?.ask(replica)
    this.#ports.flushSoon()
    replica.advance()
    this.advanced(replica)
  }

  /** The record's lists changed, the epoch did not. */
  listed(replica: Replica, record: PartitionRecord): void {
    if (record.unsettled.length === 0) {
      replica.settleSequence = Number.POSITIVE_INFINITY
      this.#settledMs.delete(replica)
    }
    const under = this.#under.get(replica)
    if (under !== undefined) this.#under.set(replica, { ...under, record })
  }

  /** The replica's role here is over. */
  forget(replica: Replica): void {
    this.#under.delete(replica)
    this.#settledMs.delete(replica)
  }

  answered(replica: Replica, node: NodeIndex, position: Position): void {
    const { state } = replica
    if (state.kind !== 'taking-over') return
    const nowMs = this.#ports.clock.monotonicMs()
    state.takeover.answered(node, {
      epoch: position.lastEpoch,
      sequence: position.lastSequence,
      leaseUntilMs: position.leaseMs > 0 ? nowMs + position.leaseMs : NEVER,
      digestLow: position.digestLow,
      digestHigh: position.digestHigh,
    })
    this.#step(replica)
  }

  /** The end of a log that was asked for. @throws CacheError PROTOCOL_ERROR when it is malformed. */
  tail(from: NodeIndex, body: Uint8Array, replicaOf: (partition: number) => Replica | undefined): void {
    const r = this.#reader.reset(body, 1)
    const head = decodeTailHead(r)
    const replica = replicaOf(head.partition)
    const under = replica === undefined ? undefined : this.#under.get(replica)
    if (replica === undefined || under === undefined) return
    const { state } = replica
    if (state.kind !== 'taking-over' || head.partitionEpoch !== replica.partitionEpoch) return
    const nowMs = this.#ports.clock.monotonicMs()
    if (head.status === TailStatus.unavailable) state.takeover.unavailable(from)
    // A value that is under way takes its time; the holder is alive.
    else state.takeover.grew(nowMs)
    let grew = false
    while (r.remaining > 0) {
      const sequence = r.uint48()
      const versionEpoch = r.varint()
      const bytes = r.varint()
      const start = r.skip(bytes)
      const result = this.#ports.follower.apply(
        replica,
        from,
        body,
        start,
        start + bytes,
        versionEpoch,
        sequence,
        head.clockMs,
      )
      if (result === 'applied') grew = true
      else if (result !== 'repeated') break
    }
    if (grew) under.fetchedMs = NEVER
    this.#step(replica)
  }

  /** Members' acknowledgements rose. */
  advanced(replica: Replica): void {
    if (replica.heldSequence < replica.settleSequence || replica.role !== 'primary') return
    const nowMs = this.#ports.clock.monotonicMs()
    if (nowMs - (this.#settledMs.get(replica) ?? NEVER) < PROPOSE_AGAIN_MS) return
    this.#settledMs.set(replica, nowMs)
    this.#ports.proposals.settle(partitionAt(replica))
  }

  /** To be called every quarter of a second. */
  tick(primaries: Iterable<Replica>): void {
    for (const replica of [...this.#under.keys()]) this.#step(replica)
    const nowMs = this.#ports.clock.monotonicMs()
    for (const replica of primaries) {
      if (replica.role !== 'primary') continue
      this.advanced(replica)
      this.#shrink(replica, nowMs)
    }
  }

  close(): void {
    this.#closed = true
    this.#timer?.cancel()
  }

  #step(replica: Replica): void {
    const { state } = replica
    const under = this.#under.get(replica)
    if (state.kind !== 'taking-over' || under === undefined || this.#closed) return
    const nowMs = this.#ports.clock.monotonicMs()
    const own = { epoch: replica.lastEpoch, sequence: replica.lastSequence }
    const step = state.takeover.step(own, nowMs, this.isProvenDead)
    switch (step.kind) {
      case 'ask':
        return
      case 'fetch':
        this.#fetch(under, step.holder, nowMs)
        return
      case 'hand-over':
        if (nowMs - under.handedOverMs < PROPOSE_AGAIN_MS) return
        under.handedOverMs = nowMs
        this.#ports.proposals.move({ ...partitionAt(replica), node: step.to })
        return
      case 'wait':
        this.#wakeAt(step.untilMs, nowMs)
        return
      case 'serve':
        this.#serve(replica, under.record, state.takeover)
    }
  }

  #fetch(under: Under, holder: NodeIndex, nowMs: number): void {
    if (nowMs - under.fetchedMs < FETCH_AGAIN_MS) return
    under.fetchedMs = nowMs
    this.#wakeAt(nowMs + FETCH_AGAIN_MS, nowMs)
    const { partition, partitionEpoch, lastEpoch, lastSequence } = under.replica
    this.#ports
      .peer(holder)
      ?.send(encodeFetchTail({ partition, partitionEpoch, lastEpoch, fromSequence: lastSequence + 1 }))
  }

  #serve(replica: Replica, record: PartitionRecord, takeover: Takeover): void {
    this.#under.delete(replica)
    this.takeovers++
    replica.become(PRIMARY)
    replica.termEpoch = replica.partitionEpoch
    replica.termSequence = replica.lastSequence
    this.#ports.engine.setPrimary(replica.partition, true)
    replica.setLearners(record.learners)
    this.#beginSettling(replica, record)
    const own = foldDigest(this.#ports.engine.digest(replica.partition))
    this.#ports.serves(replica)
    replica.barrierSequence = replica.lastSequence + 1
    replica.settleSequence = Number.isFinite(replica.settleSequence)
      ? replica.settleSequence + (this.#settlesByQuorum ? 1 : 0)
      : replica.settleSequence
    for (const member of replica.members) {
      const answer = takeover.answers.get(member.node)
      const peer = this.#ports.peer(member.node)
      if (answer === undefined) {
        peer?.ask(replica)
        continue
      }
      const level = answer.epoch === replica.lastEpoch && answer.sequence === replica.lastSequence
      if (level && (answer.digestLow !== own.low || answer.digestHigh !== own.high))
        this.#ports.diverged(replica, `node ${member.node} holds something else at ${answer.sequence}`)
      peer?.followFrom(replica, member, answer)
    }
    // Behind what members hold, so that it is the first that they are sent.
    this.#ports.beginTerm(replica)
    for (const learner of replica.learners) this.#ports.peer(learner.node)?.ask(replica)
    this.#ports.flushSoon()
    replica.advance()
    this.advanced(replica)
  }

  #beginSettling(replica: Replica, record: PartitionRecord): void {
    this.#settledMs.delete(replica)
    if (record.unsettled.length === 0) replica.settleSequence = Number.POSITIVE_INFINITY
    else replica.settleSequence = this.#settlesByQuorum ? replica.lastSequence : 0
  }

  #shrink(replica: Replica, nowMs: number): void {
    let left = replica.members.length + 1
    for (const member of replica.members) {
      const why = this.#whyRemove(replica, member, nowMs)
      if (why === undefined) continue
      // One that can be brought up at once may leave a set of two: nothing else would bring it up.
      const linked = this.#ports.peer(member.node)?.available === true
      if (left <= 2 && !(why === 'lags' && linked)) continue
      left--
      if (nowMs - member.proposedMs < PROPOSE_AGAIN_MS) continue
      member.proposedMs = nowMs
      this.#ports.proposals.shrink({ ...partitionAt(replica), node: member.node })
      this.#ports.log.warn('a replica is to be taken out of the in-sync set', {
        partition: replica.partition,
        node: member.node,
        why,
      })
      if (!this.#shrinksAfterCommit) replica.removeEarly(member)
    }
  }

  #whyRemove(replica: Replica, member: Member, nowMs: number): 'silent' | 'lags' | undefined {
    if (member.state === 'lagging') return 'lags'
    const { replicaTimeoutMs } = this.#ports
    if (member.state === 'unknown' && nowMs - replica.enteredMs > UNKNOWN_TIMEOUTS * replicaTimeoutMs)
      return 'silent'
    const heardMs = Math.max(this.#ports.peer(member.node)?.lastAckMs ?? 0, replica.enteredMs)
    return nowMs - heardMs > replicaTimeoutMs ? 'silent' : undefined
  }

  #wakeAt(atMs: number, nowMs: number): void {
    if (this.#closed || (this.#timer !== undefined && this.#timerMs <= atMs && this.#timerMs > nowMs)) return
    this.#timer?.cancel()
    this.#timerMs = atMs
    this.#timer = this.#ports.scheduler.after(Math.max(0, atMs - nowMs), () => {
      this.#timer = undefined
      for (const replica of [...this.#under.keys()]) this.#step(replica)
    })
  }
}

function primariesOf(sets: readonly UnsettledSet[], self: NodeIndex): NodeIndex[] {
  return [...new Set(sets.map((set) => set.primary))].filter((node) => node !== self)
}

/**
 * Who may still serve when a partition starts over: the record does not say any more. Known only to who has seen the record
 * before that; else it may be anybody.
 */
function lostPrimaries(
  record: PartitionRecord,
  before: PartitionRecord | undefined,
  self: NodeIndex,
): NodeIndex[] {
  if (before?.partitionEpoch !== record.partitionEpoch - 1) return [NO_NODE]
  const present: UnsettledSet = { primary: before.primary, members: before.inSync }
  return primariesOf([...before.unsettled, present], self)
}

function partitionAt(replica: Replica): Omit<NodeAt, 'node'> {
  return {
    partition: replica.partition,
    partitionEpoch: replica.partitionEpoch as NodeAt['partitionEpoch'],
  }
}
