/**
 * One operation in bytes, inside a REQUEST frame (docs/protocol.md, "Operations").
 *
 * ```
 * REQUEST := type(0x02) frameNumber:u32 firstRequestId:u32 firstIncomplete:varint operation*
 * operation := opcode:u8 flags:u8 [timeoutMs:varint] body
 * ```
 * The n-th operation of a frame has request id `firstRequestId + n` (mod 2^32). `firstIncomplete` is the session's
 * watermark: every write with a smaller counter is finished at the client.
 *
 * The reader fills one reusable `Operation`: keys and values stay where they are in the frame, as offsets. Nothing is
 * allocated for an operation, on either side.
 */

import type { ByteReader, ByteWriter } from '../kernel/bytes.ts'
import { CacheError } from '../kernel/errors.ts'
import { KEY_BYTES_MAX } from '../kernel/key.ts'
import { beginFrame, FrameType } from './frames.ts'
import { readHex, writeHex } from './handshake.ts'

export const Opcode = {
  get: 0x01,
  getEntry: 0x02,
  has: 0x03,
  ttl: 0x04,
  set: 0x10,
  /** A set whose value was uploaded on a bulk stream before. */
  setUploaded: 0x11,
  delete: 0x12,
  expire: 0x13,
  touch: 0x14,
  increment: 0x15,
  atomic: 0x16,
  scan: 0x20,
  clear: 0x21,
  stats: 0x22,
  /** An operation its caller gave up before it was sent. No result is returned. */
  none: 0x7f,
} as const
export type Opcode = (typeof Opcode)[keyof typeof Opcode]

/** Bits of `flags`. Which apply is said with each. */
export const Flag = {
  /** Any: a timeout of its own follows; else HELLO's holds. */
  timeout: 0x01,
  /** Writes: a time to live follows. Else: set and increment of a new counter take the region's, the rest keep the entry's. */
  ttl: 0x02,
  /** Writes: two bits, `Durability`. */
  durability: 0x0c,
  /** Set, delete: two bits, `Condition`. */
  condition: 0x30,
  /** Set: tags follow. */
  tags: 0x40,
  /** Writes: the operation id belongs to another session of this client, which follows. */
  session: 0x80,
  /** Reads: three bits, `ReadKind`. */
  read: 0x1c,
  /** Reads: an entry past its freshness, or one of a node without recent contact, may be returned. */
  allowStale: 0x20,
} as const

/** 0: as the region says. */
export const DurabilityCode = { region: 0, one: 1, quorum: 2, all: 3 } as const
export const ConditionCode = { none: 0, absent: 1, present: 2, version: 3 } as const
/** 0: as the region says. */
export const ReadCode = {
  region: 0,
  primary: 1,
  replica: 2,
  nearest: 3,
  majority: 4,
  linearizable: 5,
} as const

/**
 * How a value's bytes are to be read: the low three bits of the codec byte. Bit 3 (0x08): the bytes are a varint of the
 * raw length, then an LZ4 block. Nodes store the byte with the value and look only for `counter`.
 */
export const Codec = {
  bytes: 0,
  msgpack: 1,
  json: 2,
  text: 3,
  counter: 4,
  custom: 5,
  lz4: 0x08,
  mask: 0x07,
} as const

/** Longest time to live, in milliseconds: 100 years. */
export const TTL_MS_MAX: number = 100 * 365.25 * 86_400_000
export const TAGS_MAX: number = 64
export const TAG_BYTES_MAX: number = 256

/** One operation read from a frame. Offsets are into the frame's body. Fields that an opcode has not are stale. */
export class Operation {
  opcode = 0
  flags = 0
  /** Milliseconds, or 0: the stream's. */
  timeoutMs = 0
  regionId = 0
  /** The partition's epoch as the client knows it; 0: it does not say. */
  partitionEpoch = 0
  keyStart = 0
  keyEnd = 0
  /** Writes: the operation's number in its session; 0: none, never retried. */
  counter = 0
  /** Writes: the session the id belongs to when it is not the stream's, else ''. */
  session = ''
  /** −1: none given. 0: without expiry. */
  ttlMs = -1
  conditionEpoch = 0
  conditionSequence = 0
  /** Set: tag texts lie in [tagsStart, tagsEnd), each a varint length and bytes. */
  tagCount = 0
  tagsStart = 0
  tagsEnd = 0
  codec = 0
  valueStart = 0
  valueEnd = 0
  uploadId = 0
  /** Increment. */
  by = 0
  initial = 0
  /** Scan and clear: the partition, cluster-wide number. */
  partition = 0
  /** Scan: the first of the 64 buckets to return. */
  bucket = 0
  /** Scan: stop after the bucket that passes this many bytes of keys. */
  bytesMax = 0
  /** Scan: a glob pattern; clear: a key prefix (empty: everything). */
  patternStart = 0
  patternEnd = 0
  /** Atomic: how many operations follow, which are read one by one by `readOperation`. */
  count = 0

  get durability(): number {
    return (this.flags & Flag.durability) >> 2
  }
  get condition(): number {
    return (this.flags & Flag.condition) >> 4
  }
  get readKind(): number {
    return (this.flags & Flag.read) >> 2
  }
}

/** The header of a REQUEST, in a cleared writer. */
export function beginRequest(
  w: ByteWriter,
  frameNumber: number,
  firstRequestId: number,
  firstIncomplete: number,
): void {
  beginFrame(w, FrameType.request)
  w.uint32(frameNumber)
  w.uint32(firstRequestId)
  w.varint(firstIncomplete)
}

/** Opcode, flags and timeout; call before the body. Returns nothing; `timeoutMs` 0 leaves it to the stream's. */
export function writeOperationStart(w: ByteWriter, opcode: Opcode, flags: number, timeoutMs: number): void {
  w.uint8(opcode)
  if (timeoutMs > 0) {
    w.uint8(flags | Flag.timeout)
    w.varint(Math.ceil(timeoutMs))
  } else {
    w.uint8(flags)
  }
}

/** Region, epoch, key: the start of every body that names a key. */
export function writeTarget(
  w: ByteWriter,
  regionId: number,
  partitionEpoch: number,
  key: Uint8Array,
  keyStart: number,
  keyEnd: number,
): void {
  w.varint(regionId)
  w.varint(partitionEpoch)
  w.varint(keyEnd - keyStart)
  w.raw(key, keyStart, keyEnd)
}

/** The id of a write. `session` only with `Flag.session`. */
export function writeOperationId(w: ByteWriter, counter: number, session?: string): void {
  if (session !== undefined) writeHex(w, session, 8)
  w.varint(counter)
}

/** Reads the next operation. @throws CacheError PROTOCOL_ERROR when it is malformed. */
export function readOperation(r: ByteReader, op: Operation): void {
  op.opcode = r.uint8()
  op.flags = r.uint8()
  op.timeoutMs = op.flags & Flag.timeout ? r.varint() : 0
  switch (op.opcode) {
    case Opcode.get:
    case Opcode.getEntry:
    case Opcode.has:
    case Opcode.ttl:
      readTarget(r, op)
      return
    case Opcode.set:
      readWrite(r, op)
      readCondition(r, op)
      readTags(r, op)
      op.codec = r.uint8()
      readValue(r, op)
      return
    case Opcode.setUploaded:
      readWrite(r, op)
      readCondition(r, op)
      readTags(r, op)
      op.codec = r.uint8()
      op.uploadId = r.uint32()
      return
    case Opcode.delete:
      readWrite(r, op)
      readCondition(r, op)
      return
    case Opcode.expire:
    case Opcode.touch:
      readWrite(r, op)
      return
    case Opcode.increment:
      readWrite(r, op)
      op.by = r.float64()
      op.initial = r.float64()
      return
    case Opcode.atomic:
      readWrite(r, op)
      op.count = r.varint()
      return
    case Opcode.scan:
      op.regionId = r.varint()
      op.partitionEpoch = r.varint()
      op.partition = r.varint()
      op.bucket = r.varint()
      op.bytesMax = r.varint()
      readPattern(r, op)
      return
    case Opcode.clear:
      op.regionId = r.varint()
      op.partitionEpoch = r.varint()
      op.partition = r.varint()
      op.session = op.flags & Flag.session ? readHex(r, 8) : ''
      op.counter = r.varint()
      readPattern(r, op)
      return
    case Opcode.stats:
      op.regionId = r.varint()
      return
    case Opcode.none:
      // A cancelled operation keeps its place and its bytes; they are skipped.
      r.skip(r.varint())
      return
    default:
      throw new CacheError('PROTOCOL_ERROR', `unknown opcode 0x${op.opcode.toString(16)}`)
  }
}

function readTarget(r: ByteReader, op: Operation): void {
  op.regionId = r.varint()
  op.partitionEpoch = r.varint()
  const keyBytes = r.varint()
  // The largest key a client can send is refused by name further on; anything above that is not a key at all.
  if (keyBytes > 4 * KEY_BYTES_MAX) throw new CacheError('PROTOCOL_ERROR', `a key of ${keyBytes} bytes`)
  op.keyStart = r.skip(keyBytes)
  op.keyEnd = op.keyStart + keyBytes
}

function readWrite(r: ByteReader, op: Operation): void {
  readTarget(r, op)
  op.session = op.flags & Flag.session ? readHex(r, 8) : ''
  op.counter = r.varint()
  op.ttlMs = op.flags & Flag.ttl ? r.varint() : -1
}

function readCondition(r: ByteReader, op: Operation): void {
  if (op.condition !== ConditionCode.version) return
  op.conditionEpoch = r.varint()
  op.conditionSequence = r.varint()
}

function readTags(r: ByteReader, op: Operation): void {
  op.tagCount = 0
  if (!(op.flags & Flag.tags)) return
  const count = r.varint()
  if (count > TAGS_MAX)
    throw new CacheError('PROTOCOL_ERROR', `${count} tags; at most ${TAGS_MAX} are allowed`)
  op.tagsStart = r.at
  for (let i = 0; i < count; i++) {
    const bytes = r.varint()
    if (bytes > TAG_BYTES_MAX)
      throw new CacheError('PROTOCOL_ERROR', `a tag of ${bytes} bytes; at most ${TAG_BYTES_MAX}`)
    r.skip(bytes)
  }
  op.tagCount = count
  op.tagsEnd = r.at
}

function readValue(r: ByteReader, op: Operation): void {
  const bytes = r.varint()
  op.valueStart = r.skip(bytes)
  op.valueEnd = op.valueStart + bytes
}

function readPattern(r: ByteReader, op: Operation): void {
  const bytes = r.varint()
  if (bytes > KEY_BYTES_MAX) throw new CacheError('PROTOCOL_ERROR', `a pattern of ${bytes} bytes`)
  op.patternStart = r.skip(bytes)
  op.patternEnd = op.patternStart + bytes
}
