import { expect, it } from 'vitest'
import { resolveClusterConfig } from '../../../src/config/load.ts'
import { topologySeed } from '../../../src/config/topology-seed.ts'
import type { ClusterId, Epoch, Incarnation } from '../../../src/kernel/ids.ts'
import { decodeTopology, encodeTopology } from '../../../src/topology/codec.ts'

it('a configuration becomes the fixed part of a topology record', () => {
  const seed = topologySeed(
    resolveClusterConfig({
      name: 'shop',
      nodes: [
        { id: 'a', address: '127.0.0.1:1', zone: 'x' },
        { id: 'b', address: '127.0.0.1:2' },
      ],
      replication: { partitions: 16 },
      regions: {
        sessions: { size: '64mb', ttl: '30m', policy: { type: 'fifo', maxItems: 9 }, durability: 'one' },
      },
    }),
  )
  expect(seed).toEqual({
    clusterName: 'shop',
    nodes: [
      { nodeId: 'a', address: '127.0.0.1:1', zone: 'x' },
      { nodeId: 'b', address: '127.0.0.1:2', zone: 'default' },
    ],
    groups: [{ name: 'default', replicationFactor: 2, firstPartition: 0, partitionCount: 16 }],
    regions: [
      expect.objectContaining({ regionId: 1, name: 'default', group: 'default', durability: 'quorum' }),
      {
        regionId: 2,
        name: 'sessions',
        group: 'default',
        sizeBytes: 64 * 1024 ** 2,
        maxEntries: 9,
        ttlMs: 1_800_000,
        policy: 'fifo',
        durability: 'one',
        read: 'primary',
        minInSync: 1,
      },
    ],
  })

  const topology = {
    ...seed,
    clusterId: 'c' as ClusterId,
    epoch: 1 as Epoch,
    hashKey: undefined,
    nodes: seed.nodes.map((node) => ({ ...node, incarnation: '0' as Incarnation })),
    partitions: Array.from({ length: 16 }, () => ({
      partitionEpoch: 1 as never,
      primary: 0,
      inSync: [0, 1],
      learners: [],
      unsettled: [],
    })),
  }
  expect(decodeTopology(encodeTopology(topology, 'node'))).toMatchObject({
    groups: seed.groups,
    regions: seed.regions,
  })
})
