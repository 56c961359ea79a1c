/**
 * Frames of the gossip lane (docs/protocol.md, "Membership"): who is alive, as nodes tell each other.
 *
 * Each node opens one such stream to each other node and asks on it; the accepting node answers on the same stream. Every
 * message begins with the sender's topology epoch and hash, so that whoever is behind notices.
 *
 * Decoding trusts nothing: counts and texts are bounded, codes must be known, and a frame ends where its fields end.
 */

import { ByteReader, ByteWriter } from '../kernel/bytes.ts'
import { CacheError } from '../kernel/errors.ts'
import { beginFrame, FrameType, finishFrame } from './frames.ts'
import { readHex, writeHex } from './handshake.ts'

/** `dead`: given up by the others. `left`: it said goodbye; that is not a failure. */
export type MemberStatus = 'alive' | 'suspect' | 'dead' | 'left'

/** What is said of one process. */
export interface MemberRecord {
  readonly nodeId: string
  /** 16 hex digits. */
  readonly incarnation: string
  /** Where it listens, `host:port`. */
  readonly address: string
  /** Raised by the process itself, and by nobody else, to contradict a suspicion. */
  readonly counter: number
  readonly status: MemberStatus
  /** With `dead` and `left` only: certain, not concluded from silence. Such a process never comes back. */
  readonly proven: boolean
}

export type GossipUpdate =
  /** `by`: the node that says so; different ones confirm a suspicion. */
  | { readonly kind: 'member'; readonly record: MemberRecord; readonly by: string }
  /** The stream of `by` to this process broke off, and connecting to it again was refused. */
  | {
      readonly kind: 'refused'
      readonly nodeId: string
      readonly incarnation: string
      readonly counter: number
      readonly by: string
    }

export type GossipMessage =
  | { readonly type: 'ping'; readonly sequence: number; readonly updates: readonly GossipUpdate[] }
  /** Asks the receiver to ping a third node, and to pass its ack on. */
  | {
      readonly type: 'ping-request'
      readonly sequence: number
      readonly nodeId: string
      readonly incarnation: string
      readonly updates: readonly GossipUpdate[]
    }
  | { readonly type: 'updates'; readonly updates: readonly GossipUpdate[] }
  /** All the sender knows, itself first; answered by `pull`. */
  | { readonly type: 'push'; readonly members: readonly MemberRecord[] }
  /** `lagMs`: how late the event loop of the process that was pinged ran its timers of late. */
  | {
      readonly type: 'ack'
      readonly sequence: number
      readonly lagMs: number
      readonly updates: readonly GossipUpdate[]
    }
  /** The node named in a ping request has not answered so far; whoever was asked is well. */
  | { readonly type: 'nack'; readonly sequence: number; readonly updates: readonly GossipUpdate[] }
  | { readonly type: 'pull'; readonly members: readonly MemberRecord[] }

/** The topology the sender has; epoch 0 when it has none. */
export interface TopologyMark {
  readonly epoch: number
  /** An integer 0..2^32 − 1. */
  readonly hash: number
}

export interface GossipFrame {
  readonly topology: TopologyMark
  readonly message: GossipMessage
}

/** Updates in one frame, at most. */
export const GOSSIP_UPDATES_MAX = 64
/** Members in one PUSH or PULL, at most. */
export const GOSSIP_MEMBERS_MAX = 1000

const NODE_ID_BYTES_MAX = 256
const ADDRESS_BYTES_MAX = 512
const LAG_MS_MAX = 2 ** 32 - 1
const MEMBER_UPDATE = 1
const REFUSED_UPDATE = 2

const STATES: readonly Pick<MemberRecord, 'status' | 'proven'>[] = [
  { status: 'alive', proven: false },
  { status: 'suspect', proven: false },
  { status: 'dead', proven: false },
  { status: 'left', proven: false },
  { status: 'dead', proven: true },
  { status: 'left', proven: true },
]

const FRAME_TYPES: Readonly<Record<GossipMessage['type'], FrameType>> = {
  ping: FrameType.gossipPing,
  'ping-request': FrameType.gossipPingRequest,
  updates: FrameType.gossipUpdates,
  push: FrameType.gossipPush,
  ack: FrameType.gossipAck,
  nack: FrameType.gossipNack,
  pull: FrameType.gossipPull,
}

/** Whether the side that accepted the stream sends it. */
export function isGossipAnswer(message: GossipMessage): boolean {
  return FRAME_TYPES[message.type] >= 0x80
}

export function encodeGossip(topology: TopologyMark, message: GossipMessage): Uint8Array {
  const w = new ByteWriter(512)
  beginFrame(w, FRAME_TYPES[message.type])
  w.varint(topology.epoch)
  w.uint32(topology.hash)
  if (message.type === 'push' || message.type === 'pull') {
    w.varint(message.members.length)
    for (const record of message.members) writeRecord(w, record)
    return finishFrame(w)
  }
  if (message.type !== 'updates') w.uint32(message.sequence)
  if (message.type === 'ack') w.varint(Math.min(Math.round(message.lagMs), LAG_MS_MAX))
  if (message.type === 'ping-request') {
    w.text(message.nodeId)
    writeHex(w, message.incarnation, 8)
  }
  w.varint(message.updates.length)
  for (const update of message.updates) writeUpdate(w, update)
  return finishFrame(w)
}

/**
 * @param body with its type byte.
 * @throws CacheError PROTOCOL_ERROR when it is not exactly one gossip frame.
 */
export function decodeGossip(body: Uint8Array): GossipFrame {
  const r = new ByteReader(body)
  const type = r.uint8()
  const topology = { epoch: r.varint(), hash: r.uint32() }
  const message = readMessage(r, type)
  check(r.remaining === 0, 'bytes follow behind its end')
  return { topology, message }
}

function readMessage(r: ByteReader, type: number): GossipMessage {
  switch (type) {
    case FrameType.gossipPing:
      return { type: 'ping', sequence: r.uint32(), updates: readUpdates(r) }
    case FrameType.gossipPingRequest:
      return {
        type: 'ping-request',
        sequence: r.uint32(),
        nodeId: readNodeId(r),
        incarnation: readHex(r, 8),
        updates: readUpdates(r),
      }
    case FrameType.gossipUpdates:
      return { type: 'updates', updates: readUpdates(r) }
    case FrameType.gossipPush:
      return { type: 'push', members: readMembers(r) }
    case FrameType.gossipAck:
      return { type: 'ack', sequence: r.uint32(), lagMs: readLag(r), updates: readUpdates(r) }
    case FrameType.gossipNack:
      return { type: 'nack', sequence: r.uint32(), updates: readUpdates(r) }
    case FrameType.gossipPull:
      return { type: 'pull', members: readMembers(r) }
    default:
      throw new CacheError('PROTOCOL_ERROR', `frame type 0x${type.toString(16)} is no gossip`)
  }
}

function writeRecord(w: ByteWriter, record: MemberRecord): void {
  w.text(record.nodeId)
  writeHex(w, record.incarnation, 8)
  w.text(record.address)
  w.varint(record.counter)
  w.uint8(STATES.findIndex((state) => state.status === record.status && state.proven === record.proven))
}

function readRecord(r: ByteReader): MemberRecord {
  const nodeId = readNodeId(r)
  const incarnation = readHex(r, 8)
  const address = r.text(ADDRESS_BYTES_MAX)
  const counter = r.varint()
  const state = STATES[r.uint8()]
  if (state === undefined) throw new CacheError('PROTOCOL_ERROR', 'a gossip frame names an unknown state')
  return { nodeId, incarnation, address, counter, ...state }
}

function writeUpdate(w: ByteWriter, update: GossipUpdate): void {
  if (update.kind === 'member') {
    w.uint8(MEMBER_UPDATE)
    writeRecord(w, update.record)
  } else {
    w.uint8(REFUSED_UPDATE)
    w.text(update.nodeId)
    writeHex(w, update.incarnation, 8)
    w.varint(update.counter)
  }
  w.text(update.by)
}

function readUpdate(r: ByteReader): GossipUpdate {
  const kind = r.uint8()
  if (kind === MEMBER_UPDATE) return { kind: 'member', record: readRecord(r), by: readNodeId(r) }
  check(kind === REFUSED_UPDATE, 'an update is of an unknown kind')
  return {
    kind: 'refused',
    nodeId: readNodeId(r),
    incarnation: readHex(r, 8),
    counter: r.varint(),
    by: readNodeId(r),
  }
}

function readUpdates(r: ByteReader): GossipUpdate[] {
  const count = r.varint()
  check(count <= GOSSIP_UPDATES_MAX, `it holds ${count} updates, of at most ${GOSSIP_UPDATES_MAX}`)
  const updates: GossipUpdate[] = []
  for (let i = 0; i < count; i++) updates.push(readUpdate(r))
  return updates
}

function readMembers(r: ByteReader): MemberRecord[] {
  const count = r.varint()
  check(count <= GOSSIP_MEMBERS_MAX, `it holds ${count} members, of at most ${GOSSIP_MEMBERS_MAX}`)
  const members: MemberRecord[] = []
  for (let i = 0; i < count; i++) members.push(readRecord(r))
  return members
}

function readNodeId(r: ByteReader): string {
  const nodeId = r.text(NODE_ID_BYTES_MAX)
  check(nodeId !== '', 'a node has no name')
  return nodeId
}

function readLag(r: ByteReader): number {
  const lagMs = r.varint()
  check(lagMs <= LAG_MS_MAX, 'a lag is longer than any process runs')
  return lagMs
}

function check(condition: boolean, what: string): void {
  if (!condition) throw new CacheError('PROTOCOL_ERROR', `malformed gossip frame: ${what}`)
}
