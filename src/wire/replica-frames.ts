/**
 * Frames of takeovers and of bringing replicas up, on the `operations` streams between nodes (docs/protocol.md, "Takeover",
 * "Learners"). As with the log, the node that opened the stream leads: it asks and sends, the other one answers.
 *
 * ```
 * ASK        := type(0x28) count:varint (partition:varint partitionEpoch:varint session:varint)*
 * POSITIONS  := type(0xa8) count:varint position*
 * position   := partition:varint partitionEpoch:varint status:u8 heldEpoch:varint lastEpoch:varint lastSequence:u48
 *               digest:8 bytes leaseMs:varint
 * FETCH_TAIL := type(0x29) partition:varint partitionEpoch:varint lastEpoch:varint fromSequence:u48
 * TAIL       := type(0xa9) partition:varint partitionEpoch:varint status:u8 clockMs:f64 entry*
 * entry      := sequence:u48 versionEpoch:varint effect:blob
 * SYNC_BEGIN := type(0x2a) sync lastEpoch:varint lastSequence:u48 termEpoch:varint termSequence:u48 clockMs:f64
 *               digests:512 bytes
 * SYNC_IDS   := type(0x2b) sync ids*
 * ids        := sessionLow:u32 sessionHigh:u32 firstIncomplete:varint count:varint outcome*
 * outcome    := counter:varint versionEpoch:varint sequence:u48 number:f64 payload:blob
 * SYNC_RANGE := type(0x2c) sync number:varint fromHash:u32 toHash:u32 held*
 * held       := 0:u8 versionEpoch:varint sequence:u48 effect:blob, or 1:u8 regionId:varint key:blob, or 2:u8 listed
 * listed     := hash:u32 versionEpoch:varint sequence:u48
 * SYNC_END   := type(0x2d) sync lastSequence:u48
 * SYNC_STATE := type(0xaa) sync status:u8 value:8 bytes
 * SYNC_HELD  := type(0xac) sync listed*
 * sync       := partition:varint partitionEpoch:varint session:varint attempt:varint
 * COMPARE    := type(0x2e) partition:varint partitionEpoch:varint lastSequence:u48 digests:512 bytes
 * COMPARED   := type(0xab) partition:varint partitionEpoch:varint lastSequence:u48 status:u8 buckets:8 bytes
 * ```
 */

import { type ByteReader, ByteWriter } from '../kernel/bytes.ts'
import { beginFrame, FrameType, finishFrame } from './frames.ts'

/** Partitions asked for in one frame at most. */
export const ASKS_PER_FRAME = 4096
/** 64 buckets of two words. */
const DIGEST_WORDS = 128

export interface Ask {
  readonly partition: number
  readonly partitionEpoch: number
  /** The commit that added the learner that is asked; 0: a member of the in-sync set is. */
  readonly session: number
}

export function encodeAsk(asks: readonly Ask[]): Uint8Array {
  const w = new ByteWriter(64 + asks.length * 8)
  beginFrame(w, FrameType.ask)
  w.varint(asks.length)
  for (const one of asks) {
    w.varint(one.partition)
    w.varint(one.partitionEpoch)
    w.varint(one.session)
  }
  return finishFrame(w)
}

export function decodeAsk(r: ByteReader): Ask[] {
  const asks: Ask[] = []
  for (let count = r.varint(); count > 0; count--) {
    asks.push({ partition: r.varint(), partitionEpoch: r.varint(), session: r.varint() })
  }
  return asks
}

export const PositionStatus = {
  /** It has adopted the epoch; the rest of the answer is what it holds. */
  adopted: 0,
  /** It is under a later epoch already. */
  later: 1,
  /** It has no replica of the partition that could be what it is asked as: ask again. */
  noRole: 2,
} as const

export interface Position {
  readonly partition: number
  /** The epoch it was asked for. */
  readonly partitionEpoch: number
  readonly status: number
  /** The epoch it is under. */
  readonly heldEpoch: number
  readonly lastEpoch: number
  readonly lastSequence: number
  readonly digestLow: number
  readonly digestHigh: number
  /** How long the lease may still run that it granted to another primary. */
  readonly leaseMs: number
}

export function encodePositions(positions: readonly Position[]): Uint8Array {
  const w = new ByteWriter(64 + positions.length * 32)
  beginFrame(w, FrameType.positions)
  w.varint(positions.length)
  for (const one of positions) {
    w.varint(one.partition)
    w.varint(one.partitionEpoch)
    w.uint8(one.status)
    w.varint(one.heldEpoch)
    w.varint(one.lastEpoch)
    w.uint48(one.lastSequence)
    w.uint32(one.digestLow)
    w.uint32(one.digestHigh)
    w.varint(Math.ceil(one.leaseMs))
  }
  return finishFrame(w)
}

export function decodePositions(r: ByteReader): Position[] {
  const positions: Position[] = []
  for (let count = r.varint(); count > 0; count--) {
    positions.push({
      partition: r.varint(),
      partitionEpoch: r.varint(),
      status: r.uint8(),
      heldEpoch: r.varint(),
      lastEpoch: r.varint(),
      lastSequence: r.uint48(),
      digestLow: r.uint32(),
      digestHigh: r.uint32(),
      leaseMs: r.varint(),
    })
  }
  return positions
}

export interface FetchTail {
  readonly partition: number
  readonly partitionEpoch: number
  /** The epoch of the asker's last entry: what it has must be the beginning of what it asks for. */
  readonly lastEpoch: number
  readonly fromSequence: number
}

export function encodeFetchTail(fetch: FetchTail): Uint8Array {
  const w = new ByteWriter(64)
  beginFrame(w, FrameType.fetchTail)
  w.varint(fetch.partition)
  w.varint(fetch.partitionEpoch)
  w.varint(fetch.lastEpoch)
  w.uint48(fetch.fromSequence)
  return finishFrame(w)
}

export function decodeFetchTail(r: ByteReader): FetchTail {
  return {
    partition: r.varint(),
    partitionEpoch: r.varint(),
    lastEpoch: r.varint(),
    fromSequence: r.uint48(),
  }
}

export const TailStatus = {
  /** What comes behind: entries from the sequence asked for on. Ask for the next when they are applied. */
  entries: 0,
  /** The next entry's large value is still on its way: ask again. */
  later: 1,
  /** The backlog no longer has it, or the asker's log ends in another way: it can't go on from there. */
  unavailable: 2,
} as const

export interface TailHead {
  readonly partition: number
  readonly partitionEpoch: number
  readonly status: number
  readonly clockMs: number
}

/** Begins a TAIL in `w`; entries follow by `writeTailEntry`. */
export function beginTail(w: ByteWriter, head: TailHead): void {
  beginFrame(w, FrameType.tail)
  w.varint(head.partition)
  w.varint(head.partitionEpoch)
  w.uint8(head.status)
  w.float64(head.clockMs)
}

export function decodeTailHead(r: ByteReader): TailHead {
  return { partition: r.varint(), partitionEpoch: r.varint(), status: r.uint8(), clockMs: r.float64() }
}

/** What each frame of a sync session begins with. */
export interface SyncName {
  readonly partition: number
  readonly partitionEpoch: number
  readonly session: number
  readonly attempt: number
}

export type SyncFrameType =
  | typeof FrameType.syncBegin
  | typeof FrameType.syncIds
  | typeof FrameType.syncRange
  | typeof FrameType.syncEnd
  | typeof FrameType.syncHeld

export function beginSyncFrame(w: ByteWriter, type: SyncFrameType, name: SyncName): void {
  beginFrame(w, type)
  writeSyncName(w, name)
}

function writeSyncName(w: ByteWriter, name: SyncName): void {
  w.varint(name.partition)
  w.varint(name.partitionEpoch)
  w.varint(name.session)
  w.varint(name.attempt)
}

export function readSyncName(r: ByteReader): SyncName {
  return { partition: r.varint(), partitionEpoch: r.varint(), session: r.varint(), attempt: r.varint() }
}

function writeDigests(w: ByteWriter, digests: Uint32Array): void {
  for (let i = 0; i < DIGEST_WORDS; i++) w.uint32(digests[i] as number)
}

function readDigests(r: ByteReader): Uint32Array {
  const digests = new Uint32Array(DIGEST_WORDS)
  for (let i = 0; i < DIGEST_WORDS; i++) digests[i] = r.uint32()
  return digests
}

export interface SyncBegin {
  /** Where the primary's log stands: the learner follows from there. */
  readonly lastEpoch: number
  readonly lastSequence: number
  /** Where it stood when its primary began to serve, and in which epoch that was. */
  readonly termEpoch: number
  readonly termSequence: number
  readonly clockMs: number
  readonly digests: Uint32Array
}

export function encodeSyncBegin(name: SyncName, begin: SyncBegin): Uint8Array {
  const w = new ByteWriter(700)
  beginSyncFrame(w, FrameType.syncBegin, name)
  w.varint(begin.lastEpoch)
  w.uint48(begin.lastSequence)
  w.varint(begin.termEpoch)
  w.uint48(begin.termSequence)
  w.float64(begin.clockMs)
  writeDigests(w, begin.digests)
  return finishFrame(w)
}

export function decodeSyncBegin(r: ByteReader): SyncBegin {
  return {
    lastEpoch: r.varint(),
    lastSequence: r.uint48(),
    termEpoch: r.varint(),
    termSequence: r.uint48(),
    clockMs: r.float64(),
    digests: readDigests(r),
  }
}

/** How an entry stands in a SYNC_RANGE. */
export const HeldCode = {
  /** As it is at the primary. */
  entry: 0,
  /** As the learner has it, or will have it from the log: it was stored since the session began. */
  kept: 1,
  /** As the learner listed it: it has that version of the one entry with that hash. */
  listed: 2,
} as const

/** An entry by the hash of its key and its version. */
export interface ListedEntry {
  hash: number
  versionEpoch: number
  sequence: number
}

export function writeListed(w: ByteWriter, hash: number, versionEpoch: number, sequence: number): void {
  w.uint32(hash)
  w.varint(versionEpoch)
  w.uint48(sequence)
}

/** Reads one into `entry`. */
export function readListed(r: ByteReader, entry: ListedEntry): void {
  entry.hash = r.uint32()
  entry.versionEpoch = r.varint()
  entry.sequence = r.uint48()
}

export const SyncStatus = {
  /** The session has begun; `value` is which of the 64 buckets differ. */
  begun: 0,
  /** `value` low: the number of the range applied last. */
  applied: 1,
  /** All of it arrived and was applied. */
  whole: 2,
  /** No room for another session now: try later. */
  busy: 3,
  /** It does not know this session, or could not apply it: begin anew. */
  broken: 4,
} as const

export interface SyncState extends SyncName {
  readonly status: number
  readonly low: number
  readonly high: number
}

export function encodeSyncState(state: SyncState): Uint8Array {
  const w = new ByteWriter(64)
  beginFrame(w, FrameType.syncState)
  writeSyncName(w, state)
  w.uint8(state.status)
  w.uint32(state.low)
  w.uint32(state.high)
  return finishFrame(w)
}

export function decodeSyncState(r: ByteReader): SyncState {
  return { ...readSyncName(r), status: r.uint8(), low: r.uint32(), high: r.uint32() }
}

export interface Compare {
  readonly partition: number
  readonly partitionEpoch: number
  readonly lastSequence: number
  readonly digests: Uint32Array
}

/** Comparisons in one frame at most. */
export const COMPARES_PER_FRAME = 64

export function encodeCompare(compares: readonly Compare[]): Uint8Array {
  const w = new ByteWriter(64 + 640 * compares.length)
  beginFrame(w, FrameType.compare)
  for (const compare of compares) {
    w.varint(compare.partition)
    w.varint(compare.partitionEpoch)
    w.uint48(compare.lastSequence)
    writeDigests(w, compare.digests)
  }
  return finishFrame(w)
}

export function decodeCompare(r: ByteReader): Compare[] {
  const compares: Compare[] = []
  while (r.remaining > 0) {
    compares.push({
      partition: r.varint(),
      partitionEpoch: r.varint(),
      lastSequence: r.uint48(),
      digests: readDigests(r),
    })
  }
  return compares
}

export const CompareStatus = { equal: 0, differs: 1, elsewhere: 2 } as const

export interface Compared {
  readonly partition: number
  readonly partitionEpoch: number
  readonly lastSequence: number
  readonly status: number
  /** Which of the 64 buckets differ. */
  readonly low: number
  readonly high: number
}

export function encodeCompared(all: readonly Compared[]): Uint8Array {
  const w = new ByteWriter(64 + 32 * all.length)
  beginFrame(w, FrameType.compared)
  for (const compared of all) {
    w.varint(compared.partition)
    w.varint(compared.partitionEpoch)
    w.uint48(compared.lastSequence)
    w.uint8(compared.status)
    w.uint32(compared.low)
    w.uint32(compared.high)
  }
  return finishFrame(w)
}

export function decodeCompared(r: ByteReader): Compared[] {
  const all: Compared[] = []
  while (r.remaining > 0) {
    all.push({
      partition: r.varint(),
      partitionEpoch: r.varint(),
      lastSequence: r.uint48(),
      status: r.uint8(),
      low: r.uint32(),
      high: r.uint32(),
    })
  }
  return all
}
