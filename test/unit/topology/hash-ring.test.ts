/** The ring as a library: who owns a key, how even that is, and how little moves. */

import { describe, expect, it } from 'vitest'
import { ConsistentHashRing, type RingMember } from '../../../src/topology/hash-ring.ts'

const members = (count: number, more: (i: number) => Partial<RingMember> = () => ({})): RingMember[] =>
  Array.from({ length: count }, (_, i) => ({ id: `node-${i}`, ...more(i) }))
const keys = (count: number): string[] => Array.from({ length: count }, (_, i) => `key ${i}`)

function counts(owners: readonly (readonly string[])[], ids: readonly string[]): number[] {
  return ids.map((id) => owners.filter((list) => list.includes(id)).length)
}

describe('a ring', () => {
  it('gives a key to the same members, whatever the order in which they are listed', () => {
    const list = members(7)
    const one = new ConsistentHashRing(list)
    const other = new ConsistentHashRing([...list].reverse())
    for (const key of keys(500)) expect(other.owners(key, 3)).toEqual(one.owners(key, 3))
  })

  it('moves keys only to a member that is added', () => {
    const list = members(8)
    const before = new ConsistentHashRing(list.slice(0, 7))
    const after = new ConsistentHashRing(list)
    let moved = 0
    for (const key of keys(2000)) {
      const [owner] = after.owners(key)
      if (owner === before.owners(key)[0]) continue
      expect(owner).toBe('node-7')
      moved++
    }
    expect(moved / 2000).toBeGreaterThan(0.08)
    expect(moved / 2000).toBeLessThan(0.17)
  })

  it('takes owners from distinct zones as long as there are some', () => {
    const ring = new ConsistentHashRing(members(6, (i) => ({ zone: `zone ${i % 2}` })))
    const zone = (id: string): number => Number(id.at(-1)) % 2
    for (const key of keys(200)) {
      const owners = ring.owners(key, 3)
      expect(new Set(owners).size).toBe(3)
      expect(new Set(owners.slice(0, 2).map(zone)).size).toBe(2)
    }
    expect(ring.owners('x', 9)).toHaveLength(6)
  })

  it('gives keys in proportion to weights', () => {
    const ring = new ConsistentHashRing(members(3, (i) => ({ weight: i + 1 })))
    const owners = keys(6000).map((key) => ring.owners(key))
    const [one, two, three] = counts(owners, ['node-0', 'node-1', 'node-2']) as [number, number, number]
    expect(one / 1000).toBeCloseTo(1, 0)
    expect(two / 2000).toBeCloseTo(1, 0)
    expect(three / 3000).toBeCloseTo(1, 0)
  })

  it('places with bounded loads, copies and primaries alike', () => {
    const ring = new ConsistentHashRing(members(5), { loadFactor: 1.02 })
    const placed = ring.place(keys(1000), 2)
    const ids = members(5).map(({ id }) => id)
    expect(Math.max(...counts(placed, ids))).toBeLessThanOrEqual(408)
    expect(
      Math.max(
        ...counts(
          placed.map((list) => list.slice(0, 1)),
          ids,
        ),
      ),
    ).toBeLessThanOrEqual(204)
  })

  it('hashes as it is told', () => {
    const ring = new ConsistentHashRing(members(3), { hash: (text) => (text.startsWith('node-2') ? 5 : 9) })
    expect(ring.owners('key', 3)).toEqual(['node-0', 'node-1', 'node-2'])
  })

  it.each([
    [() => new ConsistentHashRing(members(1), { virtualNodes: 100 }), 'use 150 to 256'],
    [() => new ConsistentHashRing(members(1), { loadFactor: 1 }), 'use 1.01 to 2'],
    [() => new ConsistentHashRing([{ id: 'a' }, { id: 'a' }]), 'share an id'],
    [() => new ConsistentHashRing([{ id: 'a', weight: 0 }]), 'weight of a is 0'],
  ])('refuses options out of range: %#', (make, said) => {
    expect(make).toThrow(said)
  })

  it('without members owns nothing', () => {
    expect(new ConsistentHashRing([]).owners('key', 3)).toEqual([])
    expect(new ConsistentHashRing([]).place(['key'], 3)).toEqual([[]])
  })
})
