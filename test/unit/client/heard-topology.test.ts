/** A topology that was decoded is not decoded again while the same bytes are heard. */

import { expect, it } from 'vitest'
import { HeardTopology } from '../../../src/client/heard-topology.ts'
import type { ClusterId, Epoch, PartitionEpoch } from '../../../src/kernel/ids.ts'
import { decodeTopology, encodeTopology } from '../../../src/topology/codec.ts'
import { NO_RING, type Topology } from '../../../src/topology/topology.ts'
import { makeTopology, withPartition } from '../../support/topologies.ts'

function encoded(epoch: number): Uint8Array {
  const topology: Topology = {
    clusterId: 'c' as ClusterId,
    clusterName: 'test',
    epoch: epoch as Epoch,
    hashKey: undefined,
    nextRegionId: 0,
    voters: [],
    ring: NO_RING,
    nodes: [],
    groups: [],
    regions: [],
    partitions: [],
  }
  return encodeTopology(topology, 'client')
}

it('hears equal bytes as the same topology, others as another, also where the buffer is used again', () => {
  const heard = new HeardTopology()
  const first = heard.decode(encoded(1))
  expect(heard.decode(encoded(1))).toBe(first)
  const buffer = encoded(2)
  expect(heard.decode(buffer)).toEqual(decodeTopology(encoded(2)))
  buffer.set(encoded(3))
  expect(heard.decode(buffer).epoch).toBe(3)
})

it('keeps nothing of bytes that are no topology', () => {
  const heard = new HeardTopology()
  for (let i = 0; i < 2; i++)
    expect(() => heard.decode(new Uint8Array([99]))).toThrow('unknown topology format')
})

it('keeps partitions that are the same, and no others', () => {
  const before = makeTopology({ nodes: 4, partitions: 16 })
  const after: Topology = {
    ...withPartition(before, 3, { partitionEpoch: 9 as PartitionEpoch }),
    epoch: (before.epoch + 1) as Epoch,
  }
  const other = withPartition(after, 7, { primary: 2, inSync: [2, 0, 3] })
  const heard = new HeardTopology()
  const first = heard.decode(encodeTopology(before, 'client'))
  const bytes = encodeTopology(other, 'client')
  const second = heard.decode(bytes)
  expect(second).toEqual(decodeTopology(bytes))
  const kept = second.partitions.flatMap((one, at) => (one === first.partitions[at] ? [at] : []))
  expect(kept).toEqual([0, 1, 2, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15])
})
