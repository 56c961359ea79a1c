/**
 * The primary's side of a write: check, decide, log, apply, all in one turn; then wait until enough replicas hold it.
 *
 * Rules it keeps (docs/protocol.md, "Writes"):
 * - nothing is logged before every check passed, so a rejection means that nothing happened;
 * - once logged, an outcome is never a rejection: it completes, or it is unknown;
 * - a retried operation id gets its first outcome, after that is held as widely as asked;
 * - a failed condition shows state, so it too waits until that state is committed.
 */

import { type Engine, type EntryIndex, NO_ENTRY } from '../engine/engine.ts'
import { ByteReader, ByteWriter } from '../kernel/bytes.ts'
import { CacheError } from '../kernel/errors.ts'
import type { MemoryAccount } from '../kernel/memory-account.ts'
import type { Durability, RegionRecord } from '../topology/topology.ts'
import { Codec, ConditionCode, DurabilityCode, Opcode, type Operation } from '../wire/operations.ts'
import { Status } from '../wire/results.ts'
import type { Applier } from './applier.ts'
import type { AtomicGroup } from './atomic-group.ts'
import { type EffectLog, NO_NUMBER } from './effect-log.ts'
import {
  EffectKind,
  type OperationId,
  type SetFields,
  writeEffectStart,
  writeKey,
  writeSetStart,
} from './effects.ts'
import { writeCurrent } from './entry-result.ts'
import type { OperationTable, SessionOutcomes } from './operation-table.ts'
import { Outcome, type OutcomeSink } from './outcome.ts'
import type { ReadGate } from './read-gate.ts'
import { EVICTIONS_PER_WRITE, type Removals } from './removals.ts'
import type { Replica } from './replica.ts'
import type { StagedValue } from './stage-outbox.ts'

/** What the primary needs of the node around it. */
export interface PrimaryPorts {
  readonly engine: Engine
  readonly applier: Applier
  readonly operations: OperationTable
  readonly log: EffectLog
  readonly removals: Removals
  readonly memory: MemoryAccount
  readonly atomic: AtomicGroup
  region(regionId: number): RegionRecord | undefined
  /** In-sync replicas, this node included, that can be expected to acknowledge now. */
  availableReplicas(replica: Replica): number
  /** The most bytes this node may hold of the region; 0: without limit. */
  budgetBytes(regionId: number): number
  readonly reads: ReadGate
  /** Broken by a test: a retry is answered at once. */
  readonly answersRetriesEarly: boolean
  /** An outcome waits until the replica's log is held that widely. */
  awaited(replica: Replica, by: Durability): void
}

/** A write as dispatch hands it over: the operation, where its bytes are, and who asked. */
export interface WriteRequest {
  readonly op: Operation
  readonly body: Uint8Array
  readonly sessionLow: number
  readonly sessionHigh: number
  readonly requestId: number
  readonly sink: OutcomeSink
  /** Monotonic time at which waiting ends, in milliseconds. */
  readonly deadlineMs: number
  readonly staged: StagedValue | undefined
}

/** Segments and columns that an atomic group may begin. */
const ATOMIC_SLACK_BYTES = 4 * 1024 * 1024

export class Primary {
  /** Retries that were answered with what their first attempt came to. */
  answeredFromTable = 0
  readonly #ports: PrimaryPorts
  readonly #log: EffectLog
  readonly #value: ByteWriter = new ByteWriter(64)
  readonly #valueReader: ByteReader = new ByteReader(new Uint8Array(0))
  readonly #fields: { -readonly [K in keyof SetFields]: SetFields[K] } = {
    codec: 0,
    createdAtMs: 0,
    expiresAtMs: 0,
    tagCount: 0,
    tags: undefined,
    tagsStart: 0,
    tagsEnd: 0,
  }

  constructor(ports: PrimaryPorts) {
    this.#ports = ports
    this.#log = ports.log
  }

  /**
   * Carries out one write. The outcome reaches `request.sink`, perhaps before this returns.
   * @throws CacheError when it is refused: then nothing happened.
   */
  write(replica: Replica, request: WriteRequest): void {
    const { op } = request
    const region = this.#ports.region(op.regionId)
    if (region === undefined) throw new CacheError('UNKNOWN_REGION', `there is no region ${op.regionId}`)
    const durability = this.#admit(replica, region, op)
    const outcome = new Outcome(request.sink, request.requestId, op.opcode, request.deadlineMs)
    let session: SessionOutcomes | undefined
    if (op.counter > 0) {
      session = this.#ports.operations.admit(request.sessionLow, request.sessionHigh)
      if (session.find(op.counter)) {
        this.#repeat(replica, session, outcome, durability)
        return
      }
      session.admit(op.counter)
    }
    const id: OperationId | undefined =
      session === undefined
        ? undefined
        : { sessionLow: session.low, sessionHigh: session.high, counter: op.counter }
    this.#decide(replica, region, request, id, outcome)
    outcome.partitionEpoch = replica.partitionEpoch
    if (durability === 'one' && outcome.status !== Status.conditionFailed) {
      outcome.complete()
      return
    }
    if (!outcome.applied) {
      // It shows the state of the entry: that has to be true.
      this.#ports.reads.admit(replica, outcome)
      return
    }
    const by = durability === 'all' ? 'all' : 'quorum'
    replica.await(outcome, by)
    if (!outcome.settled) this.#ports.awaited(replica, by)
  }

  #admit(replica: Replica, region: RegionRecord, op: Operation): Durability {
    const durability = durabilityOf(op.durability, region)
    if (replica.frozen) {
      throw new CacheError('UNAVAILABLE', 'the partition is moving to another node: try again')
    }
    const available = this.#ports.availableReplicas(replica)
    const needed =
      durability === 'one'
        ? 1
        : Math.max(region.minInSync, durability === 'all' ? replica.members.length + 1 : replica.quorum)
    if (available < needed) {
      throw new CacheError(
        'NOT_ENOUGH_REPLICAS',
        `${durability} needs ${needed} replicas in sync and ${available} can be reached: bring nodes back, or write with a lower durability`,
      )
    }
    const adds =
      op.opcode === Opcode.set ||
      op.opcode === Opcode.setUploaded ||
      op.opcode === Opcode.increment ||
      op.opcode === Opcode.atomic
    if (adds && this.#ports.memory.level === 'full') {
      this.#ports.removals.evict(EVICTIONS_PER_WRITE)
      if (this.#ports.memory.level === 'full') {
        throw new CacheError(
          'OVERLOADED',
          'the memory of this node is full: raise memory.limit, or add nodes',
        )
      }
    }
    return durability
  }

  /** Answers a retry with what its first attempt came to. */
  #repeat(replica: Replica, session: SessionOutcomes, outcome: Outcome, durability: Durability): void {
    this.answeredFromTable++
    if (session.foundPartition !== replica.partition) {
      throw new CacheError('INVALID_ARGUMENT', 'an operation id was used for two keys')
    }
    outcome.partitionEpoch = session.foundEpoch
    outcome.sequence = session.foundSequence
    outcome.waitSequence = session.foundSequence
    outcome.number = session.foundNumber
    outcome.payload = session.foundPayload
    if (durability === 'one' || this.#ports.answersRetriesEarly) {
      outcome.complete()
      return
    }
    replica.await(outcome, durability)
    if (!outcome.settled) this.#ports.awaited(replica, durability)
  }

  #decide(
    replica: Replica,
    region: RegionRecord,
    request: WriteRequest,
    id: OperationId | undefined,
    outcome: Outcome,
  ): void {
    const { op, body } = request
    const { engine } = this.#ports
    const nowMs = this.#log.timeMs(replica)
    if (op.opcode === Opcode.clear) {
      this.#clear(replica, op, body, id, outcome, nowMs)
      return
    }
    const hash = engine.hashKey(op.regionId, body, op.keyStart, op.keyEnd)
    const found = engine.find(replica.partition, op.regionId, hash, body, op.keyStart, op.keyEnd)
    const entry = found !== NO_ENTRY && !engine.isExpired(found, nowMs) ? found : undefined
    switch (op.opcode) {
      case Opcode.set:
      case Opcode.setUploaded:
        if (!this.#holds(op, entry)) this.#showFailed(replica, entry, outcome)
        else this.#set(replica, region, request, id, outcome, nowMs)
        return
      case Opcode.delete:
        if (!this.#holds(op, entry)) this.#showFailed(replica, entry, outcome)
        else if (entry === undefined) this.#nothing(replica, outcome)
        else this.#delete(replica, op, body, id, outcome, nowMs)
        return
      case Opcode.expire:
      case Opcode.touch:
        if (entry === undefined) this.#nothing(replica, outcome)
        else this.#expiry(replica, region, request, id, outcome, entry, nowMs)
        return
      case Opcode.increment:
        this.#increment(replica, region, request, id, outcome, entry, nowMs)
        return
      case Opcode.atomic:
        this.#atomic(replica, request, id, outcome, nowMs)
        return
      default:
        throw new CacheError('UNSUPPORTED', `operation 0x${op.opcode.toString(16)} is no write`)
    }
  }

  #holds(op: Operation, entry: EntryIndex | undefined): boolean {
    const { engine } = this.#ports
    switch (op.condition) {
      case ConditionCode.absent:
        return entry === undefined
      case ConditionCode.present:
        return entry !== undefined
      case ConditionCode.version:
        return (
          entry !== undefined &&
          engine.versionEpoch(entry) === op.conditionEpoch &&
          engine.versionSequence(entry) === op.conditionSequence
        )
      default:
        return true
    }
  }

  #showFailed(replica: Replica, entry: EntryIndex | undefined, outcome: Outcome): void {
    const w = this.#value
    w.clear()
    writeCurrent(this.#ports.engine, entry, w)
    outcome.status = Status.conditionFailed
    outcome.payload = w.toBytes()
    outcome.applied = false
    outcome.waitSequence = replica.lastSequence
  }

  /** There is no such entry: that too is told only once the state that shows it is committed. */
  #nothing(replica: Replica, outcome: Outcome): void {
    outcome.status = Status.absent
    outcome.applied = false
    outcome.waitSequence = replica.lastSequence
  }

  #set(
    replica: Replica,
    region: RegionRecord,
    request: WriteRequest,
    id: OperationId | undefined,
    outcome: Outcome,
    nowMs: number,
  ): void {
    const { op, body, staged } = request
    const valueBytes = staged === undefined ? op.valueEnd - op.valueStart : staged.value.totalBytes
    const budgetBytes = this.#ports.budgetBytes(op.regionId)
    if (budgetBytes > 0 && valueBytes > budgetBytes) {
      throw new CacheError(
        'VALUE_TOO_LARGE',
        `the value has ${valueBytes} bytes, but this node may hold ${budgetBytes} of region ${region.name}: raise its size`,
      )
    }
    const fields = this.#fields
    fields.codec = op.codec
    fields.createdAtMs = nowMs
    fields.expiresAtMs = expiryOf(op.ttlMs < 0 ? region.ttlMs : op.ttlMs, nowMs)
    fields.tagCount = op.tagCount
    fields.tags = body
    fields.tagsStart = op.tagsStart
    fields.tagsEnd = op.tagsEnd
    const w = this.#log.effect
    w.clear()
    writeSetStart(w, id, NO_NUMBER, op.regionId, body, op.keyStart, op.keyEnd, fields, staged !== undefined)
    if (staged === undefined) {
      w.varint(op.valueEnd - op.valueStart)
      w.raw(body, op.valueStart, op.valueEnd)
    } else {
      w.uint32(staged.stageId)
    }
    this.#log.append(replica, outcome, nowMs, staged)
    this.#ports.removals.makeRoom(op.regionId)
  }

  #delete(
    replica: Replica,
    op: Operation,
    body: Uint8Array,
    id: OperationId | undefined,
    outcome: Outcome,
    nowMs: number,
  ): void {
    const w = this.#log.effect
    w.clear()
    writeEffectStart(w, EffectKind.deleted, id, NO_NUMBER)
    writeKey(w, op.regionId, body, op.keyStart, op.keyEnd)
    this.#log.append(replica, outcome, nowMs, undefined)
  }

  #expiry(
    replica: Replica,
    region: RegionRecord,
    request: WriteRequest,
    id: OperationId | undefined,
    outcome: Outcome,
    entry: EntryIndex,
    nowMs: number,
  ): void {
    const { op, body } = request
    const { engine } = this.#ports
    let ttlMs = op.ttlMs
    if (ttlMs < 0) {
      if (op.opcode === Opcode.expire) throw new CacheError('INVALID_ARGUMENT', 'expire needs a time to live')
      // A touch without one renews: for as long as the region says, or as the entry had from its creation.
      const expiresAtMs = engine.expiresAtMs(entry)
      ttlMs = region.ttlMs > 0 ? region.ttlMs : expiresAtMs > 0 ? expiresAtMs - engine.createdAtMs(entry) : 0
    }
    const w = this.#log.effect
    w.clear()
    writeEffectStart(w, EffectKind.expiry, id, NO_NUMBER)
    writeKey(w, op.regionId, body, op.keyStart, op.keyEnd)
    w.float64(expiryOf(ttlMs, nowMs))
    engine.touch(entry)
    this.#log.append(replica, outcome, nowMs, undefined)
  }

  #increment(
    replica: Replica,
    region: RegionRecord,
    request: WriteRequest,
    id: OperationId | undefined,
    outcome: Outcome,
    entry: EntryIndex | undefined,
    nowMs: number,
  ): void {
    const { op, body } = request
    const { engine } = this.#ports
    let sum = op.initial + op.by
    const fields = this.#fields
    fields.codec = Codec.counter
    fields.createdAtMs = nowMs
    fields.expiresAtMs = expiryOf(op.ttlMs < 0 ? region.ttlMs : op.ttlMs, nowMs)
    fields.tagCount = 0
    fields.tags = undefined
    if (entry !== undefined) {
      if (engine.codec(entry) !== Codec.counter || engine.valueBytes(entry) !== 8) {
        throw new CacheError(
          'WRONG_TYPE',
          'the value is not a counter: only what increment() made can be incremented',
        )
      }
      const value = this.#value
      value.clear()
      engine.copyValue(entry, value)
      sum = this.#valueReader.reset(value.bytes, 0, 8).float64() + op.by
      fields.createdAtMs = engine.createdAtMs(entry)
      fields.expiresAtMs = engine.expiresAtMs(entry)
    }
    if (!Number.isFinite(sum)) {
      throw new CacheError(
        'INVALID_ARGUMENT',
        'the sum is not a finite number; the counter was left as it was',
      )
    }
    const w = this.#log.effect
    w.clear()
    writeSetStart(w, id, sum, op.regionId, body, op.keyStart, op.keyEnd, fields, false)
    w.varint(8)
    w.float64(sum)
    outcome.number = sum
    this.#log.append(replica, outcome, nowMs, undefined)
    this.#ports.removals.makeRoom(op.regionId)
  }

  #clear(
    replica: Replica,
    op: Operation,
    body: Uint8Array,
    id: OperationId | undefined,
    outcome: Outcome,
    nowMs: number,
  ): void {
    const { engine, applier } = this.#ports
    if (engine.entries(replica.partition) === 0) {
      outcome.applied = false
      outcome.waitSequence = replica.lastSequence
      return
    }
    const w = this.#log.effect
    w.clear()
    writeEffectStart(w, EffectKind.clear, id, NO_NUMBER)
    writeKey(w, op.regionId, body, op.patternStart, op.patternEnd)
    this.#log.append(replica, outcome, nowMs, undefined)
    outcome.number = applier.removed
  }

  #atomic(
    replica: Replica,
    request: WriteRequest,
    id: OperationId | undefined,
    outcome: Outcome,
    nowMs: number,
  ): void {
    const { op, body } = request
    const { atomic } = this.#ports
    const { partition, partitionEpoch } = replica
    const sequence = replica.lastSequence + 1
    const failed = atomic.decide(
      partition,
      partitionEpoch,
      sequence,
      op,
      body,
      op.valueStart,
      op.valueEnd,
      nowMs,
    )
    const w = this.#log.effect
    w.clear()
    if (failed >= 0) {
      w.varint(failed)
      outcome.status = Status.conditionFailed
      outcome.payload = w.toBytes()
      outcome.applied = false
      outcome.waitSequence = replica.lastSequence
      return
    }
    outcome.payload = atomic.results.toBytes()
    if (atomic.effectCount === 0) {
      outcome.applied = false
      outcome.waitSequence = replica.lastSequence
      return
    }
    // A batch must not fail half way: so memory for all of it has to be there before.
    const { memory } = this.#ports
    if (memory.limitBytes - memory.totalBytes < 2 * atomic.effects.length + ATOMIC_SLACK_BYTES) {
      throw new CacheError(
        'OVERLOADED',
        'the memory of this node has no room for an atomic group: raise memory.limit',
      )
    }
    writeEffectStart(w, EffectKind.batch, id, NO_NUMBER)
    w.blob(outcome.payload)
    w.varint(atomic.effectCount)
    w.raw(atomic.effects.bytes, 0, atomic.effects.length)
    this.#log.append(replica, outcome, nowMs, undefined)
    this.#ports.removals.makeRoom(op.regionId)
  }
}

function expiryOf(ttlMs: number, nowMs: number): number {
  return ttlMs > 0 ? nowMs + Math.ceil(ttlMs) : 0
}

function durabilityOf(code: number, region: RegionRecord): Durability {
  switch (code) {
    case DurabilityCode.one:
      return 'one'
    case DurabilityCode.quorum:
      return 'quorum'
    case DurabilityCode.all:
      return 'all'
    default:
      return region.durability
  }
}
