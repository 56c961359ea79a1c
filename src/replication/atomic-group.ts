/**
 * Decides an atomic group at the primary: checks first, then the mutations one after the other, each seeing what those
 * before it did. What they come to is written as one batch effect, so that replicas apply all of it or nothing, under one
 * sequence.
 */

import { type Engine, type EntryIndex, NO_ENTRY } from '../engine/engine.ts'
import { ByteReader, ByteWriter } from '../kernel/bytes.ts'
import { CacheError } from '../kernel/errors.ts'
import type { RegionRecord } from '../topology/topology.ts'
import { ATOMIC_MEMBERS_MAX, isCheck, readAtomicMember } from '../wire/atomic.ts'
import { Codec, ConditionCode, Opcode, Operation } from '../wire/operations.ts'
import { Status } from '../wire/results.ts'
import { EffectKind, type SetFields, writeEffectStart, writeKey, writeSetStart } from './effects.ts'
import { checkKey, checkWrite, type WriteLimits } from './write-limits.ts'

/** Turns a stored value back into its uncompressed bytes. @throws CacheError SERIALIZATION */
export type Uncompress = (stored: Uint8Array) => Uint8Array

/** A key's state as the group has changed it so far. */
interface Changed {
  readonly exists: boolean
  readonly codec: number
  readonly counter: number
  readonly expiresAtMs: number
  readonly createdAtMs: number
}

export interface AtomicPorts {
  readonly engine: Engine
  readonly uncompress: Uncompress
  readonly limits: WriteLimits
  region(regionId: number): RegionRecord | undefined
  /** The partition of the key, to refuse groups that span several. */
  partitionOf(regionId: number, key: Uint8Array, start: number, end: number): number
}

export class AtomicGroup {
  readonly #ports: AtomicPorts
  readonly #reader: ByteReader = new ByteReader(new Uint8Array(0))
  readonly #member: Operation = new Operation()
  readonly #changes: Map<string, Changed> = new Map()
  readonly #scratch: ByteWriter = new ByteWriter(256)
  /** After `decide`: the effects, and their number; the results, per mutation, in the form they travel. */
  readonly effects: ByteWriter = new ByteWriter(1024)
  readonly results: ByteWriter = new ByteWriter(256)
  effectCount = 0

  constructor(ports: AtomicPorts) {
    this.#ports = ports
  }

  /**
   * Decides the group whose members begin at `start` of `body`.
   * @param sequence the sequence its effects would get
   * @returns −1 when it is to be applied, else the index of the first check that did not hold
   * @throws CacheError when it is refused as a whole
   */
  decide(
    partition: number,
    partitionEpoch: number,
    sequence: number,
    group: Operation,
    body: Uint8Array,
    start: number,
    end: number,
    nowMs: number,
  ): number {
    if (group.count > ATOMIC_MEMBERS_MAX) {
      throw new CacheError(
        'INVALID_ARGUMENT',
        `${group.count} members; an atomic group has at most ${ATOMIC_MEMBERS_MAX}`,
      )
    }
    this.#changes.clear()
    this.effects.clear()
    this.results.clear()
    this.effectCount = 0
    const reader = this.#reader.reset(body, start, end)
    const member = this.#member
    let checksDone = false
    let mutations = 0
    const results = new ByteWriter(64)
    for (let index = 0; index < group.count; index++) {
      readAtomicMember(reader, member)
      if (this.#ports.region(member.regionId) === undefined) {
        throw new CacheError('UNKNOWN_REGION', `there is no region ${member.regionId}`)
      }
      if (this.#ports.partitionOf(member.regionId, body, member.keyStart, member.keyEnd) !== partition) {
        throw new CacheError(
          'INVALID_ARGUMENT',
          'the keys of an atomic group lie in several partitions: give them a common {hashtag}',
        )
      }
      if (isCheck(member)) {
        checkKey(member, this.#ports.limits.keyBytesMax)
        if (checksDone) throw new CacheError('PROTOCOL_ERROR', 'a check behind a mutation of an atomic group')
        if (!this.#holds(partition, member, body, nowMs)) return index
        continue
      }
      checkWrite(member, this.#ports.limits)
      checksDone = true
      mutations++
      this.#mutate(partition, partitionEpoch, sequence, member, body, nowMs, results)
    }
    this.results.varint(mutations)
    this.results.raw(results.bytes, 0, results.length)
    return -1
  }

  #holds(partition: number, check: Operation, body: Uint8Array, nowMs: number): boolean {
    const { engine } = this.#ports
    const entry = this.#find(partition, check, body, nowMs)
    if (check.opcode === Opcode.get) return entry !== undefined && this.#equals(entry, check, body)
    switch (check.condition) {
      case ConditionCode.absent:
        return entry === undefined
      case ConditionCode.present:
        return entry !== undefined
      default:
        return (
          entry !== undefined &&
          engine.versionEpoch(entry) === check.conditionEpoch &&
          engine.versionSequence(entry) === check.conditionSequence
        )
    }
  }

  /** Values compare as uncompressed codec bytes. */
  #equals(entry: EntryIndex, check: Operation, body: Uint8Array): boolean {
    const { engine, uncompress } = this.#ports
    const stored = engine.codec(entry)
    if ((stored & Codec.mask) !== (check.codec & Codec.mask)) return false
    if (stored === check.codec) {
      if (engine.compareValue(entry, body, check.valueStart, check.valueEnd)) return true
      // The same bytes may have been compressed differently.
      if (!(stored & Codec.lz4)) return false
    }
    const w = this.#scratch
    w.clear()
    engine.copyValue(entry, w)
    const ours = stored & Codec.lz4 ? uncompress(w.toBytes()) : w.toBytes()
    const given = body.subarray(check.valueStart, check.valueEnd)
    const theirs = check.codec & Codec.lz4 ? uncompress(given) : given
    if (ours.length !== theirs.length) return false
    for (let i = 0; i < ours.length; i++) if (ours[i] !== theirs[i]) return false
    return true
  }

  #mutate(
    partition: number,
    partitionEpoch: number,
    sequence: number,
    op: Operation,
    body: Uint8Array,
    nowMs: number,
    results: ByteWriter,
  ): void {
    const region = this.#ports.region(op.regionId)
    if (region === undefined) throw new CacheError('UNKNOWN_REGION', `there is no region ${op.regionId}`)
    const name = this.#name(op, body)
    const before = this.#changes.get(name) ?? this.#stored(partition, op, body, nowMs)
    const ttlExpiryMs = expiryOf(op.ttlMs < 0 ? region.ttlMs : op.ttlMs, nowMs)
    if (op.opcode === Opcode.delete) {
      results.uint8(before.exists ? Status.ok : Status.absent)
      if (!before.exists) return
      writeEffectStart(this.effects, EffectKind.deleted, undefined, Number.NaN)
      writeKey(this.effects, op.regionId, body, op.keyStart, op.keyEnd)
      this.effectCount++
      this.#changes.set(name, { ...before, exists: false })
      return
    }
    const isSet = op.opcode === Opcode.set
    let counter = 0
    if (!isSet) {
      if (before.exists && before.codec !== Codec.counter) {
        throw new CacheError(
          'WRONG_TYPE',
          'the value is not a counter: only what increment() made can be incremented',
        )
      }
      counter = (before.exists ? before.counter : op.initial) + op.by
      if (!Number.isFinite(counter))
        throw new CacheError('INVALID_ARGUMENT', 'the sum is not a finite number')
    }
    const keep = !isSet && before.exists
    const fields: SetFields = {
      codec: isSet ? op.codec : Codec.counter,
      createdAtMs: keep ? before.createdAtMs : nowMs,
      expiresAtMs: keep ? before.expiresAtMs : ttlExpiryMs,
      tagCount: isSet ? op.tagCount : 0,
      tags: body,
      tagsStart: op.tagsStart,
      tagsEnd: op.tagsEnd,
    }
    const { effects } = this
    writeSetStart(effects, undefined, Number.NaN, op.regionId, body, op.keyStart, op.keyEnd, fields, false)
    if (isSet) {
      effects.varint(op.valueEnd - op.valueStart)
      effects.raw(body, op.valueStart, op.valueEnd)
    } else {
      effects.varint(8)
      effects.float64(counter)
    }
    this.effectCount++
    this.#changes.set(name, { exists: true, ...fields, counter })
    results.uint8(Status.ok)
    if (!isSet) {
      results.float64(counter)
      return
    }
    results.varint(partitionEpoch)
    results.varint(sequence)
  }

  #stored(partition: number, op: Operation, body: Uint8Array, nowMs: number): Changed {
    const { engine } = this.#ports
    const entry = this.#find(partition, op, body, nowMs)
    if (entry === undefined) return { exists: false, codec: 0, counter: 0, expiresAtMs: 0, createdAtMs: 0 }
    const codec = engine.codec(entry)
    let counter = 0
    // A client may call any bytes a counter.
    const isCounter = codec === Codec.counter && engine.valueBytes(entry) === 8
    if (isCounter) {
      const w = this.#scratch
      w.clear()
      engine.copyValue(entry, w)
      counter = new ByteReader(w.bytes, 0, w.length).float64()
    }
    return {
      exists: true,
      codec: codec === Codec.counter && !isCounter ? Codec.bytes : codec,
      counter,
      expiresAtMs: engine.expiresAtMs(entry),
      createdAtMs: engine.createdAtMs(entry),
    }
  }

  #find(partition: number, op: Operation, body: Uint8Array, nowMs: number): EntryIndex | undefined {
    const { engine } = this.#ports
    const hash = engine.hashKey(op.regionId, body, op.keyStart, op.keyEnd)
    const entry = engine.find(partition, op.regionId, hash, body, op.keyStart, op.keyEnd)
    return entry === NO_ENTRY || engine.isExpired(entry, nowMs) ? undefined : entry
  }

  #name(op: Operation, body: Uint8Array): string {
    return `${op.regionId}:${Buffer.from(body.subarray(op.keyStart, op.keyEnd)).toString('latin1')}`
  }
}

function expiryOf(ttlMs: number, nowMs: number): number {
  return ttlMs > 0 ? nowMs + Math.ceil(ttlMs) : 0
}
