/** Keys as bytes, and the partition they belong to. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { xxh32 } from '../../../src/kernel/hash.ts'
import { encodeKey, partitionOf } from '../../../src/kernel/key.ts'

const utf8 = new TextEncoder()

function encoded(key: string): Uint8Array | undefined {
  const target = new Uint8Array(key.length * 3 + 4)
  const bytes = encodeKey(key, target, 2)
  return bytes < 0 ? undefined : target.slice(2, 2 + bytes)
}

function partition(key: string, partitions = 65_536, region = 1): number {
  const bytes = utf8.encode(key)
  return partitionOf(bytes, 0, bytes.length, region, partitions)
}

describe('a key', () => {
  it('becomes the bytes of UTF-8', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (key) => {
        expect(encoded(key)).toEqual(utf8.encode(key))
      }),
      { numRuns: 1000 },
    )
  })

  it.each([
    '\u0000',
    '\u007f',
    '\u0080',
    '\u07ff',
    '\u0800',
    '\ud7ff',
    '\ue000',
    '\uffff',
    '\u{10000}',
    '\u{10ffff}',
  ])('is exact at the border %j', (key) => {
    expect(encoded(key)).toEqual(utf8.encode(key))
  })

  it.each([
    ['a high surrogate at the end', 'a\ud800'],
    ['a high surrogate before a letter', '\ud800a'],
    ['a low surrogate', 'a\udc00b'],
    ['two high surrogates', '\ud800\ud800\udc00'],
    ['surrogates in the wrong order', '\udc00\ud800'],
  ])('with %s is refused', (_, key) => {
    expect(encoded(key)).toBeUndefined()
  })

  it('is refused exactly when it is not well formed', () => {
    // String.isWellFormed is not in Node.js 20's types: TextDecoder tells the same.
    const wellFormed = (key: string): boolean => new TextDecoder().decode(utf8.encode(key)) === key
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0xd700, max: 0xe0ff }), { maxLength: 8 }), (units) => {
        const key = String.fromCharCode(...units)
        expect(encoded(key) !== undefined).toBe(wellFormed(key))
      }),
      { numRuns: 2000 },
    )
  })
})

describe('a partition', () => {
  it('is that of the whole key without a hashtag', () => {
    fc.assert(
      fc.property(
        fc.string().filter((key) => !key.includes('{')),
        fc.nat(1000),
        (key, region) => {
          const bytes = utf8.encode(key)
          expect(partition(key, 1024, region)).toBe(xxh32(bytes, 0, bytes.length, region) % 1024)
        },
      ),
    )
  })

  // The examples of Redis Cluster's specification, "Hash tags".
  it.each([
    ['{user1000}.following', 'user1000'],
    ['{user1000}.followers', 'user1000'],
    ['foo{{bar}}zap', '{bar'],
    ['foo{bar}{zap}', 'bar'],
    ['a{b}c', 'b'],
  ])('of %s is that of %s', (key, hashtag) => {
    expect(partition(key)).toBe(partition(hashtag))
  })

  it.each([['foo{}{bar}'], ['{}'], ['foo{bar'], ['foo}bar{'], ['}a{']])(
    'of %s is that of the whole key',
    (key) => {
      const bytes = utf8.encode(key)
      expect(partition(key)).toBe(xxh32(bytes, 0, bytes.length, 1) % 65_536)
    },
  )

  it('looks only at the range it was given', () => {
    const bytes = utf8.encode('{x}{a}{y}')
    expect(partitionOf(bytes, 3, 6, 1, 65_536)).toBe(partition('a'))
  })

  it('differs between regions and spreads keys evenly', () => {
    expect(partition('a', 65_536, 1)).not.toBe(partition('a', 65_536, 2))
    const counts = new Array<number>(16).fill(0)
    for (let i = 0; i < 16_000; i++) {
      const p = partition(`user:${i}`, 16)
      counts[p] = (counts[p] ?? 0) + 1
    }
    // 1000 expected in each; six standard deviations are about 184.
    expect(Math.min(...counts)).toBeGreaterThan(816)
    expect(Math.max(...counts)).toBeLessThan(1184)
  })
})
