import { describe, expect, it } from 'vitest'
import type { RegionId } from '../../../src/kernel/ids.ts'
import { partitionOf } from '../../../src/kernel/key.ts'
import {
  type GroupRecord,
  groupOf,
  locate,
  majorityOf,
  type Topology,
} from '../../../src/topology/topology.ts'

describe('a majority', () => {
  it('is the smallest number that two disjoint sets can not both have', () => {
    expect([1, 2, 3, 4, 5, 7].map(majorityOf)).toEqual([1, 2, 2, 3, 3, 4])
    for (let members = 1; members < 50; members++) {
      expect(2 * majorityOf(members)).toBeGreaterThan(members)
      expect(2 * (majorityOf(members) - 1)).toBeLessThanOrEqual(members)
    }
  })
})

describe('a key', () => {
  const group: GroupRecord = { name: 'g', replicationFactor: 3, firstPartition: 1000, partitionCount: 64 }

  it('lies in a partition of its group, numbered across the cluster', () => {
    const key = new TextEncoder().encode('..user:1..')
    const partition = locate(group, 5, key, 2, 8)
    expect(partition).toBe(1000 + partitionOf(key, 2, 8, 5, 64))
  })

  it('belongs to the group that its region names', () => {
    const topology = { groups: [{ ...group, name: 'other' }, group] } as unknown as Topology
    const region = { name: 'r', regionId: 1 as RegionId } as Topology['regions'][number]
    expect(groupOf(topology, { ...region, group: 'g' })).toBe(group)
    expect(() => groupOf(topology, { ...region, group: 'x' })).toThrow(/region r names the unknown group x/)
  })
})
