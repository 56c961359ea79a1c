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
import type { Applier } from './applier.ts'
import type { OperationTable } from './operation-table.ts'
import type { Replica } from './replica.ts'
import type { StageInbox } from './stage-inbox.ts'

/** A backup keeps a session's outcomes longer than its primary: else it would meet counters without their watermark. */
const SESSION_GRACE_MS = 30_000
const TIME_MS_END = 2 ** 48

export interface ReceiverPorts {
  readonly applier: Applier
  readonly operations: OperationTable
  readonly stages: StageInbox
  readonly clock: Clock
  readonly scheduler: Scheduler
  replica(partition: number): Replica | undefined
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
    if (!this.#ackDue) {
      this.#ackDue = true
      this.#ports.scheduler.endOfTurn(() => this.#acknowledge())
    }
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
    this.#closed = true
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
    if (replica === undefined || replica.role !== 'backup') {
      this.#reject(partition, Rejection.noRole, 0, 0)
      return
    }
    if (replica.partitionEpoch !== partitionEpoch || replica.primary !== this.node) {
      this.#reject(partition, Rejection.epoch, replica.partitionEpoch, replica.lastSequence)
      return
    }
    if (sequence <= replica.lastSequence) return
    if (sequence !== replica.lastSequence + 1) {
      this.#reject(partition, Rejection.gap, partitionEpoch, replica.lastSequence)
      return
    }
    const { applier, stages, clock } = this.#ports
    const stageId = applier.stageOf(body, start, end)
    if (stageId >= 0 && !stages.has(this.node, stageId)) {
      this.#reject(partition, Rejection.notStaged, partitionEpoch, replica.lastSequence)
      return
    }
    try {
      applier.apply(
        replica,
        body,
        start,
        end,
        versionEpoch,
        sequence,
        clock.monotonicMs() + SESSION_GRACE_MS,
        (id) => stages.peek(this.node, id),
      )
    } catch (error) {
      if (!(error instanceof CacheError) || error.code !== 'OVERLOADED') throw error
      this.#reject(partition, Rejection.full, partitionEpoch, replica.lastSequence)
      return
    }
    if (stageId >= 0) stages.take(this.node, stageId)
    replica.lastSequence = sequence
    if (senderWallMs > replica.clockMs) replica.clockMs = senderWallMs
    this.applied++
  }

  #reject(partition: number, reason: number, partitionEpoch: number, lastSequence: number): void {
    this.#rejected.set(partition, { partition, reason, partitionEpoch, lastSequence })
  }

  #acknowledge(): void {
    this.#ackDue = false
    if (this.#closed) return
    const rejected = this.#rejected.size === 0 ? [] : [...this.#rejected.values()]
    if (this.#rejected.size > 0) this.#rejected = new Map()
    this.#stream.send(encodeAck(this.#lastFrame, rejected))
  }
}
