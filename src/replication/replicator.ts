/**
 * Replication of one node: its copies of partitions, the backlog of what it orders, the log to each peer. It brings the
 * parts together and owns their timers; what each does is said in its own file.
 */

import type { Engine, LargeValue } from '../engine/engine.ts'
import type { Clock } from '../kernel/clock.ts'
import { CacheError } from '../kernel/errors.ts'
import type { Log } from '../kernel/log.ts'
import type { MemoryAccount } from '../kernel/memory-account.ts'
import { every, type Scheduler, type Timer } from '../kernel/scheduler.ts'
import {
  type Durability,
  type GroupRecord,
  groupOf,
  locate,
  type NodeIndex,
  type RegionRecord,
  type Topology,
} from '../topology/topology.ts'
import type { Ack, ReplicaPosition } from '../wire/peer-frames.ts'
import type { FrameStream } from '../wire/transport.ts'
import { Applier } from './applier.ts'
import { AtomicGroup, type Uncompress } from './atomic-group.ts'
import { Backlog } from './backlog.ts'
import type { SessionOutcomes } from './operation-table.ts'
import { OperationTable } from './operation-table.ts'
import { PeerLog } from './peer-log.ts'
import { Primary, type StagedValue } from './primary.ts'
import { type Member, Replica } from './replica.ts'
import { StageInbox } from './stage-inbox.ts'
import { StageOutbox } from './stage-outbox.ts'

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
}

export interface ReplicatorPorts {
  readonly engine: Engine
  readonly clock: Clock
  readonly scheduler: Scheduler
  readonly memory: MemoryAccount
  readonly log: Log
  readonly uncompress: Uncompress
  removed(regionId: number, why: 'evicted' | 'expired'): void
}

export interface ReplicationCounters {
  /** Replicas that were left out. */
  lagging: number
  /** Logs that contradicted each other: always 0, or there is a bug. */
  diverged: number
}

const WAIT_SWEEP_MS = 50
const HEARTBEAT_MS = 250
const SESSION_SWEEP_MS = 5000
/** Replicas that nobody waits for get their copies at most this much later, in milliseconds. */
const LAZY_MS = 4

export class Replicator {
  readonly #ports: ReplicatorPorts
  readonly #options: ReplicationOptions
  readonly operations: OperationTable
  readonly backlog: Backlog
  readonly applier: Applier
  readonly primary: Primary
  readonly inbox: StageInbox
  readonly outbox: StageOutbox
  readonly counters: ReplicationCounters = { lagging: 0, diverged: 0 }
  #topology: Topology | undefined
  #self: NodeIndex = -1
  #replicas: (Replica | undefined)[] = []
  #primaries: Replica[] = []
  #regions: (RegionRecord | undefined)[] = []
  #regionIds: number[] = []
  /** By region: this node's share of its size, in bytes; 0: no limit. */
  #budgetBytes: number[] = []
  /** By region: the group it lives in. */
  #groups: (GroupRecord | undefined)[] = []
  #peers: (PeerLog | undefined)[] = []
  readonly #stageOf = new Map<number, number>()
  /** Peers to be sent to at the end of this turn. */
  readonly #eager = new Set<PeerLog>()
  #flushDue = false
  #lazyTimer: Timer | undefined
  #closed = false
  readonly #timers: Timer[] = []

  constructor(ports: ReplicatorPorts, options: ReplicationOptions) {
    this.#ports = ports
    this.#options = options
    const { engine, clock, scheduler, memory } = ports
    this.operations = new OperationTable({
      idleMs: 2 * options.timeoutMaxMs,
      bytesMax: memory.limitBytes / 8,
    })
    this.backlog = new Backlog(
      options.backlogBytes,
      (record) => this.#dropped(record),
      (delta) => memory.add('backlog', delta),
    )
    this.applier = new Applier(engine, this.operations)
    this.inbox = new StageInbox(engine, options.stagingBytes, options.valueBytesMax)
    this.outbox = new StageOutbox(options.stagingBytes, (node) => this.#peers[node]?.staged())
    this.primary = new Primary({
      engine,
      applier: this.applier,
      atomic: new AtomicGroup({
        engine,
        uncompress: ports.uncompress,
        limits: options,
        region: (regionId) => this.#regions[regionId],
        partitionOf: (regionId, key, start, end) => this.locate(regionId, key, start, end),
      }),
      operations: this.operations,
      clock,
      memory,
      region: (regionId) => this.#regions[regionId],
      regionIds: () => this.#regionIds,
      replica: (partition) => this.#replicas[partition],
      availableReplicas: (replica) => this.#available(replica),
      budgetBytes: (regionId) => this.#budgetBytes[regionId] ?? 0,
      removed: ports.removed,
      awaited: (replica, by) => this.#awaited(replica, by),
      logged: (replica, effect, effectBytes, staged) => this.#logged(replica, effect, effectBytes, staged),
    })
    this.#timers.push(
      every(scheduler, WAIT_SWEEP_MS, () => this.#sweepWaiting()),
      every(scheduler, HEARTBEAT_MS, () => this.#heartbeat()),
      every(scheduler, SESSION_SWEEP_MS, () => this.operations.sweep(clock.monotonicMs())),
    )
  }

  get topology(): Topology | undefined {
    return this.#topology
  }

  /** Position of this process in the topology; −1: it has no role in it. */
  get self(): NodeIndex {
    return this.#self
  }

  /** Takes up the roles that the first committed topology gives this node; `self` is −1 when it gives none. */
  adopt(topology: Topology, self: NodeIndex): void {
    if (this.#topology !== undefined) throw new CacheError('INTERNAL', 'a topology is adopted already')
    const { engine } = this.#ports
    this.#topology = topology
    this.#self = self
    for (const region of topology.regions) {
      this.#regions[region.regionId] = region
      this.#regionIds.push(region.regionId)
      this.#groups[region.regionId] = groupOf(topology, region)
      engine.addRegion(region.regionId, { policy: region.policy })
    }
    topology.partitions.forEach((record, partition) => {
      if (!record.inSync.includes(self)) return
      const replica = new Replica(partition, record.partitionEpoch, self, record.primary, record.inSync)
      this.#replicas[partition] = replica
      engine.addPartition(partition)
      if (replica.role === 'primary') {
        this.#primaries.push(replica)
        engine.setPrimary(partition, true)
      }
    })
    this.#setBudgets(topology)
    topology.nodes.forEach((_, node) => {
      if (node !== self && self >= 0) this.#peers[node] = this.#peerLog(node)
    })
  }

  replica(partition: number): Replica | undefined {
    return this.#replicas[partition]
  }

  *replicas(): Generator<Replica> {
    for (const replica of this.#replicas) if (replica !== undefined) yield replica
  }

  get primaries(): readonly Replica[] {
    return this.#primaries
  }

  region(regionId: number): RegionRecord | undefined {
    return this.#regions[regionId]
  }

  /** The partition of a key; −1 when there is no such region. */
  locate(regionId: number, key: Uint8Array, start: number, end: number): number {
    const group = this.#groups[regionId]
    return group === undefined ? -1 : locate(group, regionId, key, start, end)
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
    if (!this.#isLogged(staged.stageId)) this.outbox.end(staged.stageId)
  }

  #isLogged(stageId: number): boolean {
    for (const logged of this.#stageOf.values()) if (logged === stageId) return true
    return false
  }

  /** Sends what is due to every peer at the end of this turn. */
  flushSoon(): void {
    for (const peer of this.#peers) if (peer !== undefined) this.#eager.add(peer)
    this.#flushEagerSoon()
  }

  close(): void {
    this.#closed = true
    for (const timer of this.#timers) timer.cancel()
    this.#lazyTimer?.cancel()
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
    if (replica.members.length > 0) {
      const pinned =
        staged === undefined
          ? undefined
          : {
              byteLength: staged.value.totalBytes,
              release: (): void => this.outbox.end(staged.stageId),
            }
      const record = this.backlog.append(
        replica.partition,
        replica.partitionEpoch,
        replica.lastSequence,
        effect,
        effectBytes,
        replica.lastRecord,
        pinned,
      )
      if (staged !== undefined) this.#stageOf.set(record, staged.stageId)
      if (replica.firstRecord < this.backlog.first) replica.firstRecord = record
      replica.lastRecord = record
      this.#flushLater()
    } else if (staged !== undefined) {
      this.outbox.end(staged.stageId)
    }
    if (replica.quorum === 1) replica.advance()
  }

  /** A record is about to leave the backlog: members that still lack it can't follow any more. */
  #dropped(record: number): void {
    const { backlog } = this
    this.#stageOf.delete(record)
    const replica = this.#replicas[backlog.partition(record)]
    if (replica === undefined) return
    replica.firstRecord = backlog.next(record)
    const sequence = backlog.sequence(record)
    for (const member of replica.members) {
      if (member.state !== 'lagging' && member.acked < sequence) {
        this.#leftOut(replica, member, 'the backlog overran what it had not acknowledged')
      }
    }
  }

  #leftOut(replica: Replica, member: Member, why: string): void {
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
      primaries: () => this.#primaries,
      sessions: () => this.operations.all(),
      missingStage: (peer, record) => {
        const stageId = this.#stageOf.size === 0 ? undefined : this.#stageOf.get(record)
        return stageId !== undefined && this.outbox.missing(peer, stageId)
      },
      advanced: (replica) => replica.advance(),
      lagging: (replica, member, why) => this.#leftOut(replica, member, why),
      diverged: (replica, what) => {
        this.counters.diverged++
        // The peer may lie; but if it is one of ours, this is a bug.
        this.#ports.log.warn('replicas of a partition contradict each other: please report it', {
          partition: replica.partition,
          what,
        })
      },
    })
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

  #flushEagerSoon(): void {
    if (this.#flushDue || this.#closed) return
    this.#flushDue = true
    this.#ports.scheduler.endOfTurn(() => {
      this.#flushDue = false
      if (this.#closed) return
      for (const peer of this.#eager) peer.hurry()
      this.#eager.clear()
    })
  }

  #flushLater(): void {
    if (this.#closed) return
    this.#lazyTimer ??= this.#ports.scheduler.after(LAZY_MS, () => {
      this.#lazyTimer = undefined
      for (const peer of this.#peers) peer?.flush()
    })
  }

  #sweepWaiting(): void {
    const nowMs = this.#ports.clock.monotonicMs()
    for (const replica of this.#primaries) if (replica.waiting > 0) replica.expire(nowMs)
  }

  #heartbeat(): void {
    const nowMs = this.#ports.clock.monotonicMs()
    for (const peer of this.#peers) {
      if (peer === undefined) continue
      peer.flush()
      if (nowMs - peer.lastSentMs >= HEARTBEAT_MS - 1) peer.heartbeat()
      // What a peer had no room for before it may have room for now.
      peer.staged()
      peer.checkSilence(this.#options.replicaTimeoutMs)
    }
  }

  /** Each region's budget is cluster-wide, one copy; this node enforces the share of the partitions it is primary of. */
  #setBudgets(topology: Topology): void {
    for (const region of topology.regions) {
      const group = topology.groups.find((one) => one.name === region.group)
      if (group === undefined) continue
      const end = group.firstPartition + group.partitionCount
      const own = this.#primaries.filter(
        (one) => one.partition >= group.firstPartition && one.partition < end,
      ).length
      const share = own / group.partitionCount
      const bytes = region.sizeBytes > 0 ? Math.max(1, Math.floor(region.sizeBytes * share)) : 0
      this.#budgetBytes[region.regionId] = bytes
      this.#ports.engine.setBudget(
        region.regionId,
        bytes,
        region.maxEntries > 0 ? Math.max(1, Math.round(region.maxEntries * share)) : 0,
      )
    }
  }
}
