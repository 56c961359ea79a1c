/**
 * Carries out one operation of a client: finds the partition, checks the role this node has in it, reads from memory or
 * hands the write to the primary. Results of reads are written at once; those of writes come when they are durable.
 */

import { type Engine, type EntryIndex, type LargeValue, NO_ENTRY } from '../engine/engine.ts'
import type { ByteWriter } from '../kernel/bytes.ts'
import type { Clock } from '../kernel/clock.ts'
import { CacheError } from '../kernel/errors.ts'
import { writeEntryHead, writeEntryValue } from '../replication/entry-result.ts'
import { Outcome, type OutcomeSink } from '../replication/outcome.ts'
import type { WriteRequest } from '../replication/primary.ts'
import type { Replica } from '../replication/replica.ts'
import type { Replicator } from '../replication/replicator.ts'
import { checkKey, checkWrite, type WriteLimits } from '../replication/write-limits.ts'
import type { ReadKind } from '../topology/topology.ts'
import { INLINE_VALUE_BYTES_MAX } from '../wire/frames.ts'
import { Flag, Opcode, type Operation, ReadCode } from '../wire/operations.ts'
import { Status, writeResult } from '../wire/results.ts'
import { matchesGlob } from './glob.ts'
import type { RegionCounters } from './region-counters.ts'

const READ_KINDS: readonly (ReadKind | undefined)[] = [
  undefined,
  'primary',
  'replica',
  'nearest',
  'majority',
  'linearizable',
]
const SCAN_BYTES_MAX = 128 * 1024
const BUCKETS = 64

export interface DispatcherPorts {
  readonly engine: Engine
  readonly replicator: Replicator
  readonly clock: Clock
  readonly counters: RegionCounters
  readonly nodeId: string
  readonly limits: WriteLimits
  /** What STATS answers, as JSON. */
  stats(regionId: number): string
}

/** A value too large for a frame, on its way to a client in chunks. */
export type StartDownload = (requestId: number, value: LargeValue) => void

export class Dispatcher {
  readonly #ports: DispatcherPorts
  readonly #scan: ByteWriter

  constructor(ports: DispatcherPorts, scratch: ByteWriter) {
    this.#ports = ports
    this.#scan = scratch
  }

  /**
   * GET, GET_ENTRY, HAS, TTL: writes the result to `w`.
   * @param download set on a bulk stream: large values are sent through it, else the client is told to use one
   * @param sink gets the result instead when it has to wait
   * @throws CacheError when it is refused
   */
  read(
    op: Operation,
    body: Uint8Array,
    requestId: number,
    w: ByteWriter,
    download: StartDownload | undefined,
    sink: OutcomeSink,
    timeoutMs: number,
  ): void {
    const { engine, clock, counters, limits } = this.#ports
    checkKey(op, limits.keyBytesMax)
    const replica = this.#readable(op, body)
    if (this.#isLater(op, replica)) {
      this.#readLater(replica, op, body, requestId, download !== undefined, sink, timeoutMs)
      return
    }
    const hash = engine.hashKey(op.regionId, body, op.keyStart, op.keyEnd)
    const entry = engine.find(replica.partition, op.regionId, hash, body, op.keyStart, op.keyEnd)
    if (entry === NO_ENTRY || engine.isExpired(entry, Math.max(clock.wallMs(), replica.clockMs))) {
      counters.miss(op.regionId)
      writeResult(w, requestId, Status.absent)
      return
    }
    counters.hit(op.regionId)
    engine.touch(entry)
    this.#entry(op, entry, requestId, w, download)
  }

  #entry(
    op: Operation,
    entry: EntryIndex,
    requestId: number,
    w: ByteWriter,
    download: StartDownload | undefined,
  ): void {
    const { engine, clock } = this.#ports
    switch (op.opcode) {
      case Opcode.has:
        writeResult(w, requestId, Status.ok)
        return
      case Opcode.ttl: {
        const expiresAtMs = engine.expiresAtMs(entry)
        writeResult(w, requestId, Status.ok)
        w.float64(expiresAtMs === 0 ? -1 : Math.max(0, expiresAtMs - clock.wallMs()))
        return
      }
      default:
        this.#value(op, entry, requestId, w, download)
    }
  }

  /** Whether the answer has to be true of the present, and can't be told at once. */
  #isLater(op: Operation, replica: Replica): boolean {
    if (op.readKind < ReadCode.majority && op.readKind !== ReadCode.region) return false
    const kind = this.#readKind(op)
    return (
      (kind === 'linearizable' || kind === 'majority') && !this.#ports.replicator.reads.isCurrent(replica)
    )
  }

  /** Takes the value now, and has it told once it may be. */
  #readLater(
    replica: Replica,
    op: Operation,
    body: Uint8Array,
    requestId: number,
    isBulk: boolean,
    sink: OutcomeSink,
    timeoutMs: number,
  ): void {
    const { engine, clock, counters, replicator } = this.#ports
    const outcome = new Outcome(sink, requestId, op.opcode, clock.monotonicMs() + timeoutMs)
    outcome.applied = false
    outcome.waitSequence = replica.lastSequence
    const w = this.#scan
    w.clear()
    const hash = engine.hashKey(op.regionId, body, op.keyStart, op.keyEnd)
    const entry = engine.find(replica.partition, op.regionId, hash, body, op.keyStart, op.keyEnd)
    if (entry === NO_ENTRY || engine.isExpired(entry, Math.max(clock.wallMs(), replica.clockMs))) {
      counters.miss(op.regionId)
      outcome.status = Status.absent
    } else {
      counters.hit(op.regionId)
      engine.touch(entry)
      const keep: StartDownload = (_, value) => {
        outcome.large = value.retain()
      }
      this.#entry(op, entry, requestId, w, isBulk ? keep : undefined)
      outcome.status = w.bytes[4] as number
      outcome.payload = w.bytes.slice(5, w.length)
    }
    replicator.reads.admit(replica, outcome)
  }

  /** The replica a write goes to. @throws CacheError when this node is not its primary */
  writable(op: Operation, body: Uint8Array): Replica {
    const { replicator, limits } = this.#ports
    if (op.opcode === Opcode.clear) {
      this.#checkPartition(op)
      return this.#primaryOf(op.partition, op)
    }
    checkWrite(op, limits)
    const partition = replicator.locate(op.regionId, body, op.keyStart, op.keyEnd)
    if (partition < 0) throw unknownRegion(op.regionId)
    return this.#primaryOf(partition, op)
  }

  write(replica: Replica, request: WriteRequest): void {
    this.#ports.counters.written(request.op.regionId, request.op.opcode)
    this.#ports.replicator.primary.write(replica, request)
  }

  /** SCAN: whole buckets of one partition, from `op.bucket` on, until they hold `op.bytesMax` bytes of keys. */
  scan(op: Operation, body: Uint8Array, requestId: number, w: ByteWriter): void {
    const { engine, replicator, clock } = this.#ports
    this.#checkPartition(op)
    if (op.bucket >= BUCKETS) {
      throw new CacheError(
        'INVALID_ARGUMENT',
        `bucket ${op.bucket}; a partition has buckets 0 to ${BUCKETS - 1}`,
      )
    }
    const replica = this.#checkEpoch(replicator.replica(op.partition), op)
    if (replicator.quarantine.isOutOfTouch && !(op.flags & Flag.allowStale)) throw this.#outOfTouch()
    if (replica.role !== 'primary') this.#checkReadable(replica, op)
    if (replicator.region(op.regionId) === undefined) throw unknownRegion(op.regionId)
    const bytesMax = Math.min(Math.max(1, op.bytesMax), SCAN_BYTES_MAX)
    const nowMs = Math.max(clock.wallMs(), replica.clockMs)
    const keys = this.#scan
    keys.clear()
    let count = 0
    let bucket = op.bucket
    for (; bucket < BUCKETS && keys.length < bytesMax; bucket++) {
      engine.forEachInBucket(op.partition, bucket, (entry) => {
        if (engine.regionId(entry) !== op.regionId || engine.isExpired(entry, nowMs)) return
        const before = keys.length
        keys.varint(engine.keyBytes(entry))
        const start = keys.length
        engine.copyKey(entry, keys)
        if (matchesGlob(body, op.patternStart, op.patternEnd, keys.bytes, start, keys.length)) count++
        else keys.length = before
      })
    }
    writeResult(w, requestId, Status.ok)
    w.varint(bucket)
    w.varint(count)
    w.raw(keys.bytes, 0, keys.length)
  }

  stats(op: Operation, requestId: number, w: ByteWriter): void {
    if (this.#ports.replicator.region(op.regionId) === undefined) throw unknownRegion(op.regionId)
    writeResult(w, requestId, Status.ok)
    w.text(this.#ports.stats(op.regionId))
  }

  #value(
    op: Operation,
    entry: EntryIndex,
    requestId: number,
    w: ByteWriter,
    download: StartDownload | undefined,
  ): void {
    const { engine } = this.#ports
    const bytes = engine.valueBytes(entry)
    const withHead = op.opcode === Opcode.getEntry
    if (bytes <= INLINE_VALUE_BYTES_MAX) {
      writeResult(w, requestId, Status.ok)
      if (withHead) writeEntryHead(engine, entry, w)
      else w.uint8(engine.codec(entry))
      writeEntryValue(engine, entry, w)
      return
    }
    const value = engine.largeValue(entry)
    if (download === undefined || value === undefined) {
      writeResult(w, requestId, Status.large)
      w.varint(bytes)
      return
    }
    writeResult(w, requestId, Status.chunked)
    if (withHead) writeEntryHead(engine, entry, w)
    else w.uint8(engine.codec(entry))
    w.varint(bytes)
    download(requestId, value)
  }

  /** For what names a partition instead of a key. */
  #checkPartition(op: Operation): void {
    const count = this.#ports.replicator.topology?.partitions.length ?? 0
    if (op.partition >= count) {
      throw new CacheError(
        'INVALID_ARGUMENT',
        `partition ${op.partition}; this cluster has partitions 0 to ${count - 1}`,
      )
    }
  }

  #readKind(op: Operation): ReadKind {
    return READ_KINDS[op.readKind] ?? this.#ports.replicator.region(op.regionId)?.read ?? 'primary'
  }

  #readable(op: Operation, body: Uint8Array): Replica {
    const { replicator } = this.#ports
    const partition = replicator.locate(op.regionId, body, op.keyStart, op.keyEnd)
    if (partition < 0) throw unknownRegion(op.regionId)
    const replica = this.#checkEpoch(replicator.replica(partition), op)
    if (replicator.quarantine.isOutOfTouch) {
      if (!(op.flags & Flag.allowStale) || replica.role === 'learner') throw this.#outOfTouch()
      return replica
    }
    if (replica.role !== 'primary') this.#checkReadable(replica, op)
    return replica
  }

  /** A copy that is no primary's answers who takes what may be behind. */
  #checkReadable(replica: Replica, op: Operation): void {
    const kind = this.#readKind(op)
    if (kind !== 'replica' && kind !== 'nearest') throw this.#notPrimary(replica)
    if (replica.role !== 'backup' && replica.role !== 'taking-over') throw this.#notPrimary(replica)
  }

  #primaryOf(partition: number, op: Operation): Replica {
    const replica = this.#checkEpoch(this.#ports.replicator.replica(partition), op)
    if (replica.role !== 'primary') throw this.#notPrimary(replica)
    if (this.#ports.replicator.quarantine.isOutOfTouch) throw this.#outOfTouch()
    return replica
  }

  #checkEpoch(replica: Replica | undefined, op: Operation): Replica {
    if (replica === undefined) {
      const { nodeId, replicator } = this.#ports
      throw replicator.self < 0
        ? new CacheError('NO_ROLE', `${nodeId} restarted and holds no replicas: use another node`, {
            node: nodeId,
          })
        : this.#notPrimary()
    }
    if (op.partitionEpoch !== 0 && op.partitionEpoch !== replica.partitionEpoch) {
      throw new CacheError(
        'STALE_EPOCH',
        `the request knows epoch ${op.partitionEpoch} of partition ${replica.partition}, this node ${replica.partitionEpoch}`,
      )
    }
    return replica
  }

  #outOfTouch(): CacheError {
    const { nodeId } = this.#ports
    return new CacheError(
      'UNAVAILABLE',
      `${nodeId} is out of touch with the cluster, which may have gone on without it: use another node, or allowStale`,
      { node: nodeId },
    )
  }

  #notPrimary(replica?: Replica): CacheError {
    const { nodeId } = this.#ports
    if (replica?.role === 'taking-over') {
      return new CacheError('UNAVAILABLE', `${nodeId} is taking over this key's partition: try again`, {
        node: nodeId,
      })
    }
    return new CacheError('NOT_PRIMARY', `${nodeId} is not the primary of this key's partition`, {
      node: nodeId,
    })
  }
}

function unknownRegion(regionId: number): CacheError {
  return new CacheError(
    'UNKNOWN_REGION',
    `there is no region ${regionId}: add it to the cluster's configuration`,
  )
}
