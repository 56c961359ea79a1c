import { describe, expect, it } from 'vitest'
import { integerBetween, type Random, randomHex, SeededRandom, uniform } from '../../../src/kernel/random.ts'

const always = (value: number): Random => ({ uint32: () => value })

describe('a seeded source', () => {
  it('gives the same numbers for the same seed', () => {
    const numbers = (seed: number): number[] => {
      const random = new SeededRandom(seed)
      return Array.from({ length: 5 }, () => random.uint32())
    }
    expect(numbers(42)).toEqual(numbers(42))
    expect(numbers(42)).not.toEqual(numbers(43))
    expect(numbers(2 ** 32 + 7)).toEqual(numbers(7))
    // Pinned: a change of these numbers makes every recorded seed worthless.
    expect(numbers(1)).toMatchInlineSnapshot(`
      [
        2442144158,
        3238099751,
        3819917871,
        2104621829,
        2021136066,
      ]
    `)
  })

  it('is uniform over 32 bits', () => {
    const random = new SeededRandom(5)
    const ones = new Array<number>(32).fill(0)
    for (let i = 0; i < 10_000; i++) {
      const value = random.uint32()
      expect(value >>> 0).toBe(value)
      for (let bit = 0; bit < 32; bit++) ones[bit] = (ones[bit] ?? 0) + ((value >>> bit) & 1)
    }
    // 5000 expected for each bit; six standard deviations are 300.
    expect(Math.min(...ones)).toBeGreaterThan(4700)
    expect(Math.max(...ones)).toBeLessThan(5300)
  })
})

describe('derived numbers', () => {
  it('uniform stays within [0, 1)', () => {
    expect(uniform(always(0))).toBe(0)
    expect(uniform(always(0xffff_ffff))).toBeLessThan(1)
  })

  it('integerBetween includes both ends and nothing beyond', () => {
    expect(integerBetween(always(0), 3, 5)).toBe(3)
    expect(integerBetween(always(0xffff_ffff), 3, 5)).toBe(5)
    const random = new SeededRandom(1)
    const seen = new Set(Array.from({ length: 200 }, () => integerBetween(random, -1, 1)))
    expect([...seen].sort((a, b) => a - b)).toEqual([-1, 0, 1])
  })

  it('randomHex has as many digits as asked, leading zeros included', () => {
    expect(randomHex(always(0x1f), 8)).toBe('0000001f')
    expect(randomHex(always(0x1f), 3)).toBe('000')
    expect(randomHex(new SeededRandom(1), 32)).toMatch(/^[0-9a-f]{32}$/)
  })
})
