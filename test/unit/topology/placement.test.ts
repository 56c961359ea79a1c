import { describe, expect, it } from 'vitest'
import { placeInTurn } from '../../../src/topology/placement.ts'

const group = { name: 'default', replicationFactor: 3, firstPartition: 0, partitionCount: 90 }

describe('the first placement', () => {
  it('makes each node primary of equally many partitions, and backup of equally many', () => {
    const partitions = placeInTurn(group, ['', '', '', ''])
    for (let node = 0; node < 4; node++) {
      const primaries = partitions.filter((partition) => partition.primary === node).length
      const replicas = partitions.filter((partition) => partition.inSync.includes(node)).length
      expect(primaries).toBeGreaterThanOrEqual(22)
      expect(primaries).toBeLessThanOrEqual(23)
      expect(replicas).toBeGreaterThanOrEqual(66)
      expect(replicas).toBeLessThanOrEqual(69)
    }
    for (const { inSync, primary } of partitions) {
      expect(inSync[0]).toBe(primary)
      expect(new Set(inSync).size).toBe(3)
    }
  })

  it('puts the replicas of a partition into distinct zones, however the nodes are listed', () => {
    const zones = ['a', 'a', 'b', 'b', 'c', 'c']
    for (const { inSync } of placeInTurn(group, zones)) {
      expect(new Set(inSync.map((node) => zones[node])).size).toBe(3)
    }
  })

  it('has as many replicas as there are nodes, when there are fewer than asked for', () => {
    expect(placeInTurn(group, ['', '']).every(({ inSync }) => inSync.length === 2)).toBe(true)
  })
})
