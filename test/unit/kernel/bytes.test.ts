/** What a writer wrote a reader reads; what ends early or lies about its length is a PROTOCOL_ERROR, nothing else. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ByteReader, ByteWriter, varintBytes } from '../../../src/kernel/bytes.ts'
import { CacheError } from '../../../src/kernel/errors.ts'

type Field =
  | { readonly kind: 'uint8' | 'uint16' | 'uint32' | 'uint48' | 'varint' | 'float64'; readonly value: number }
  | { readonly kind: 'text'; readonly value: string }
  | { readonly kind: 'blob'; readonly value: Uint8Array }

const numeric = (
  kind: 'uint8' | 'uint16' | 'uint32' | 'uint48' | 'varint',
  max: number,
): fc.Arbitrary<Field> =>
  fc.oneof(fc.integer({ min: 0, max }), fc.constantFrom(0, 1, 127, 128, max - 1, max)).map((value) => ({
    kind,
    value: Math.min(value, max),
  }))

const anyField: fc.Arbitrary<Field> = fc.oneof(
  numeric('uint8', 0xff),
  numeric('uint16', 0xffff),
  numeric('uint32', 0xffff_ffff),
  numeric('uint48', 2 ** 48 - 1),
  numeric('varint', Number.MAX_SAFE_INTEGER),
  fc.double().map((value): Field => ({ kind: 'float64', value })),
  // Well-formed text: a lone surrogate has no UTF-8 form.
  fc.string({ unit: 'grapheme', maxLength: 60 }).map((value): Field => ({ kind: 'text', value })),
  fc.uint8Array({ maxLength: 200 }).map((value): Field => ({ kind: 'blob', value })),
)

function write(w: ByteWriter, field: Field): void {
  if (field.kind === 'text') w.text(field.value)
  else if (field.kind === 'blob') w.blob(field.value)
  else w[field.kind](field.value)
}

function encode(fields: readonly Field[], capacityBytes = 1): Uint8Array {
  const w = new ByteWriter(capacityBytes)
  for (const field of fields) write(w, field)
  return w.toBytes()
}

function codeOf(run: () => unknown): string | undefined {
  try {
    run()
    return undefined
  } catch (error) {
    return error instanceof CacheError ? error.code : String(error)
  }
}

describe('bytes', () => {
  it('come back as they were written, whatever the capacity', () => {
    fc.assert(
      fc.property(
        fc.array(anyField, { maxLength: 40 }),
        fc.integer({ min: 0, max: 64 }),
        (fields, capacity) => {
          const r = new ByteReader(encode(fields, capacity))
          for (const field of fields) expect(r[field.kind]()).toEqual(field.value)
          expect(r.remaining).toBe(0)
        },
      ),
    )
  })

  it('that are text come back however long they are and wherever they leave ASCII', () => {
    for (const text of ['', 'a'.repeat(127), 'a'.repeat(128), `${'a'.repeat(60)}é`, `${'a'.repeat(126)}é`]) {
      const bytes = encode([
        { kind: 'uint8', value: 7 },
        { kind: 'text', value: text },
      ])
      const r = new ByteReader(bytes)
      expect([r.uint8(), r.text(), r.remaining]).toEqual([7, text, 0])
      expect(bytes.length).toBe(1 + varintBytes(Buffer.byteLength(text)) + Buffer.byteLength(text))
    }
  })

  it('cut anywhere end in PROTOCOL_ERROR, never in undefined or another error', () => {
    fc.assert(
      fc.property(fc.array(anyField, { minLength: 1, maxLength: 12 }), fc.nat(), (fields, at) => {
        const whole = encode(fields)
        const r = new ByteReader(whole.subarray(0, at % whole.length))
        const code = codeOf(() => {
          for (const field of fields) r[field.kind]()
        })
        expect(code).toBe('PROTOCOL_ERROR')
      }),
    )
  })

  it('are never read behind the end of the range, though the buffer goes on', () => {
    const bytes = new Uint8Array(64).fill(1)
    for (const kind of ['uint8', 'uint16', 'uint32', 'uint48', 'float64'] as const) {
      expect(codeOf(() => new ByteReader(bytes, 10, 10)[kind]())).toBe('PROTOCOL_ERROR')
    }
    expect(codeOf(() => new ByteReader(bytes, 10, 17).float64())).toBe('PROTOCOL_ERROR')
    expect(codeOf(() => new ByteReader(bytes, 0, 1).blob())).toBe('PROTOCOL_ERROR')
  })

  it('read from a view that begins inside a larger buffer', () => {
    const outer = new Uint8Array(32)
    outer.set(encode([{ kind: 'uint32', value: 0xdeadbeef }]), 5)
    expect(new ByteReader(outer.subarray(5, 9)).uint32()).toBe(0xdeadbeef)
  })

  it('arbitrary input never makes the reader fail otherwise', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), fc.array(anyField, { maxLength: 8 }), (bytes, fields) => {
        const r = new ByteReader(bytes)
        const code = codeOf(() => {
          for (const field of fields) r[field.kind]()
        })
        expect([undefined, 'PROTOCOL_ERROR']).toContain(code)
        expect(r.at).toBeLessThanOrEqual(bytes.length)
      }),
    )
  })

  it.each([
    ['nine continuation bytes', [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]],
    ['2^53', [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10]],
    ['the largest in eight bytes', [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]],
  ])('a varint of %s is refused', (_, bytes) => {
    expect(codeOf(() => new ByteReader(Uint8Array.from(bytes)).varint())).toBe('PROTOCOL_ERROR')
  })

  it('a varint may be padded with zeros up to eight bytes', () => {
    expect(new ByteReader(Uint8Array.of(0x81, 0x80, 0x80, 0x00)).varint()).toBe(1)
  })

  it('varintBytes tells how many bytes a varint takes', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }), (value) => {
        expect(varintBytes(value)).toBe(encode([{ kind: 'varint', value }]).length)
      }),
    )
  })

  it('that are not UTF-8, or longer than allowed, are no text', () => {
    expect(codeOf(() => new ByteReader(Uint8Array.of(2, 0xc0, 0x80)).text())).toBe('PROTOCOL_ERROR')
    expect(codeOf(() => new ByteReader(Uint8Array.of(3, 0xed, 0xa0, 0x80)).text())).toBe('PROTOCOL_ERROR')
    expect(codeOf(() => new ByteReader(encode([{ kind: 'text', value: 'abcd' }])).text(3))).toBe(
      'PROTOCOL_ERROR',
    )
  })

  it('raw copies ranges of any length', () => {
    const source = Uint8Array.from({ length: 300 }, (_, i) => i & 0xff)
    fc.assert(
      fc.property(fc.nat(300), fc.nat(300), (a, b) => {
        const [start, end] = a < b ? [a, b] : [b, a]
        const w = new ByteWriter(0)
        w.raw(source, start, end)
        expect(w.toBytes()).toEqual(source.slice(start, end))
      }),
    )
  })

  it('take hands over what was written, and later writes leave it alone', () => {
    const w = new ByteWriter(4)
    w.uint32(7)
    const taken = w.take()
    w.uint32(8)
    expect([...taken]).toEqual([7, 0, 0, 0])
    expect([...w.toBytes()]).toEqual([8, 0, 0, 0])
  })

  it('patchUint32 overwrites what stands there', () => {
    const w = new ByteWriter(0)
    w.uint8(1)
    w.uint32(0)
    w.uint8(2)
    w.patchUint32(1, 0x0403_0201)
    expect([...w.toBytes()]).toEqual([1, 1, 2, 3, 4, 2])
  })

  it('reset lets one reader read many buffers', () => {
    const r = new ByteReader(Uint8Array.of(1))
    expect(r.reset(Uint8Array.of(9, 8, 7), 1, 2).uint8()).toBe(8)
    expect(r.remaining).toBe(0)
  })
})
