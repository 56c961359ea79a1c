import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ByteReader, ByteWriter } from '../../../src/kernel/bytes.ts'
import { CacheError } from '../../../src/kernel/errors.ts'
import { SeededRandom } from '../../../src/kernel/random.ts'
import {
  Effect,
  EffectKind,
  readEffect,
  writeEffectStart,
  writeKey,
  writeSetStart,
} from '../../../src/replication/effects.ts'
import { mutated } from '../../support/hostile-bytes.ts'

const id = fc.option(
  fc.record({
    sessionLow: fc.nat({ max: 0xffff_ffff }),
    sessionHigh: fc.nat({ max: 0xffff_ffff }),
    counter: fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
  }),
  { nil: undefined },
)
const key = fc.uint8Array({ minLength: 1, maxLength: 1024 })
const time = fc.integer({ min: 0, max: 2 ** 48 - 1 })

function expectId(
  effect: Effect,
  expected: { sessionLow: number; sessionHigh: number; counter: number } | undefined,
): void {
  expect(effect.hasId).toBe(expected !== undefined)
  if (expected !== undefined)
    expect([effect.sessionLow, effect.sessionHigh, effect.counter]).toEqual([
      expected.sessionLow,
      expected.sessionHigh,
      expected.counter,
    ])
}

describe('an effect', () => {
  it('that sets reads back as it was written, among others', () => {
    fc.assert(
      fc.property(
        id,
        key,
        fc.nat({ max: 255 }),
        time,
        time,
        fc.array(fc.uint8Array({ maxLength: 20 }), { maxLength: 10 }),
        fc.option(fc.uint8Array({ maxLength: 300 }), { nil: undefined }),
        fc.oneof(fc.constant(Number.NaN), fc.double({ noNaN: true })),
        (operationId, keyBytes, codec, createdAtMs, expiresAtMs, tags, value, number) => {
          const w = new ByteWriter(16)
          const tagWriter = new ByteWriter(16)
          for (const tag of tags) tagWriter.blob(tag)
          w.raw(Uint8Array.from([9, 9, 9]))
          const fields = {
            codec,
            createdAtMs,
            expiresAtMs,
            tagCount: tags.length,
            tags: tagWriter.bytes,
            tagsStart: 0,
            tagsEnd: tagWriter.length,
          }
          writeSetStart(w, operationId, number, 5, keyBytes, 0, keyBytes.length, fields, value === undefined)
          if (value === undefined) w.uint32(77)
          else w.blob(value)
          const end = w.length
          w.raw(Uint8Array.from([9, 9, 9]))
          const r = new ByteReader(w.bytes, 3, end)
          const effect = new Effect()
          readEffect(r, effect)
          expect(r.remaining).toBe(0)
          expectId(effect, operationId)
          expect(effect).toMatchObject({
            kind: EffectKind.set,
            regionId: 5,
            codec,
            createdAtMs,
            expiresAtMs,
            number,
          })
          expect(effect.tagCount).toBe(tags.length)
          expect(w.bytes.slice(effect.keyStart, effect.keyEnd)).toEqual(keyBytes)
          if (tags.length > 0)
            expect(w.bytes.slice(effect.tagsStart, effect.tagsEnd)).toEqual(tagWriter.toBytes())
          expect(effect.staged).toBe(value === undefined)
          if (value === undefined) expect(effect.stageId).toBe(77)
          else expect(w.bytes.slice(effect.valueStart, effect.valueEnd)).toEqual(value)
        },
      ),
      { numRuns: 300 },
    )
  })

  it('that removes, changes an expiry or clears reads back as it was written', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(2, 3, 4, 5, 6),
        id,
        key,
        time,
        (kind, operationId, keyBytes, expiresAtMs) => {
          const w = new ByteWriter(16)
          writeEffectStart(w, kind, operationId, Number.NaN)
          writeKey(w, 12, keyBytes, 0, keyBytes.length)
          if (kind === EffectKind.expiry) w.float64(expiresAtMs)
          const r = new ByteReader(w.bytes, 0, w.length)
          const effect = new Effect()
          effect.staged = true
          readEffect(r, effect)
          expect(r.remaining).toBe(0)
          expect(effect).toMatchObject({ kind, regionId: 12, staged: false })
          expectId(effect, operationId)
          expect(w.bytes.slice(effect.keyStart, effect.keyEnd)).toEqual(keyBytes)
          if (kind === EffectKind.expiry) expect(effect.expiresAtMs).toBe(expiresAtMs)
        },
      ),
    )
  })

  it('that the memory could not hold is refused', () => {
    const read = (write: (w: ByteWriter) => void): string => {
      const w = new ByteWriter(16)
      write(w)
      try {
        readEffect(new ByteReader(w.bytes, 0, w.length), new Effect())
        return 'ok'
      } catch (error) {
        return error instanceof CacheError ? error.code : String(error)
      }
    }
    const bytes = new Uint8Array(70_000)
    const set = (w: ByteWriter, keyBytes: number, createdAtMs: number, valueBytes: number): void => {
      w.uint8(EffectKind.set)
      w.uint8(0)
      writeKey(w, 0, bytes, 0, keyBytes)
      w.uint8(0)
      w.float64(createdAtMs)
      w.varint(valueBytes)
      w.raw(bytes, 0, valueBytes)
    }
    expect(read((w) => set(w, 1024, 5, 65_536))).toBe('ok')
    expect(read((w) => set(w, 0, 5, 10))).toBe('PROTOCOL_ERROR')
    expect(read((w) => set(w, 1025, 5, 10))).toBe('PROTOCOL_ERROR')
    expect(read((w) => set(w, 10, 5, 65_537))).toBe('PROTOCOL_ERROR')
    for (const timeMs of [Number.NaN, -1, Number.POSITIVE_INFINITY, 2 ** 48]) {
      expect(read((w) => set(w, 10, timeMs, 10))).toBe('PROTOCOL_ERROR')
    }
  })

  it('made of hostile bytes is read or refused, and what is read lies within the bytes', () => {
    const random = new SeededRandom(3)
    const w = new ByteWriter(64)
    const fields = {
      codec: 1,
      createdAtMs: 1e12,
      expiresAtMs: 2e12,
      tagCount: 1,
      tags: new Uint8Array(3),
      tagsStart: 0,
      tagsEnd: 3,
    }
    writeSetStart(
      w,
      { sessionLow: 1, sessionHigh: 2, counter: 300 },
      4,
      0,
      new Uint8Array(9),
      0,
      9,
      fields,
      false,
    )
    w.blob(new Uint8Array(20))
    const valid = w.toBytes()
    let refused = 0
    for (let i = 0; i < 50_000; i++) {
      const bytes = mutated(random, valid)
      const effect = new Effect()
      try {
        readEffect(new ByteReader(bytes), effect)
        expect(Math.max(effect.keyEnd, effect.valueEnd, effect.tagsEnd) <= bytes.length).toBe(true)
      } catch (error) {
        refused++
        if (!(error instanceof CacheError) || error.code !== 'PROTOCOL_ERROR') throw error
      }
    }
    expect(refused).toBeGreaterThan(1000)
  })
})
