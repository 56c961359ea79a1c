/**
 * The backup's end of replication from one peer: applies what it sends, in order, and acknowledges what was applied.
 *
 * Each record is fenced alone: its epoch must be the replica's, its sender the replica's primary, its sequence the next. A
 * repeated record is acknowledged again; a gap, a value that has not arrived, a full memory refuse the partition's
 * remaining records of the turn, and the ACK says where to go on. An ACK is sent at the end of the turn, for all frames
 * of it.
 */

import { ByteReader } from '../kernel/bytes.ts'
import type { Clock } from '../kernel/clock.ts'
import { CacheError } from '../kernel/errors.ts'
import type { Scheduler } from '../kernel/scheduler.ts'
import type { NodeIndex } from '../topology/topology.ts'
import { encodeAck, type RejectedPartition, Rejection, type ReplicaPosition } from '../wire/peer-frames.ts'
import type { FrameStream } from '../wire/transport.ts'
import { type LogFollower, SESSION_GRACE_MS } from './log-follower.ts'
import type { OperationTable } from './operation-table.ts'
import type { Replica } from './replica.ts'

const TIME_MS_END = 2 ** 48

export interface ReceiverPorts {
  readonly follower: LogFollower
  readonly operations: OperationTable
  readonly clock: Clock
  readonly scheduler: Scheduler
  replica(partition: number): Replica | undefined
  opened(receiver: ReplicaReceiver): void
  closed(receiver: ReplicaReceiver): void
  /** An acknowledgement goes out: it grants the sender a lease. */
  acknowledging(node: NodeIndex): void
  /** A learner applied more of the log. */
  learned(replica: Replica): void
  /** Broken by a test: records of any epoch are applied. */
  readonly takesAnyEpoch: boolean
}

export class ReplicaReceiver {
  /** The sender. */
  readonly node: NodeIndex
  readonly #ports: ReceiverPorts
  readonly #stream: FrameStream
  readonly #reader: ByteReader = new ByteReader(new Uint8Array(0))
  #ackDue = false
  #lastFrame = 0
  #rejected: Map<number, RejectedPartition> = new Map()
  #closed = false
  /** Records applied since the stream began. */
  applied = 0

  constructor(node: NodeIndex, stream: FrameStream, ports: ReceiverPorts) {
    this.node = node
    this.#stream = stream
    this.#ports = ports
    ports.opened(this)
  }

  /** What this node holds of the partitions that the sender is primary of. */
  positions(replicas: Iterable<Replica>): ReplicaPosition[] {
    const positions: ReplicaPosition[] = []
    for (const replica of replicas) {
      if (replica.primary !== this.node || replica.role !== 'backup') continue
      const { partition, partitionEpoch, lastSequence } = replica
      positions.push({ partition, partitionEpoch, lastSequence })
    }
    return positions
  }

  /** A REPLICATE frame. @throws CacheError PROTOCOL_ERROR: the stream is to be closed; what was applied stays. */
  replicate(body: Uint8Array): void {
    const r = this.#reader.reset(body, 1)
    this.#lastFrame = r.uint32()
    const senderWallMs = r.float64()
    if (!(senderWallMs >= 0 && senderWallMs < TIME_MS_END)) {
      throw new CacheError('PROTOCOL_ERROR', `a log sent at the time ${senderWallMs}`)
    }
    this.#acknowledgeSoon()
    for (let count = r.varint(); count > 0; count--) {
      const session = this.#ports.operations.session(r.uint32(), r.uint32())
      session.lastWriteMs = this.#ports.clock.monotonicMs() + SESSION_GRACE_MS
      session.advance(r.varint())
    }
    while (r.remaining > 0) {
      const partition = r.varint()
      const partitionEpoch = r.varint()
      const sequence = r.uint48()
      const versionEpoch = r.varint()
      const bytes = r.varint()
      const start = r.skip(bytes)
      if (versionEpoch === 0 || versionEpoch > 0xffff_ffff) {
        throw new CacheError('PROTOCOL_ERROR', `a record of the epoch ${versionEpoch}`)
      }
      if (this.#rejected.size > 0 && this.#rejected.has(partition)) continue
      this.#record(
        body,
        partition,
        partitionEpoch,
        sequence,
        versionEpoch,
        start,
        start + bytes,
        senderWallMs,
      )
    }
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#ports.closed(this)
  }

  /** Answers a frame that is none of the log. */
  send(message: Uint8Array): void {
    if (!this.#closed) this.#stream.send(message)
  }

  /** The replica came under another epoch of this sender: what was refused of it before is of no account. */
  admit(partition: number): void {
    this.#rejected.delete(partition)
  }

  /** The replica left this sender's epoch: it is told with the next ACK, which is its last moment to count on this node. */
  revoke(partition: number, partitionEpoch: number, lastSequence: number): void {
    this.#reject(partition, Rejection.epoch, partitionEpoch, lastSequence)
    this.#acknowledgeSoon()
  }

  /** This node is dropped as a learner, within the epoch: it says nothing of a log, for it may never have had a place in it. */
  dismiss(partition: number, partitionEpoch: number): void {
    this.#reject(partition, Rejection.noRole, partitionEpoch, 0)
    this.#acknowledgeSoon()
  }

  #acknowledgeSoon(): void {
    if (this.#ackDue || this.#closed) return
    this.#ackDue = true
    this.#ports.scheduler.endOfTurn(() => this.#acknowledge())
  }

  #record(
    body: Uint8Array,
    partition: number,
    partitionEpoch: number,
    sequence: number,
    versionEpoch: number,
    start: number,
    end: number,
    senderWallMs: number,
  ): void {
    const replica = this.#ports.replica(partition)
    // Where a learner's session has not begun, its last sequence is that of another log.
    if (replica === undefined || !takesRecords(replica)) {
      this.#reject(partition, Rejection.noRole, replica?.partitionEpoch ?? 0, 0)
      return
    }
    const fenced = replica.partitionEpoch !== partitionEpoch || replica.primary !== this.node
    if (fenced && !this.#ports.takesAnyEpoch) {
      this.#reject(partition, Rejection.epoch, replica.partitionEpoch, replica.lastSequence)
      return
    }
    switch (
      this.#ports.follower.apply(replica, this.node, body, start, end, versionEpoch, sequence, senderWallMs)
    ) {
      case 'applied':
        this.applied++
        if (replica.role === 'learner') this.#ports.learned(replica)
        return
      case 'repeated':
        return
      case 'gap':
        this.#reject(partition, Rejection.gap, partitionEpoch, replica.lastSequence)
        return
      case 'notStaged':
        this.#reject(partition, Rejection.notStaged, partitionEpoch, replica.lastSequence)
        return
      case 'full':
        this.#reject(partition, Rejection.full, partitionEpoch, replica.lastSequence)
        return
      case 'later':
        this.#reject(partition, Rejection.later, partitionEpoch, replica.lastSequence)
        return
    }
  }

  #reject(partition: number, reason: number, partitionEpoch: number, lastSequence: number): void {
    this.#rejected.set(partition, { partition, reason, partitionEpoch, lastSequence })
  }

  #acknowledge(): void {
    this.#ackDue = false
    if (this.#closed) return
    const rejected = this.#rejected.size === 0 ? [] : [...this.#rejected.values()]
    if (this.#rejected.size > 0) this.#rejected = new Map()
    this.#ports.acknowledging(this.node)
    this.#stream.send(encodeAck(this.#lastFrame, rejected))
  }
}

function takesRecords({ state }: Replica): boolean {
  return state.kind === 'backup' || (state.kind === 'learner' && state.learner.phase.kind !== 'waiting')
}
