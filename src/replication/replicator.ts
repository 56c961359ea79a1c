/**
 * Replication of one node: its copies of partitions, the backlog of what it orders, the log to each peer. It brings the
 * parts together and owns their timers; what each does is said in its own file.
 *
 * Roles follow the topology, epoch by epoch as they are learned (some may be skipped), or the primary of a later epoch that
 * asks before this node has learned of it.
 */

import type { Engine, LargeValue } from '../engine/engine.ts'
import { ByteReader } from '../kernel/bytes.ts'
import type { Clock } from '../kernel/clock.ts'
import { CacheError } from '../kernel/errors.ts'
import type { Log } from '../kernel/log.ts'
import type { MemoryAccount } from '../kernel/memory-account.ts'
import { type BrokenRules, keeps } from '../kernel/rule-switch.ts'
import { every, onDemand, type Scheduler, type SleepingTimer, type Timer } from '../kernel/scheduler.ts'
import { hasAllCopies } from '../topology/redundancy.ts'
import type { Durability, NodeIndex, PartitionRecord, RegionRecord, Topology } from '../topology/topology.ts'
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
import { FollowerServices } from './follower-services.ts'
import { KeptLog } from './kept-log.ts'
import { Leadership } from './leadership.ts'
import { LEASE_MS, LeaseGrants } from './lease-grants.ts'
import { LogFollower } from './log-follower.ts'
import type { SessionOutcomes } from './operation-table.ts'
import { OperationTable } from './operation-table.ts'
import { PeerLog } from './peer-log.ts'
import { Primary, type StagedValue } from './primary.ts'
import { PrimaryMoves } from './primary-moves.ts'
import { Proposals } from './proposals.ts'
import { ReadGate } from './read-gate.ts'
import { RegionTable } from './region-table.ts'
import type { Member, Replica } from './replica.ts'
import type { ReceiverPorts, ReplicaReceiver } from './replica-receiver.ts'
import { BACKUP } from './role.ts'
import { Roles } from './roles.ts'
import { StageInbox } from './stage-inbox.ts'
import { StageOutbox } from './stage-outbox.ts'
import { SyncSource } from './sync-source.ts'

export interface ReplicationOptions {
  /** Backlog of this node, in bytes. Default 64 MiB. */
  readonly backlogBytes: number
  /** A peer silent for this long does not count as available, in milliseconds. Default 1,000. */
  readonly replicaTimeoutMs: number
  /** Longest key, in bytes. Default 1,024. */
  readonly keyBytesMax: number
  /** Largest value, in bytes. Default 16 MiB. */
  readonly valueBytesMax: number
  /** Large values in flight, in bytes, to all peers and from all peers each. Default 128 MiB. */
  readonly stagingBytes: number
  /** Longest timeout an operation can have, in milliseconds; ids are kept twice as long. Default 30,000. */
  readonly timeoutMaxMs: number
  /** A node without contact to a majority of voters for this long stops acting as primary, in milliseconds. Default 3,000. */
  readonly quarantineAfterMs?: number
  /** Bytes a second it sends to learners, besides the log; 0: without limit. Default 0. */
  readonly syncBytesPerSecond?: number
}

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

export interface ReplicationCounters {
  /** Replicas that were left out. */
  lagging: number
  /** Logs that contradicted each other: always 0, or there is a bug. */
  diverged: number
  /** Writes that this node had applied and the cluster went on without: nobody was told that they were safe. */
  rolledBackWrites: number
  /** Replicas that held something else than their primary: always 0, or there is a bug. */
  repairs: number
}

/** What waits past its deadline is told so at most this much later. */
const WAIT_SWEEP_MS = 50
/** A node that is out of touch looks this often whether it still is. */
const QUARANTINE_CHECK_MS = 50
const HEARTBEAT_MS = 250
/** While no client asks this node anything: leases last twice as long, so that the first read after it finds one. */
const IDLE_HEARTBEAT_MS = 500
const IDLE_AFTER_MS = 1000
/** Replicas are compared at every so many heartbeats: few larger frames cost less than many small ones. */
const COMPARE_HEARTBEATS = 20
const SESSION_SWEEP_MS = 5000
/** Replicas that nobody waits for get their copies at most this much later, in milliseconds. */
const LAZY_MS = 4
const QUARANTINE_AFTER_MS = 3000
/** Partitions in which this node brings others up at a time, and in which it is brought up itself: by two others, without waiting. */
const SYNC_SESSIONS_OUT_MAX = 2
const SYNC_SESSIONS_IN_MAX = 4
const CLEARS_PER_TICK = 64
export class Replicator {
  readonly #ports: ReplicatorPorts
  readonly #options: ReplicationOptions
  readonly operations: OperationTable
  readonly backlog: Backlog
  readonly applier: Applier
  readonly primary: Primary
  readonly inbox: StageInbox
  readonly outbox: StageOutbox
  /** How fast large values go beside small operations. */
  readonly pace: BulkPace
  readonly counters: ReplicationCounters = { lagging: 0, diverged: 0, rolledBackWrites: 0, repairs: 0 }
  readonly leadership: Leadership
  readonly reads: ReadGate
  readonly antiEntropy: AntiEntropy
  readonly #moves: PrimaryMoves
  #rolesDue = false
  readonly proposals: Proposals
  readonly #grants: LeaseGrants
  readonly #follower: LogFollower
  readonly #kept: KeptLog
  readonly #following: FollowerServices
  readonly syncs: SyncSource
  readonly #cluster: ClusterPort
  readonly #quarantineAfterMs: number
  #quarantined = false
  readonly #keepsAcks: boolean
  #topology: Topology | undefined
  #self: NodeIndex = -1
  readonly #roles: Roles
  readonly #replicas: readonly (Replica | undefined)[]
  #primaries: Replica[] = []
  /** Replicas this node is primary of, or takes over. */
  readonly #leading = new Set<Replica>()
  #stamp = 0
  readonly #regions: RegionTable
  #peers: (PeerLog | undefined)[] = []
  /** Peers to be sent to at the end of this turn. */
  readonly #eager = new Set<PeerLog>()
  /** Peers that are to acknowledge a frame sent from now on. */
  readonly #probed = new Set<PeerLog>()
  #flushDue = false
  #lazyTimer: Timer | undefined
  #closed = false
  readonly #timers: Timer[] = []
  /** Runs while something waits. */
  readonly #sweep: SleepingTimer
  #heartbeats = 0
  #quarantineTimer: Timer | undefined

  constructor(ports: ReplicatorPorts, options: ReplicationOptions) {
    this.#ports = ports
    this.#options = options
    const { engine, clock, scheduler, memory } = ports
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
    this.outbox = new StageOutbox(options.stagingBytes, this.pace, (node) => this.#peers[node]?.staged())
    this.#kept = new KeptLog({
      bytesMax: options.backlogBytes,
      outbox: this.outbox,
      replica: (partition) => this.#replicas[partition],
      held: (delta) => memory.add('backlog', delta),
      overran: (replica, follower) => this.#leftOut(replica, follower, 'the backlog overran what it lacks'),
    })
    this.backlog = this.#kept.backlog
    const cluster = ports.cluster ?? staticCluster(() => clock.monotonicMs())
    const { brokenRules } = ports
    this.#cluster = cluster
    this.#quarantineAfterMs = options.quarantineAfterMs ?? QUARANTINE_AFTER_MS
    this.reads = new ReadGate({
      clock,
      cluster,
      quarantineAfterMs: this.#quarantineAfterMs,
      brokenRules,
      peer: (node) => this.#peers[node],
      nextStamp: () => ++this.#stamp,
      probe: (replica) => this.#probe(replica),
      awaited: (replica) => this.#awaited(replica, 'quorum'),
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
      clock,
      memory,
      region: (regionId) => this.#regions.get(regionId),
      regionIds: () => this.#regions.ids,
      replica: (partition) => this.#replicas[partition],
      availableReplicas: (replica) => this.#available(replica),
      budgetBytes: (regionId) => this.#regions.budgetBytes(regionId),
      removed: ports.removed,
      awaited: (replica, by) => this.#awaited(replica, by),
      logged: (replica, effect, effectBytes, staged) => this.#logged(replica, effect, effectBytes, staged),
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
      quarantineAfterMs: this.#quarantineAfterMs,
      replicaTimeoutMs: options.replicaTimeoutMs,
      peer: (node) => this.#peers[node],
      flushSoon: () => this.flushSoon(),
      serves: () => this.#rolesChangedSoon(),
      beginTerm: (replica) => this.primary.beginTerm(replica),
      diverged: (replica, what) => this.#diverged(replica, what),
    })
    this.#moves = new PrimaryMoves({
      clock,
      scheduler,
      proposals: this.proposals,
      flushSoon: () => this.flushSoon(),
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
      peer: (node) => this.#peers[node],
      receiver: (node) => this.#following.receiver(node),
      stoppedServing: () => this.reads.check(),
      forgetOutcomes: (partition) => this.operations.forget(partition),
      isWanted: (partition) => this.#isWanted(partition),
    })
    this.#replicas = this.#roles.replicas
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
      peer: (node) => this.#peers[node],
      isMove: ({ partition }) => this.#topology !== undefined && hasAllCopies(this.#topology, partition),
      sendsIds: keeps(brokenRules, 'ids-in-sync'),
      promotesWhole: keeps(brokenRules, 'promote-only-whole'),
      keepsByVersion: keeps(brokenRules, 'listed-by-version'),
    })
    this.antiEntropy = new AntiEntropy({
      engine,
      peer: (node) => this.#peers[node],
      replica: (partition) => this.#replicas[partition],
      differs: (replica, member, buckets) => this.#differs(replica, member, buckets),
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
        this.#rolesChangedSoon()
      },
      contradicted: (replica, what) => this.#diverged(replica, what),
      rolledBack: (replica, writes) => this.#rolledBack(replica, writes),
    })
    this.#timers.push(
      every(scheduler, HEARTBEAT_MS, () => this.#heartbeat()),
      every(scheduler, SESSION_SWEEP_MS, () => this.operations.sweep(clock.monotonicMs())),
    )
    this.#armQuarantine(QUARANTINE_CHECK_MS)
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
    this.#adoptPeers(before, topology, self)
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
    this.#rolesChanged()
    this.flushSoon()
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
    return this.#primaries
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
    for (const peer of this.#peers) peer?.moved.add(session)
    session.advance(firstIncomplete)
    // Peers learn it with the next records; there is no hurry.
  }

  /** A log stream to the peer is up. */
  peerLinked(node: NodeIndex, stream: FrameStream, positions: readonly ReplicaPosition[]): void {
    this.#peers[node]?.start(stream, positions)
  }

  peerLost(node: NodeIndex): void {
    this.#peers[node]?.stop()
  }

  peerAcked(node: NodeIndex, ack: Ack): void {
    this.#peers[node]?.acked(ack)
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
        this.#peers[node]?.positioned(decodePositions(new ByteReader(body, 1)))
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

  /** Whether the peer is linked and answers. */
  isPeerAvailable(node: NodeIndex): boolean {
    return this.#peers[node]?.available ?? false
  }

  /** How long the peer has been silent, in milliseconds; undefined when it is not linked. */
  peerSilenceMs(node: NodeIndex): number | undefined {
    const peer = this.#peers[node]
    return peer?.linked ? this.#ports.clock.monotonicMs() - peer.lastAckMs : undefined
  }

  /**
   * Sends a large value to the replica's members; `ready` gets it once enough of them hold it for the write to be
   * ordered. Returns how to give it up.
   * @throws CacheError OVERLOADED
   */
  stage(
    replica: Replica,
    value: LargeValue,
    ready: (staged: StagedValue | undefined, error: CacheError | undefined) => void,
  ): () => void {
    const nodes = replica.members.filter((one) => one.state !== 'lagging').map((one) => one.node)
    let stageId = -1
    let early: { error: CacheError | undefined } | undefined
    const tell = (error: CacheError | undefined): void => {
      if (error === undefined) ready({ stageId, value }, undefined)
      else ready(undefined, error)
    }
    stageId = this.outbox.begin(value, nodes, Math.min(replica.quorum - 1, nodes.length), (error) => {
      if (stageId < 0) early = { error }
      else tell(error)
    })
    if (early !== undefined) tell((early as { error: CacheError | undefined }).error)
    return () => this.outbox.end(stageId)
  }

  /** A staged write was refused after all. */
  unstage(staged: StagedValue): void {
    if (!this.#kept.names(staged.stageId)) this.outbox.end(staged.stageId)
  }

  /**
   * Whether this node was out of touch with the voters for so long that others may have gone on without it: it answers then
   * only who takes stale values.
   */
  get isQuarantined(): boolean {
    return this.#quarantined
  }

  /** Sends what is due to every peer at the end of this turn. */
  flushSoon(): void {
    for (const peer of this.#peers) if (peer !== undefined) this.#eager.add(peer)
    this.#flushEagerSoon()
  }

  close(): void {
    this.#closed = true
    for (const timer of this.#timers) timer.cancel()
    this.#sweep.cancel()
    this.#quarantineTimer?.cancel()
    this.#lazyTimer?.cancel()
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
    for (const replica of this.#primaries) replica.abandon(error)
    for (const peer of this.#peers) peer?.stop()
    this.outbox.close()
    this.backlog.close()
    this.operations.close()
  }

  #logged(replica: Replica, effect: Uint8Array, effectBytes: number, staged: StagedValue | undefined): void {
    this.#ports.changed?.()
    if (this.#kept.ordered(replica, effect, effectBytes, staged)) this.#flushLater()
    if (replica.quorum === 1) {
      replica.advance()
      this.leadership.advanced(replica)
    }
  }

  #leftOut(replica: Replica, member: Member, why: string): void {
    if (member.session > 0) {
      this.syncs.broken(member, why)
      return
    }
    member.state = 'lagging'
    this.counters.lagging++
    const node = this.#topology?.nodes[member.node]?.nodeId
    this.#ports.log.warn('a replica lags and is left out until it is brought up again', {
      node,
      partition: replica.partition,
      why,
    })
  }

  #peerLog(node: NodeIndex): PeerLog {
    const { clock } = this.#ports
    return new PeerLog(node, {
      backlog: this.backlog,
      wallMs: () => clock.wallMs(),
      monotonicMs: () => clock.monotonicMs(),
      replica: (partition) => this.#replicas[partition],
      primaries: () => this.#leading,
      sessions: () => this.operations.all(),
      missingStage: (peer, record) => this.#kept.missingStage(peer, record),
      advanced: (replica) => {
        replica.advance()
        if (replica.heldSequence >= replica.settleSequence) this.leadership.advanced(replica)
        if (replica.frozen) this.#moves.advanced(replica)
      },
      full: (replica, member) => {
        // A set of two waits until there is room; a larger one goes on without.
        member.state = 'awaiting'
        if (member.session > 0 || replica.members.length > 1)
          this.#leftOut(replica, member, 'its memory is full')
      },
      lagging: (replica, member, why) => this.#leftOut(replica, member, why),
      answered: (replica, peer, position) => this.leadership.answered(replica, peer, position),
      learnerReady: (replica, learner, position) => this.syncs.ready(replica, learner, position),
      diverged: (replica, what) => this.#diverged(replica, what),
      nextStamp: () => ++this.#stamp,
      keepsAcks: this.#keepsAcks,
    })
  }

  #diverged(replica: Replica, what: string): void {
    this.counters.diverged++
    // The peer may lie; but if it is one of ours, this is a bug.
    this.#ports.log.warn('replicas of a partition contradict each other: please report it', {
      partition: replica.partition,
      what,
    })
  }

  /** Should never be: the replica is taken out, and brought up again by what differs. */
  #differs(replica: Replica, member: Member, buckets: number): void {
    this.counters.repairs++
    this.#ports.log.error('a replica holds something else than its primary: please report it', {
      partition: replica.partition,
      node: this.#topology?.nodes[member.node]?.nodeId,
      buckets,
    })
    this.#leftOut(replica, member, 'it holds something else than its primary')
  }

  #rolledBack(replica: Replica, writes: number): void {
    this.counters.rolledBackWrites += writes
    this.#ports.log.warn('writes that no quorum had are given up', { partition: replica.partition, writes })
  }

  /** What is left of regions that were dropped is removed by the primaries, through the log as all else, a few at a time. */
  #clearDropped(): void {
    let left = CLEARS_PER_TICK
    for (const regionId of this.#regions.dropped()) {
      for (const replica of this.#primaries) {
        if (left-- <= 0) return
        this.primary.clearRegion(replica, regionId)
      }
    }
  }

  /** A position in the topology belongs to one process: another one there is another peer. */
  #adoptPeers(before: Topology | undefined, topology: Topology, self: NodeIndex): void {
    const count = Math.max(topology.nodes.length, this.#peers.length)
    for (let node = 0; node < count; node++) {
      const now = topology.nodes[node]
      const old = before?.nodes[node]
      const isSame = now !== undefined && now.nodeId === old?.nodeId && now.incarnation === old.incarnation
      const wanted = now !== undefined && self >= 0 && node !== self
      if (this.#peers[node] !== undefined && (!isSame || !wanted)) {
        this.#peers[node]?.stop()
        this.#peers[node] = undefined
      }
      if (wanted) this.#peers[node] ??= this.#peerLog(node)
    }
  }

  #isWanted(partition: number): boolean {
    const topology = this.#topology
    const record = topology?.partitions[partition]
    if (topology === undefined || record === undefined) return false
    return this.#self < 0 || isBlocked(topology, record) || lacksReplica(topology, record, partition)
  }

  /** Many partitions change their role in one turn. */
  #rolesChangedSoon(): void {
    if (this.#rolesDue) return
    this.#rolesDue = true
    this.#ports.scheduler.endOfTurn(() => {
      if (this.#rolesDue && !this.#closed) this.#rolesChanged()
    })
  }

  #rolesChanged(): void {
    this.#rolesDue = false
    this.#primaries = []
    this.#leading.clear()
    for (const replica of this.#replicas) {
      if (replica?.role === 'primary') this.#primaries.push(replica)
      if (replica?.role === 'primary' || replica?.role === 'taking-over') this.#leading.add(replica)
    }
    this.#regions.setBudgets(this.#primaries)
  }

  #available(replica: Replica): number {
    let count = 1
    for (const member of replica.members) {
      if (member.state !== 'lagging' && this.#peers[member.node]?.available === true) count++
    }
    return count
  }

  /**
   * A write waits for these replicas. To make a quorum, as many backups as it takes are sent to at the end of this turn, and so
   * are those that were sent nothing for LAZY_MS; the rest get their copy within LAZY_MS, in fewer and larger frames.
   * Messages are what replication costs.
   */
  #awaited(replica: Replica, by: Durability): void {
    this.#sweep.wake()
    let needed = by === 'all' ? replica.members.length : by === 'quorum' ? replica.quorum - 1 : 0
    const nowMs = this.#ports.clock.monotonicMs()
    for (const member of replica.members) {
      const peer = this.#peers[member.node]
      if (peer === undefined || !peer.available || member.state === 'lagging') continue
      if (needed > 0 || nowMs - peer.lastSentMs >= LAZY_MS) this.#eager.add(peer)
      needed--
    }
    if (needed > 0) this.flushSoon()
    else if (this.#eager.size > 0) this.#flushEagerSoon()
  }

  /** Sends each member a frame at the end of this turn: records that are due, or an empty one. */
  #probe(replica: Replica): void {
    this.#sweep.wake()
    for (const member of replica.members) {
      const peer = this.#peers[member.node]
      if (peer === undefined) continue
      this.#eager.add(peer)
      this.#probed.add(peer)
    }
    this.#flushEagerSoon()
  }

  #flushEagerSoon(): void {
    if (this.#flushDue || this.#closed) return
    this.#flushDue = true
    this.#ports.scheduler.endOfTurn(() => {
      this.#flushDue = false
      if (this.#closed) return
      for (const peer of this.#eager) peer.hurry()
      for (const peer of this.#probed) peer.heartbeat()
      this.#eager.clear()
      this.#probed.clear()
    })
  }

  #flushLater(): void {
    if (this.#closed) return
    this.#lazyTimer ??= this.#ports.scheduler.after(LAZY_MS, () => {
      this.#lazyTimer = undefined
      for (const peer of this.#peers) peer?.flush()
    })
  }

  /** @returns whether anything still waits */
  #sweepWaiting(): boolean {
    const nowMs = this.#ports.clock.monotonicMs()
    let isAwaited = false
    for (const replica of this.#primaries) {
      if (replica.waiting === 0) continue
      replica.expire(nowMs)
      isAwaited ||= replica.waiting > 0
    }
    this.reads.expire(nowMs)
    return isAwaited || this.reads.waiting > 0
  }

  /**
   * Looked at here and not with each operation, for reading the clock costs as much as a lookup: in the moment in which the contact
   * that was known last has grown too old, and often while it is.
   */
  #checkQuarantine(): void {
    const silentMs = this.#ports.clock.monotonicMs() - this.#cluster.voterContactMs()
    this.#quarantined = silentMs > this.#quarantineAfterMs
    this.#armQuarantine(this.#quarantined ? QUARANTINE_CHECK_MS : this.#quarantineAfterMs - silentMs + 1)
  }

  #armQuarantine(delayMs: number): void {
    this.#quarantineTimer = this.#ports.scheduler.after(delayMs, () => this.#checkQuarantine())
  }

  #heartbeat(): void {
    const nowMs = this.#ports.clock.monotonicMs()
    const periodMs = this.pace.quietMs < IDLE_AFTER_MS ? HEARTBEAT_MS : IDLE_HEARTBEAT_MS
    for (const peer of this.#peers) {
      if (peer === undefined) continue
      peer.flush()
      if (nowMs - peer.lastSentMs >= periodMs - 1) peer.heartbeat()
      // What a peer had no room for before it may have room for now.
      peer.staged()
      peer.checkSilence(this.#options.replicaTimeoutMs)
      peer.askAgain()
      peer.flush()
    }
    this.leadership.tick(this.#primaries)
    this.syncs.tick()
    this.#heartbeats = (this.#heartbeats + 1) % COMPARE_HEARTBEATS
    if (this.#heartbeats === 0) this.antiEntropy.tick(this.#primaries, COMPARE_HEARTBEATS * HEARTBEAT_MS)
    this.#roles.dropSoon()
    this.#clearDropped()
  }
}

function lacksReplica(topology: Topology, record: PartitionRecord, partition: number): boolean {
  const group = topology.groups.find(
    (one) => partition >= one.firstPartition && partition < one.firstPartition + one.partitionCount,
  )
  return record.inSync.length + record.learners.length < (group?.replicationFactor ?? 0)
}
