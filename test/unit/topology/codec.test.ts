/** The topology record in bytes. A decoder is shown hostile bytes, too: what it returns has to be consistent. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CacheError } from '../../../src/kernel/errors.ts'
import type {
  ClusterId,
  Epoch,
  Incarnation,
  NodeId,
  PartitionEpoch,
  RegionId,
} from '../../../src/kernel/ids.ts'
import { SeededRandom } from '../../../src/kernel/random.ts'
import { decodeTopology, encodeTopology } from '../../../src/topology/codec.ts'
import type { GroupRecord, PartitionRecord, RegionRecord, Topology } from '../../../src/topology/topology.ts'
import { mutated, noise } from '../../support/hostile-bytes.ts'

const text = fc.string({ unit: 'grapheme', maxLength: 10 })
const uint32 = fc.integer({ min: 0, max: 0xffff_ffff })

const anyTopology: fc.Arbitrary<Topology> = fc
  .record({
    nodes: fc.integer({ min: 1, max: 5 }),
    groups: fc.array(fc.integer({ min: 1, max: 6 }), { maxLength: 3 }),
  })
  .chain(({ nodes, groups }) => {
    const partitions = groups.reduce((sum, count) => sum + count, 0)
    const someNodes = fc.uniqueArray(fc.nat(nodes - 1), { minLength: 1, maxLength: nodes })
    const partition = fc
      .record({ epoch: fc.nat(), inSync: someNodes, others: someNodes, flag: fc.boolean() })
      .map(
        ({ epoch, inSync, others, flag }): PartitionRecord => ({
          partitionEpoch: epoch as PartitionEpoch,
          primary: inSync[0] ?? 0,
          inSync,
          learners: flag ? others : [],
          unsettled: flag ? [{ primary: others[0] ?? 0, members: others }] : [],
        }),
      )
    const groupRecords = groups.map(
      (partitionCount, i): GroupRecord => ({
        name: `g${i}`,
        replicationFactor: i + 1,
        firstPartition: groups.slice(0, i).reduce((sum, count) => sum + count, 0),
        partitionCount,
      }),
    )
    const region = (group: string): fc.Arbitrary<RegionRecord> =>
      fc.record({
        regionId: fc.nat({ max: 2 ** 28 - 1 }).map((id) => id as RegionId),
        name: text,
        group: fc.constant(group),
        sizeBytes: fc.maxSafeNat(),
        maxEntries: fc.maxSafeNat(),
        ttlMs: fc.nat(),
        policy: fc.constantFrom('lru', 'fifo'),
        durability: fc.constantFrom('one', 'quorum', 'all'),
        read: fc.constantFrom('primary', 'replica', 'nearest', 'majority', 'linearizable'),
        minInSync: fc.nat(7),
      })
    return fc.record<Topology>({
      clusterId: text.map((id) => id as ClusterId),
      clusterName: text,
      epoch: fc.nat().map((epoch) => epoch as Epoch),
      hashKey: fc.option(fc.record({ low: uint32, high: uint32 }), { nil: undefined }),
      nodes: fc.array(
        fc.record({
          nodeId: text.map((id) => id as NodeId),
          incarnation: text.map((id) => id as Incarnation),
          address: text,
          zone: text,
        }),
        { minLength: nodes, maxLength: nodes },
      ),
      groups: fc.constant(groupRecords),
      // Ids are unique in a record; the offset keeps them arbitrary.
      regions: fc
        .tuple(...groupRecords.map(({ name }) => region(name)))
        .map((regions) =>
          regions.map((one, i) => ({ ...one, regionId: (one.regionId * 8 + i) as RegionId })),
        ),
      partitions: fc.array(partition, { minLength: partitions, maxLength: partitions }),
    })
  })

const SAMPLE: Topology = {
  clusterId: 'c1' as ClusterId,
  clusterName: 'test',
  epoch: 1 as Epoch,
  hashKey: { low: 0x01020304, high: 0xf0e0d0c0 },
  nodes: ['a', 'b', 'c'].map((id, i) => ({
    nodeId: id as NodeId,
    incarnation: `${i}`.repeat(16) as Incarnation,
    address: `127.0.0.1:${7401 + i}`,
    zone: 'z',
  })),
  groups: [{ name: 'default', replicationFactor: 3, firstPartition: 0, partitionCount: 2 }],
  regions: [
    {
      regionId: 1 as RegionId,
      name: 'default',
      group: 'default',
      sizeBytes: 0,
      maxEntries: 0,
      ttlMs: 0,
      policy: 'lru',
      durability: 'quorum',
      read: 'primary',
      minInSync: 1,
    },
  ],
  partitions: [0, 1].map((primary) => ({
    partitionEpoch: 1 as PartitionEpoch,
    primary,
    inSync: [primary, 2],
    learners: [],
    unsettled: [],
  })),
}

function refusal(topology: Topology): string {
  try {
    decodeTopology(encodeTopology(topology, 'node'))
  } catch (error) {
    expect((error as CacheError).code).toBe('PROTOCOL_ERROR')
    return (error as CacheError).message
  }
  throw new Error('accepted')
}

describe('a topology', () => {
  it('comes back as it was, for a node', () => {
    fc.assert(
      fc.property(anyTopology, (topology) => {
        expect(decodeTopology(encodeTopology(topology, 'node'))).toEqual(topology)
      }),
      { numRuns: 300 },
    )
  })

  it('comes back without the hash key, for a client', () => {
    const bytes = encodeTopology(SAMPLE, 'client')
    expect(decodeTopology(bytes)).toEqual({ ...SAMPLE, hashKey: undefined })
    expect(Buffer.from(bytes).toString('hex')).not.toContain('04030201')
    expect(Buffer.from(encodeTopology(SAMPLE, 'node')).toString('hex')).toContain('04030201')
  })

  it('takes few bytes for many partitions', () => {
    const partitions = Array.from({ length: 1024 }, () => SAMPLE.partitions[0] as PartitionRecord)
    const groups = [{ name: 'default', replicationFactor: 3, firstPartition: 0, partitionCount: 1024 }]
    expect(encodeTopology({ ...SAMPLE, groups, partitions }, 'client').length).toBeLessThan(8 * 1024)
  })

  it.each([
    [
      'a primary that is not the first in sync',
      { partitions: [{ ...SAMPLE.partitions[0], primary: 2 }] },
      'not the first',
    ],
    [
      'a node that does not exist',
      { partitions: [{ ...SAMPLE.partitions[0], learners: [3] }] },
      'node 3 of 3',
    ],
    [
      'an unsettled set of unknown nodes',
      { partitions: [{ ...SAMPLE.partitions[0], unsettled: [{ primary: 9, members: [] }] }] },
      'node 9 of 3',
    ],
    [
      'more replicas than nodes',
      { partitions: [{ ...SAMPLE.partitions[0], learners: [0, 1, 2, 0] }] },
      '4 replicas',
    ],
    [
      'a group past the partitions',
      { groups: [{ ...SAMPLE.groups[0], partitionCount: 3 }] },
      'past the partitions',
    ],
    ['a group without partitions', { groups: [{ ...SAMPLE.groups[0], partitionCount: 0 }] }, 'is empty'],
    ['a region of an unknown group', { regions: [{ ...SAMPLE.regions[0], group: 'x' }] }, 'unknown group'],
    ['too many nodes', { nodes: Array(1001).fill(SAMPLE.nodes[0]) }, '1001 nodes'],
  ])('with %s is refused', (_, change, said) => {
    expect(refusal({ ...SAMPLE, ...(change as Partial<Topology>) })).toContain(said)
  })

  it('of another format is refused', () => {
    const bytes = encodeTopology(SAMPLE, 'node')
    bytes[0] = 2
    expect(() => decodeTopology(bytes)).toThrow(/unknown topology format 2/)
  })

  it('cut anywhere is refused', () => {
    const bytes = encodeTopology(SAMPLE, 'node')
    for (let end = 0; end < bytes.length; end++) {
      expect(() => decodeTopology(bytes.subarray(0, end))).toThrow(
        expect.objectContaining({ code: 'PROTOCOL_ERROR' }),
      )
    }
  })

  it('made of hostile bytes is consistent or refused', () => {
    const random = new SeededRandom(6)
    const valid = fc.sample(anyTopology, { numRuns: 50, seed: 6 }).map((one) => encodeTopology(one, 'node'))
    let accepted = 0
    for (let i = 0; i < 60_000; i++) {
      const bytes =
        i % 4 === 0 ? noise(random, 100) : mutated(random, valid[i % valid.length] ?? new Uint8Array(0), 1)
      try {
        const topology = decodeTopology(bytes)
        accepted++
        for (const { primary, inSync, learners, unsettled } of topology.partitions) {
          const indexes = [
            primary,
            ...inSync,
            ...learners,
            ...unsettled.flatMap((set) => [set.primary, ...set.members]),
          ]
          if (indexes.some((index) => topology.nodes[index] === undefined))
            throw new Error('an index leads nowhere')
          if (inSync[0] !== primary) throw new Error('the primary is not in sync')
        }
      } catch (error) {
        if (!(error instanceof CacheError) || error.code !== 'PROTOCOL_ERROR') throw error
      }
    }
    expect(accepted).toBeGreaterThan(1000)
  })
})
