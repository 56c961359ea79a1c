/**
 * Replication of one node: its copies of partitions, the backlog of what it orders, the log to each peer. It brings the
 * parts together and owns their timers; what each does is said in its own file.
 *
 * Roles follow the topology, epoch by epoch as they are learned (some may be skipped), or the primary of a later epoch that
 * asks before this node has learned of it.
 */

import type { Engine } from '../engine/engine.ts'
import { ByteReader } from '../kernel/bytes.ts'
import type { Clock } from '../kernel/clock.ts'
import { CacheError } from '../kernel/errors.ts'
import type { Log } from '../kernel/log.ts'
import type { MemoryAccount } from '../kernel/memory-account.ts'
import { type BrokenRules, keeps } from '../kernel/rule-switch.ts'
import { every, onDemand, type Scheduler, type SleepingTimer, type Timer } from '../kernel/scheduler.ts'
import { hasAllCopies, lacksReplica } from '../topology/redundancy.ts'
import type { Durability, NodeIndex, RegionRecord, Topology } from '../topology/topology.ts'
import { isBlocked } from '../topology/validity.ts'
import { FrameType } from '../wire/frames.ts'
import type { Ack, ReplicaPosition } from '../wire/peer-frames.ts'
import { decodeCompared, decodePositions, decodeSyncState } from '../wire/replica-frames.ts'
import type { FrameStream } from '../wire/transport.ts'
import { AntiEntropy } from './anti-entropy.ts'
import { Applier } from './applier.ts'
import { AtomicGroup, type Uncompress } from './atomic-group.ts'
import type { Backlog } from './backlog.ts'
import { BulkPace } from './bulk-pace.ts'
import { type ClusterPort, staticCluster } from './cluster-port.ts'
import { EffectLog } from './effect-log.ts'
import { FollowerServices } from './follower-services.ts'
import { KeptLog } from './kept-log.ts'
import { Leadership } from './leadership.ts'
import { LEASE_MS, LeaseGrants } from './lease-grants.ts'
import { LedReplicas } from './led-replicas.ts'
import { LogFollower } from './log-follower.ts'
import { LogShipping } from './log-shipping.ts'
import type { SessionOutcomes } from './operation-table.ts'
import { OperationTable } from './operation-table.ts'
import type { ReplicationOptions } from './options.ts'
import { PeerLog } from './peer-log.ts'
import { Primary } from './primary.ts'
import { PrimaryMoves } from './primary-moves.ts'
import { Proposals } from './proposals.ts'
import { Quarantine } from './quarantine.ts'
import { ReadGate } from './read-gate.ts'
import { RegionTable } from './region-table.ts'
import { Removals } from './removals.ts'
import type { Replica } from './replica.ts'
import { ReplicaFaults, type ReplicationCounters } from './replica-faults.ts'
import type { ReceiverPorts, ReplicaReceiver } from './replica-receiver.ts'
import { BACKUP } from './role.ts'
import { Roles } from './roles.ts'
import { StageInbox } from './stage-inbox.ts'
import { type StagedValue, StageOutbox } from './stage-outbox.ts'
import { SyncSource } from './sync-source.ts'
import { WriteStages } from './write-stages.ts'

export interface ReplicatorPorts {
  readonly engine: Engine
  readonly clock: Clock
  readonly scheduler: Scheduler
  readonly memory: MemoryAccount
  readonly log: Log
  readonly uncompress: Uncompress
  removed(regionId: number, why: 'evicted' | 'expired'): void
  /** Something was logged or followed: the engine holds something else. Called for each, so it must cost nothing. */
  changed?(): void
  /** Undefined: the topology never changes. */
  readonly cluster?: ClusterPort | undefined
  /** Rules that a test breaks. */
  readonly brokenRules?: BrokenRules | undefined
}

/** What waits past its deadline is told so at most this much later. */
const WAIT_SWEEP_MS = 50
const HEARTBEAT_MS = 250
/** While no client asks this node anything: leases last twice as long, so that the first read after it finds one. */
const IDLE_HEARTBEAT_MS = 500
const IDLE_AFTER_MS = 1000
/** Replicas are compared at every so many heartbeats: few larger frames cost less than many small ones. */
const COMPARE_HEARTBEATS = 20
const SESSION_SWEEP_MS = 5000
const QUARANTINE_AFTER_MS = 3000
/** Partitions in which this node brings others up at a time, and in which it is brought up itself: by two others, without waiting. */
const SYNC_SESSIONS_OUT_MAX = 2
const SYNC_SESSIONS_IN_MAX = 4

export class Replicator {
  readonly #ports: ReplicatorPorts
  readonly #options: ReplicationOptions
  readonly operations: OperationTable
  readonly backlog: Backlog
  readonly applier: Applier
  readonly primary: Primary
  /** What this node removes by itself, where it is primary. */
  readonly removals: Removals
  readonly inbox: StageInbox
  readonly outbox: StageOutbox
  /** Large values of writes that are not ordered yet. */
  readonly stages: WriteStages
  /** How fast large values go beside small operations. */
  readonly pace: BulkPace
  readonly counters: ReplicationCounters
  readonly #faults: ReplicaFaults
  /** The logs to the other nodes. */
  readonly shipping: LogShipping
  /** A node in it answers only who takes stale values. */
  readonly quarantine: Quarantine
  readonly leadership: Leadership
  readonly reads: ReadGate
  readonly antiEntropy: AntiEntropy
  readonly #moves: PrimaryMoves
  readonly proposals: Proposals
  readonly #grants: LeaseGrants
  readonly #follower: LogFollower
  readonly #kept: KeptLog
  readonly #following: FollowerServices
  readonly syncs: SyncSource
  readonly #keepsAcks: boolean
  #topology: Topology | undefined
  #self: NodeIndex = -1
  readonly #roles: Roles
  readonly #replicas: readonly (Replica | undefined)[]
  readonly #led: LedReplicas
  #stamp = 0
  readonly #regions: RegionTable
  readonly #timers: Timer[] = []
  /** Runs while something waits. */
  readonly #sweep: SleepingTimer
  #heartbeats = 0

  constructor(ports: ReplicatorPorts, options: ReplicationOptions) {
    this.#ports = ports
    this.#options = options
    const { engine, clock, scheduler, memory } = ports
    this.shipping = new LogShipping({ clock, scheduler, open: (node) => this.#peerLog(node) })
    const peer = (node: NodeIndex): PeerLog | undefined => this.shipping.peer(node)
    this.#sweep = onDemand(scheduler, WAIT_SWEEP_MS, () => this.#sweepWaiting())
    this.operations = new OperationTable({
      idleMs: 2 * options.timeoutMaxMs,
      bytesMax: memory.limitBytes / 8,
      ...(keeps(ports.brokenRules, 'ids-until-watermark') ? {} : { foundMax: 0 }),
    })
    this.#regions = new RegionTable(engine)
    this.applier = new Applier(engine, this.operations, (regionId) => this.#regions.admitDropped(regionId))
    this.inbox = new StageInbox(engine, options.stagingBytes, options.valueBytesMax)
    this.pace = new BulkPace(clock, scheduler)
    this.outbox = new StageOutbox(options.stagingBytes, this.pace, (node) => peer(node)?.staged())
    this.#kept = new KeptLog({
      bytesMax: options.backlogBytes,
      outbox: this.outbox,
      replica: (partition) => this.#replicas[partition],
      held: (delta) => memory.add('backlog', delta),
      overran: (replica, follower) =>
        this.#faults.lags(replica, follower, 'the backlog overran what it lacks'),
    })
    this.backlog = this.#kept.backlog
    this.stages = new WriteStages(this.outbox, this.#kept)
    this.#faults = new ReplicaFaults({
      log: ports.log,
      nodeId: (node) => this.#topology?.nodes[node]?.nodeId,
      beginAnew: (learner, why) => this.syncs.broken(learner, why),
    })
    this.counters = this.#faults.counters
    const cluster = ports.cluster ?? staticCluster(() => clock.monotonicMs())
    const { brokenRules } = ports
    const quarantineAfterMs = options.quarantineAfterMs ?? QUARANTINE_AFTER_MS
    this.reads = new ReadGate({
      clock,
      cluster,
      quarantineAfterMs,
      brokenRules,
      peer,
      nextStamp: () => ++this.#stamp,
      probe: (replica) => {
        this.#sweep.wake()
        this.shipping.probe(replica)
      },
      awaited: (replica) => this.#awaited(replica, 'quorum'),
    })
    const effects = new EffectLog({
      applier: this.applier,
      clock,
      logged: (replica, effect, effectBytes, staged) => this.#logged(replica, effect, effectBytes, staged),
    })
    this.removals = new Removals({
      engine,
      clock,
      memory,
      log: effects,
      regionIds: () => this.#regions.ids,
      replica: (partition) => this.#replicas[partition],
      removed: ports.removed,
    })
    this.primary = new Primary({
      reads: this.reads,
      answersRetriesEarly: !keeps(brokenRules, 'retry-waits-for-commit'),
      engine,
      applier: this.applier,
      atomic: new AtomicGroup({
        engine,
        uncompress: ports.uncompress,
        limits: options,
        region: (regionId) => this.#regions.get(regionId),
        partitionOf: (regionId, key, start, end) => this.locate(regionId, key, start, end),
      }),
      operations: this.operations,
      log: effects,
      removals: this.removals,
      memory,
      region: (regionId) => this.#regions.get(regionId),
      availableReplicas: (replica) => this.shipping.available(replica),
      budgetBytes: (regionId) => this.#regions.budgetBytes(regionId),
      awaited: (replica, by) => this.#awaited(replica, by),
    })
    this.#keepsAcks = !keeps(brokenRules, 'acks-per-epoch')
    this.#grants = new LeaseGrants(LEASE_MS)
    this.#follower = new LogFollower({
      applier: this.applier,
      stages: this.inbox,
      clock,
      keep: (replica, bytes, start, end, versionEpoch, large) => {
        ports.changed?.()
        this.#kept.followed(replica, bytes, start, end, versionEpoch, large)
      },
    })
    this.proposals = new Proposals(scheduler, (transform) => cluster.propose(transform))
    this.leadership = new Leadership({
      engine,
      clock,
      scheduler,
      log: ports.log,
      cluster,
      proposals: this.proposals,
      follower: this.#follower,
      brokenRules,
      quarantineAfterMs,
      replicaTimeoutMs: options.replicaTimeoutMs,
      peer,
      flushSoon: () => this.shipping.flushSoon(),
      serves: () => this.#led.listSoon(),
      beginTerm: (replica) => effects.beginTerm(replica),
      diverged: (replica, what) => this.#faults.contradicts(replica, what),
    })
    this.#moves = new PrimaryMoves({
      clock,
      scheduler,
      proposals: this.proposals,
      flushSoon: () => this.shipping.flushSoon(),
    })
    this.#roles = new Roles({
      engine,
      clock,
      scheduler,
      memory,
      leadership: this.leadership,
      moves: this.#moves,
      grants: this.#grants,
      brokenRules,
      peer,
      receiver: (node) => this.#following.receiver(node),
      stoppedServing: () => this.reads.check(),
      forgetOutcomes: (partition) => this.operations.forget(partition),
      isWanted: (partition) => this.#isWanted(partition),
    })
    this.#replicas = this.#roles.replicas
    this.#led = new LedReplicas({
      scheduler,
      replicas: this.#replicas,
      listed: (primaries) => this.#regions.setBudgets(primaries),
    })
    this.syncs = new SyncSource({
      engine,
      operations: this.operations,
      outbox: this.outbox,
      proposals: this.proposals,
      clock,
      scheduler,
      log: ports.log,
      sessionsMax: SYNC_SESSIONS_OUT_MAX,
      bytesPerSecond: options.syncBytesPerSecond ?? 0,
      pace: this.pace,
      peer,
      isMove: ({ partition }) => this.#topology !== undefined && hasAllCopies(this.#topology, partition),
      sendsIds: keeps(brokenRules, 'ids-in-sync'),
      promotesWhole: keeps(brokenRules, 'promote-only-whole'),
      keepsByVersion: keeps(brokenRules, 'listed-by-version'),
    })
    this.antiEntropy = new AntiEntropy({
      engine,
      peer,
      replica: (partition) => this.#replicas[partition],
      differs: (replica, member, buckets) => this.#faults.differs(replica, member, buckets),
    })
    this.#following = new FollowerServices({
      engine,
      clock,
      scheduler,
      brokenRules,
      applier: this.applier,
      operations: this.operations,
      stages: this.inbox,
      kept: this.#kept,
      follower: this.#follower,
      grants: this.#grants,
      antiEntropy: this.antiEntropy,
      sessionsMax: SYNC_SESSIONS_IN_MAX,
      replica: (partition) => this.#replicas[partition],
      replicas: () => this.replicas(),
      adopt: (replica, partitionEpoch, primary, session) => {
        this.#roles.enter(replica, partitionEpoch, session > 0 ? replica.state : BACKUP, primary, [])
        this.#led.listSoon()
      },
      contradicted: (replica, what) => this.#faults.contradicts(replica, what),
      rolledBack: (replica, writes) => this.#faults.rolledBack(replica, writes),
    })
    this.#timers.push(
      every(scheduler, HEARTBEAT_MS, () => this.#heartbeat()),
      every(scheduler, SESSION_SWEEP_MS, () => this.operations.sweep(clock.monotonicMs())),
    )
    const voterContactMs = (): number => cluster.voterContactMs()
    this.quarantine = new Quarantine({ clock, scheduler, voterContactMs }, quarantineAfterMs)
  }

  get topology(): Topology | undefined {
    return this.#topology
  }

  /** Position of this process in the topology; −1: it has no role in it. */
  get self(): NodeIndex {
    return this.#self
  }

  /**
   * Takes up what a newly committed topology says: roles start, change and end. Older ones than the present are ignored.
   * @param self this node's position in it; −1: it has no role.
   */
  adopt(topology: Topology, self: NodeIndex): void {
    const before = this.#topology
    if (before !== undefined && topology.epoch <= before.epoch) return
    const formerSelf = this.#self
    this.#topology = topology
    this.#self = self
    this.#regions.adopt(topology)
    this.shipping.adopt(before, topology, self)
    const isOther = before !== undefined && formerSelf !== self
    topology.partitions.forEach((record, partition) => {
      // A commit changes few partitions; the records of the others are the same objects.
      if (record === before?.partitions[partition] && !isOther) return
      this.#roles.adopt(
        record,
        before?.partitions[partition],
        partition,
        self,
        isOther,
        lacksReplica(topology, record, partition),
      )
    })
    this.#led.list()
    this.shipping.flushSoon()
  }

  replica(partition: number): Replica | undefined {
    return this.#replicas[partition]
  }

  /** What of a partition was loaded from a snapshot is to be held as memory nobody vouches for: see roles.ts. */
  get roles(): Pick<Roles, 'loaded' | 'beginLoading' | 'endLoading'> {
    return this.#roles
  }

  *replicas(): Generator<Replica> {
    for (const replica of this.#replicas) if (replica !== undefined) yield replica
  }

  get primaries(): readonly Replica[] {
    return this.#led.primaries
  }

  region(regionId: number): RegionRecord | undefined {
    return this.#regions.get(regionId)
  }

  /** The partition of a key; −1 when there is no such region. */
  locate(regionId: number, key: Uint8Array, start: number, end: number): number {
    return this.#regions.locate(regionId, key, start, end)
  }

  /** The client has finished all operations of the session below `firstIncomplete`. */
  advanceWatermark(session: SessionOutcomes, firstIncomplete: number): void {
    if (firstIncomplete <= session.watermark) return
    this.shipping.moved(session)
    session.advance(firstIncomplete)
  }

  /** A log stream to the peer is up. */
  peerLinked(node: NodeIndex, stream: FrameStream, positions: readonly ReplicaPosition[]): void {
    this.shipping.peer(node)?.start(stream, positions)
  }

  peerLost(node: NodeIndex): void {
    this.shipping.peer(node)?.stop()
  }

  peerAcked(node: NodeIndex, ack: Ack): void {
    this.shipping.peer(node)?.acked(ack)
    this.reads.check()
  }

  /** What replicas that follow a peer's log need, one receiver for each stream. */
  receiverPorts(): ReceiverPorts {
    return this.#following.receiverPorts()
  }

  /**
   * A frame other than of the log that a peer sent on a stream it opened.
   * @throws CacheError PROTOCOL_ERROR when it is malformed, or of no type known here.
   */
  peerAsked(receiver: ReplicaReceiver, body: Uint8Array): void {
    this.#following.asked(receiver, body)
  }

  /**
   * A frame other than an ACK that a peer sent on the stream this node opened to it.
   * @throws CacheError PROTOCOL_ERROR when it is malformed, or of no type known here.
   */
  peerAnswered(node: NodeIndex, body: Uint8Array): void {
    switch (body[0]) {
      case FrameType.positions:
        this.shipping.peer(node)?.positioned(decodePositions(new ByteReader(body, 1)))
        this.reads.check()
        return
      case FrameType.tail:
        this.leadership.tail(node, body, (partition) => this.#replicas[partition])
        return
      case FrameType.syncState:
        this.syncs.answered(node, decodeSyncState(new ByteReader(body, 1)))
        return
      case FrameType.syncHeld:
        this.syncs.listed(node, body)
        return
      case FrameType.compared:
        for (const compared of decodeCompared(new ByteReader(body, 1)))
          this.antiEntropy.answered(node, compared)
        return
      default:
        throw new CacheError('PROTOCOL_ERROR', `unexpected frame type 0x${(body[0] ?? 0).toString(16)}`)
    }
  }

  /**
   * Begins to hand a partition over to another member of its in-sync set; to be called at its primary. It ends in a
   * topology that says so, or soon after as if nothing had been.
   * @returns false when that can't be now: this node does not serve the partition, the member is far behind, or earlier sets are
   *   not settled yet
   */
  movePrimary(partition: number, node: NodeIndex): boolean {
    const replica = this.#replicas[partition]
    return replica !== undefined && this.#moves.begin(replica, node)
  }

  close(): void {
    for (const timer of this.#timers) timer.cancel()
    this.#sweep.cancel()
    this.#led.close()
    this.quarantine.close()
    this.shipping.close()
    this.leadership.close()
    this.syncs.close()
    this.proposals.close()
    this.#moves.close()
    this.#roles.close()
    this.reads.close()
    const error = new CacheError(
      'OUTCOME_UNKNOWN',
      'the node stopped before the write was acknowledged: read to find out',
    )
    this.#led.abandon(error)
    this.shipping.unlink()
    this.outbox.close()
    this.backlog.close()
    this.operations.close()
  }

  #logged(replica: Replica, effect: Uint8Array, effectBytes: number, staged: StagedValue | undefined): void {
    this.#ports.changed?.()
    if (this.#kept.ordered(replica, effect, effectBytes, staged)) this.shipping.flushLater()
    if (replica.quorum === 1) {
      replica.advance()
      this.leadership.advanced(replica)
    }
  }

  #peerLog(node: NodeIndex): PeerLog {
    const { clock } = this.#ports
    return new PeerLog(node, {
      backlog: this.backlog,
      wallMs: () => clock.wallMs(),
      monotonicMs: () => clock.monotonicMs(),
      replica: (partition) => this.#replicas[partition],
      primaries: () => this.#led.all,
      sessions: () => this.operations.all(),
      missingStage: (peer, record) => this.#kept.missingStage(peer, record),
      advanced: (replica) => {
        replica.advance()
        if (replica.heldSequence >= replica.settleSequence) this.leadership.advanced(replica)
        if (replica.frozen) this.#moves.advanced(replica)
      },
      full: (replica, member) => this.#faults.isFull(replica, member),
      lagging: (replica, member, why) => this.#faults.lags(replica, member, why),
      answered: (replica, peer, position) => this.leadership.answered(replica, peer, position),
      learnerReady: (replica, learner, position) => this.syncs.ready(replica, learner, position),
      diverged: (replica, what) => this.#faults.contradicts(replica, what),
      nextStamp: () => ++this.#stamp,
      keepsAcks: this.#keepsAcks,
    })
  }

  #isWanted(partition: number): boolean {
    const topology = this.#topology
    const record = topology?.partitions[partition]
    if (topology === undefined || record === undefined) return false
    return this.#self < 0 || isBlocked(topology, record) || lacksReplica(topology, record, partition)
  }

  #awaited(replica: Replica, by: Durability): void {
    this.#sweep.wake()
    this.shipping.hurry(replica, by)
  }

  /** @returns whether anything still waits */
  #sweepWaiting(): boolean {
    const nowMs = this.#ports.clock.monotonicMs()
    const isAwaited = this.#led.expire(nowMs)
    this.reads.expire(nowMs)
    return isAwaited || this.reads.waiting > 0
  }

  #heartbeat(): void {
    const periodMs = this.pace.quietMs < IDLE_AFTER_MS ? HEARTBEAT_MS : IDLE_HEARTBEAT_MS
    this.shipping.heartbeat(periodMs, this.#options.replicaTimeoutMs)
    this.leadership.tick(this.#led.primaries)
    this.syncs.tick()
    this.#heartbeats = (this.#heartbeats + 1) % COMPARE_HEARTBEATS
    if (this.#heartbeats === 0) this.antiEntropy.tick(this.#led.primaries, COMPARE_HEARTBEATS * HEARTBEAT_MS)
    this.#roles.dropSoon()
    this.removals.clearDropped(this.#regions.dropped(), this.#led.primaries)
  }
}
