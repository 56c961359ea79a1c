/**
 * The primary's end of sync sessions: brings learners up (docs/protocol.md, "Learners").
 *
 * A session sends, on the stream of the log and in order with it: its beginning with the digests of all buckets; the table of
 * operation ids; then, of the buckets that the learner says differ, ranges of hashes with all entries in them, cut at one moment
 * each. Because the log flows beside it from the beginning, a range needs no memory of what changed since. An entry that the learner
 * listed, by its hash and version, is named in its range, not sent.
 *
 * Large values are staged on the bulk stream first; a range goes out once the learner holds those it names. A large value
 * stored meanwhile has gone to the learner with the log, so it is only said to be kept.
 *
 * Bounded: `sessionsMax` sessions under way, HELD_VERSIONS_MAX entries listed, `WINDOW_BYTES` of ranges unacknowledged each, one slice of work a turn.
 */

import type { Engine } from '../engine/engine.ts'
import { ByteReader, ByteWriter } from '../kernel/bytes.ts'
import type { Clock } from '../kernel/clock.ts'
import type { Epoch, PartitionEpoch } from '../kernel/ids.ts'
import type { Log } from '../kernel/log.ts'
import type { Scheduler, Timer } from '../kernel/scheduler.ts'
import type { NodeIndex } from '../topology/topology.ts'
import { FrameType, finishFrame, REQUEST_FRAME_BYTES_TARGET } from '../wire/frames.ts'
import {
  beginSyncFrame,
  encodeSyncBegin,
  type ListedEntry,
  type Position,
  readListed,
  readSyncName,
  type SyncName,
  type SyncState,
  SyncStatus,
} from '../wire/replica-frames.ts'
import type { BulkPace } from './bulk-pace.ts'
import { ByteRate } from './byte-rate.ts'
import { MovePace } from './move-pace.ts'
import type { OperationTable, SessionOutcomes } from './operation-table.ts'
import type { PeerLog } from './peer-log.ts'
import { PROPOSE_AGAIN_MS, type Proposals } from './proposals.ts'
import { RangeCutter } from './range-cutter.ts'
import { RangeStages } from './range-stages.ts'
import type { Member, Replica } from './replica.ts'
import type { StageOutbox } from './stage-outbox.ts'
import { SyncSession } from './sync-session.ts'

export interface SyncSourcePorts {
  readonly engine: Engine
  readonly operations: OperationTable
  readonly outbox: StageOutbox
  readonly proposals: Proposals
  readonly clock: Clock
  readonly scheduler: Scheduler
  readonly log: Log
  /** Sessions under way at a time. */
  readonly sessionsMax: number
  /** Bytes of ranges a second, over all sessions; 0: without limit. */
  readonly bytesPerSecond: number
  /** Tells whether clients are served beside. */
  readonly pace: BulkPace
  peer(node: NodeIndex): PeerLog | undefined
  /** Whether the copy only moves: there are enough of the partition. */
  isMove(replica: Replica): boolean
  /** Broken by a test. */
  readonly sendsIds: boolean
  readonly promotesWhole: boolean
  readonly keepsByVersion: boolean
}

const WINDOW_BYTES = 1024 * 1024
const SLICE_BYTES = 64 * 1024
const SLICE_MS = 2
/** Of a copy that moves, beside clients that are served. */
const MOVE_RANGE_BYTES = 16 * 1024
/** A session in which nothing happens for this long begins anew, in milliseconds. */
const STUCK_MS = 5000
const RETRY_MIN_MS = 200
/** A node that has enough to do is asked again after so long, in milliseconds. */
const BUSY_MS = 40
/** A step of a move that is proposed waits for others to come; the voter that drives knows it, should it come twice. */
const PROPOSE_MOVE_AGAIN_MS = 3000
const RETRY_MAX_MS = 1000

export class SyncSource {
  readonly #ports: SyncSourcePorts
  readonly #sessions = new Set<SyncSession>()
  readonly #w: ByteWriter = new ByteWriter(64 * 1024)
  readonly #cutter: RangeCutter
  readonly #rate: ByteRate
  readonly #listed: ListedEntry = { hash: 0, versionEpoch: 0, sequence: 0 }
  /** Nodes that said that they are brought up in enough partitions: until when they are not asked again. */
  readonly #busyUntilMs = new Map<NodeIndex, number>()
  readonly #movePace: MovePace
  #attempts = 0
  #pumpDue = false
  #retryTimer: Timer | undefined
  #closed = false
  /** Sessions that ended with a whole learner. */
  completed = 0
  sentBytes = 0

  constructor(ports: SyncSourcePorts) {
    this.#ports = ports
    const { engine, clock, scheduler, bytesPerSecond } = ports
    this.#cutter = new RangeCutter(engine, ports.keepsByVersion)
    this.#rate = new ByteRate(bytesPerSecond, clock, scheduler, () => this.#pumpSoon())
    this.#movePace = new MovePace(clock, scheduler, () => this.#pumpSoon())
  }

  get sessionCount(): number {
    return this.#sessions.size
  }

  /** How far the learner is, for figures: undefined when there is no session. */
  sessionOf(learner: Member): SyncSession | undefined {
    for (const session of this.#sessions) if (session.learner === learner) return session
    return undefined
  }

  /** The learner adopted the epoch and said where it is. */
  ready(replica: Replica, learner: Member, position: Position): void {
    const { clock, outbox } = this.#ports
    this.#forgetGone()
    let session = this.sessionOf(learner)
    if (session === undefined) {
      session = new SyncSession(replica, learner, new RangeStages(outbox, learner.node), clock.monotonicMs())
      this.#sessions.add(session)
      this.#pumpSoon()
      return
    }
    const { kind } = session.phase
    if (kind === 'queued') {
      this.#pumpSoon()
      return
    }
    const follows =
      position.lastSequence >= session.startSequence && position.lastSequence <= replica.lastSequence
    // A proposal names the epoch it was made in: under another one it is void, and the learner is to be proposed again.
    if (session.phase.kind === 'promoting' && session.phase.partitionEpoch !== replica.partitionEpoch)
      session.phase = { kind: 'whole' }
    if (!follows || kind === 'beginning') {
      this.#again(session, 'it lost its place')
      return
    }
    session.progressMs = clock.monotonicMs()
    if (kind === 'ids') session.phase = { kind: 'ids', sessions: this.#ports.operations.all() }
    if (kind === 'walking' || kind === 'ending') {
      session.goBack()
      session.phase = { kind: 'walking' }
    }
    this.#ports.peer(learner.node)?.follow(replica, learner, position.lastSequence)
    this.#pumpSoon()
  }

  /**
   * SYNC_HELD: what the learner holds of buckets that differ.
   * @throws CacheError PROTOCOL_ERROR when it is malformed.
   */
  listed(node: NodeIndex, body: Uint8Array): void {
    const r = new ByteReader(body, 1)
    const session = this.#find(node, readSyncName(r))
    const one = this.#listed
    const isDue = session?.phase.kind === 'beginning'
    while (r.remaining > 0) {
      readListed(r, one)
      if (isDue) session.held.add(one.hash, one.versionEpoch, one.sequence)
    }
  }

  /** The learner's answer to a frame of its session. */
  answered(node: NodeIndex, state: SyncState): void {
    const session = this.#find(node, state)
    if (session === undefined) return
    const nowMs = this.#ports.clock.monotonicMs()
    switch (state.status) {
      case SyncStatus.begun:
        if (session.phase.kind !== 'beginning') return
        session.progressMs = nowMs
        session.begun(state.low, state.high, this.#ports.operations.all())
        if (!this.#ports.promotesWhole) this.#promote(session, nowMs)
        break
      case SyncStatus.applied:
        session.progressMs = nowMs
        for (const number of session.applied(state.low)) session.stages.applied(number)
        break
      case SyncStatus.whole:
        if (session.phase.kind !== 'ending') return
        session.phase = { kind: 'whole' }
        session.held.clear()
        session.failures = 0
        this.completed++
        this.#promote(session, nowMs)
        break
      case SyncStatus.busy:
        // Others bring it up in other partitions: that takes no longer for having asked.
        if (session.phase.kind !== 'beginning') return
        session.phase = { kind: 'queued', notBeforeMs: nowMs + BUSY_MS }
        this.#busyUntilMs.set(node, nowMs + BUSY_MS)
        break
      default:
        this.#again(session, 'it could not go on')
    }
    this.#pumpSoon()
  }

  /** The log can't bring the learner on: it has to begin anew. */
  broken(learner: Member, why: string): void {
    const session = this.sessionOf(learner)
    learner.state = 'unknown'
    if (session !== undefined) this.#again(session, why)
  }

  /** To be called every quarter of a second. */
  tick(): void {
    this.#forgetGone()
    const nowMs = this.#ports.clock.monotonicMs()
    for (const session of this.#sessions) {
      if (session.phase.kind === 'whole' || session.phase.kind === 'promoting') this.#promote(session, nowMs)
      const linked = this.#ports.peer(session.node)?.linked === true
      if (session.isActive && linked && nowMs - session.progressMs > STUCK_MS)
        this.#again(session, 'it got stuck')
    }
    this.#pumpSoon()
  }

  close(): void {
    this.#closed = true
    this.#rate.close()
    this.#movePace.close()
    this.#retryTimer?.cancel()
  }

  #find(node: NodeIndex, state: SyncName): SyncSession | undefined {
    for (const session of this.#sessions) {
      const { name } = session
      if (
        session.node === node &&
        name.partition === state.partition &&
        name.partitionEpoch === state.partitionEpoch &&
        name.session === state.session &&
        name.attempt === state.attempt
      )
        return session
    }
    return undefined
  }

  /** Sessions whose learner was promoted or dropped, or whose replica is no primary any more. */
  #forgetGone(): void {
    for (const session of this.#sessions) {
      const { replica, learner } = session
      if (replica.role === 'primary' && replica.learners.includes(learner)) continue
      this.#sessions.delete(session)
      session.stages.endAll()
    }
  }

  /** Another attempt, later; unless the learner may have been promoted ◆. */
  #again(session: SyncSession, why: string): void {
    const { kind } = session.phase
    if (kind === 'promoting' && this.#ports.promotesWhole) return
    if (kind === 'queued') return
    session.stages.endAll()
    const delayMs = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** Math.min(10, session.failures++))
    session.phase = { kind: 'queued', notBeforeMs: this.#ports.clock.monotonicMs() + delayMs }
    this.#ports.log.info('a learner is to be brought up anew', {
      partition: session.replica.partition,
      node: session.node,
      why,
    })
  }

  #promote(session: SyncSession, nowMs: number): void {
    const { replica, node } = session
    // Older sets have to be settled first: the commit would be refused.
    if (replica.settleSequence !== Number.POSITIVE_INFINITY) return
    const againMs = this.#ports.isMove(replica) ? PROPOSE_MOVE_AGAIN_MS : PROPOSE_AGAIN_MS
    if (session.phase.kind === 'promoting' && nowMs - session.phase.sinceMs < againMs) return
    session.phase = { kind: 'promoting', sinceMs: nowMs, partitionEpoch: replica.partitionEpoch }
    this.#ports.proposals.promote({
      partition: replica.partition,
      partitionEpoch: replica.partitionEpoch as PartitionEpoch,
      node,
      session: session.session as Epoch,
    })
  }

  #pumpSoon(): void {
    if (this.#pumpDue || this.#closed || this.#sessions.size === 0) return
    this.#pumpDue = true
    this.#ports.scheduler.nextTurn(() => {
      this.#pumpDue = false
      if (!this.#closed) this.#pump()
    })
  }

  /** One slice of work. */
  #pump(): void {
    this.#forgetGone()
    const { clock, sessionsMax, pace } = this.#ports
    const nowMs = clock.monotonicMs()
    let active = 0
    for (const session of this.#sessions) if (session.isActive) active++
    let left = SLICE_BYTES
    let more = false
    const isShared = pace.isShared
    for (const session of this.#sessions) {
      const { phase } = session
      const rests = isShared && this.#ports.isMove(session.replica)
      if (rests && this.#movePace.isResting) continue
      if (phase.kind === 'queued' && active < sessionsMax && nowMs >= this.#dueMs(session)) {
        if (this.#begin(session, nowMs)) active++
      }
      while (left > 0 && clock.monotonicMs() - nowMs < SLICE_MS && !this.#rate.holdsBack(nowMs)) {
        const startMs = clock.monotonicMs()
        const bytes = this.#step(session, rests)
        if (bytes === 0) break
        left -= bytes
        if (!rests) continue
        this.#movePace.spend(clock.monotonicMs() - startMs)
        break
      }
      if (left <= 0 || clock.monotonicMs() - nowMs >= SLICE_MS) more = true
    }
    if (more) this.#pumpSoon()
    else if (active < sessionsMax) this.#pumpWhenDue(nowMs)
  }

  /** Sessions that are to begin again later, sooner than the next tick. */
  #pumpWhenDue(nowMs: number): void {
    let dueMs = Number.POSITIVE_INFINITY
    for (const session of this.#sessions) {
      if (session.phase.kind !== 'queued') continue
      const atMs = this.#dueMs(session)
      if (atMs > nowMs) dueMs = Math.min(dueMs, atMs)
    }
    if (dueMs === Number.POSITIVE_INFINITY) return
    this.#retryTimer?.cancel()
    this.#retryTimer = this.#ports.scheduler.after(dueMs - nowMs, () => this.#pumpSoon())
  }

  /** When a queued session may begin. */
  #dueMs({ phase, node }: SyncSession): number {
    const notBeforeMs = phase.kind === 'queued' ? phase.notBeforeMs : Number.POSITIVE_INFINITY
    return Math.max(notBeforeMs, this.#busyUntilMs.get(node) ?? 0)
  }

  #begin(session: SyncSession, nowMs: number): boolean {
    const { replica, learner, node } = session
    const peer = this.#ports.peer(node)
    if (peer?.linked !== true) return false
    session.begin(++this.#attempts, nowMs)
    // Behind everything that was ordered so far: the learner's log begins here.
    peer.flush()
    const { lastEpoch, lastSequence, termEpoch, termSequence, clockMs } = replica
    const digests = this.#ports.engine.digest(replica.partition)
    peer.send(
      encodeSyncBegin(session.name, { lastEpoch, lastSequence, termEpoch, termSequence, clockMs, digests }),
    )
    learner.acked = 0
    peer.follow(replica, learner, lastSequence)
    return true
  }

  /**
   * @param rests whether in small steps, each of which waits for the one before
   * @returns bytes sent; 0 when there is nothing to be done now.
   */
  #step(session: SyncSession, rests: boolean): number {
    const { phase } = session
    const peer = this.#ports.peer(session.node)
    if (peer?.linked !== true || session.learner.state === 'unknown') return 0
    switch (phase.kind) {
      case 'ids':
        return this.#sendIds(session, phase.sessions, peer)
      case 'walking':
        if (session.walked) {
          const w = this.#w
          beginSyncFrame(w, FrameType.syncEnd, session.name)
          w.uint48(session.replica.lastSequence)
          session.phase = { kind: 'ending' }
          return this.#send(peer, finishFrame(w))
        }
        if (session.inFlightBytes >= (rests ? 1 : WINDOW_BYTES)) return 0
        return this.#sendRange(session, peer, rests ? MOVE_RANGE_BYTES : REQUEST_FRAME_BYTES_TARGET)
      default:
        return 0
    }
  }

  #sendIds(session: SyncSession, sessions: Iterator<SessionOutcomes>, peer: PeerLog): number {
    const w = this.#w
    const { partition } = session.replica
    beginSyncFrame(w, FrameType.syncIds, session.name)
    const empty = w.length
    while (w.length < REQUEST_FRAME_BYTES_TARGET) {
      const next = sessions.next()
      if (next.done === true) {
        session.phase = { kind: 'walking' }
        break
      }
      const outcomes = this.#ports.sendsIds ? next.value.outcomesOf(partition) : []
      // In parts: a session may have more than a frame holds.
      for (let at = 0; at < outcomes.length; at += IDS_PER_PART) {
        const part = outcomes.slice(at, at + IDS_PER_PART)
        w.uint32(next.value.low)
        w.uint32(next.value.high)
        w.varint(next.value.watermark)
        w.varint(part.length)
        for (const one of part) {
          w.varint(one.counter)
          w.varint(one.epoch)
          w.uint48(one.sequence)
          w.float64(one.number)
          w.blob(one.payload ?? NOTHING)
        }
        if (w.length < REQUEST_FRAME_BYTES_TARGET) continue
        this.#send(peer, finishFrame(w))
        beginSyncFrame(w, FrameType.syncIds, session.name)
      }
    }
    if (w.length === empty) return 1
    return this.#send(peer, finishFrame(w))
  }

  #sendRange(session: SyncSession, peer: PeerLog, bytesTarget: number): number {
    const { stages } = session
    const { range } = stages
    if (range !== undefined) {
      if (range.failed) {
        this.#again(session, 'a large value could not be sent to it')
        return 0
      }
      if (range.waiting > 0) return 0
    }
    const cutter = this.#cutter
    const { partition } = session.replica
    const fromHash = range?.fromHash ?? session.nextHash
    const lastHash = range?.toHash ?? session.runEnd(fromHash)
    const { toHash, large } = cutter.cut(
      partition,
      session.held,
      fromHash,
      lastHash,
      range !== undefined,
      bytesTarget,
    )
    // What was listed and has another version since is not the learner's any more: its value has to be sent after all.
    const isOverdue = large.some((value) => range?.listed.has(value) === true)
    if ((range === undefined && large.length > 0) || isOverdue) {
      stages.begin(fromHash, toHash, large, cutter.namedValues(), () => this.#pumpSoon())
      this.#pumpSoon()
      return 0
    }
    const w = this.#w
    session.rangeNumber++
    beginSyncFrame(w, FrameType.syncRange, session.name)
    w.varint(session.rangeNumber)
    w.uint32(fromHash)
    w.uint32(toHash)
    cutter.write(w, (value) => range?.stages.get(value))
    stages.sent(session.rangeNumber)
    const bytes = this.#send(peer, finishFrame(w))
    session.sent(fromHash, toHash + 1, bytes)
    return bytes
  }

  #send(peer: PeerLog, message: Uint8Array): number {
    peer.send(message)
    this.sentBytes += message.length
    this.#rate.spend(message.length)
    return message.length
  }
}

const IDS_PER_PART = 500
const NOTHING = new Uint8Array(0)
