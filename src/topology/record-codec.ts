/**
 * The parts of the topology record in bytes, as the record itself (codec.ts) and its changes (transform-codec.ts) hold them.
 *
 * Reading trusts nothing: counts are bounded before a list is built, choices and weights are those that exist.
 */

import type { ByteReader, ByteWriter } from '../kernel/bytes.ts'
import { CacheError } from '../kernel/errors.ts'
import type { Incarnation, NodeId, RegionId } from '../kernel/ids.ts'
import { TTL_MS_MAX } from '../wire/operations.ts'
import type { ProcessName } from './process-name.ts'
import type {
  Durability,
  EvictionPolicyName,
  NodeRecord,
  NodeState,
  ReadKind,
  RegionRecord,
  RingNode,
  VoterRecord,
} from './topology.ts'

/** Positions in `Topology.nodes`, those of gone nodes included. */
export const NODES_MAX = 1000
export const GROUPS_MAX = 100
export const REGIONS_MAX = 10_000
/** Partitions of all groups together. */
export const PARTITIONS_MAX: number = 65_536
/** Five at most are wanted; while they change there may be more for a moment. */
export const VOTERS_MAX = 7
export const UNSETTLED_MAX = 64
const WEIGHT_MIN = 0.1
const WEIGHT_MAX = 100
export const REGION_ID_END: number = 2 ** 31

const DURABILITIES: readonly Durability[] = ['one', 'quorum', 'all']
const READS: readonly ReadKind[] = ['primary', 'replica', 'nearest', 'majority', 'linearizable']
const POLICIES: readonly EvictionPolicyName[] = ['lru', 'fifo']
const STATES: readonly NodeState[] = ['active', 'leaving', 'failed', 'gone']

export function writeState(w: ByteWriter, state: NodeState): void {
  w.uint8(STATES.indexOf(state))
}

export function readState(r: ByteReader): NodeState {
  return readChoice(r, STATES)
}

/** A node without its state. */
export function writeNode(w: ByteWriter, node: Omit<NodeRecord, 'state'>): void {
  w.text(node.nodeId)
  w.text(node.incarnation)
  w.text(node.diskId)
  w.text(node.address)
  w.text(node.zone)
  w.float64(node.weight)
}

export function readNode(r: ByteReader): Omit<NodeRecord, 'state'> {
  const node = {
    nodeId: readNodeId(r),
    incarnation: readIncarnation(r),
    diskId: r.text(64),
    address: r.text(512),
    zone: r.text(256),
    weight: r.float64(),
  }
  check(isWeight(node.weight), `node ${node.nodeId} has the weight ${node.weight}`)
  return node
}

export function writeVoter(w: ByteWriter, voter: VoterRecord): void {
  w.text(voter.nodeId)
  w.text(voter.diskId)
  w.text(voter.address)
}

export function readVoter(r: ByteReader): VoterRecord {
  return { nodeId: readNodeId(r), diskId: r.text(64), address: r.text(512) }
}

export function writeRingNodes(w: ByteWriter, nodes: readonly RingNode[]): void {
  w.varint(nodes.length)
  for (const node of nodes) {
    w.text(node.nodeId)
    w.float64(node.weight)
    w.text(node.zone)
  }
}

/** Ring nodes have names of their own. */
export function readRingNodes(r: ByteReader): RingNode[] {
  const nodes = readList(r, NODES_MAX, 'nodes of the ring', (reader): RingNode => {
    return { nodeId: readNodeId(reader), weight: reader.float64(), zone: reader.text(256) }
  })
  for (const { nodeId, weight } of nodes) {
    check(weight === 0 || isWeight(weight), `${nodeId} has the weight ${weight} on the ring`)
  }
  check(new Set(nodes.map((node) => node.nodeId)).size === nodes.length, 'the ring names a node twice')
  return nodes
}

/** A region without its number. */
export function writeRegion(w: ByteWriter, region: Omit<RegionRecord, 'regionId'>): void {
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

export function readRegion(r: ByteReader): Omit<RegionRecord, 'regionId'> {
  const region = {
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
  check(region.ttlMs <= TTL_MS_MAX, `region ${region.name} has a time to live of ${region.ttlMs} ms`)
  return region
}

export function readRegionId(r: ByteReader): RegionId {
  const regionId = r.varint()
  check(regionId < REGION_ID_END, `a region has the number ${regionId}`)
  return regionId as RegionId
}

export function readNodeId(r: ByteReader): NodeId {
  return r.text(256) as NodeId
}

export function readIncarnation(r: ByteReader): Incarnation {
  return r.text(64) as Incarnation
}

export function writeProcess(w: ByteWriter, process: ProcessName): void {
  w.text(process.nodeId)
  w.text(process.incarnation)
}

export function readProcess(r: ByteReader): ProcessName {
  return { nodeId: readNodeId(r), incarnation: readIncarnation(r) }
}

export function readList<T>(r: ByteReader, max: number, what: string, readOne: (r: ByteReader) => T): T[] {
  const count = r.varint()
  check(count <= max, `${count} ${what}; at most ${max} are allowed`)
  const list: T[] = []
  for (let i = 0; i < count; i++) list.push(readOne(r))
  return list
}

export function readFlag(r: ByteReader): boolean {
  const flag = r.uint8()
  check(flag <= 1, `a flag of ${flag}`)
  return flag === 1
}

function readChoice<T>(r: ByteReader, choices: readonly T[]): T {
  const choice = choices[r.uint8()]
  if (choice === undefined) throw new CacheError('PROTOCOL_ERROR', 'a topology holds an unknown choice')
  return choice
}

/** @throws CacheError PROTOCOL_ERROR unless the condition holds */
export function check(condition: boolean, what: string): void {
  if (!condition) throw new CacheError('PROTOCOL_ERROR', `inconsistent topology: ${what}`)
}

export function isWeight(weight: number): boolean {
  return weight >= WEIGHT_MIN && weight <= WEIGHT_MAX
}
