/** What the ring wants of a cluster: even loads, distinct zones, and few moves when nodes come and go. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { NodeId } from '../../../src/kernel/ids.ts'
import { applyAll } from '../../../src/topology/apply-transform.ts'
import { firstPartitions, firstRing, placeOnRing, wantedPlacement } from '../../../src/topology/placement.ts'
import type { RingNode, Topology } from '../../../src/topology/topology.ts'
import { makeTopology } from '../../support/topologies.ts'

const group = (replicationFactor: number, partitionCount = 1024) => {
  return { name: 'default', replicationFactor, firstPartition: 0, partitionCount }
}
const nodes = (count: number, more: (i: number) => Partial<RingNode> = () => ({})): RingNode[] =>
  Array.from({ length: count }, (_, i) => ({ nodeId: `n${i}` as NodeId, weight: 1, zone: '', ...more(i) }))

function loads(
  placement: readonly (readonly number[])[],
  count: number,
): { all: number[]; primaries: number[] } {
  const all = new Array<number>(count).fill(0)
  const primaries = new Array<number>(count).fill(0)
  for (const places of placement) {
    for (const place of places) all[place] = (all[place] as number) + 1
    primaries[places[0] as number] = (primaries[places[0] as number] as number) + 1
  }
  return { all, primaries }
}

function imbalance(counts: readonly number[]): number {
  return (Math.max(...counts) * counts.length) / counts.reduce((a, b) => a + b, 0)
}

/** Copies that lie where they did not lie before. */
function moved(before: readonly (readonly number[])[], after: readonly (readonly number[])[]): number {
  return after.flatMap((places, p) => places.filter((place) => !before[p]?.includes(place))).length
}

describe('the placement of a new cluster', () => {
  it.each([3, 4, 5, 6, 7, 8, 9, 10])('of %i nodes is even within 6 %%, copies and primaries', (count) => {
    const placement = placeOnRing(nodes(count), [group(3)])
    const { all, primaries } = loads(placement, count)
    expect(imbalance(all)).toBeLessThanOrEqual(1.06)
    expect(imbalance(primaries)).toBeLessThanOrEqual(1.06)
    for (const places of placement) expect(new Set(places).size).toBe(3)
  })

  it('follows weights as far as a node can hold a partition but once', () => {
    const weighted = placeOnRing(
      nodes(6, (i) => ({ weight: i < 3 ? 2 : 1 })),
      [group(2)],
    )
    const { all, primaries } = loads(weighted, 6)
    // 2048 copies over a weight of 9.
    for (const i of [0, 1, 2, 3, 4, 5]) {
      expect((all[i] as number) / (i < 3 ? 455 : 228)).toBeCloseTo(1, 1)
      expect((primaries[i] as number) / (i < 3 ? 228 : 114)).toBeCloseTo(1, 1)
    }
    const heavy = loads(
      placeOnRing(
        nodes(4, (i) => ({ weight: i === 0 ? 100 : 1 })),
        [group(2)],
      ),
      4,
    ).all
    expect(heavy[0]).toBeGreaterThan(1000)
    expect(imbalance(heavy.slice(1))).toBeLessThanOrEqual(1.06)
  })

  it('gives nothing to a node of weight 0', () => {
    const { all } = loads(
      placeOnRing(
        nodes(4, (i) => ({ weight: i === 1 ? 0 : 1 })),
        [group(3)],
      ),
      4,
    )
    expect(all).toEqual([1024, 0, 1024, 1024])
  })

  it('wants no move', () => {
    for (const count of [1, 2, 3, 6]) {
      const ring = firstRing(nodes(count), [group(3, 64)])
      const topology = {
        ...makeTopology({ nodes: count, partitions: 64 }),
        ring,
        partitions: firstPartitions(ring.placement),
      }
      expect(wantedPlacement(topology)).toEqual(topology.partitions.map(({ inSync }) => inSync))
    }
  })

  it('puts the copies of a partition into as many zones as it can', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(4), fc.integer({ min: 1, max: 4 })), { minLength: 1, maxLength: 10 }),
        fc.integer({ min: 1, max: 5 }),
        (list, copies) => {
          const ring = nodes(list.length, (i) => {
            const [zone, weight] = list[i] as [number, number]
            return { zone: zone === 0 ? '' : `z${zone}`, weight }
          })
          const zone = (place: number): string => ring[place]?.zone || `own ${place}`
          const zones = new Set(ring.map((_, place) => zone(place))).size
          const holders = Math.min(copies, ring.length)
          for (const places of placeOnRing(ring, [group(copies, 60)])) {
            expect(new Set(places).size).toBe(holders)
            expect(new Set(places.map(zone)).size).toBe(Math.min(holders, zones))
          }
        },
      ),
      { numRuns: 200 },
    )
  })

  it('is even over zones of equal size', () => {
    const placement = placeOnRing(
      nodes(6, (i) => ({ zone: `z${i % 3}` })),
      [group(3)],
    )
    expect(imbalance(loads(placement, 6).all)).toBeLessThanOrEqual(1.06)
    expect(imbalance(loads(placement, 6).primaries)).toBeLessThanOrEqual(1.06)
  })
})

describe('a change of the ring', () => {
  it.each([3, 4, 5, 6, 7, 8, 9])('from %i nodes to one more moves no more than its share', (count) => {
    const before = placeOnRing(nodes(count), [group(3)])
    const after = placeOnRing(nodes(count + 1), [group(3)], { nodes: nodes(count), placement: before })
    const share = (3 * 1024) / (count + 1)
    expect(moved(before, after)).toBeLessThanOrEqual(1.1 * share)
    const { all, primaries } = loads(after, count + 1)
    expect(imbalance(all)).toBeLessThanOrEqual(1.06)
    expect(imbalance(primaries)).toBeLessThanOrEqual(1.06)
    expect(Math.min(...all)).toBeGreaterThanOrEqual(0.94 * share)
  })

  it.each([4, 5, 6, 10])('from %i nodes to one less moves what that one held', (count) => {
    const before = placeOnRing(nodes(count), [group(3)])
    const gone = loads(before, count).all[2] as number
    const fewer = nodes(count).filter((_, i) => i !== 2)
    const after = placeOnRing(fewer, [group(3)], { nodes: nodes(count), placement: before })
    const named = after.map((places) => places.map((place) => (place < 2 ? place : place + 1)))
    expect(moved(before, named)).toBeLessThanOrEqual(1.1 * gone)
    expect(imbalance(loads(after, count - 1).all)).toBeLessThanOrEqual(1.06)
    expect(imbalance(loads(after, count - 1).primaries)).toBeLessThanOrEqual(1.06)
  })

  it('that is taken back wants exactly what was there', () => {
    const ring = firstRing(nodes(4), [group(3, 64)])
    const start: Topology = {
      ...makeTopology({ nodes: 4, partitions: 64 }),
      ring,
      partitions: firstPartitions(ring.placement),
    }
    const change = (topology: Topology, to: readonly RingNode[]): Topology =>
      applyAll(topology, [{ kind: 'RingChanged', expected: topology.ring.nodes, nodes: to }]).topology
    const fewer = change(start, start.ring.nodes.slice(1))
    expect(fewer.ring.placement).not.toEqual(start.ring.placement)
    expect(wantedPlacement(fewer).every((places) => !places.includes(0))).toBe(true)
    const back = change(fewer, fewer.ring.previous)
    expect(back.ring.placement).toEqual(start.ring.placement)
    expect(back.ring.previous).toEqual(fewer.ring.nodes)
  })
})
