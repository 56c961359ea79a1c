/**
 * The replicas this node holds, and how they come and go: what a learned record, or a primary of a later epoch, makes of each.
 *
 * - What a node held before under another role is never taken for what it should hold now: a learner keeps it as unverified,
 *   everybody else begins with nothing.
 * - Whoever was primary before is told at once, with the next ACK, that this node counts for it no more; what it was granted
 *   runs on until the time that is noted here.
 * - Memory is given back in slices. A partition that lacks a replica is kept for a while: this node may be asked to be it again.
 * - What was loaded from a snapshot has no place in any log. It is unverified memory for a learner. Only where a partition starts over
 *   (Recovered), and only while no session has touched it, it is what the new primary begins with.
 */

import type { Engine } from '../engine/engine.ts'
import type { Clock } from '../kernel/clock.ts'
import { CacheError } from '../kernel/errors.ts'
import type { MemoryAccount } from '../kernel/memory-account.ts'
import { type BrokenRules, keeps } from '../kernel/rule-switch.ts'
import type { Scheduler, Timer } from '../kernel/scheduler.ts'
import type { NodeIndex, PartitionRecord } from '../topology/topology.ts'
import { changeOf } from './adoption.ts'
import type { Leadership } from './leadership.ts'
import { LearnerState } from './learner-state.ts'
import type { LeaseGrants } from './lease-grants.ts'
import type { PeerLog } from './peer-log.ts'
import type { PrimaryMoves } from './primary-moves.ts'
import { Replica } from './replica.ts'
import type { ReplicaReceiver } from './replica-receiver.ts'
import { BACKUP, KEPT, NO_NODE, PRIMARY, type Role } from './role.ts'
import type { LogEnd } from './takeover.ts'

export interface RolesPorts {
  readonly engine: Engine
  readonly clock: Clock
  readonly scheduler: Scheduler
  readonly memory: MemoryAccount
  readonly leadership: Leadership
  readonly moves: PrimaryMoves
  readonly grants: LeaseGrants
  readonly brokenRules: BrokenRules | undefined
  peer(node: NodeIndex): PeerLog | undefined
  /** The receiver of the log that the node sends to this one. */
  receiver(node: NodeIndex): ReplicaReceiver | undefined
  /** What is known of a partition's operations belongs to a log that this node gave up. */
  forgetOutcomes(partition: number): void
  /** A replica serves no more: what waited for it has failed. */
  stoppedServing(): void
  /** Whether the partition lacks a replica, or nobody may serve it: what is loaded of it may be asked for. */
  isWanted(partition: number): boolean
}

/** Where the log of a partition stood as the snapshot was made that was loaded. */
export interface LoadedEnd extends LogEnd {
  /** The partition's clock. */
  readonly clockMs: number
}

/** Entries of a partition without a role here that are removed in one turn. */
const DROPS_PER_SLICE = 200
/** Between two such slices, unless memory is short, in milliseconds. */
const DROP_PAUSE_MS = 4
/** What a node holds of a partition that lacks a replica is kept this long. */
const RETAIN_MS = 60_000

export class Roles {
  readonly replicas: (Replica | undefined)[] = []
  readonly #ports: RolesPorts
  /** Partitions whose role here is over: from which monotonic time on their memory is given back. */
  readonly #dropping = new Map<number, number>()
  /** Of partitions this node no longer holds: until when a lease may run that it granted, and where its log ended. */
  readonly #former = new Map<number, { leaseUntilMs: number; lastEpoch: number; lastSequence: number }>()
  /** Loaded from a snapshot and not touched since. */
  readonly #loaded = new Map<number, LoadedEnd>()
  #dropDue = false
  #dropTimer: Timer | undefined
  #closed = false
  #self: NodeIndex = NO_NODE
  readonly #keepsAcks: boolean
  readonly #unknownIfApplied: boolean
  readonly #recoversWhole: boolean
  readonly #vouchesForAll: boolean
  readonly #countsLearners: boolean
  readonly #quorumLess: number

  constructor(ports: RolesPorts) {
    this.#ports = ports
    const { brokenRules } = ports
    this.#keepsAcks = !keeps(brokenRules, 'acks-per-epoch')
    this.#unknownIfApplied = keeps(brokenRules, 'applied-is-unknown')
    this.#recoversWhole = keeps(brokenRules, 'recovered-whole')
    this.#vouchesForAll = !keeps(brokenRules, 'unverified-touch-drops')
    this.#countsLearners = !keeps(brokenRules, 'learner-not-counted')
    this.#quorumLess = keeps(brokenRules, 'set-majority') ? 0 : 1
  }

  close(): void {
    this.#closed = true
    this.#dropTimer?.cancel()
  }

  /** What was loaded of partitions, and nothing has touched since. */
  get loaded(): ReadonlyMap<number, LoadedEnd> {
    for (const partition of this.#loaded.keys()) {
      const replica = this.replicas[partition]
      if (replica !== undefined && !isUntouched(replica)) this.#loaded.delete(partition)
    }
    return this.#loaded
  }

  /** Makes room for what is to be loaded of a partition. @returns false when this node holds something of it already */
  beginLoading(partition: number): boolean {
    const { engine } = this.#ports
    if (this.replicas[partition] !== undefined || engine.hasPartition(partition)) return false
    engine.addPartition(partition)
    this.#dropping.set(partition, Number.POSITIVE_INFINITY)
    return true
  }

  /** All of it is loaded; or, with undefined, what is there is worth nothing. */
  endLoading(partition: number, end: LoadedEnd | undefined): void {
    if (end === undefined) {
      this.#dropping.delete(partition)
      this.#ports.engine.dropPartition(partition)
      return
    }
    this.#loaded.set(partition, end)
    this.#dropping.set(partition, this.#ports.clock.monotonicMs() + RETAIN_MS)
  }

  /**
   * Takes up what the record says of one partition.
   * @param before what was known of it before
   * @param isOther this process stood elsewhere in the record then
   */
  adopt(
    record: PartitionRecord,
    before: PartitionRecord | undefined,
    partition: number,
    self: NodeIndex,
    isOther: boolean,
    lacksReplica: boolean,
  ): void {
    this.#self = self
    const { engine, leadership } = this.#ports
    let replica = this.replicas[partition]
    const { partitionEpoch, primary, inSync } = record
    if (replica !== undefined && isOther) {
      // What another process of the record holds is nothing of this one's ◆.
      this.#drop(replica, partitionEpoch)
      replica = undefined
    }
    if (replica !== undefined && !isUntouched(replica)) this.#loaded.delete(partition)
    const change = changeOf(record, self, replica)
    switch (change.kind) {
      case 'none':
      case 'ignore':
        return
      case 'keep':
        break
      case 'begin':
        replica = this.#hold(partition, partitionEpoch, primary, inSync)
        if (replica.role === 'primary') engine.setPrimary(partition, true)
        break
      case 'lead-on':
        replica = replica as Replica
        this.enter(replica, partitionEpoch, PRIMARY, self, inSync)
        break
      case 'take-over': {
        const loaded = this.#startsOverWith(record, partition)
        if (replica?.state.kind === 'learner' && !replica.state.learner.isWhole && this.#recoversWhole) {
          // What a learner holds half is worth nothing ◆.
          if (loaded === undefined) {
            this.#drop(replica, partitionEpoch)
            replica = undefined
          }
        }
        replica ??= this.#hold(partition, 0, NO_NODE, [], loaded !== undefined)
        if (loaded !== undefined) {
          replica.restart(loaded.epoch, loaded.sequence)
          replica.clockMs = Math.max(replica.clockMs, loaded.clockMs)
        }
        this.#loaded.delete(partition)
        if (replica.primary !== self) this.#captureLease(replica)
        const takeover = leadership.begin(replica, record, before)
        this.enter(replica, partitionEpoch, { kind: 'taking-over', takeover }, self, inSync)
        leadership.start(replica, record)
        return
      }
      case 'follow':
        replica ??= this.#hold(partition, partitionEpoch, primary, inSync)
        this.enter(replica, partitionEpoch, BACKUP, primary, inSync)
        break
      case 'learn-on':
        replica = replica as Replica
        this.enter(replica, partitionEpoch, replica.state, primary, inSync)
        break
      case 'learn':
        replica ??= this.#hold(partition, partitionEpoch, primary, inSync, true)
        this.enter(
          replica,
          partitionEpoch,
          { kind: 'learner', learner: new LearnerState(change.session, this.#vouchesForAll) },
          primary,
          inSync,
        )
        break
      case 'set-aside':
        replica = replica as Replica
        this.enter(replica, partitionEpoch, KEPT, primary, inSync)
        break
      case 'drop':
        if (replica !== undefined) this.#drop(replica, partitionEpoch, lacksReplica)
        return
    }
    if (replica === undefined) return
    if (replica.role === 'primary') {
      replica.setLearners(record.learners)
      for (const learner of replica.learners)
        if (learner.state === 'unknown') this.#ports.peer(learner.node)?.ask(replica)
      if (change.kind === 'lead-on') leadership.leadOn(replica, record)
    }
    leadership.listed(replica, record)
  }

  /**
   * What the new primary of a partition that starts over begins with. The epoch is checked, for the versions it gives must be above all
   * that were ever given.
   */
  #startsOverWith(
    { recoveredAt, partitionEpoch }: PartitionRecord,
    partition: number,
  ): LoadedEnd | undefined {
    const loaded = this.#loaded.get(partition)
    return recoveredAt === partitionEpoch && loaded !== undefined && loaded.epoch < partitionEpoch
      ? loaded
      : undefined
  }

  /**
   * Begins to hold the partition: a learner with what is left of an earlier role, unverified; who starts over with a snapshot with that;
   * all others with nothing.
   */
  #hold(
    partition: number,
    partitionEpoch: number,
    primary: NodeIndex,
    inSync: readonly NodeIndex[],
    keeps = false,
  ): Replica {
    const { engine, clock } = this.#ports
    if (!keeps) this.#loaded.delete(partition)
    if (this.#dropping.delete(partition) && !keeps) engine.dropPartition(partition)
    if (!engine.hasPartition(partition)) engine.addPartition(partition)
    const replica = new Replica(partition, partitionEpoch, this.#self, primary, inSync)
    replica.enteredMs = clock.monotonicMs()
    replica.countsLearners = this.#countsLearners
    replica.quorumLess = this.#quorumLess
    const former = this.#former.get(partition)
    if (former !== undefined) {
      this.#former.delete(partition)
      replica.leaseUntilMs = former.leaseUntilMs
      if (!keeps) this.#ports.forgetOutcomes(partition)
      if (keeps) replica.restart(former.lastEpoch, former.lastSequence)
    }
    this.replicas[partition] = replica
    return replica
  }

  /** Puts a replica under an epoch, in this role: whoever it served before learns that that is over. */
  enter(
    replica: Replica,
    partitionEpoch: number,
    role: Role,
    primary: NodeIndex,
    inSync: readonly NodeIndex[],
  ): void {
    const formerPrimary = replica.primary
    const wasPrimary = replica.role === 'primary'
    if (formerPrimary !== primary) this.#captureLease(replica)
    this.#ports.moves.end(replica)
    replica.enter(partitionEpoch, role, primary, inSync, this.#keepsAcks)
    replica.enteredMs = this.#ports.clock.monotonicMs()
    if (wasPrimary && role.kind !== 'primary') this.#stopServing(replica)
    if (role.kind !== 'taking-over' && role.kind !== 'primary') this.#ports.leadership.forget(replica)
    this.#ports.receiver(primary)?.admit(replica.partition)
    if (formerPrimary !== primary)
      this.#ports.receiver(formerPrimary)?.revoke(replica.partition, partitionEpoch, replica.lastSequence)
  }

  /**
   * Whatever this node granted to the primary it leaves may run on until then, in whatever role it leaves it: one that was set
   * aside still counts at a primary that has not heard of that, and is among those asked when it comes back.
   */
  #captureLease(replica: Replica): void {
    replica.leaseUntilMs = Math.max(replica.leaseUntilMs, this.#ports.grants.untilMs(replica.primary))
  }

  /** Outcomes that wait were applied here: whether they last is for the next primary to know ◆. */
  #stopServing(replica: Replica): void {
    this.#ports.moves.end(replica)
    const notPrimary = new CacheError('NOT_PRIMARY', 'another node became primary: ask there')
    replica.abandon(
      this.#unknownIfApplied
        ? new CacheError(
            'OUTCOME_UNKNOWN',
            'the write was applied, then another node became primary: read to find out whether it lasts',
          )
        : notPrimary,
      notPrimary,
    )
    this.#ports.stoppedServing()
    if (this.#ports.engine.isPrimary(replica.partition))
      this.#ports.engine.setPrimary(replica.partition, false)
  }

  /** The node has no role in the partition any more: its memory is given back in slices. */
  #drop(replica: Replica, partitionEpoch: number, retain = false): void {
    const { partition } = replica
    const { clock, memory } = this.#ports
    this.#captureLease(replica)
    const nowMs = clock.monotonicMs()
    const { leaseUntilMs, lastEpoch, lastSequence } = replica
    this.#former.set(partition, { leaseUntilMs, lastEpoch, lastSequence })
    this.#ports.leadership.forget(replica)
    this.#stopServing(replica)
    const receiver = this.#ports.receiver(replica.primary)
    if (partitionEpoch > replica.partitionEpoch) receiver?.revoke(partition, partitionEpoch, lastSequence)
    else receiver?.dismiss(partition, partitionEpoch)
    if (!isUntouched(replica)) this.#loaded.delete(partition)
    // Whoever still has the replica in hand finds one without a say.
    replica.enter(partitionEpoch, BACKUP, NO_NODE, [])
    this.replicas[partition] = undefined
    const isKept = this.#loaded.has(partition) || (retain && memory.level === 'normal')
    this.#dropping.set(partition, isKept ? nowMs + RETAIN_MS : nowMs)
    this.dropSoon()
  }

  /** Goes on giving memory back, where that is due. */
  dropSoon(): void {
    const nowMs = this.#ports.clock.monotonicMs()
    const due = [...this.#dropping].some(([partition, fromMs]) => this.#isDue(partition, fromMs, nowMs))
    if (!due || this.#dropDue || this.#closed) return
    this.#dropDue = true
    const { scheduler, memory } = this.#ports
    const run = (): void => {
      this.#dropDue = false
      if (this.#closed) return
      let left = DROPS_PER_SLICE
      for (const [partition, fromMs] of this.#dropping) {
        if (!this.#isDue(partition, fromMs, nowMs)) continue
        this.#loaded.delete(partition)
        left -= this.#ports.engine.entries(partition)
        if (this.#ports.engine.dropPartition(partition, DROPS_PER_SLICE)) this.#dropping.delete(partition)
        if (left <= 0) break
      }
      if (this.#dropping.size > 0) this.dropSoon()
    }
    // A partition is handed over in one moment, and what goes with it takes a while: the loop has more to do than that.
    if (memory.level === 'normal') this.#dropTimer = scheduler.after(DROP_PAUSE_MS, run)
    else scheduler.nextTurn(run)
  }

  /** Memory that somebody needs now is given back at once; what was loaded, only when it is all that can be. */
  #isDue(partition: number, fromMs: number, nowMs: number): boolean {
    const { memory } = this.#ports
    if (!this.#loaded.has(partition))
      return fromMs <= nowMs || (memory.level !== 'normal' && Number.isFinite(fromMs))
    if (memory.level === 'full') return true
    if (fromMs > nowMs) return false
    if (!this.#ports.isWanted(partition)) return true
    this.#dropping.set(partition, nowMs + RETAIN_MS)
    return false
  }
}

/** Nothing has been done to what it holds: it is a learner whose session has not begun. */
function isUntouched({ state }: Replica): boolean {
  return state.kind === 'learner' && state.learner.phase.kind === 'waiting'
}
