import { describe, expect, it } from 'vitest'
import { CacheError } from '../../../src/kernel/errors.ts'
import { HELD_VERSIONS_MAX, HeldVersions } from '../../../src/replication/held-versions.ts'

describe('what a learner listed', () => {
  it('is known by hash and version', () => {
    const held = new HeldVersions()
    for (let i = 0; i < 1000; i++) held.add(i * 4_000_000, 1 + (i % 3), 2 ** 40 + i)
    expect(held.size).toBe(1000)
    for (let i = 0; i < 1000; i++) {
      expect(held.has(i * 4_000_000, 1 + (i % 3), 2 ** 40 + i)).toBe(true)
      expect(held.has(i * 4_000_000, 2 + (i % 3), 2 ** 40 + i)).toBe(false)
      expect(held.has(i * 4_000_000, 1 + (i % 3), 2 ** 40 + i + 1)).toBe(false)
      expect(held.has(i * 4_000_000 + 1, 1 + (i % 3), 2 ** 40 + i)).toBe(false)
    }
    held.clear()
    expect([held.size, held.has(0, 1, 2 ** 40)]).toEqual([0, false])
  })

  it('is malformed when hashes do not ascend, or are too many', () => {
    const held = new HeldVersions()
    held.add(0, 1, 1)
    expect(() => held.add(0, 1, 2)).toThrow(CacheError)
    expect(() => held.add(1, 2 ** 32, 2)).toThrow('epoch')
    held.add(0xffff_ffff, 1, 2)
    expect(() => held.add(5, 1, 2)).toThrow('ascend')
    held.clear()
    for (let i = 0; i < HELD_VERSIONS_MAX; i++) held.add(i, 1, i)
    expect(() => held.add(HELD_VERSIONS_MAX, 1, 1)).toThrow('more than')
  })
})
