/**
 * Changes of the topology in bytes: what voters keep and decide on, and what a node asks another to have committed.
 *
 * Reading is strict: a kind, a flag or a weight that does not exist, a list too long, or bytes left over are refused. Whether
 * the change fits the record is for `applyTransform` to say.
 */

import { ByteReader, ByteWriter } from '../kernel/bytes.ts'
import { CacheError } from '../kernel/errors.ts'
import type { Epoch, PartitionEpoch } from '../kernel/ids.ts'
import { readJobTransform, writeJobTransform } from './jobs-codec.ts'
import {
  check,
  NODES_MAX,
  PARTITIONS_MAX,
  readFlag,
  readList,
  readNode,
  readNodeId,
  readProcess,
  readRegion,
  readRegionId,
  readRingNodes,
  readVoter,
  writeNode,
  writeProcess,
  writeRegion,
  writeRingNodes,
  writeVoter,
} from './record-codec.ts'
import type { GroupRecord } from './topology.ts'
import type { NodeAt, PartitionAt, Transform } from './transforms.ts'

/** Changes in one list. */
export const TRANSFORMS_MAX = 10_000
/** Partitions one change may name, counted once per node. */
const ITEMS_MAX = 4 * PARTITIONS_MAX

/** Numbers on the wire and on disk; never reused. */
const KINDS: readonly Transform['kind'][] = [
  'NodeJoined',
  'NodeRestarted',
  'NodeFailed',
  'NodeLeaving',
  'NodeRemoved',
  'LearnerAdded',
  'LearnerDropped',
  'LearnerPromoted',
  'InSyncShrunk',
  'PrimaryMoved',
  'ReplicaRemoved',
  'Settled',
  'VoterAdded',
  'VoterRemoved',
  'Recovered',
  'RingChanged',
  'RingPaused',
  'GroupCreated',
  'RegionCreated',
  'RegionAltered',
  'RegionDropped',
  'JobDefined',
  'JobAltered',
  'JobDropped',
  'JobClaimed',
  'JobStarted',
  'JobTaken',
  'JobCancelled',
  'JobEnded',
  'JobMissed',
]

export function encodeTransforms(transforms: readonly Transform[]): Uint8Array {
  const w = new ByteWriter(256)
  writeTransforms(w, transforms)
  return w.toBytes()
}

/** @throws CacheError PROTOCOL_ERROR when the bytes are no list of changes, or more than that */
export function decodeTransforms(bytes: Uint8Array): Transform[] {
  const r = new ByteReader(bytes)
  const transforms = readTransforms(r)
  check(r.remaining === 0, 'bytes follow a list of changes')
  return transforms
}

export function writeTransforms(w: ByteWriter, transforms: readonly Transform[]): void {
  w.varint(transforms.length)
  for (const transform of transforms) writeTransform(w, transform)
}

/** @throws CacheError PROTOCOL_ERROR when what follows is no list of changes */
export function readTransforms(r: ByteReader): Transform[] {
  return readList(r, TRANSFORMS_MAX, 'changes', readTransform)
}

function writeTransform(w: ByteWriter, transform: Transform): void {
  w.uint8(KINDS.indexOf(transform.kind))
  switch (transform.kind) {
    case 'NodeJoined':
      writeNode(w, transform.node)
      return
    case 'NodeRestarted':
      writeProcess(w, transform.old)
      writeNode(w, transform.node)
      return
    case 'NodeFailed':
    case 'NodeRemoved':
      writeProcess(w, transform.process)
      return
    case 'NodeLeaving':
      writeProcess(w, transform.process)
      w.uint8(transform.leaving ? 1 : 0)
      return
    case 'LearnerAdded':
      writeList(w, transform.learners, writeNodeAt)
      return
    case 'LearnerDropped':
    case 'LearnerPromoted':
      writeList(w, transform.learners, writeSessionAt)
      return
    case 'InSyncShrunk':
      writeList(w, transform.members, writeNodeAt)
      return
    case 'PrimaryMoved':
      writeList(w, transform.moves, writeNodeAt)
      return
    case 'ReplicaRemoved':
      writeList(w, transform.replicas, writeNodeAt)
      return
    case 'Settled':
      writeList(w, transform.partitions, writePartitionAt)
      return
    case 'Recovered':
      writeList(w, transform.partitions, writeNodeAt)
      return
    case 'VoterAdded':
      writeVoter(w, transform.voter)
      return
    case 'VoterRemoved':
      w.text(transform.nodeId)
      w.text(transform.diskId)
      return
    case 'RingChanged':
      writeRingNodes(w, transform.expected)
      writeRingNodes(w, transform.nodes)
      return
    case 'RingPaused':
      w.uint8(transform.paused ? 1 : 0)
      return
    case 'GroupCreated':
      w.text(transform.group.name)
      w.varint(transform.group.replicationFactor)
      w.varint(transform.group.partitionCount)
      return
    case 'RegionCreated':
      writeRegion(w, transform.region)
      return
    case 'RegionAltered':
      w.varint(transform.region.regionId)
      writeRegion(w, transform.region)
      return
    case 'RegionDropped':
      w.varint(transform.regionId)
      return
    default:
      writeJobTransform(w, transform)
  }
}

function readTransform(r: ByteReader): Transform {
  const kind = KINDS[r.uint8()]
  switch (kind) {
    case 'NodeJoined':
      return { kind, node: readNode(r) }
    case 'NodeRestarted':
      return { kind, old: readProcess(r), node: readNode(r) }
    case 'NodeFailed':
    case 'NodeRemoved':
      return { kind, process: readProcess(r) }
    case 'NodeLeaving':
      return { kind, process: readProcess(r), leaving: readFlag(r) }
    case 'LearnerAdded':
      return { kind, learners: readItems(r, readNodeAt) }
    case 'LearnerDropped':
    case 'LearnerPromoted':
      return { kind, learners: readItems(r, readSessionAt) }
    case 'InSyncShrunk':
      return { kind, members: readItems(r, readNodeAt) }
    case 'PrimaryMoved':
      return { kind, moves: readItems(r, readNodeAt) }
    case 'ReplicaRemoved':
      return { kind, replicas: readItems(r, readNodeAt) }
    case 'Settled':
      return { kind, partitions: readItems(r, readPartitionAt) }
    case 'Recovered':
      return { kind, partitions: readItems(r, readNodeAt) }
    case 'VoterAdded':
      return { kind, voter: readVoter(r) }
    case 'VoterRemoved':
      return { kind, nodeId: readNodeId(r), diskId: r.text(64) }
    case 'RingChanged':
      return { kind, expected: readRingNodes(r), nodes: readRingNodes(r) }
    case 'RingPaused':
      return { kind, paused: readFlag(r) }
    case 'GroupCreated':
      return { kind, group: readGroup(r) }
    case 'RegionCreated':
      return { kind, region: readRegion(r) }
    case 'RegionAltered':
      return { kind, region: { regionId: readRegionId(r), ...readRegion(r) } }
    case 'RegionDropped':
      return { kind, regionId: readRegionId(r) }
    case 'JobDefined':
    case 'JobAltered':
    case 'JobDropped':
    case 'JobClaimed':
    case 'JobStarted':
    case 'JobTaken':
    case 'JobCancelled':
    case 'JobEnded':
    case 'JobMissed':
      return readJobTransform(r, kind)
    default:
      throw new CacheError(
        'PROTOCOL_ERROR',
        'an unknown change of the topology: is this node older than the others?',
      )
  }
}

function readGroup(r: ByteReader): Omit<GroupRecord, 'firstPartition'> {
  return { name: r.text(256), replicationFactor: r.varint(), partitionCount: r.varint() }
}

function writePartitionAt(w: ByteWriter, at: PartitionAt): void {
  w.varint(at.partition)
  w.varint(at.partitionEpoch)
}

function readPartitionAt(r: ByteReader): PartitionAt {
  const partition = r.varint()
  check(partition < PARTITIONS_MAX, `a change names partition ${partition}`)
  return { partition, partitionEpoch: r.varint() as PartitionEpoch }
}

function writeNodeAt(w: ByteWriter, at: NodeAt): void {
  writePartitionAt(w, at)
  w.varint(at.node)
}

function readNodeAt(r: ByteReader): NodeAt {
  const at = readPartitionAt(r)
  const node = r.varint()
  check(node < NODES_MAX, `a change names node ${node}`)
  return { ...at, node }
}

function writeSessionAt(w: ByteWriter, at: NodeAt & { readonly session: Epoch }): void {
  writeNodeAt(w, at)
  w.varint(at.session)
}

function readSessionAt(r: ByteReader): NodeAt & { readonly session: Epoch } {
  return { ...readNodeAt(r), session: r.varint() as Epoch }
}

function writeList<T>(w: ByteWriter, items: readonly T[], writeOne: (w: ByteWriter, item: T) => void): void {
  w.varint(items.length)
  for (const item of items) writeOne(w, item)
}

function readItems<T>(r: ByteReader, readOne: (r: ByteReader) => T): T[] {
  return readList(r, ITEMS_MAX, 'partitions in a change', readOne)
}
