/**
 * Frames between nodes, on `cluster` streams (docs/protocol.md, "Between nodes"). The node that opens a stream sends what
 * it orders as primary; the node that accepted it answers with acknowledgements.
 *
 * ```
 * REPLICATE := type(0x22) frameNumber:u32 senderWallMs:f64 watermarks records
 * watermarks := count:varint (session:8 bytes, firstIncomplete:varint)*
 * record := partition:varint partitionEpoch:varint sequence:u48 versionEpoch:varint length:varint effect
 * ACK := type(0xa2) frameNumber:u32 count:varint rejection*
 * rejection := partition:varint reason:u8 partitionEpoch:varint lastSequence:u48
 * ```
 * `partitionEpoch` is the fence: a replica under another epoch refuses the record. `versionEpoch` is the epoch the
 * operation was ordered in, which it keeps when it is sent again under a later one.
 */

import { type ByteReader, ByteWriter } from '../kernel/bytes.ts'
import { CacheError } from '../kernel/errors.ts'
import { beginFrame, FrameType, finishFrame } from './frames.ts'
import type { Lane } from './transport.ts'

/** By their number on the wire. */
const LANES: readonly Lane[] = ['operations', 'bulk', 'gossip', 'control']

export interface PeerHello {
  readonly versionMin: number
  readonly versionMax: number
  readonly clusterName: string
  /** Empty while the sender knows no topology. */
  readonly clusterId: string
  readonly nodeId: string
  readonly incarnation: string
  readonly diskId: string
  /** Where the sender itself listens. */
  readonly address: string
  /** The node this is meant for, which catches a wrong address; empty when only the address is known. */
  readonly targetNodeId: string
  /** The process this is meant for: another one refuses. Empty on lanes that concern whichever process is there. */
  readonly targetIncarnation: string
  /** Rises with each stream of this sender: a newer one supersedes the older ones of its lane. */
  readonly streamNumber: number
  readonly lane: Lane
}

export interface PeerWelcome {
  readonly version: number
  readonly nodeId: string
  readonly incarnation: string
  readonly diskId: string
  /** Empty while the answering node knows no topology; then `epoch` is 0. */
  readonly clusterId: string
  readonly epoch: number
}

export function encodePeerHello(hello: PeerHello): Uint8Array {
  const w = new ByteWriter(512)
  beginFrame(w, FrameType.peerHello)
  w.uint16(hello.versionMin)
  w.uint16(hello.versionMax)
  w.text(hello.clusterName)
  w.text(hello.clusterId)
  w.text(hello.nodeId)
  w.text(hello.incarnation)
  w.text(hello.diskId)
  w.text(hello.address)
  w.text(hello.targetNodeId)
  w.text(hello.targetIncarnation)
  w.varint(hello.streamNumber)
  w.uint8(LANES.indexOf(hello.lane))
  return finishFrame(w)
}

export function decodePeerHello(r: ByteReader): PeerHello {
  return {
    versionMin: r.uint16(),
    versionMax: r.uint16(),
    clusterName: r.text(256),
    clusterId: r.text(64),
    nodeId: r.text(256),
    incarnation: r.text(64),
    diskId: r.text(64),
    address: r.text(512),
    targetNodeId: r.text(256),
    targetIncarnation: r.text(64),
    streamNumber: r.varint(),
    lane: readLane(r),
  }
}

function readLane(r: ByteReader): Lane {
  const lane = LANES[r.uint8()]
  if (lane === undefined) throw new CacheError('PROTOCOL_ERROR', 'PEER_HELLO names an unknown lane')
  return lane
}

export function encodePeerWelcome(welcome: PeerWelcome): Uint8Array {
  const w = new ByteWriter(256)
  beginFrame(w, FrameType.peerWelcome)
  w.uint16(welcome.version)
  w.text(welcome.nodeId)
  w.text(welcome.incarnation)
  w.text(welcome.diskId)
  w.text(welcome.clusterId)
  w.varint(welcome.epoch)
  return finishFrame(w)
}

export function decodePeerWelcome(r: ByteReader): PeerWelcome {
  return {
    version: r.uint16(),
    nodeId: r.text(256),
    incarnation: r.text(64),
    diskId: r.text(64),
    clusterId: r.text(64),
    epoch: r.varint(),
  }
}

/** What a replica holds of one partition, sent when a stream starts. */
export interface ReplicaPosition {
  readonly partition: number
  readonly partitionEpoch: number
  readonly lastSequence: number
}

export function encodeResume(positions: readonly ReplicaPosition[]): Uint8Array {
  const w = new ByteWriter(64 + positions.length * 12)
  beginFrame(w, FrameType.resume)
  w.varint(positions.length)
  for (const position of positions) {
    w.varint(position.partition)
    w.varint(position.partitionEpoch)
    w.uint48(position.lastSequence)
  }
  return finishFrame(w)
}

export function decodeResume(r: ByteReader): ReplicaPosition[] {
  const positions: ReplicaPosition[] = []
  for (let count = r.varint(); count > 0; count--) {
    positions.push({ partition: r.varint(), partitionEpoch: r.varint(), lastSequence: r.uint48() })
  }
  return positions
}

/** Why a replica did not apply a record. */
export const Rejection = {
  /** The record's epoch is not the replica's. */
  epoch: 1,
  /** Records before it are missing: send again from `lastSequence + 1`. */
  gap: 2,
  /** The value it names has not arrived on the bulk stream yet: send again once STAGED says so. */
  notStaged: 3,
  /** The replica's memory is full. */
  full: 4,
  /** The node holds no replica of the partition. */
  noRole: 5,
  /** The record names a region that the node has yet to learn of: send again a little later. */
  later: 6,
} as const

export interface RejectedPartition {
  readonly partition: number
  readonly reason: number
  readonly partitionEpoch: number
  readonly lastSequence: number
}

export function encodeAck(frameNumber: number, rejected: readonly RejectedPartition[]): Uint8Array {
  const w = new ByteWriter(32 + rejected.length * 16)
  beginFrame(w, FrameType.ack)
  w.uint32(frameNumber)
  w.varint(rejected.length)
  for (const one of rejected) {
    w.varint(one.partition)
    w.uint8(one.reason)
    w.varint(one.partitionEpoch)
    w.uint48(one.lastSequence)
  }
  return finishFrame(w)
}

export interface Ack {
  readonly frameNumber: number
  readonly rejected: readonly RejectedPartition[]
}

const NONE_REJECTED: readonly RejectedPartition[] = []

export function decodeAck(r: ByteReader): Ack {
  const frameNumber = r.uint32()
  let count = r.varint()
  if (count === 0) return { frameNumber, rejected: NONE_REJECTED }
  const rejected: RejectedPartition[] = []
  for (; count > 0; count--) {
    rejected.push({
      partition: r.varint(),
      reason: r.uint8(),
      partitionEpoch: r.varint(),
      lastSequence: r.uint48(),
    })
  }
  return { frameNumber, rejected }
}

/** STAGE: one chunk of a large value on its way to a replica; chunks of a stage arrive in order. Its `bytes` follow. */
export function encodeStageHead(
  stageId: number,
  totalBytes: number,
  offset: number,
  bytes: number,
): Uint8Array {
  const w = new ByteWriter(32)
  beginFrame(w, FrameType.stage)
  w.uint32(stageId)
  w.varint(totalBytes)
  w.varint(offset)
  return finishFrame(w, bytes)
}

export interface StageChunk {
  readonly stageId: number
  readonly totalBytes: number
  readonly offset: number
  readonly start: number
  readonly end: number
}

export function decodeStage(r: ByteReader): StageChunk {
  return { stageId: r.uint32(), totalBytes: r.varint(), offset: r.varint(), start: r.at, end: r.end }
}

/** STAGED: the replica holds every byte of the stage, or (ok = false) cannot take it. STAGE_DROP: forget it. */
export function encodeStageState(
  type: typeof FrameType.staged | typeof FrameType.stageDrop,
  stageId: number,
  ok: boolean,
): Uint8Array {
  const w = new ByteWriter(32)
  beginFrame(w, type)
  w.uint32(stageId)
  w.uint8(ok ? 1 : 0)
  return finishFrame(w)
}
