/** One write in the form in which it is encoded, and encoded again when it is retried. */

import { ByteWriter } from '../kernel/bytes.ts'
import { CacheError } from '../kernel/errors.ts'
import {
  ConditionCode,
  Flag,
  Opcode,
  TAG_BYTES_MAX,
  TAGS_MAX,
  writeOperationId,
  writeOperationStart,
  writeTarget,
} from '../wire/operations.ts'
import type { ValueCodec } from './codecs/value-codec.ts'
import type { CopyPool, PooledCopy } from './copy-pool.ts'
import { durabilityCode, parseTtlMs, type SetOptions, type WriteOptions } from './options.ts'
import type { Target } from './target.ts'

export type WriteOpcode =
  | typeof Opcode.set
  | typeof Opcode.delete
  | typeof Opcode.expire
  | typeof Opcode.touch
  | typeof Opcode.increment

/** Larger values are uploaded on the bulk stream, in bytes: a frame should hold several operations. */
const INLINE_SET_BYTES_MAX = 32 * 1024

/** What a client or region gives to writes that say nothing themselves. */
export interface WriteDefaults {
  readonly ttlMs: number
  readonly durability: number
}

export class Mutation {
  readonly opcode: WriteOpcode
  flags = 0
  /** −1: none given. */
  ttlMs = -1
  conditionEpoch = 0
  conditionSequence = 0
  /** Count and texts, as they stand in the operation. */
  tags: Uint8Array | undefined
  codec = 0
  /** A copy of its own, kept until the write is over. */
  value: Uint8Array | undefined
  /** What `value` lies in, when it is large; given back when the write is over. */
  copy: PooledCopy | undefined
  by = 0
  initial = 0

  constructor(opcode: WriteOpcode, options: WriteOptions | undefined, defaults: WriteDefaults) {
    this.opcode = opcode
    const durability =
      options?.durability === undefined ? defaults.durability : durabilityCode(options.durability)
    this.flags = durability << 2
  }

  setTtl(ttlMs: number): void {
    if (ttlMs < 0) return
    this.ttlMs = ttlMs
    this.flags |= Flag.ttl
  }

  setCondition(when: SetOptions['when']): void {
    if (when === undefined) return
    if (typeof when === 'object' && when !== null) {
      const { version } = when
      if (!isVersion(version))
        throw new CacheError('INVALID_ARGUMENT', 'when.version must be a version that a call returned')
      this.conditionEpoch = version.partitionEpoch
      this.conditionSequence = version.sequence
      this.flags |= ConditionCode.version << 4
    } else if (when === 'absent' || when === 'present') {
      this.flags |= ConditionCode[when] << 4
    } else {
      throw new CacheError('INVALID_ARGUMENT', "when must be 'absent', 'present' or { version }")
    }
  }
}

/**
 * @param copies where large values are copied to
 * @throws CacheError when the value or an option can't be stored
 */
export function setMutation(
  values: ValueCodec,
  value: unknown,
  options: SetOptions | undefined,
  defaults: WriteDefaults,
  valueBytesMax: number,
  copies?: CopyPool,
): Mutation {
  const mutation = new Mutation(Opcode.set, options, defaults)
  mutation.setTtl(options?.ttl === undefined ? defaults.ttlMs : parseTtlMs(options.ttl))
  if (options !== undefined) {
    mutation.setCondition(options.when)
    if (options.tags !== undefined && options.tags.length > 0) {
      mutation.tags = encodeTags(options.tags)
      mutation.flags |= Flag.tags
    }
  }
  values.encode(value)
  const length = values.end - values.start
  if (length > valueBytesMax) {
    throw new CacheError(
      'VALUE_TOO_LARGE',
      `the value takes ${length} bytes; the cluster accepts at most ${valueBytesMax}: split it`,
    )
  }
  const encoded =
    values.start === 0 && values.end === values.bytes.length
      ? values.bytes
      : values.bytes.subarray(values.start, values.end)
  if (length > INLINE_SET_BYTES_MAX && copies !== undefined) {
    mutation.copy = copies.copy(encoded)
    mutation.value = mutation.copy.bytes
  } else {
    mutation.value = Buffer.allocUnsafe(length)
    mutation.value.set(encoded)
  }
  mutation.codec = values.codec
  return mutation
}

/** Writes the operation. `uploadId` ≥ 0: the value was uploaded under it. `session`: when the id is of another session. */
export function writeMutation(
  w: ByteWriter,
  mutation: Mutation,
  timeoutMs: number,
  target: Target,
  counter: number,
  session: string | undefined,
  uploadId: number,
): void {
  const { opcode } = mutation
  const flags = session === undefined ? mutation.flags : mutation.flags | Flag.session
  writeOperationStart(w, uploadId < 0 ? opcode : Opcode.setUploaded, flags, timeoutMs)
  writeTarget(w, target.regionId, target.partitionEpoch, target.key, 0, target.keyEnd)
  writeOperationId(w, counter, session)
  if (flags & Flag.ttl) w.varint(mutation.ttlMs)
  if (opcode === Opcode.set || opcode === Opcode.delete) {
    if ((flags & Flag.condition) >> 4 === ConditionCode.version) {
      w.varint(mutation.conditionEpoch)
      w.varint(mutation.conditionSequence)
    }
  }
  if (opcode === Opcode.set) {
    if (mutation.tags !== undefined) w.raw(mutation.tags)
    w.uint8(mutation.codec)
    if (uploadId < 0) w.blob(mutation.value as Uint8Array)
    else w.uint32(uploadId)
  } else if (opcode === Opcode.increment) {
    w.float64(mutation.by)
    w.float64(mutation.initial)
  }
}

function encodeTags(tags: readonly string[]): Uint8Array {
  if (!Array.isArray(tags)) throw new CacheError('INVALID_ARGUMENT', 'tags must be an array of texts')
  const unique = new Set(tags)
  if (unique.size > TAGS_MAX)
    throw new CacheError('INVALID_ARGUMENT', `${unique.size} tags; at most ${TAGS_MAX} are allowed`)
  const w = new ByteWriter(64)
  w.varint(unique.size)
  for (const tag of unique) {
    const bytes = typeof tag === 'string' ? Buffer.byteLength(tag) : 0
    if (bytes === 0 || bytes > TAG_BYTES_MAX) {
      throw new CacheError('INVALID_ARGUMENT', `a tag must be a text of 1 to ${TAG_BYTES_MAX} bytes`)
    }
    w.text(tag)
  }
  return w.toBytes()
}

function isVersion(version: unknown): version is { partitionEpoch: number; sequence: number } {
  if (typeof version !== 'object' || version === null) return false
  const { partitionEpoch, sequence } = version as { partitionEpoch?: unknown; sequence?: unknown }
  return isCount(partitionEpoch) && isCount(sequence)
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0
}
