/**
 * The primary's end of replication to one peer: sends what the backlog holds for it, counts what it acknowledged.
 *
 * Under each epoch the peer is first asked what it holds, by which it adopts the epoch. Then a cursor runs over the backlog;
 * every record of a partition of which the peer is an in-sync member (or a learner) goes out once, in order. What a member lacks besides (after a reconnect, a refusal, a large value that came late) is sent from the
 * backlog by a catch-up, partition by partition.
 *
 * Invariants:
 * - a member is sent its records in sequence order without a gap, or it is not `following`;
 * - bytes sent and not acknowledged are at most `windowBytes`, plus one frame;
 * - only an ACK or an answer moves `acked`, and never past what the peer said it applied under the present epoch.
 */

import { ByteWriter } from '../kernel/bytes.ts'
import type { NodeIndex } from '../topology/topology.ts'
import { beginFrame, FrameType, REQUEST_FRAME_BYTES_TARGET, sendFrame } from '../wire/frames.ts'
import { type Ack, type RejectedPartition, Rejection, type ReplicaPosition } from '../wire/peer-frames.ts'
import { ASKS_PER_FRAME, type Ask, encodeAsk, type Position, PositionStatus } from '../wire/replica-frames.ts'
import type { FrameStream } from '../wire/transport.ts'
import { type Backlog, NO_RECORD } from './backlog.ts'
import type { SessionOutcomes } from './operation-table.ts'
import type { Member, Replica } from './replica.ts'
import type { LogEnd } from './takeover.ts'

export interface PeerLogPorts {
  readonly backlog: Backlog
  wallMs(): number
  monotonicMs(): number
  replica(partition: number): Replica | undefined
  /** Replicas this node is primary of, or about to be. */
  primaries(): Iterable<Replica>
  /** All sessions that have outcomes. */
  sessions(): Iterable<SessionOutcomes>
  /** The stage of a record's large value, if the peer still lacks its bytes: they are put on their way. */
  missingStage(node: NodeIndex, record: number): boolean
  /** Members' `acked` rose: complete what waited. */
  advanced(replica: Replica): void
  /** The peer's memory is full. */
  full(replica: Replica, member: Member): void
  /** The member can't be brought up from the backlog. */
  lagging(replica: Replica, member: Member, why: string): void
  /** The peer adopted the epoch of a replica that is being taken over. */
  answered(replica: Replica, node: NodeIndex, position: Position): void
  /** A learner adopted the epoch. */
  learnerReady(replica: Replica, learner: Member, position: Position): void
  /** Logs contradict each other: a bug, reported loudly. */
  diverged(replica: Replica, what: string): void
  /** Counts frames to all peers: which were sent after a given moment. */
  nextStamp(): number
  /** Broken by a test: acknowledgements of an older epoch count. */
  readonly keepsAcks?: boolean
}

/** What one frame carried: for each record its partition, epoch and sequence. */
class SentFrame {
  frameNumber = 0
  bytes = 0
  count = 0
  sentMs = 0
  stamp = 0
  partitions: Int32Array = new Int32Array(64)
  epochs: Uint32Array = new Uint32Array(64)
  sequences: Float64Array = new Float64Array(64)

  add(partition: number, partitionEpoch: number, sequence: number): void {
    if (this.count === this.partitions.length) {
      const partitions = new Int32Array(this.count * 2)
      partitions.set(this.partitions)
      this.partitions = partitions
      const epochs = new Uint32Array(this.count * 2)
      epochs.set(this.epochs)
      this.epochs = epochs
      const sequences = new Float64Array(this.count * 2)
      sequences.set(this.sequences)
      this.sequences = sequences
    }
    this.partitions[this.count] = partition
    this.epochs[this.count] = partitionEpoch
    this.sequences[this.count++] = sequence
  }
}

const SPARE_FRAMES = 64
const SESSIONS_PER_FRAME = 3000
const NO_SESSIONS: readonly SessionOutcomes[] = []

export class PeerLog {
  readonly node: NodeIndex
  readonly #ports: PeerLogPorts
  readonly #windowBytes: number
  #stream: FrameStream | undefined
  /** Set once the peer said what it holds: only then are records sent. */
  #following = false
  /** A write waits for records that were not sent yet, because a frame is under way. */
  #hurried = false
  /** The window closed before everything was sent. */
  #isCut = false
  #available = false
  #cursor = 0
  #frameNumber = 0
  #inFlightBytes = 0
  readonly #sent: SentFrame[] = []
  readonly #spare: SentFrame[] = []
  readonly #catchUps: { replica: Replica; member: Member; record: number }[] = []
  #w: ByteWriter = new ByteWriter(16 * 1024)
  lastAckMs = 0
  lastSentMs = 0
  /** When the newest frame was sent that the peer acknowledged: from then on it grants. */
  grantSentMs: number = Number.NEGATIVE_INFINITY
  /** Stamp of the newest frame that the peer acknowledged. */
  ackedStamp = 0
  /** Partitions of which it is to be asked what it holds. */
  readonly #asks = new Set<Replica>()
  /** Sessions whose watermark the peer has yet to learn. */
  readonly moved: Set<SessionOutcomes> = new Set()
  /** Records sent again after a reconnect or refusal. */
  resent = 0

  constructor(node: NodeIndex, ports: PeerLogPorts, windowBytes: number = 4 * 1024 * 1024) {
    this.node = node
    this.#ports = ports
    this.#windowBytes = windowBytes
  }

  /** Whether the peer can be expected to acknowledge: linked, and heard of within `silentMs` when last checked. */
  get available(): boolean {
    return this.#available
  }

  /** Decides anew whether the peer is available; false also when it is linked but silent. */
  checkSilence(silentMs: number): boolean {
    this.#available = this.#following && this.#ports.monotonicMs() - this.lastAckMs <= silentMs
    return this.#available
  }

  get linked(): boolean {
    return this.#following
  }

  get inFlightBytes(): number {
    return this.#inFlightBytes
  }

  /** A stream to the peer is up and it said what it holds of each partition. */
  start(stream: FrameStream, positions: readonly ReplicaPosition[]): void {
    this.#stream = stream
    this.#following = true
    this.#available = true
    this.lastAckMs = this.#ports.monotonicMs()
    this.#cursor = this.#ports.backlog.end
    const held = new Map<number, ReplicaPosition>()
    for (const position of positions) held.set(position.partition, position)
    for (const replica of this.#ports.primaries()) {
      const member = replica.follower(this.node)
      if (member === undefined || member.state === 'lagging') continue
      const position = held.get(replica.partition)
      const known = position !== undefined && position.partitionEpoch === replica.partitionEpoch
      // Who has not answered under this epoch yet may hold another log's end: a number alone does not tell.
      if (known && replica.role === 'primary' && member.session === 0 && member.state !== 'unknown') {
        this.#resume(replica, member, position.lastSequence)
      } else {
        this.ask(replica)
      }
    }
    // Watermarks that moved while nobody listened: without them the peer would keep what no client asks for any more.
    for (const session of this.#ports.sessions()) this.moved.add(session)
    this.flush()
    while (this.moved.size > 0) this.heartbeat()
  }

  stop(): void {
    this.#stream = undefined
    this.#following = false
    this.#available = false
    this.#inFlightBytes = 0
    this.#sent.length = 0
    this.#catchUps.length = 0
    this.#asks.clear()
    this.#hurried = false
    this.#isCut = false
    this.moved.clear()
  }

  /** Asks the peer, at the next flush, to adopt the replica's epoch and to say what it holds. */
  ask(replica: Replica): void {
    const member = replica.follower(this.node)
    if (member === undefined) return
    member.state = 'unknown'
    if (this.#following) this.#asks.add(replica)
  }

  /** Asks again what was not answered. */
  askAgain(): void {
    if (!this.#following) return
    for (const replica of this.#ports.primaries()) {
      if (replica.follower(this.node)?.state === 'unknown') this.#asks.add(replica)
    }
  }

  /** What the peer answered. */
  positioned(positions: readonly Position[]): void {
    for (const position of positions) {
      const replica = this.#ports.replica(position.partition)
      const member = replica?.follower(this.node)
      if (replica === undefined || member === undefined) continue
      member.movedTo = Math.max(member.movedTo, position.heldEpoch)
      if (member.state !== 'unknown') continue
      if (position.partitionEpoch !== replica.partitionEpoch || position.status !== PositionStatus.adopted)
        continue
      // It has left this epoch since ◆: its acknowledgements are no grants for the partition any more.
      if (member.movedTo > position.partitionEpoch) continue
      if (member.session > 0) this.#ports.learnerReady(replica, member, position)
      else if (replica.role === 'taking-over') this.#ports.answered(replica, this.node, position)
      else this.followFrom(replica, member, { epoch: position.lastEpoch, sequence: position.lastSequence })
    }
    this.flush()
  }

  /**
   * A member said where its log ends: it gets what comes behind, if its log is the beginning of this one. That of one that left
   * the set and came back before it was settled may end in what nobody else has: it is brought up anew.
   */
  followFrom(replica: Replica, member: Member, end: LogEnd): void {
    if (member.isKnown || this.#begins(replica, end)) this.#resume(replica, member, end.sequence)
    else this.#leaveOut(replica, member, 'its log ends in another way, or is not known here any more')
  }

  #begins(replica: Replica, end: LogEnd): boolean {
    const { backlog } = this.#ports
    if (end.sequence === 0) return true
    if (end.sequence === replica.lastSequence) return end.epoch === replica.lastEpoch
    let record = replica.firstRecord < backlog.first ? NO_RECORD : replica.firstRecord
    while (record !== NO_RECORD && backlog.sequence(record) < end.sequence) record = backlog.next(record)
    return (
      record !== NO_RECORD && backlog.sequence(record) === end.sequence && backlog.epoch(record) === end.epoch
    )
  }

  /** The follower holds everything up to `lastSequence` under this epoch: it gets what comes behind. */
  follow(replica: Replica, follower: Member, lastSequence: number): void {
    this.#resume(replica, follower, lastSequence)
  }

  /** Sends a frame of its own in order with the log. @returns whether there is a stream */
  send(message: Uint8Array): boolean {
    if (!this.#following || this.#stream === undefined) return false
    this.#stream.send(message)
    return true
  }

  /**
   * A write waits for this peer's acknowledgement. One frame is under way at a time as long as nothing is gained by more: what is
   * logged until its acknowledgement comes shares the next, so that frames grow with the load and an idle peer is sent to at once.
   */
  hurry(): void {
    if (this.#sent.length === 0 || this.#asks.size > 0) this.flush()
    else this.#hurried = true
  }

  /** Sends what is due, as far as the window allows: records, and with them the watermarks that `moved`. */
  flush(): void {
    this.#hurried = false
    this.#isCut = false
    if (this.#asks.size > 0) this.#sendAsks()
    while (this.#following && this.#inFlightBytes < this.#windowBytes) {
      const frame = this.#spare.pop() ?? new SentFrame()
      frame.count = 0
      const watermarks = this.moved.size === 0 ? NO_SESSIONS : [...this.moved].slice(0, SESSIONS_PER_FRAME)
      this.#begin(watermarks)
      this.#fillFromCatchUps(frame)
      this.#fillFromCursor(frame)
      // Watermarks are in no hurry: they travel with records, and with the heartbeat.
      if (frame.count === 0) {
        this.#frameNumber = (this.#frameNumber - 1) >>> 0
        this.#spare.push(frame)
        return
      }
      for (const session of watermarks) this.moved.delete(session)
      this.#send(frame)
    }
    this.#isCut = this.#following
  }

  /** A frame without records, so that a quiet peer is heard and learns the watermarks. */
  heartbeat(): void {
    if (!this.#following) return
    const frame = this.#spare.pop() ?? new SentFrame()
    frame.count = 0
    const watermarks = this.moved.size === 0 ? NO_SESSIONS : [...this.moved].slice(0, SESSIONS_PER_FRAME)
    this.#begin(watermarks)
    for (const session of watermarks) this.moved.delete(session)
    this.#send(frame)
  }

  acked(ack: Ack): void {
    this.#available = this.#following
    this.lastAckMs = this.#ports.monotonicMs()
    const { rejected } = ack
    const touched = new Set<Replica>()
    let done = 0
    for (const frame of this.#sent) {
      if (isLater(frame.frameNumber, ack.frameNumber)) break
      done++
      this.grantSentMs = frame.sentMs
      this.ackedStamp = frame.stamp
      this.#inFlightBytes -= frame.bytes
      for (let i = 0; i < frame.count; i++) {
        const partition = frame.partitions[i] as number
        if (rejected.length > 0 && rejected.some((one) => one.partition === partition)) continue
        const replica = this.#ports.replica(partition)
        const member = replica?.follower(this.node)
        if (replica === undefined || member === undefined) continue
        // What was acknowledged under an older epoch says nothing about this one ◆.
        if (!this.#countsEpoch(frame.epochs[i] as number, replica)) continue
        const sequence = frame.sequences[i] as number
        if (sequence > member.acked) {
          member.acked = sequence
          touched.add(replica)
        }
      }
    }
    for (const frame of this.#sent.splice(0, done))
      if (this.#spare.length < SPARE_FRAMES) this.#spare.push(frame)
    for (const one of rejected) this.#rejected(one, touched)
    for (const replica of touched) this.#ports.advanced(replica)
    if (this.#hurried || this.#isCut || this.#catchUps.length > 0 || this.#asks.size > 0) this.flush()
  }

  /** The peer holds a large value that records waited for. */
  staged(): void {
    for (const replica of this.#ports.primaries()) {
      const member = replica.follower(this.node)
      if (member?.state === 'awaiting') this.#catchUp(replica, member)
    }
    this.flush()
  }

  #rejected(one: RejectedPartition, touched: Set<Replica>): void {
    const replica = this.#ports.replica(one.partition)
    const member = replica?.follower(this.node)
    if (replica === undefined || member === undefined) return
    if (one.reason === Rejection.epoch) member.movedTo = Math.max(member.movedTo, one.partitionEpoch)
    if (member.state === 'lagging' || member.state === 'unknown') return
    const sameEpoch = one.partitionEpoch === replica.partitionEpoch
    if (sameEpoch && one.lastSequence > member.acked && one.lastSequence <= replica.lastSequence) {
      member.acked = one.lastSequence
      touched.add(replica)
    }
    switch (one.reason) {
      case Rejection.gap:
        this.#resume(replica, member, one.lastSequence)
        return
      case Rejection.notStaged:
        member.sent = one.lastSequence
        this.#resume(replica, member, one.lastSequence)
        return
      case Rejection.full:
        member.sent = one.lastSequence
        this.#ports.full(replica, member)
        return
      case Rejection.later:
        // Sent again with the next look at what members wait for.
        member.sent = one.lastSequence
        member.state = 'awaiting'
        return
      case Rejection.epoch:
        // Records of an older epoch, refused after the peer had said what it holds under this one.
        if (sameEpoch) this.#resume(replica, member, one.lastSequence)
        else if (one.partitionEpoch < replica.partitionEpoch) this.ask(replica)
        else member.state = 'unknown'
        return
      default:
        this.ask(replica)
    }
  }

  /** The member holds everything up to `lastSequence`: send on from there. */
  #resume(replica: Replica, member: Member, lastSequence: number): void {
    if (lastSequence > replica.lastSequence) {
      this.#ports.diverged(replica, `a backup holds ${lastSequence} operations of ${replica.lastSequence}`)
      this.#leaveOut(replica, member, 'it holds more than its primary')
      return
    }
    member.sent = lastSequence
    if (lastSequence > member.acked) {
      member.acked = lastSequence
      this.#ports.advanced(replica)
    }
    if (lastSequence === replica.lastSequence) {
      member.state = 'following'
      return
    }
    this.#catchUp(replica, member)
  }

  #catchUp(replica: Replica, member: Member): void {
    const { backlog } = this.#ports
    let record = replica.firstRecord
    if (record < backlog.first) record = NO_RECORD
    while (record !== NO_RECORD && backlog.sequence(record) <= member.sent) record = backlog.next(record)
    if (record === NO_RECORD || backlog.sequence(record) !== member.sent + 1) {
      this.#leaveOut(replica, member, 'the backlog no longer has what it lacks')
      return
    }
    member.state = 'behind'
    const waiting = this.#catchUps.find((one) => one.replica === replica)
    if (waiting === undefined) {
      this.#catchUps.push({ replica, member, record })
    } else {
      waiting.member = member
      waiting.record = record
    }
  }

  #leaveOut(replica: Replica, member: Member, why: string): void {
    if (member.state === 'lagging') return
    member.state = 'lagging'
    this.#ports.lagging(replica, member, why)
  }

  #fillFromCatchUps(frame: SentFrame): void {
    const { backlog } = this.#ports
    while (this.#catchUps.length > 0 && this.#w.length < REQUEST_FRAME_BYTES_TARGET) {
      const one = this.#catchUps[0] as { replica: Replica; member: Member; record: number }
      const { member, replica } = one
      let finished = member.state !== 'behind'
      while (!finished && this.#w.length < REQUEST_FRAME_BYTES_TARGET) {
        const { record } = one
        if (record < backlog.first) {
          this.#leaveOut(replica, member, 'the backlog overran what it lacks')
          finished = true
        } else if (this.#ports.missingStage(this.node, record)) {
          member.state = 'awaiting'
          finished = true
        } else {
          this.#write(replica, member, record, frame)
          this.resent++
          const next = backlog.next(record)
          if (next === NO_RECORD) {
            member.state = 'following'
            finished = true
          } else {
            one.record = next
          }
        }
      }
      if (finished) this.#catchUps.shift()
    }
  }

  #fillFromCursor(frame: SentFrame): void {
    const { backlog } = this.#ports
    if (this.#cursor < backlog.first) this.#cursor = backlog.first
    while (this.#cursor < backlog.end && this.#w.length < REQUEST_FRAME_BYTES_TARGET) {
      const record = this.#cursor++
      const replica = this.#ports.replica(backlog.partition(record))
      const member = replica?.follower(this.node)
      if (replica === undefined || member === undefined || member.state !== 'following') continue
      // Records before the first belong to a log that this replica has given up.
      if (backlog.sequence(record) <= member.sent || record < replica.firstRecord) continue
      if (this.#ports.missingStage(this.node, record)) {
        member.state = 'awaiting'
        continue
      }
      this.#write(replica, member, record, frame)
    }
  }

  #write(replica: Replica, member: Member, record: number, frame: SentFrame): void {
    const { backlog } = this.#ports
    const w = this.#w
    const sequence = backlog.sequence(record)
    w.varint(replica.partition)
    w.varint(replica.partitionEpoch)
    w.uint48(sequence)
    w.varint(backlog.epoch(record))
    w.varint(backlog.effectBytes(record))
    backlog.copyEffect(record, w)
    member.sent = sequence
    frame.add(replica.partition, replica.partitionEpoch, sequence)
  }

  #begin(watermarks: readonly SessionOutcomes[]): void {
    const w = this.#w
    beginFrame(w, FrameType.replicate)
    this.#frameNumber = (this.#frameNumber + 1) >>> 0
    w.uint32(this.#frameNumber)
    w.float64(this.#ports.wallMs())
    w.varint(watermarks.length)
    for (const session of watermarks) {
      w.uint32(session.low)
      w.uint32(session.high)
      w.varint(session.watermark)
    }
  }

  #send(frame: SentFrame): void {
    frame.frameNumber = this.#frameNumber
    frame.stamp = this.#ports.nextStamp()
    frame.bytes = this.#w.length
    this.#inFlightBytes += frame.bytes
    this.#sent.push(frame)
    this.lastSentMs = this.#ports.monotonicMs()
    frame.sentMs = this.lastSentMs
    if (this.#stream !== undefined) sendFrame(this.#stream, this.#w)
  }

  #countsEpoch(partitionEpoch: number, replica: Replica): boolean {
    return partitionEpoch === replica.partitionEpoch || this.#ports.keepsAcks === true
  }

  #sendAsks(): void {
    const asks: Ask[] = []
    for (const replica of this.#asks) {
      const member = replica.follower(this.node)
      if (member?.state !== 'unknown') continue
      const { partition, partitionEpoch } = replica
      asks.push({ partition, partitionEpoch, session: member.session })
    }
    this.#asks.clear()
    for (let at = 0; at < asks.length; at += ASKS_PER_FRAME)
      this.send(encodeAsk(asks.slice(at, at + ASKS_PER_FRAME)))
  }
}

/** Whether frame number `a` comes after `b`; numbers wrap at 2^32. */
function isLater(a: number, b: number): boolean {
  return ((a - b) | 0) > 0
}
