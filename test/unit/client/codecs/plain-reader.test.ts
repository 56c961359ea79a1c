import fc from 'fast-check'
import { Packr } from 'msgpackr'
import { describe, expect, it, vi } from 'vitest'
import { NOT_PLAIN, PlainReader, type ReadElement } from '../../../../src/client/codecs/plain-reader.ts'

const packr = new Packr({
  useRecords: false,
  mapsAsObjects: true,
  variableMapSize: true,
  moreTypes: true,
  useBigIntExtension: true,
  useToJSON: false,
  copyBuffers: true,
})
const readElement: ReadElement = (bytes, start, end) => packr.unpack(bytes, { start, end })

/** Reads the bytes where they lie between others, as in a frame. */
function readInside(reader: PlainReader, bytes: Uint8Array): unknown {
  const frame = Buffer.concat([Buffer.from([0xff, 0xa5, 0x01]), bytes, Buffer.from([0x81, 0xa1, 0x61])])
  return reader.read(frame, 3, 3 + bytes.length)
}

function roundTrip(value: unknown, reader: PlainReader = new PlainReader(readElement)): unknown {
  return readInside(reader, packr.pack(value))
}

const leaf = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 80 }),
  fc.string({ maxLength: 300 }),
  fc.integer(),
  fc.maxSafeInteger(),
  fc.double(),
  fc.boolean(),
  fc.constant(null),
  fc.constant(undefined),
  fc.bigInt(),
  fc.date({ noInvalidDate: true }),
  fc.uint8Array({ maxLength: 400 }),
  fc.uint8Array({ maxLength: 400 }).map((bytes) => Buffer.from(bytes)),
  fc.float64Array({ maxLength: 10 }),
)
const anyValue = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 5 },
    leaf,
    fc.array(tie('value'), { maxLength: 20 }),
    fc.dictionary(
      fc.string({ maxLength: 40 }).filter((key) => key !== '__proto__'),
      tie('value'),
      { maxKeys: 20 },
    ),
    fc.record({ id: fc.integer(), name: fc.string(), next: tie('value') }),
    fc.record({ id: fc.integer(), kind: fc.string() }),
  ),
})).value

describe('PlainReader', () => {
  it('reads what msgpackr wrote as msgpackr does', () => {
    const reader = new PlainReader(readElement)
    fc.assert(
      fc.property(anyValue, (value) => {
        const bytes = packr.pack(value)
        expect(readInside(reader, bytes)).toStrictEqual(packr.unpack(bytes))
      }),
      { numRuns: 2_000 },
    )
  })

  it('reads damaged bytes as msgpackr does, or not at all', () => {
    const reader = new PlainReader(readElement)
    const damage = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), {
      minLength: 1,
      maxLength: 4,
    })
    fc.assert(
      fc.property(anyValue, damage, fc.nat(4), (value, changes, cut) => {
        const whole = Buffer.from(packr.pack(value))
        for (const [at, byte] of changes) whole[at % whole.length] = byte
        const bytes = whole.subarray(0, Math.max(1, whole.length - cut))
        const actual = readInside(reader, bytes)
        if (actual !== NOT_PLAIN) expect(actual).toStrictEqual(packr.unpack(bytes))
      }),
      { numRuns: 5_000 },
    )
  })

  it('keeps the order of members, and texts of every alphabet', () => {
    const value = { z: 'ß', '2': 'zwei', a: '日本語', '': '\u0000', '10': '😀', é: 'plain', b: '\ufeffx' }
    const actual = roundTrip(value) as object
    expect(actual).toStrictEqual(value)
    expect(Object.keys(actual)).toEqual(Object.keys(value))
    expect(Object.getPrototypeOf(actual)).toBe(Object.prototype)
  })

  it('leaves to msgpackr only what it does not read itself', () => {
    const elements = vi.fn(readElement)
    const reader = new PlainReader(elements)
    const value = {
      a: [1, -1, 300, 70_000, 5e9, 0.5, -200, -40_000, -3e9],
      b: 'x'.repeat(300),
      c: [true, false, null],
    }
    expect(roundTrip(value, reader)).toStrictEqual(value)
    expect(elements).not.toHaveBeenCalled()
    const other = {
      a: new Date(5),
      b: Buffer.from('x'),
      c: undefined,
      d: 2n ** 70n,
      e: new Float64Array([1]),
    }
    expect(roundTrip(other, reader)).toStrictEqual(other)
    expect(elements).toHaveBeenCalledTimes(5)
  })

  it('tells objects apart that begin alike', () => {
    const reader = new PlainReader(readElement)
    const kinds = [{ a: 1, b: 2 }, { a: 1, bc: 2 }, { a: 1 }, { b: 2, a: 1 }, { a: 1, b: { a: 1, c: 3 } }]
    for (let round = 0; round < 3; round++) {
      for (const kind of kinds) expect(roundTrip(kind, reader)).toStrictEqual(kind)
    }
  })

  it('reads objects used as maps, whatever their names', () => {
    const reader = new PlainReader(readElement)
    for (let round = 0; round < 200; round++) {
      const map = Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`key ${round} ${i}`, { id: i }]))
      expect(roundTrip(map, reader)).toStrictEqual(map)
    }
    expect(roundTrip({ id: 1, name: 'n' }, reader)).toStrictEqual({ id: 1, name: 'n' })
  })

  it.each([
    ['a name that is no text', [0x81, 0x01, 0x02]],
    ['the name __proto__', [0x81, 0xa9, ...Buffer.from('__proto__'), 0x80]],
    ['an unknown extension', [0xd4, 0x05, 0x00]],
    ['a record definition', [0xd4, 0x72, 0x40, 0x91, 0xa1, 0x61, 0x01]],
    ['bytes behind the value', [0x01, 0x01]],
    ['a text that is cut short', [0xa5, 0x61]],
    ['an array that is cut short', [0xdc, 0xff, 0xff, 0x01]],
    ['an object that is cut short', [0xde, 0xff, 0xff, 0xa1, 0x61]],
    ['an array of 2^32 − 1', [0xdd, 0xff, 0xff, 0xff, 0xff]],
    ['nothing', []],
    ['a byte that means nothing', [0xc1]],
    ['arrays in arrays in arrays …', [...new Array<number>(100).fill(0x91), 0x01]],
  ])('gives up on %s', (_, bytes) => {
    expect(readInside(new PlainReader(readElement), Uint8Array.from(bytes))).toBe(NOT_PLAIN)
  })

  it('reads on after it gave up', () => {
    const reader = new PlainReader(readElement)
    expect(readInside(reader, Uint8Array.from([0x91, 0x91, 0xc1]))).toBe(NOT_PLAIN)
    expect(roundTrip({ a: [{ b: 1 }] }, reader)).toStrictEqual({ a: [{ b: 1 }] })
  })
})
