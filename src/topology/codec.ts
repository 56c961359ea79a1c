/**
 * The topology record in bytes (docs/protocol.md, "Topology"). Nodes exchange it whole; clients get the part that tells
 * them where to send what, without the hash key, the voters, the ring and what replicas are up to.
 *
 * Decoding trusts nothing: every index is checked, so that what it returns is consistent.
 */

import { ByteReader, ByteWriter } from '../kernel/bytes.ts'
import { CacheError } from '../kernel/errors.ts'
import type { ClusterId, Epoch, PartitionEpoch } from '../kernel/ids.ts'
import { readJobs, writeJobs } from './jobs-codec.ts'
import {
  check,
  GROUPS_MAX,
  NODES_MAX,
  PARTITIONS_MAX,
  REGIONS_MAX,
  readFlag,
  readIncarnation,
  readList,
  readNode,
  readNodeId,
  readRegion,
  readRegionId,
  readRingNodes,
  readState,
  readVoter,
  UNSETTLED_MAX,
  VOTERS_MAX,
  writeNode,
  writeRegion,
  writeRingNodes,
  writeState,
  writeVoter,
} from './record-codec.ts'
import {
  type GroupRecord,
  type LearnerRecord,
  NO_RING,
  type NodeRecord,
  type PartitionRecord,
  type RingRecord,
  type Topology,
  type UnsettledSet,
} from './topology.ts'

export { PARTITIONS_MAX } from './record-codec.ts'

const FORMAT = 2

/** Nodes hold it whole; clients get the part that concerns them. */
export type Audience = 'node' | 'client'

/** A record without its hash key can only be written for clients. */
export function encodeTopology(topology: Topology, audience: Audience): Uint8Array {
  const w = new ByteWriter(4096 + topology.partitions.length * 10)
  writeHead(w, topology, audience)
  const whole = isWhole(topology, audience)
  for (const partition of topology.partitions) writePartition(w, partition, whole)
  if (whole) writeTail(w, topology)
  return w.toBytes()
}

export function isWhole(topology: Topology, audience: Audience): boolean {
  return audience === 'node' && topology.hashKey !== undefined
}

/**
 * Everything up to the first partition.
 * @param ring the ring in bytes, where they are known
 */
export function writeHead(w: ByteWriter, topology: Topology, audience: Audience, ring?: Uint8Array): void {
  w.uint8(FORMAT)
  w.text(topology.clusterId)
  w.text(topology.clusterName)
  w.varint(topology.epoch)
  const hashKey = audience === 'node' ? topology.hashKey : undefined
  const whole = hashKey !== undefined
  w.uint8(whole ? 1 : 0)
  if (whole) {
    w.uint32(hashKey.low)
    w.uint32(hashKey.high)
    w.varint(topology.nextRegionId)
    w.varint(topology.voters.length)
    for (const voter of topology.voters) writeVoter(w, voter)
    if (ring === undefined) writeRing(w, topology.ring)
    else w.raw(ring)
  }
  w.varint(topology.nodes.length)
  for (const node of topology.nodes) {
    writeState(w, node.state)
    if (whole) {
      writeNode(w, node)
      continue
    }
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
    writeRegion(w, region)
  }
  w.varint(topology.partitions.length)
}

/** What follows the partitions in the record of nodes. A cluster that has no jobs has nothing there. */
export function writeTail(w: ByteWriter, { jobs }: Topology): void {
  if (jobs !== undefined) writeJobs(w, jobs)
}

export function writeRing(w: ByteWriter, ring: RingRecord): void {
  writeRingNodes(w, ring.nodes)
  writePlacement(w, ring.placement)
  writeRingNodes(w, ring.previous)
  writePlacement(w, ring.previousPlacement)
  w.uint8(ring.paused ? 1 : 0)
}

/**
 * @param before a record of the same cluster: what a client hears of mostly repeats it, and partitions that are the same stay the same
 *   objects, so that a new record costs little and leaves little behind
 * @throws CacheError PROTOCOL_ERROR when the bytes are no consistent topology of a known format.
 */
export function decodeTopology(bytes: Uint8Array, before?: Topology): Topology {
  const r = new ByteReader(bytes)
  const format = r.uint8()
  if (format !== FORMAT) throw new CacheError('PROTOCOL_ERROR', `unknown topology format ${format}`)
  const clusterId = r.text(64) as ClusterId
  const clusterName = r.text(256)
  const epoch = r.varint() as Epoch
  const whole = readFlag(r)
  const inner = whole
    ? {
        hashKey: { low: r.uint32(), high: r.uint32() },
        nextRegionId: r.varint(),
        voters: readList(r, VOTERS_MAX, 'voters', readVoter),
        ring: readRing(r),
      }
    : { hashKey: undefined, nextRegionId: 0, voters: [], ring: NO_RING }
  const nodes = readList(r, NODES_MAX, 'nodes', whole ? readWholeNode : readClientNode)
  const groups = readList(r, GROUPS_MAX, 'groups', readGroup)
  const regions = readList(r, REGIONS_MAX, 'regions', (reader) => ({
    regionId: readRegionId(reader),
    ...readRegion(reader),
  }))
  let at = 0
  const partitions = readList(r, PARTITIONS_MAX, 'partitions', (reader) =>
    whole
      ? readPartition(reader, nodes.length)
      : readClientPartition(reader, nodes.length, before?.partitions[at++]),
  )
  const jobs = whole && r.remaining > 0 ? { jobs: readJobs(r) } : {}
  const topology = { clusterId, clusterName, epoch, ...inner, nodes, groups, regions, partitions, ...jobs }
  checkWhole(topology, whole)
  return topology
}

/** What can be seen only once all parts are there. */
function checkWhole(topology: Topology, whole: boolean): void {
  const { groups, partitions, regions, nodes, voters, nextRegionId, ring } = topology
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
    check(
      groups.some((group) => group.name === region.group),
      `region ${region.name} names an unknown group`,
    )
    check(!whole || region.regionId < nextRegionId, `region ${region.name} has a number not yet given`)
  }
  const present = nodes.filter((node) => node.state !== 'gone').map((node) => node.nodeId)
  check(new Set(present).size === present.length, 'two nodes have the same name')
  for (const placement of [ring.placement, ring.previousPlacement]) {
    check(!whole || placement.length === partitions.length, 'the ring does not place every partition')
  }
  check(new Set(voters.map((voter) => voter.nodeId)).size === voters.length, 'a node votes twice')
}

function readWholeNode(r: ByteReader): NodeRecord {
  const state = readState(r)
  return { ...readNode(r), state }
}

function readClientNode(r: ByteReader): NodeRecord {
  const state = readState(r)
  const named = { nodeId: readNodeId(r), incarnation: readIncarnation(r) }
  return { ...named, diskId: '', address: r.text(512), zone: r.text(256), weight: 1, state }
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

export function writePartition(w: ByteWriter, partition: PartitionRecord, whole: boolean): void {
  w.varint(partition.partitionEpoch)
  w.varint(partition.primary)
  writeIndexes(w, partition.inSync)
  if (!whole) return
  w.varint(partition.learners.length)
  for (const learner of partition.learners) {
    w.varint(learner.node)
    w.varint(learner.session)
  }
  w.varint(partition.unsettled.length)
  for (const set of partition.unsettled) {
    w.varint(set.primary)
    writeIndexes(w, set.members)
  }
  w.varint(partition.recoveredAt)
}

/** @returns `before` itself if it is the same */
function readClientPartition(
  r: ByteReader,
  nodeCount: number,
  before: PartitionRecord | undefined,
): PartitionRecord {
  const partitionEpoch = r.varint() as PartitionEpoch
  const primary = readIndex(r, nodeCount)
  const inSync = readIndexesLike(r, nodeCount, before?.inSync ?? [])
  if (before !== undefined && inSync === before.inSync) {
    const isSame = before.partitionEpoch === partitionEpoch && before.primary === primary
    if (isSame && before.learners.length + before.unsettled.length + before.recoveredAt === 0) return before
  }
  checkInSync(primary, inSync)
  return { partitionEpoch, primary, inSync, learners: [], unsettled: [], recoveredAt: 0 }
}

function checkInSync(primary: number, inSync: readonly number[]): void {
  check(inSync[0] === primary, 'a primary is not the first of its in-sync set')
  check(new Set(inSync).size === inSync.length, 'an in-sync set names a node twice')
}

function readPartition(r: ByteReader, nodeCount: number): PartitionRecord {
  const partitionEpoch = r.varint() as PartitionEpoch
  const primary = readIndex(r, nodeCount)
  const inSync = readIndexes(r, nodeCount)
  checkInSync(primary, inSync)
  const learners = readList(r, nodeCount, 'learners', (reader): LearnerRecord => {
    return { node: readIndex(reader, nodeCount), session: reader.varint() as Epoch }
  })
  const replicas = new Set([...inSync, ...learners.map((learner) => learner.node)])
  check(replicas.size === inSync.length + learners.length, 'a learner is named twice or is in sync')
  const unsettled = readList(r, UNSETTLED_MAX, 'unsettled sets', (reader): UnsettledSet => {
    return { primary: readIndex(reader, nodeCount), members: readIndexes(reader, nodeCount) }
  })
  const recoveredAt = r.varint()
  check(recoveredAt <= partitionEpoch, 'a partition started over in an epoch to come')
  return { partitionEpoch, primary, inSync, learners, unsettled, recoveredAt }
}

function writePlacement(w: ByteWriter, placement: RingRecord['placement']): void {
  w.varint(placement.length)
  for (const places of placement) writeIndexes(w, places)
}

function readRing(r: ByteReader): RingRecord {
  const nodes = readRingNodes(r)
  const placement = readPlacement(r, nodes.length)
  const previous = readRingNodes(r)
  return {
    nodes,
    placement,
    previous,
    previousPlacement: readPlacement(r, previous.length),
    paused: readFlag(r),
  }
}

function readPlacement(r: ByteReader, nodeCount: number): number[][] {
  return readList(r, PARTITIONS_MAX, 'partitions on the ring', (reader) => readIndexes(reader, nodeCount))
}

function writeIndexes(w: ByteWriter, indexes: readonly number[]): void {
  w.varint(indexes.length)
  for (const index of indexes) w.varint(index)
}

function readIndexes(r: ByteReader, nodeCount: number): number[] {
  return readList(r, nodeCount, 'replicas', (reader) => readIndex(reader, nodeCount))
}

/** @returns `before` itself if they are the same */
function readIndexesLike(r: ByteReader, nodeCount: number, before: readonly number[]): readonly number[] {
  const count = r.varint()
  check(count <= nodeCount, `${count} replicas on ${nodeCount} nodes`)
  let indexes: number[] | undefined
  for (let i = 0; i < count; i++) {
    const index = readIndex(r, nodeCount)
    if (indexes === undefined && before[i] !== index) indexes = before.slice(0, i)
    indexes?.push(index)
  }
  return indexes ?? (count === before.length ? before : before.slice(0, count))
}

function readIndex(r: ByteReader, nodeCount: number): number {
  const index = r.varint()
  check(index < nodeCount, `node ${index} of ${nodeCount}`)
  return index
}
