import { deepStrictEqual } from 'node:assert/strict'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type EntryLine, EntryLines, endLine, headLine } from '../../../../src/admin/export/entry-line.ts'
import { compress } from '../../../../src/client/codecs/compression.ts'
import { RawValue } from '../../../../src/client/codecs/raw-value.ts'
import { ValueCodec } from '../../../../src/client/codecs/value-codec.ts'
import type { Entry } from '../../../../src/client/entry.ts'
import { Codec } from '../../../../src/wire/operations.ts'

const RAW_BYTES_MAX = 64 * 1024 * 1024
const lines = new EntryLines()

function codecOf(serializer: 'msgpack' | 'json', compressFromBytes = 1024): ValueCodec {
  return new ValueCodec({ serializer, compressFromBytes, rawBytesMax: RAW_BYTES_MAX })
}

function stored(value: unknown, codec: ValueCodec = codecOf('msgpack')): RawValue {
  codec.encode(value)
  return new RawValue(codec.codec, new Uint8Array(codec.bytes.subarray(codec.start, codec.end)))
}

function loaded({ codec, bytes }: RawValue): unknown {
  return codecOf('msgpack').decode(codec, bytes, 0, bytes.length)
}

function entryOf(value: RawValue, more: Partial<Entry<RawValue>> = {}): Entry<RawValue> {
  return {
    value,
    version: { partitionEpoch: 3, sequence: 42 },
    createdAt: 1000,
    expiresAt: undefined,
    ttlRemaining: undefined,
    tags: [],
    stale: false,
    ...more,
  }
}

function write(value: RawValue, more: Partial<Entry<RawValue>> = {}): string {
  return lines.write('default', 'k', entryOf(value, more), false)
}

function read(text: string): EntryLine {
  const line = lines.read(text, 5000)
  if (line.kind !== 'entry') throw new Error(`a line of kind ${line.kind}`)
  return line
}

/** Decompressed, since the same value may be compressed or not. */
function plain({ codec, bytes }: RawValue): [number, unknown] {
  return codec & Codec.lz4
    ? [codec & ~Codec.lz4, loaded(new RawValue(Codec.bytes | Codec.lz4, bytes))]
    : [codec, new Uint8Array(bytes)]
}

describe('the line of an entry', () => {
  it('is what the documents show', () => {
    const value = stored({ name: 'Ada' })
    expect(write(value)).toBe('{"region":"default","key":"k","value":{"name":"Ada"}}\n')
    const more = { expiresAt: 1.8e12, tags: ['users'] }
    const expected =
      '{"region":"default","key":"k","value":{"name":"Ada"},"expiresAt":"2027-01-15T08:00:00.000Z","tags":["users"]'
    expect(write(value, more)).toBe(`${expected}}\n`)
    expect(lines.write('default', 'k', entryOf(value, more), true)).toBe(
      `${expected},"version":[3,42],"createdAt":"1970-01-01T00:00:01.000Z"}\n`,
    )
    expect(read(`${expected}}`)).toMatchObject({ expiresAtMs: 1.8e12, tags: ['users'], region: 'default' })
  })

  it('shows counters and what other serializers stored', () => {
    const counter = new RawValue(Codec.counter, new Uint8Array(new Float64Array([7]).buffer).reverse())
    const five = read('{"key":"k","value":7,"form":"counter"}').value
    expect(five.codec).toBe(Codec.counter)
    expect([0, 1].map((turn) => write(turn ? counter : five))).toContain(
      '{"region":"default","key":"k","value":7,"form":"counter"}\n',
    )
    const json = stored({ $date: 1, n: { $map: 2 } }, codecOf('json'))
    expect(write(json)).toBe(
      '{"region":"default","key":"k","value":{"$date":1,"n":{"$map":2}},"form":"json"}\n',
    )
    expect(plain(read(write(json)).value)).toEqual(plain(json))
    const custom = new RawValue(Codec.custom, new Uint8Array([1, 2, 255]))
    expect(write(custom)).toBe('{"region":"default","key":"k","stored":{"codec":5,"base64":"AQL/"}}\n')
    expect(read(write(custom)).value).toEqual(new RawValue(Codec.custom, Buffer.from([1, 2, 255])))
  })

  it('keeps bytes that no client of this kind would write', () => {
    const bytes = (...all: number[]): Uint8Array => new Uint8Array(all)
    const odd: readonly RawValue[] = [
      // 1.0 as a float, and a text as MessagePack: others may tell them from 1 and a plain text.
      new RawValue(Codec.msgpack, bytes(0xcb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0)),
      new RawValue(Codec.msgpack, bytes(0xa1, 0x61)),
      new RawValue(Codec.json, Buffer.from('{ "a": 12345678901234567890 }')),
      new RawValue(Codec.text, bytes(0xff, 0xfe)),
      new RawValue(Codec.counter, bytes(1)),
      new RawValue(0x7f, bytes(1)),
      new RawValue(Codec.msgpack | Codec.lz4, bytes(0xff, 0xff, 0xff)),
    ]
    for (const raw of odd) {
      const text = write(raw)
      expect(text).toContain('"stored"')
      const again = read(text).value
      expect([again.codec, [...again.bytes]]).toEqual([raw.codec, [...raw.bytes]])
    }
  })

  it('brings back any value that a client can store, byte for byte', () => {
    const anything = fc.anything({
      withBigInt: true,
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
        const raw = stored(value, codecOf('msgpack', compressed ? 16 : Number.POSITIVE_INFINITY))
        const again = read(write(raw)).value
        deepStrictEqual(plain(again), plain(raw))
        deepStrictEqual(loaded(again), loaded(raw))
      }),
      { numRuns: 1000 },
    )
  })

  it('brings back any bytes under any codec', () => {
    fc.assert(
      fc.property(fc.nat(0xff), fc.uint8Array({ maxLength: 40 }), (codec, bytes) => {
        const again = read(write(new RawValue(codec, bytes))).value
        deepStrictEqual(plain0(again), plain0(new RawValue(codec, bytes)))
      }),
      { numRuns: 2000 },
    )
  })

  it('keeps cycles, and nesting deeper than any stack', () => {
    const cycle: { self?: unknown; list: unknown[] } = { list: [] }
    cycle.self = cycle
    const again = loaded(read(write(stored(cycle))).value) as typeof cycle
    expect(again.self).toBe(again)
    let deep: unknown[] = []
    for (let i = 0; i < 10_000; i++) deep = [deep]
    const raw = stored(deep)
    expect(plain(read(write(raw)).value)).toEqual(plain(raw))
  })

  it('stays within 32 MiB, for the largest values there are', () => {
    const worst: readonly unknown[] = [
      '\u0001'.repeat(4 * 1024 * 1024),
      '\u0001'.repeat(5 * 1024 * 1024),
      Array.from({ length: 900_000 }, () => undefined),
    ]
    for (const value of worst) {
      const raw = stored(value, codecOf('msgpack', Number.POSITIVE_INFINITY))
      const text = write(raw)
      expect(text.length).toBeLessThan(32 * 1024 * 1024)
    }
    const noise = new RawValue(Codec.custom, new Uint8Array(16 * 1024 * 1024))
    expect(write(noise).length).toBeLessThan(32 * 1024 * 1024)
  })

  it('compresses again what was compressed', () => {
    const raw = stored('x'.repeat(5000))
    expect(raw.codec & Codec.lz4).not.toBe(0)
    const { codec, bytes } = read(write(raw)).value
    expect(codec).toBe(raw.codec)
    expect(bytes).toEqual(compress(Buffer.from('x'.repeat(5000))))
  })
})

describe('a line by hand', () => {
  it('needs a key and a value, and may give a ttl', () => {
    expect(read('{"key":"k","value":null}')).toMatchObject({ region: undefined, expiresAtMs: undefined })
    expect(read('{"key":"k","value":null,"ttl":"1m"}').expiresAtMs).toBe(65_000)
    expect(read('{"key":"k","value":null,"expiresAt":1700000000000}').expiresAtMs).toBe(1.7e12)
  })

  const wrong: readonly (readonly [string, string])[] = [
    ['{"key":"k","value":1', 'it is not JSON'],
    ['[1]', 'it is no JSON object'],
    ['{"value":1}', '"key" is missing'],
    ['{"key":"","value":1}', '"key" is missing'],
    ['{"key":"k"}', 'either "value" or "stored"'],
    ['{"key":"k","value":1,"stored":{"codec":1,"base64":""}}', 'either "value" or "stored"'],
    ['{"key":"k","value":1,"expireAt":5}', 'no member "expireAt"; there are: region, key, value'],
    ['{"key":"k","value":1,"expiresAt":"soon"}', '"expiresAt" is a time'],
    ['{"key":"k","value":1,"ttl":"1y"}', '"ttl" is "1y"'],
    ['{"key":"k","value":1,"ttl":1,"expiresAt":1}', 'either "expiresAt" or "ttl"'],
    ['{"key":"k","value":1,"tags":"a"}', '"tags" is an array of texts'],
    ['{"key":"k","value":1,"form":"xml"}', '"form" is "json" or "counter"'],
    ['{"key":"k","value":"1","form":"counter"}', 'a counter is a number'],
    ['{"key":"k","stored":{"codec":-1,"base64":""}}', 'stored.codec is a number'],
    ['{"key":"k","stored":{"codec":1,"base64":"?"}}', 'stored.base64 is no base64'],
    ['{"key":"k","stored":1}', '"stored" is {'],
    ['{"key":"k","value":{"$foo":1}}', '"$foo" is no tag'],
    ['{"ringcache":"x"}', '"ringcache" is "export" or "end"'],
    ['{"ringcache":"export","format":2}', 'its format is 2; this release reads up to 1'],
  ]
  for (const [text, message] of wrong) {
    it(`${text} is refused`, () => {
      expect(() => lines.read(text, 0)).toThrow(message)
    })
  }

  it('is told from the first and the last line of an export', () => {
    const region = { name: 'default', ttlMs: 5 } as never
    expect(lines.read(headLine('shop', 0, [region]), 0)).toMatchObject({ kind: 'head', regions: [region] })
    expect(lines.read(endLine(7), 0)).toEqual({ kind: 'end', entries: 7 })
  })
})

/** As it is, unless it is compressed and readable: then what it stands for. */
function plain0(raw: RawValue): unknown {
  if ((raw.codec & Codec.lz4) === 0) return [raw.codec, new Uint8Array(raw.bytes)]
  try {
    return plain(raw)
  } catch {
    return [raw.codec, new Uint8Array(raw.bytes)]
  }
}
