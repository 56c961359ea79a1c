import { deepStrictEqual } from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ValueCodec } from '../../../../src/client/codecs/value-codec.ts'
import { ByteWriter } from '../../../../src/kernel/bytes.ts'
import { CacheError } from '../../../../src/kernel/errors.ts'
import { Codec } from '../../../../src/wire/operations.ts'

const RAW_BYTES_MAX = 16 * 1024 * 1024

function codecOf(serializer: 'msgpack' | 'json' = 'msgpack', compressFromBytes = 1024): ValueCodec {
  return new ValueCodec({ serializer, compressFromBytes, rawBytesMax: RAW_BYTES_MAX })
}

/** Encodes, moves the bytes into the middle of a larger buffer as a frame would hold them, and decodes. */
function roundTrip(value: unknown, codec: ValueCodec = codecOf()): unknown {
  codec.encode(value)
  const bytes = codec.bytes.slice(codec.start, codec.end)
  const frame = Buffer.alloc(bytes.length + 20, 0xaa)
  frame.set(bytes, 7)
  const decoded = codec.decode(codec.codec, frame, 7, 7 + bytes.length)
  // What was decoded must not look into the frame, which others reuse.
  frame.fill(0x55)
  return decoded
}

function failure(run: () => unknown): CacheError {
  try {
    run()
  } catch (error) {
    if (error instanceof CacheError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

const sparseArray: number[] = []
sparseArray[0] = 1
sparseArray[2] = 3
sparseArray.length = 4

const cyclicObject: { self?: unknown; list: unknown[] } = { list: [] }
cyclicObject.self = cyclicObject
cyclicObject.list.push(cyclicObject, new Map([[cyclicObject, new Set([cyclicObject])]]))

const samples: readonly (readonly [string, unknown])[] = [
  ['undefined', undefined],
  ['null', null],
  ['undefined as a member', { a: undefined, b: [undefined] }],
  ['-0', -0],
  ['-0 inside', { a: [-0, 0] }],
  ['NaN and infinities', [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]],
  [
    'numbers at the edges',
    [2 ** 31, 2 ** 32, 2 ** 53 - 1, -(2 ** 53) + 1, 5e-324, 1.7976931348623157e308, -1, -129, -32769],
  ],
  ['an empty text', ''],
  ['text beyond the basic plane', 'grüße 漢字 🎉'],
  ['a text with a lone surrogate', 'a\ud800b'],
  ['a lone surrogate inside', { a: ['\udc00'] }],
  ['a key with a lone surrogate', { '\ud800': 1 }],
  ['an empty Buffer', Buffer.alloc(0)],
  ['a Buffer', Buffer.from([1, 2, 3])],
  ['a Uint8Array', new Uint8Array([1, 2, 3])],
  ['a Buffer and a Uint8Array inside', { a: Buffer.from('x'), b: new Uint8Array([9]) }],
  [
    'typed arrays',
    [
      new Int8Array([-1]),
      new Uint8ClampedArray([255]),
      new Int16Array([-300]),
      new Uint16Array([65535]),
      new Int32Array([-70000]),
      new Uint32Array([4e9]),
      new Float32Array([1.5]),
      new Float64Array([Math.PI]),
      new BigInt64Array([-5n]),
      new BigUint64Array([2n ** 63n]),
    ],
  ],
  ['a view into the middle of a buffer', new Uint16Array(new Uint16Array([1, 2, 3, 4]).buffer, 2, 2)],
  ['an ArrayBuffer', new Uint8Array([1, 2, 3]).buffer],
  ['a DataView', new DataView(new Uint8Array([1, 2, 3]).buffer, 1)],
  ['dates', [new Date(0), new Date(-1), new Date(1_700_000_000_123), new Date(8.64e15), new Date(-8.64e15)]],
  [
    'a Map',
    new Map<unknown, unknown>([
      ['a', 1],
      [{ k: 1 }, new Map([[1, 2]])],
      [null, undefined],
    ]),
  ],
  ['a Set', new Set([1, 'a', new Set([2])])],
  ['a Map inside an object', { m: new Map([[1, { d: new Date(5) }]]) }],
  [
    'bigints',
    [0n, -1n, 2n ** 63n, -(2n ** 63n), 2n ** 64n, -(2n ** 64n), 2n ** 2000n, -(2n ** 2000n) - 12345n],
  ],
  ['a RegExp', /a\/b+/giu],
  ['an own __proto__ member', JSON.parse('{"__proto__": {"polluted": true}, "a": 1}')],
  ['members named like methods', { constructor: 1, hasOwnProperty: 2, toJSON: 3, length: 4 }],
  ['an object without a prototype', { o: Object.assign(Object.create(null), { a: 1 }) }],
  ['a sparse array', sparseArray],
  ['a hundred thousand members', Object.fromEntries(Array.from({ length: 100_000 }, (_, i) => [`k${i}`, i]))],
  ['booleans', [true, false]],
]

describe('the value codec', () => {
  for (const [name, value] of samples) {
    it(`gives back ${name}`, () => {
      const decoded = roundTrip(value)
      if (name === 'an object without a prototype') expect(decoded).toEqual({ o: { a: 1 } })
      else deepStrictEqual(decoded, value)
    })
  }

  it('tells Buffer and Uint8Array apart, at the top and inside', () => {
    expect(Buffer.isBuffer(roundTrip(Buffer.from('a')))).toBe(true)
    expect(Buffer.isBuffer(roundTrip(new Uint8Array(1)))).toBe(false)
    const inside = roundTrip([Buffer.from('a'), new Uint8Array(1)]) as unknown[]
    expect(inside.map((item) => Buffer.isBuffer(item))).toEqual([true, false])
  })

  it('gives back an invalid date', () => {
    const decoded = roundTrip({ date: new Date(Number.NaN) }) as { date: Date }
    expect(decoded.date).toBeInstanceOf(Date)
    expect(decoded.date.getTime()).toBeNaN()
  })

  it('gives back cycles and shared references', () => {
    const decoded = roundTrip(cyclicObject) as typeof cyclicObject
    expect(decoded.self).toBe(decoded)
    expect(decoded.list[0]).toBe(decoded)
    const [[key, set]] = [...(decoded.list[1] as Map<unknown, Set<unknown>>)] as [[unknown, Set<unknown>]]
    expect(key).toBe(decoded)
    expect(set.has(decoded)).toBe(true)
  })

  it('gives back nesting deeper than any stack', () => {
    let deep: unknown[] = []
    for (let i = 0; i < 100_000; i++) deep = [deep]
    let decoded = roundTrip(deep) as unknown[]
    let depth = 0
    while (decoded.length > 0) {
      decoded = decoded[0] as unknown[]
      depth++
    }
    expect(depth).toBe(100_000)
  })

  it('gives back errors with their class, cause and members', () => {
    const error = Object.assign(new TypeError('no', { cause: new Error('why') }), { code: 'E1', detail: -0 })
    const decoded = roundTrip({ error }) as { error: typeof error }
    expect(decoded.error).toBeInstanceOf(TypeError)
    expect(decoded.error.message).toBe('no')
    expect(decoded.error.stack).toBe(error.stack)
    expect((decoded.error.cause as Error).message).toBe('why')
    expect(decoded.error.code).toBe('E1')
    expect(Object.is(decoded.error.detail, -0)).toBe(true)
    expect(Object.keys(decoded.error)).toEqual(['code', 'detail'])
    const own = Object.assign(new Error('x'), { name: 'MyError' })
    expect((roundTrip(own) as Error).name).toBe('MyError')
    const many = roundTrip(new AggregateError([new RangeError('r')], 'many')) as AggregateError
    expect(many.errors[0]).toBeInstanceOf(RangeError)
  })

  it('writes instances of classes as toJSON says, else as their members', () => {
    class Money {
      readonly cents: number
      constructor(cents: number) {
        this.cents = cents
      }
    }
    expect(roundTrip({ price: new Money(5) })).toEqual({ price: { cents: 5 } })
    expect(roundTrip({ at: new URL('http://a/b') })).toEqual({ at: 'http://a/b' })
  })

  it('refuses what can not be stored and says where it stands', () => {
    const cases: [unknown, string][] = [
      [{ a: { b: [1, () => {}] } }, 'the value.a.b[1] is a function'],
      [{ a: Symbol('x') }, 'the value.a is a symbol'],
      [() => {}, 'the value is a function'],
      [{ user: { 'first name': Promise.resolve() } }, 'the value.user["first name"] is a Promise'],
      [new Map([['k', new WeakMap()]]), 'the value.values()[0] is a WeakMap'],
    ]
    for (const [value, message] of cases) {
      const error = failure(() => roundTrip(value))
      expect(error.code).toBe('SERIALIZATION')
      expect(error.message).toContain(message)
    }
  })

  it('still encodes well after a value that it refused', () => {
    const codec = codecOf()
    failure(() => codec.encode({ a: () => {} }))
    expect(roundTrip({ a: 1 }, codec)).toEqual({ a: 1 })
  })

  it('gives back anything fast-check can think of', () => {
    const anything = fc.anything({
      withBigInt: true,
      withDate: false,
      withMap: true,
      withSet: true,
      withTypedArray: true,
      withSparseArray: true,
      withNullPrototype: false,
      stringUnit: 'binary',
      maxDepth: 4,
    })
    fc.assert(
      fc.property(anything, fc.boolean(), (value, compressed) => {
        deepStrictEqual(
          roundTrip(value, codecOf('msgpack', compressed ? 16 : Number.POSITIVE_INFINITY)),
          value,
        )
      }),
      { numRuns: 3000 },
    )
  })

  it('gives back every date', () => {
    fc.assert(
      fc.property(fc.date({ noInvalidDate: true }), (date) => {
        deepStrictEqual(roundTrip({ date }), { date })
      }),
      { numRuns: 5000 },
    )
  })

  it('never stores more than the raw bytes when it compresses', () => {
    const raw = codecOf('msgpack', Number.POSITIVE_INFINITY)
    const compressing = codecOf('msgpack', 1)
    const value = fc.oneof(
      fc.uint8Array({ maxLength: 5000 }),
      fc.string({ maxLength: 3000 }),
      fc.tuple(fc.string(), fc.nat(400)).map(([text, times]) => text.repeat(times)),
      fc.array(fc.integer()),
    )
    fc.assert(
      fc.property(value, (sample) => {
        raw.encode(sample)
        const rawLength = raw.end - raw.start
        compressing.encode(sample)
        const length = compressing.end - compressing.start
        expect(length <= rawLength).toBe(true)
        if (compressing.codec & Codec.lz4) expect(length < rawLength).toBe(true)
        deepStrictEqual(roundTrip(sample, compressing), sample)
      }),
    )
  })

  it('compresses a large value when a part of it gets smaller, and leaves what does not as it is', () => {
    const noise = randomBytes(1_000_000)
    const codec = codecOf()
    codec.encode(noise)
    expect([codec.codec & Codec.lz4, codec.end - codec.start]).toEqual([0, noise.length])
    const tail = Buffer.concat([noise, Buffer.alloc(50_000)])
    codec.encode(tail)
    expect(codec.codec & Codec.lz4).toBe(Codec.lz4)
    expect(codec.end - codec.start).toBeLessThan(tail.length - 40_000)
    deepStrictEqual(roundTrip(tail, codec), tail)
  })

  it('compresses from the threshold on', () => {
    const codec = codecOf('msgpack', 1000)
    codec.encode('a'.repeat(999))
    expect(codec.codec).toBe(Codec.text)
    codec.encode('a'.repeat(1000))
    expect(codec.codec).toBe(Codec.text | Codec.lz4)
    expect(codec.end - codec.start).toBeLessThan(100)
  })

  it('refuses compressed bytes that claim to be huge, without allocating', () => {
    const w = new ByteWriter()
    w.varint(2 ** 40)
    w.raw(new Uint8Array(100))
    const error = failure(() => codecOf().decode(Codec.bytes | Codec.lz4, w.bytes, 0, w.length))
    expect(error.code).toBe('SERIALIZATION')
    const claim = new ByteWriter()
    claim.varint(RAW_BYTES_MAX)
    claim.raw(new Uint8Array(100))
    expect(failure(() => codecOf().decode(Codec.lz4, claim.bytes, 0, claim.length)).code).toBe(
      'SERIALIZATION',
    )
  })

  it('answers arbitrary bytes with a value or SERIALIZATION, and nothing else', () => {
    const codec = codecOf()
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(31), (bytes, kind) => {
        try {
          codec.decode(kind, Buffer.from(bytes), 0, bytes.length)
        } catch (error) {
          expect(error).toBeInstanceOf(CacheError)
          expect((error as CacheError).code).toMatch(/^(SERIALIZATION|PROTOCOL_ERROR)$/)
        }
      }),
      { numRuns: 5000 },
    )
  })

  it('answers damaged graphs with a value or SERIALIZATION', () => {
    const codec = codecOf('msgpack', Number.POSITIVE_INFINITY)
    codec.encode({ m: new Map([[1, new Set([-0, 'x\ud800'])]]), e: new Error('x'), r: /a/g, s: sparseArray })
    const bytes = Buffer.from(codec.bytes.subarray(codec.start, codec.end))
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.nat(255), (at, byte) => {
        const damaged = Buffer.from(bytes)
        damaged[at] = byte
        try {
          codec.decode(Codec.msgpack, damaged, 0, damaged.length)
        } catch (error) {
          expect((error as CacheError).code).toBe('SERIALIZATION')
        }
      }),
      { numRuns: 3000 },
    )
  })

  it('reads counters as numbers', () => {
    const bytes = Buffer.alloc(8)
    bytes.writeDoubleLE(42.5)
    expect(codecOf().decode(Codec.counter, bytes, 0, 8)).toBe(42.5)
  })

  it('writes JSON when asked, and reads what was written in another form', () => {
    const json = codecOf('json')
    json.encode({ a: [1, null] })
    expect(json.codec).toBe(Codec.json)
    expect(roundTrip({ a: [1, null] }, json)).toEqual({ a: [1, null] })
    const msgpack = codecOf()
    msgpack.encode({ a: new Date(5) })
    expect(json.decode(msgpack.codec, msgpack.bytes, msgpack.start, msgpack.end)).toEqual({ a: new Date(5) })
    expect(failure(() => json.encode(undefined)).code).toBe('SERIALIZATION')
    expect(failure(() => json.encode(1n)).code).toBe('SERIALIZATION')
  })

  it('uses a serializer of the application', () => {
    const custom = new ValueCodec({
      serializer: {
        encode: (value) => Buffer.from(String(value)),
        decode: (bytes) => Number(Buffer.from(bytes).toString()),
      },
      compressFromBytes: Number.POSITIVE_INFINITY,
      rawBytesMax: RAW_BYTES_MAX,
    })
    expect(roundTrip(12, custom)).toBe(12)
    custom.encode(12)
    expect(custom.codec).toBe(Codec.custom)
    const { bytes, start, end } = custom
    expect(failure(() => codecOf().decode(Codec.custom, bytes, start, end)).message).toContain(
      'custom serializer',
    )
  })
})
