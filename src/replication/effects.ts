/**
 * The log's language: what an operation came to, never what was asked. A conditional set becomes a set, an increment the
 * sum, a touch an absolute expiry, so that replicas apply and never decide.
 *
 * ```
 * effect := kind:u8 flags:u8 [id] [number:f64] body
 * id     := sessionLow:u32 sessionHigh:u32 counter:varint
 * set    := region:varint key:blob codec:u8 createdAt:f64 [expiresAt:f64] [tagCount:varint tags:blob]
 *           (value:blob | stageId:u32)
 * remove := region:varint key:blob               (deleted, evicted, expired)
 * expiry := region:varint key:blob expiresAt:f64
 * clear  := region:varint prefix:blob
 * batch  := results:blob count:varint effect*     (one sequence, applied together)
 * ```
 * `number` is the outcome a retry is told when it is more than "done": a sum, a count. The primary applies the bytes it
 * logs through the same code as its backups, so the two cannot differ.
 */

import type { ByteReader, ByteWriter } from '../kernel/bytes.ts'
import { CacheError } from '../kernel/errors.ts'
import { KEY_BYTES_MAX } from '../kernel/key.ts'
import { INLINE_VALUE_BYTES_MAX } from '../wire/frames.ts'

/** Times are whole milliseconds below it. */
const TIME_MS_END = 2 ** 48
const TAG_COUNT_MAX = 255
const TAGS_BYTES_MAX = 65_535

export const EffectKind = {
  set: 1,
  deleted: 2,
  evicted: 3,
  expired: 4,
  expiry: 5,
  clear: 6,
  batch: 7,
} as const

const HAS_ID = 0x01
const HAS_NUMBER = 0x02
const HAS_EXPIRY = 0x04
const HAS_TAGS = 0x08
const IS_STAGED = 0x10

/** The id of the client's operation that an effect came from. */
export interface OperationId {
  readonly sessionLow: number
  readonly sessionHigh: number
  readonly counter: number
}

/** An effect read from the log. One instance is reused; offsets are into the bytes read from. */
export class Effect {
  kind = 0
  hasId = false
  sessionLow = 0
  sessionHigh = 0
  counter = 0
  /** NaN: none. */
  number: number = Number.NaN
  regionId = 0
  keyStart = 0
  keyEnd = 0
  codec = 0
  createdAtMs = 0
  /** 0: never. */
  expiresAtMs = 0
  tagCount = 0
  tagsStart = 0
  tagsEnd = 0
  staged = false
  stageId = 0
  valueStart = 0
  valueEnd = 0
  resultsStart = 0
  resultsEnd = 0
  /** Batch: the effects that follow. */
  count = 0
}

/** Reads an effect. What it returns the memory can hold. @throws CacheError PROTOCOL_ERROR when it is malformed. */
export function readEffect(r: ByteReader, effect: Effect): void {
  effect.kind = r.uint8()
  effect.staged = false
  const flags = r.uint8()
  effect.hasId = (flags & HAS_ID) !== 0
  if (effect.hasId) {
    effect.sessionLow = r.uint32()
    effect.sessionHigh = r.uint32()
    effect.counter = r.varint()
  }
  effect.number = flags & HAS_NUMBER ? r.float64() : Number.NaN
  if (effect.kind === EffectKind.batch) {
    const bytes = r.varint()
    effect.resultsStart = r.skip(bytes)
    effect.resultsEnd = effect.resultsStart + bytes
    effect.count = r.varint()
    return
  }
  effect.regionId = r.varint()
  const keyBytes = r.varint()
  effect.keyStart = r.skip(keyBytes)
  effect.keyEnd = effect.keyStart + keyBytes
  if (keyBytes > KEY_BYTES_MAX || (keyBytes === 0 && effect.kind !== EffectKind.clear)) {
    throw new CacheError('PROTOCOL_ERROR', `an effect on a key of ${keyBytes} bytes`)
  }
  switch (effect.kind) {
    case EffectKind.set:
      readSet(r, effect, flags)
      return
    case EffectKind.expiry:
      effect.expiresAtMs = readTime(r)
      return
    case EffectKind.deleted:
    case EffectKind.evicted:
    case EffectKind.expired:
    case EffectKind.clear:
      return
    default:
      throw new CacheError('PROTOCOL_ERROR', `unknown effect ${effect.kind}`)
  }
}

function readSet(r: ByteReader, effect: Effect, flags: number): void {
  effect.codec = r.uint8()
  effect.createdAtMs = readTime(r)
  effect.expiresAtMs = flags & HAS_EXPIRY ? readTime(r) : 0
  effect.tagCount = 0
  if (flags & HAS_TAGS) {
    effect.tagCount = r.varint()
    const bytes = r.varint()
    effect.tagsStart = r.skip(bytes)
    effect.tagsEnd = effect.tagsStart + bytes
    if (effect.tagCount > TAG_COUNT_MAX || bytes > TAGS_BYTES_MAX) {
      throw new CacheError('PROTOCOL_ERROR', `an effect with ${effect.tagCount} tags of ${bytes} bytes`)
    }
  }
  effect.staged = (flags & IS_STAGED) !== 0
  if (effect.staged) {
    effect.stageId = r.uint32()
    effect.valueStart = 0
    effect.valueEnd = 0
  } else {
    const bytes = r.varint()
    effect.valueStart = r.skip(bytes)
    effect.valueEnd = effect.valueStart + bytes
    if (bytes > INLINE_VALUE_BYTES_MAX) {
      throw new CacheError('PROTOCOL_ERROR', `an effect with a value of ${bytes} bytes inside`)
    }
  }
}

function readTime(r: ByteReader): number {
  const timeMs = r.float64()
  // Written so that NaN fails.
  if (!(timeMs >= 0 && timeMs < TIME_MS_END)) throw new CacheError('PROTOCOL_ERROR', `the time ${timeMs}`)
  return timeMs
}

/** What a set stores besides its key and value. */
export interface SetFields {
  readonly codec: number
  readonly createdAtMs: number
  readonly expiresAtMs: number
  readonly tagCount: number
  readonly tags: Uint8Array | undefined
  readonly tagsStart: number
  readonly tagsEnd: number
}

export function writeEffectStart(
  w: ByteWriter,
  kind: number,
  id: OperationId | undefined,
  number: number,
  flags = 0,
): void {
  w.uint8(kind)
  w.uint8(flags | (id === undefined ? 0 : HAS_ID) | (Number.isNaN(number) ? 0 : HAS_NUMBER))
  if (id !== undefined) {
    w.uint32(id.sessionLow)
    w.uint32(id.sessionHigh)
    w.varint(id.counter)
  }
  if (!Number.isNaN(number)) w.float64(number)
}

/** A set up to its value: behind it comes `value:blob`, or a stage's number when `staged`. */
export function writeSetStart(
  w: ByteWriter,
  id: OperationId | undefined,
  number: number,
  regionId: number,
  key: Uint8Array,
  keyStart: number,
  keyEnd: number,
  fields: SetFields,
  staged: boolean,
): void {
  const flags =
    (fields.expiresAtMs > 0 ? HAS_EXPIRY : 0) |
    (fields.tagCount > 0 ? HAS_TAGS : 0) |
    (staged ? IS_STAGED : 0)
  writeEffectStart(w, EffectKind.set, id, number, flags)
  writeKey(w, regionId, key, keyStart, keyEnd)
  w.uint8(fields.codec)
  w.float64(fields.createdAtMs)
  if (fields.expiresAtMs > 0) w.float64(fields.expiresAtMs)
  if (fields.tagCount > 0 && fields.tags !== undefined) {
    w.varint(fields.tagCount)
    w.varint(fields.tagsEnd - fields.tagsStart)
    w.raw(fields.tags, fields.tagsStart, fields.tagsEnd)
  }
}

/** The body of every effect but set and batch: region and key (or prefix). */
export function writeKey(w: ByteWriter, regionId: number, key: Uint8Array, start: number, end: number): void {
  w.varint(regionId)
  w.varint(end - start)
  w.raw(key, start, end)
}
