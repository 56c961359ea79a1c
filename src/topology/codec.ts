/**
 * The topology record in bytes (docs/protocol.md, "Topology"). The same form serves nodes and clients; for clients the
 * hash key is left out.
 *
 * Decoding trusts nothing: every index is checked, so that what it returns is consistent.
 */

import { ByteReader, ByteWriter } from '../kernel/bytes.ts'
import { CacheError } from '../kernel/errors.ts'
import type { ClusterId, Epoch, Incarnation, NodeId, PartitionEpoch, RegionId } from '../kernel/ids.ts'
import { TTL_MS_MAX } from '../wire/operations.ts'
import type {
  Durability,
  EvictionPolicyName,
  GroupRecord,
  NodeRecord,
  PartitionRecord,
  ReadKind,
  RegionRecord,
  Topology,
  UnsettledSet,
} from './topology.ts'

const FORMAT = 1
const NODES_MAX = 1000
const GROUPS_MAX = 100
const REGIONS_MAX = 10_000
/** Partitions of all groups together. */
export const PARTITIONS_MAX: number = 65_536
const UNSETTLED_MAX = 64
const REGION_ID_END = 2 ** 31

const DURABILITIES: readonly Durability[] = ['one', 'quorum', 'all']
const READS: readonly ReadKind[] = ['primary', 'replica', 'nearest', 'majority', 'linearizable']
const POLICIES: readonly EvictionPolicyName[] = ['lru', 'fifo']

export function encodeTopology(topology: Topology, audience: 'node' | 'client'): Uint8Array {
  const w = new ByteWriter(4096 + topology.partitions.length * 8)
  w.uint8(FORMAT)
  w.text(topology.clusterId)
  w.text(topology.clusterName)
  w.varint(topology.epoch)
  const hashKey = audience === 'node' ? topology.hashKey : undefined
  w.uint8(hashKey === undefined ? 0 : 1)
  if (hashKey !== undefined) {
    w.uint32(hashKey.low)
    w.uint32(hashKey.high)
  }
  w.varint(topology.nodes.length)
  for (const node of topology.nodes) {
    w.text(node.nodeId)
    w.text(node.incarnation)
    w.text(node.address)
    w.text(node.zone)
  }
  w.varint(topology.groups.length)
  for (const group of topology.groups) {
    w.text(group.name)
    w.varint(group.replicationFactor)
    w.varint(group.firstPartition)
    w.varint(group.partitionCount)
  }
  w.varint(topology.regions.length)
  for (const region of topology.regions) {
    w.varint(region.regionId)
    w.text(region.name)
    w.text(region.group)
    w.varint(region.sizeBytes)
    w.varint(region.maxEntries)
    w.varint(Math.round(region.ttlMs))
    w.uint8(POLICIES.indexOf(region.policy))
    w.uint8(DURABILITIES.indexOf(region.durability))
    w.uint8(READS.indexOf(region.read))
    w.varint(region.minInSync)
  }
  w.varint(topology.partitions.length)
  for (const partition of topology.partitions) {
    w.varint(partition.partitionEpoch)
    w.varint(partition.primary)
    writeIndexes(w, partition.inSync)
    writeIndexes(w, partition.learners)
    w.varint(partition.unsettled.length)
    for (const set of partition.unsettled) {
      w.varint(set.primary)
      writeIndexes(w, set.members)
    }
  }
  return w.toBytes()
}

/** @throws CacheError PROTOCOL_ERROR when the bytes are no consistent topology of a known format. */
export function decodeTopology(bytes: Uint8Array): Topology {
  const r = new ByteReader(bytes)
  const format = r.uint8()
  if (format !== FORMAT) throw new CacheError('PROTOCOL_ERROR', `unknown topology format ${format}`)
  const clusterId = r.text(64) as ClusterId
  const clusterName = r.text(256)
  const epoch = r.varint() as Epoch
  const hashKey = r.uint8() === 1 ? { low: r.uint32(), high: r.uint32() } : undefined
  const nodes = readList(r, NODES_MAX, 'nodes', readNode)
  const groups = readList(r, GROUPS_MAX, 'groups', readGroup)
  const regions = readList(r, REGIONS_MAX, 'regions', readRegion)
  const partitions = readList(r, PARTITIONS_MAX, 'partitions', (reader) =>
    readPartition(reader, nodes.length),
  )
  for (const group of groups) {
    check(
      group.firstPartition + group.partitionCount <= partitions.length,
      'a group reaches past the partitions',
    )
  }
  check(
    new Set(regions.map((region) => region.regionId)).size === regions.length,
    'two regions have the same number',
  )
  for (const region of regions) {
    check(region.regionId < REGION_ID_END, `region ${region.name} has the number ${region.regionId}`)
    check(region.ttlMs <= TTL_MS_MAX, `region ${region.name} has a time to live of ${region.ttlMs} ms`)
    check(
      groups.some((group) => group.name === region.group),
      `region ${region.name} names an unknown group`,
    )
  }
  return { clusterId, clusterName, epoch, hashKey, nodes, groups, regions, partitions }
}

function readNode(r: ByteReader): NodeRecord {
  return {
    nodeId: r.text(256) as NodeId,
    incarnation: r.text(64) as Incarnation,
    address: r.text(512),
    zone: r.text(256),
  }
}

function readGroup(r: ByteReader): GroupRecord {
  const group = {
    name: r.text(256),
    replicationFactor: r.varint(),
    firstPartition: r.varint(),
    partitionCount: r.varint(),
  }
  check(group.partitionCount > 0 && group.replicationFactor > 0, `group ${group.name} is empty`)
  return group
}

function readRegion(r: ByteReader): RegionRecord {
  return {
    regionId: r.varint() as RegionId,
    name: r.text(256),
    group: r.text(256),
    sizeBytes: r.varint(),
    maxEntries: r.varint(),
    ttlMs: r.varint(),
    policy: readChoice(r, POLICIES),
    durability: readChoice(r, DURABILITIES),
    read: readChoice(r, READS),
    minInSync: r.varint(),
  }
}

function readPartition(r: ByteReader, nodeCount: number): PartitionRecord {
  const partitionEpoch = r.varint() as PartitionEpoch
  const primary = readIndex(r, nodeCount)
  const inSync = readIndexes(r, nodeCount)
  const learners = readIndexes(r, nodeCount)
  const unsettled = readList(r, UNSETTLED_MAX, 'unsettled sets', (reader): UnsettledSet => {
    return { primary: readIndex(reader, nodeCount), members: readIndexes(reader, nodeCount) }
  })
  check(inSync[0] === primary, 'a primary is not the first of its in-sync set')
  return { partitionEpoch, primary, inSync, learners, unsettled }
}

function writeIndexes(w: ByteWriter, indexes: readonly number[]): void {
  w.varint(indexes.length)
  for (const index of indexes) w.varint(index)
}

function readIndexes(r: ByteReader, nodeCount: number): number[] {
  return readList(r, nodeCount, 'replicas', (reader) => readIndex(reader, nodeCount))
}

function readIndex(r: ByteReader, nodeCount: number): number {
  const index = r.varint()
  check(index < nodeCount, `node ${index} of ${nodeCount}`)
  return index
}

function readList<T>(r: ByteReader, max: number, what: string, readOne: (r: ByteReader) => T): T[] {
  const count = r.varint()
  check(count <= max, `${count} ${what}; at most ${max} are allowed`)
  const list: T[] = []
  for (let i = 0; i < count; i++) list.push(readOne(r))
  return list
}

function readChoice<T>(r: ByteReader, choices: readonly T[]): T {
  const choice = choices[r.uint8()]
  if (choice === undefined) throw new CacheError('PROTOCOL_ERROR', 'a topology holds an unknown choice')
  return choice
}

function check(condition: boolean, what: string): void {
  if (!condition) throw new CacheError('PROTOCOL_ERROR', `inconsistent topology: ${what}`)
}
