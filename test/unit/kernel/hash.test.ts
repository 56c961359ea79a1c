/** The hashes against published vectors and against second implementations written from the specifications. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { halfSipHash, mix32, xxh32 } from '../../../src/kernel/hash.ts'

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)
const MASK = 0xffff_ffffn

describe('xxh32', () => {
  /** XXH32, word by word from the specification, in big integers. */
  function reference(bytes: Uint8Array, seed: number): number {
    const [p1, p2, p3, p4, p5] = [2654435761n, 2246822519n, 3266489917n, 668265263n, 374761393n]
    const rotate = (x: bigint, n: bigint): bigint => ((x << n) | (x >> (32n - n))) & MASK
    const word = (at: number): bigint => {
      let value = 0n
      for (let i = 3; i >= 0; i--) value = (value << 8n) | BigInt(bytes[at + i] as number)
      return value
    }
    const s = BigInt(seed)
    let at = 0
    let h = (s + p5) & MASK
    if (bytes.length >= 16) {
      const lanes = [(s + p1 + p2) & MASK, (s + p2) & MASK, s, (s - p1) & MASK]
      for (; at + 16 <= bytes.length; at += 16) {
        for (let i = 0; i < 4; i++) {
          lanes[i] = (rotate(((lanes[i] as bigint) + word(at + 4 * i) * p2) & MASK, 13n) * p1) & MASK
        }
      }
      const [a, b, c, d] = lanes as [bigint, bigint, bigint, bigint]
      h = (rotate(a, 1n) + rotate(b, 7n) + rotate(c, 12n) + rotate(d, 18n)) & MASK
    }
    h = (h + BigInt(bytes.length)) & MASK
    for (; at + 4 <= bytes.length; at += 4) h = (rotate((h + word(at) * p3) & MASK, 17n) * p4) & MASK
    for (; at < bytes.length; at++)
      h = (rotate((h + BigInt(bytes[at] as number) * p5) & MASK, 11n) * p1) & MASK
    h = ((h ^ (h >> 15n)) * p2) & MASK
    h = ((h ^ (h >> 13n)) * p3) & MASK
    return Number(h ^ (h >> 16n))
  }

  it('gives the published values', () => {
    expect(xxh32(bytesOf(''), 0, 0, 0)).toBe(0x02cc5d05)
    expect(xxh32(bytesOf('a'), 0, 1, 0)).toBe(0x550d7456)
    expect(xxh32(bytesOf('abc'), 0, 3, 0)).toBe(0x32d153ff)
    const sentence = bytesOf('Nobody inspects the spammish repetition')
    expect(xxh32(sentence, 0, sentence.length, 0)).toBe(0xe2293b2f)
  })

  it('agrees with the specification on any bytes, seed and position', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 100 }),
        fc.nat(2 ** 32 - 1),
        fc.nat(5),
        (bytes, seed, offset) => {
          const shifted = new Uint8Array(offset + bytes.length + 3).fill(0xee)
          shifted.set(bytes, offset)
          expect(xxh32(shifted, offset, offset + bytes.length, seed)).toBe(reference(bytes, seed))
        },
      ),
      { numRuns: 2000 },
    )
  })
})

describe('halfSipHash', () => {
  /** HalfSipHash with c and d rounds and a 32-bit result, from the authors' description, in big integers. */
  function reference(key: bigint, message: readonly number[], c: number, d: number): number {
    const low = key & MASK
    const high = key >> 32n
    const v = [low, high, low ^ 0x6c796765n, high ^ 0x74656462n] as [bigint, bigint, bigint, bigint]
    const rotate = (x: bigint, n: bigint): bigint => ((x << n) | (x >> (32n - n))) & MASK
    const round = (): void => {
      v[0] = (v[0] + v[1]) & MASK
      v[1] = rotate(v[1], 5n) ^ v[0]
      v[0] = rotate(v[0], 16n)
      v[2] = (v[2] + v[3]) & MASK
      v[3] = rotate(v[3], 8n) ^ v[2]
      v[0] = (v[0] + v[3]) & MASK
      v[3] = rotate(v[3], 7n) ^ v[0]
      v[2] = (v[2] + v[1]) & MASK
      v[1] = rotate(v[1], 13n) ^ v[2]
      v[2] = rotate(v[2], 16n)
    }
    const padded = [...message]
    while (padded.length % 4 !== 3) padded.push(0)
    padded.push(message.length & 0xff)
    for (let at = 0; at < padded.length; at += 4) {
      let m = 0n
      for (let i = 3; i >= 0; i--) m = (m << 8n) | BigInt(padded[at + i] as number)
      v[3] ^= m
      for (let i = 0; i < c; i++) round()
      v[0] ^= m
    }
    v[2] ^= 0xffn
    for (let i = 0; i < d; i++) round()
    return Number(v[1] ^ v[3])
  }

  it('has a reference that gives the published values of HalfSipHash-2-4', () => {
    // Key 00 01 … 07, message 00 01 … n−1; the first of the authors' vectors for a 32-bit result.
    const published = [
      0x5b9f35a9, 0xb85a4727, 0x03a662fa, 0x04e7fe8a, 0x89466e2a, 0x69b6fac5, 0x23fc6358, 0xc563cf8b,
    ]
    const message = [0, 1, 2, 3, 4, 5, 6]
    for (const [n, expected] of published.entries()) {
      expect(reference(0x0706050403020100n, message.slice(0, n), 2, 4)).toBe(expected)
    }
  })

  it('agrees with the reference, with one and three rounds and the prefix as first word', () => {
    const word = fc.nat(2 ** 32 - 1)
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), word, word, word, (bytes, low, high, prefix) => {
        const shifted = new Uint8Array(bytes.length + 2)
        shifted.set(bytes, 1)
        const message = [0, 8, 16, 24].map((bits) => (prefix >>> bits) & 0xff)
        const key = (BigInt(high) << 32n) | BigInt(low)
        const expected = reference(key, [...message, ...bytes], 1, 3)
        expect(halfSipHash({ low, high }, prefix, shifted, 1, 1 + bytes.length)).toBe(expected)
      }),
      { numRuns: 2000 },
    )
  })

  it('spreads near keys evenly', () => {
    const buckets = new Uint32Array(64)
    for (let i = 0; i < 64_000; i++) {
      const bytes = bytesOf(`key:${i}`)
      const bucket = halfSipHash({ low: 1, high: 2 }, 1, bytes, 0, bytes.length) >>> 26
      buckets[bucket] = (buckets[bucket] as number) + 1
    }
    // Five standard deviations of a binomial count.
    for (const count of buckets) expect(Math.abs(count - 1000)).toBeLessThan(160)
  })
})

describe('mix32', () => {
  it('gives the values of the 32-bit finaliser of MurmurHash3', () => {
    expect([0, 1, 2, 0xffff_ffff].map(mix32)).toEqual([0, 0x514e28b7, 0x30f4c306, 0x81f16f39])
  })

  it('is one to one', () => {
    const seen = new Set<number>()
    for (let i = 0; i < 100_000; i++) seen.add(mix32(i * 42_949))
    expect(seen.size).toBe(100_000)
  })
})
