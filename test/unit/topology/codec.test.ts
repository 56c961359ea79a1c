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
import {
  type GroupRecord,
  NO_RING,
  type PartitionRecord,
  type RegionRecord,
  type Topology,
} from '../../../src/topology/topology.ts'
import { textOfBytes } from '../../support/arbitrary-text.ts'
import { mutated, noise } from '../../support/hostile-bytes.ts'

const text = textOfBytes(64)
const weight = fc.double({ min: 0.1, max: 100, noNaN: true })
const ringNodes = fc.uniqueArray(
  fc.record({
    nodeId: text.map((id) => id as NodeId),
    weight: fc.oneof(weight, fc.constant(0)),
    zone: text,
  }),
  { maxLength: 5, selector: (node) => node.nodeId },
)
const placed = (partitions: number) =>
  ringNodes.chain((nodes) =>
    fc.record({
      nodes: fc.constant(nodes),
      placement: fc.array(fc.array(fc.nat(Math.max(0, nodes.length - 1)), { maxLength: nodes.length }), {
        minLength: partitions,
        maxLength: partitions,
      }),
    }),
  )
const anyRing = (partitions: number): fc.Arbitrary<Topology['ring']> =>
  fc.tuple(placed(partitions), placed(partitions), fc.boolean()).map(([now, before, paused]) => {
    return { ...now, previous: before.nodes, previousPlacement: before.placement, paused }
  })
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
      .record({
        epoch: fc.nat(),
        session: fc.nat(),
        inSync: someNodes,
        others: someNodes,
        flag: fc.boolean(),
      })
      .map(
        ({ epoch, session, inSync, others, flag }): PartitionRecord => ({
          partitionEpoch: epoch as PartitionEpoch,
          primary: inSync[0] ?? 0,
          inSync,
          learners: flag
            ? others
                .filter((node) => !inSync.includes(node))
                .map((node) => ({ node, session: session as Epoch }))
            : [],
          unsettled: flag ? [{ primary: others[0] ?? 0, members: others }] : [],
          recoveredAt: flag ? epoch : 0,
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
      hashKey: fc.record({ low: uint32, high: uint32 }),
      nodes: fc.uniqueArray(
        fc.record({
          nodeId: text.map((id) => id as NodeId),
          incarnation: text.map((id) => id as Incarnation),
          diskId: text,
          address: text,
          zone: text,
          weight,
          state: fc.constantFrom('active', 'leaving', 'failed', 'gone'),
        }),
        { minLength: nodes, maxLength: nodes, selector: (node) => node.nodeId },
      ),
      voters: fc.uniqueArray(
        fc.record({ nodeId: text.map((id) => id as NodeId), diskId: text, address: text }),
        { maxLength: 5, selector: (voter) => voter.nodeId },
      ),
      ring: anyRing(partitions),
      nextRegionId: fc.integer({ min: 2 ** 31, max: 2 ** 40 }),
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
    diskId: `disk-${id}`,
    address: `127.0.0.1:${7401 + i}`,
    zone: 'z',
    weight: 2,
    state: 'active',
  })),
  voters: [{ nodeId: 'a' as NodeId, diskId: 'disk-a', address: '127.0.0.1:7401' }],
  ring: {
    nodes: [{ nodeId: 'a' as NodeId, weight: 1, zone: 'z' }],
    placement: [[0], []],
    previous: [{ nodeId: 'b' as NodeId, weight: 0, zone: 'z' }],
    previousPlacement: [[], [0]],
    paused: true,
  },
  nextRegionId: 2,
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
    learners: [{ node: primary === 0 ? 1 : 0, session: 7 as Epoch }],
    unsettled: [{ primary: 2, members: [0, 2] }],
    recoveredAt: 1,
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

  it('comes back without what only nodes need, for a client', () => {
    const bytes = encodeTopology(SAMPLE, 'client')
    expect(decodeTopology(bytes)).toEqual({
      ...SAMPLE,
      hashKey: undefined,
      nextRegionId: 0,
      voters: [],
      ring: NO_RING,
      nodes: SAMPLE.nodes.map((node) => ({ ...node, diskId: '', weight: 1 })),
      partitions: SAMPLE.partitions.map((partition) => {
        return { ...partition, learners: [], unsettled: [], recoveredAt: 0 }
      }),
    })
    expect(Buffer.from(bytes).toString()).not.toContain('disk-')
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
      { partitions: [{ ...SAMPLE.partitions[0], learners: [{ node: 3, session: 1 }] }] },
      'node 3 of 3',
    ],
    [
      'an unsettled set of unknown nodes',
      { partitions: [{ ...SAMPLE.partitions[0], unsettled: [{ primary: 9, members: [] }] }] },
      'node 9 of 3',
    ],
    [
      'more replicas than nodes',
      { partitions: [{ ...SAMPLE.partitions[0], learners: Array(4).fill({ node: 1, session: 1 }) }] },
      '4 learners',
    ],
    [
      'a group past the partitions',
      { groups: [{ ...SAMPLE.groups[0], partitionCount: 3 }] },
      'past the partitions',
    ],
    ['a group without partitions', { groups: [{ ...SAMPLE.groups[0], partitionCount: 0 }] }, 'is empty'],
    [
      'a learner that is in sync',
      { partitions: [{ ...SAMPLE.partitions[0], learners: [{ node: 2, session: 1 }] }] },
      'is in sync',
    ],
    [
      'a member named twice',
      { partitions: [{ ...SAMPLE.partitions[0], inSync: [0, 2, 2] }] },
      'names a node twice',
    ],
    [
      'a restart in an epoch to come',
      { partitions: [{ ...SAMPLE.partitions[0], recoveredAt: 2 }] },
      'epoch to come',
    ],
    ['two nodes of one name', { nodes: Array(3).fill(SAMPLE.nodes[0]) }, 'two nodes have the same name'],
    [
      'a ring that leaves partitions out',
      { ring: { ...SAMPLE.ring, placement: [[0]] } },
      'place every partition',
    ],
    ['a node that votes twice', { voters: Array(2).fill(SAMPLE.voters[0]) }, 'votes twice'],
    ['a region of a number not given yet', { nextRegionId: 1 }, 'not yet given'],
    [
      'a weight out of range',
      { nodes: SAMPLE.nodes.map((node) => ({ ...node, weight: 101 })) },
      'weight 101',
    ],
    ['a region of an unknown group', { regions: [{ ...SAMPLE.regions[0], group: 'x' }] }, 'unknown group'],
    ['too many nodes', { nodes: Array(1001).fill(SAMPLE.nodes[0]) }, '1001 nodes'],
  ])('with %s is refused', (_, change, said) => {
    expect(refusal({ ...SAMPLE, ...(change as Partial<Topology>) })).toContain(said)
  })

  it('of another format is refused', () => {
    const bytes = encodeTopology(SAMPLE, 'node')
    bytes[0] = 3
    expect(() => decodeTopology(bytes)).toThrow(/unknown topology format 3/)
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
            ...learners.map(({ node }) => node),
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
