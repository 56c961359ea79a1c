/** Operations in a REQUEST frame: each comes back as written, and nothing that isn't one gets through. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ByteReader, ByteWriter } from '../../../src/kernel/bytes.ts'
import { CacheError } from '../../../src/kernel/errors.ts'
import { KEY_BYTES_MAX } from '../../../src/kernel/key.ts'
import { SeededRandom } from '../../../src/kernel/random.ts'
import { FRAME_HEADROOM, FrameType, openFrame, sealFrame } from '../../../src/wire/frames.ts'
import {
  beginRequest,
  ConditionCode,
  Flag,
  Opcode,
  Operation,
  readOperation,
  TAG_BYTES_MAX,
  TAGS_MAX,
  writeOperationId,
  writeOperationStart,
  writeTarget,
} from '../../../src/wire/operations.ts'
import { mutated, noise } from '../../support/hostile-bytes.ts'

/** One operation as a test describes it, and what a reader has to find. */
interface Sample {
  readonly opcode: Opcode
  readonly regionId: number
  readonly partitionEpoch: number
  readonly key: Uint8Array
  readonly timeoutMs: number
  readonly durability: number
  readonly readKind: number
  readonly allowStale: boolean
  readonly session: string
  readonly counter: number
  readonly ttlMs: number
  readonly condition: number
  readonly conditionEpoch: number
  readonly conditionSequence: number
  readonly tags: readonly Uint8Array[]
  readonly codec: number
  readonly value: Uint8Array
  readonly uploadId: number
  readonly by: number
  readonly initial: number
  readonly count: number
  readonly bucket: number
}

const READS: readonly Opcode[] = [Opcode.get, Opcode.getEntry, Opcode.has, Opcode.ttl]
const SETS: readonly Opcode[] = [Opcode.set, Opcode.setUploaded]
const CONDITIONAL: readonly Opcode[] = [...SETS, Opcode.delete]

const bytes = (maxLength: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ maxLength })

const anySample: fc.Arbitrary<Sample> = fc.record<Sample>({
  opcode: fc.constantFrom(...Object.values(Opcode)),
  regionId: fc.integer({ min: 1, max: 10_000 }),
  partitionEpoch: fc.nat(),
  key: fc.uint8Array({ minLength: 1, maxLength: 40 }),
  timeoutMs: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 30_000 })),
  durability: fc.integer({ min: 0, max: 3 }),
  readKind: fc.integer({ min: 0, max: 5 }),
  allowStale: fc.boolean(),
  session: fc.oneof(
    fc.constant(''),
    fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: 16, maxLength: 16 }),
  ),
  counter: fc.nat(),
  ttlMs: fc.oneof(fc.constant(-1), fc.nat()),
  condition: fc.integer({ min: 0, max: 3 }),
  conditionEpoch: fc.nat(),
  conditionSequence: fc.integer({ min: 0, max: 2 ** 48 - 1 }),
  tags: fc.array(bytes(20), { maxLength: 4 }),
  codec: fc.integer({ min: 0, max: 255 }),
  value: bytes(300),
  uploadId: fc.integer({ min: 0, max: 0xffff_ffff }),
  by: fc.double({ noNaN: true }),
  initial: fc.double({ noNaN: true }),
  count: fc.nat(300),
  bucket: fc.integer({ min: 0, max: 63 }),
})

function flagsOf(sample: Sample): number {
  const { opcode } = sample
  if (READS.includes(opcode)) return (sample.readKind << 2) | (sample.allowStale ? Flag.allowStale : 0)
  if (opcode === Opcode.scan || opcode === Opcode.stats || opcode === Opcode.none) return 0
  const session = sample.session === '' ? 0 : Flag.session
  if (opcode === Opcode.clear) return session
  let flags = session | (sample.durability << 2) | (sample.ttlMs >= 0 ? Flag.ttl : 0)
  if (CONDITIONAL.includes(opcode)) flags |= sample.condition << 4
  if (SETS.includes(opcode) && sample.tags.length > 0) flags |= Flag.tags
  return flags
}

function write(w: ByteWriter, sample: Sample): void {
  const { opcode } = sample
  const session = sample.session === '' ? undefined : sample.session
  writeOperationStart(w, opcode, flagsOf(sample), sample.timeoutMs)
  if (opcode === Opcode.none) {
    w.blob(sample.value)
    return
  }
  if (opcode === Opcode.stats) {
    w.varint(sample.regionId)
    return
  }
  if (opcode === Opcode.scan || opcode === Opcode.clear) {
    for (const part of [sample.regionId, sample.partitionEpoch, sample.count]) w.varint(part)
    if (opcode === Opcode.scan) {
      w.varint(sample.bucket)
      w.varint(sample.uploadId)
    } else {
      writeOperationId(w, sample.counter, session)
    }
    w.blob(sample.key)
    return
  }
  writeTarget(w, sample.regionId, sample.partitionEpoch, sample.key, 0, sample.key.length)
  if (READS.includes(opcode)) return
  writeOperationId(w, sample.counter, session)
  if (sample.ttlMs >= 0) w.varint(sample.ttlMs)
  if (CONDITIONAL.includes(opcode) && sample.condition === ConditionCode.version) {
    w.varint(sample.conditionEpoch)
    w.varint(sample.conditionSequence)
  }
  if (SETS.includes(opcode)) {
    if (sample.tags.length > 0) {
      w.varint(sample.tags.length)
      for (const tag of sample.tags) w.blob(tag)
    }
    w.uint8(sample.codec)
    if (opcode === Opcode.set) w.blob(sample.value)
    else w.uint32(sample.uploadId)
  } else if (opcode === Opcode.increment) {
    w.float64(sample.by)
    w.float64(sample.initial)
  } else if (opcode === Opcode.atomic) {
    w.varint(sample.count)
  }
}

function expectSame(op: Operation, sample: Sample, body: Uint8Array): void {
  const { opcode } = sample
  const slice = (start: number, end: number): Uint8Array => body.slice(start, end)
  expect(op.opcode).toBe(opcode)
  expect(op.timeoutMs).toBe(sample.timeoutMs)
  if (opcode === Opcode.none) return
  expect(op.regionId).toBe(sample.regionId)
  if (opcode === Opcode.stats) return
  expect(op.partitionEpoch).toBe(sample.partitionEpoch)
  if (opcode === Opcode.scan || opcode === Opcode.clear) {
    expect(op.partition).toBe(sample.count)
    expect(slice(op.patternStart, op.patternEnd)).toEqual(sample.key)
    if (opcode === Opcode.scan) expect([op.bucket, op.bytesMax]).toEqual([sample.bucket, sample.uploadId])
    else expect([op.session, op.counter]).toEqual([sample.session, sample.counter])
    return
  }
  expect(slice(op.keyStart, op.keyEnd)).toEqual(sample.key)
  if (READS.includes(opcode)) {
    expect([op.readKind, (op.flags & Flag.allowStale) !== 0]).toEqual([sample.readKind, sample.allowStale])
    return
  }
  expect([op.session, op.counter, op.ttlMs, op.durability]).toEqual([
    sample.session,
    sample.counter,
    sample.ttlMs,
    sample.durability,
  ])
  if (CONDITIONAL.includes(opcode)) {
    expect(op.condition).toBe(sample.condition)
    if (sample.condition === ConditionCode.version) {
      expect([op.conditionEpoch, op.conditionSequence]).toEqual([
        sample.conditionEpoch,
        sample.conditionSequence,
      ])
    }
  }
  if (SETS.includes(opcode)) {
    expect([op.codec, op.tagCount]).toEqual([sample.codec, sample.tags.length])
    if (op.tagCount > 0) {
      const tags = new ByteReader(body, op.tagsStart, op.tagsEnd)
      expect(sample.tags.map(() => tags.blob().slice())).toEqual(sample.tags)
      expect(tags.remaining).toBe(0)
    }
    if (opcode === Opcode.set) expect(slice(op.valueStart, op.valueEnd)).toEqual(sample.value)
    else expect(op.uploadId).toBe(sample.uploadId)
  }
  if (opcode === Opcode.increment) expect([op.by, op.initial]).toEqual([sample.by, sample.initial])
  if (opcode === Opcode.atomic) expect(op.count).toBe(sample.count)
}

/** The body of a REQUEST with these operations. */
function request(samples: readonly Sample[]): Uint8Array {
  const w = new ByteWriter(0)
  beginRequest(w, 7, 0xffff_fffe, 12)
  for (const sample of samples) write(w, sample)
  const message = w.take()
  sealFrame(message)
  return openFrame(message)
}

/** Behind the frame's header: type, frameNumber, firstRequestId, firstIncomplete. */
const HEADER_BYTES = 1 + 4 + 4 + 1

function opened(body: Uint8Array): ByteReader {
  const r = new ByteReader(body)
  expect([r.uint8(), r.uint32(), r.uint32(), r.varint()]).toEqual([FrameType.request, 7, 0xffff_fffe, 12])
  expect(r.at).toBe(HEADER_BYTES)
  return r
}

describe('operations', () => {
  it('of one frame come back one after the other, in one reused object', () => {
    const op = new Operation()
    fc.assert(
      fc.property(fc.array(anySample, { maxLength: 12 }), (samples) => {
        const body = request(samples)
        const r = opened(body)
        for (const sample of samples) {
          readOperation(r, op)
          expectSame(op, sample, body)
        }
        expect(r.remaining).toBe(0)
      }),
      { numRuns: 500 },
    )
  })

  it('cut anywhere are refused', () => {
    const op = new Operation()
    fc.assert(
      fc.property(anySample, fc.nat(), (sample, cut) => {
        const body = request([sample])
        const end = HEADER_BYTES + (cut % (body.length - HEADER_BYTES))
        const r = new ByteReader(body, HEADER_BYTES, end)
        expect(() => readOperation(r, op)).toThrow(expect.objectContaining({ code: 'PROTOCOL_ERROR' }))
      }),
      { numRuns: 500 },
    )
  })

  it('with a fractional timeout get at least a millisecond', () => {
    const w = new ByteWriter()
    writeOperationStart(w, Opcode.stats, 0, 0.1)
    w.varint(1)
    const op = new Operation()
    readOperation(new ByteReader(w.toBytes()), op)
    expect(op.timeoutMs).toBe(1)
  })
})

describe('a request that is none', () => {
  const refusal = (fill: (w: ByteWriter) => void): string => {
    const w = new ByteWriter(FRAME_HEADROOM)
    fill(w)
    try {
      readOperation(new ByteReader(w.toBytes()), new Operation())
    } catch (error) {
      expect((error as CacheError).code).toBe('PROTOCOL_ERROR')
      return (error as CacheError).message
    }
    throw new Error('accepted')
  }
  const target = (w: ByteWriter, opcode: Opcode, flags = 0): void => {
    writeOperationStart(w, opcode, flags, 0)
    writeTarget(w, 1, 0, Uint8Array.of(65), 0, 1)
  }

  it('names an opcode that does not exist', () => {
    const known = new Set<number>(Object.values(Opcode))
    for (let opcode = 0; opcode < 256; opcode++) {
      if (known.has(opcode)) continue
      const message = refusal((w) => {
        w.uint8(opcode)
        w.raw(new Uint8Array(64))
      })
      expect(message).toBe(`unknown opcode 0x${opcode.toString(16)}`)
    }
  })

  it('has a key, pattern, tag or number of tags beyond what there can be', () => {
    expect(
      refusal((w) => {
        writeOperationStart(w, Opcode.get, 0, 0)
        writeTarget(w, 1, 0, new Uint8Array(4 * KEY_BYTES_MAX + 1), 0, 4 * KEY_BYTES_MAX + 1)
      }),
    ).toContain('a key of 4097 bytes')
    expect(
      refusal((w) => {
        writeOperationStart(w, Opcode.scan, 0, 0)
        for (let i = 0; i < 5; i++) w.varint(1)
        w.blob(new Uint8Array(KEY_BYTES_MAX + 1))
      }),
    ).toContain('a pattern of 1025 bytes')
    expect(
      refusal((w) => {
        target(w, Opcode.set, Flag.tags)
        w.varint(1)
        w.varint(TAGS_MAX + 1)
        w.raw(new Uint8Array(TAGS_MAX + 8))
      }),
    ).toContain(`at most ${TAGS_MAX}`)
    expect(
      refusal((w) => {
        target(w, Opcode.set, Flag.tags)
        w.varint(1)
        w.varint(1)
        w.blob(new Uint8Array(TAG_BYTES_MAX + 1))
        w.raw(new Uint8Array(8))
      }),
    ).toContain(`at most ${TAG_BYTES_MAX}`)
  })

  it('announces a value longer than the frame', () => {
    expect(
      refusal((w) => {
        target(w, Opcode.set)
        w.varint(1)
        w.uint8(0)
        w.varint(2 ** 40)
      }),
    ).toContain('ends in the middle')
  })

  it('never leaves offsets outside the frame, however it was made', () => {
    const random = new SeededRandom(3)
    const op = new Operation()
    const valid = fc.sample(anySample, { numRuns: 200, seed: 4 }).map((sample) => request([sample, sample]))
    let accepted = 0
    for (let i = 0; i < 200_000; i++) {
      const body = valid[i % valid.length] ?? new Uint8Array(0)
      const hostile = i % 4 === 0 ? noise(random, 60) : mutated(random, body, HEADER_BYTES)
      const r = new ByteReader(hostile, i % 4 === 0 ? 0 : HEADER_BYTES)
      try {
        while (r.remaining > 0) {
          const before = r.at
          readOperation(r, op)
          accepted++
          if (r.at <= before || r.at > hostile.length)
            throw new Error('the reader did not advance within the frame')
          if (op.keyEnd > hostile.length && READS.includes(op.opcode as Opcode))
            throw new Error('key outside')
          if (op.opcode === Opcode.set && op.valueEnd > hostile.length) throw new Error('value outside')
        }
      } catch (error) {
        if (!(error instanceof CacheError) || error.code !== 'PROTOCOL_ERROR') throw error
      }
    }
    // Otherwise the mutations are too wild to reach anything.
    expect(accepted).toBeGreaterThan(50_000)
  })
})
