/**
 * Frames on the lane `control` of `cluster` streams (docs/protocol.md, "Control"): the register that decides each next
 * topology, what was decided, and how a cluster begins. The node that opened the stream asks, the one that accepted it answers.
 *
 * ```
 * PREPARE    := type(0x30) slot:varint ballot
 * ACCEPT_VALUE := type(0x31) slot:varint ballot value:blob
 * CONTACT    := type(0x32) round:varint epoch:varint
 * SUGGEST    := type(0x33) change:blob
 * DECIDED    := type(0x34) slot:varint value:blob
 * FETCH      := type(0x35) epoch:varint
 * RECORD     := type(0x36) topology:blob
 * FOUND      := type(0x37) topology:blob
 * REMEMBERS  := type(0x38) count:varint (partition:varint epoch:varint sequence:uint48)*
 * CALL       := type(0x39) call:varint topic:text timeoutMs:varint request:blob
 *
 * VOTE       := type(0xb0) kind:u8 slot:varint ballot voter:text detail
 * CONTACTED  := type(0xb2) round:varint voter:text epoch:varint accepted:varint
 * FETCHED    := type(0xb4) slot:varint value:blob
 * FETCHED_RECORD := type(0xb5) topology:blob
 * FOUNDED    := type(0xb7) clusterId:text
 * CALLED     := type(0xb9) call:varint ok:u8 reply:blob
 * ballot     := round:varint proposer:text
 * ```
 * REMEMBERS tells what a process loaded from its snapshot; a later one takes its place.
 * CALL asks for work that a job needs done there; its request and reply are JSON, and after an error the reply is that.
 * `slot` is the epoch that is being decided. Values are opaque here (topology/register/value.ts).
 */

import { type ByteReader, ByteWriter } from '../kernel/bytes.ts'
import { CacheError } from '../kernel/errors.ts'
import { beginFrame, FrameType, finishFrame } from './frames.ts'

/** Orders proposals for one slot. No two proposers share a name, and none uses a round twice. */
export interface Ballot {
  readonly round: number
  readonly proposer: string
}

/** A value some voter has accepted, and under which ballot. */
export interface AcceptedValue {
  readonly ballot: Ballot
  readonly value: Uint8Array
}

/** What a voter answers to PREPARE and ACCEPT_VALUE; `ballot` is the question's. */
export type Vote =
  | {
      readonly kind: 'promised'
      readonly slot: number
      readonly ballot: Ballot
      readonly voter: string
      readonly accepted: AcceptedValue | undefined
    }
  | { readonly kind: 'accepted'; readonly slot: number; readonly ballot: Ballot; readonly voter: string }
  /** It has promised a higher ballot. */
  | {
      readonly kind: 'refused'
      readonly slot: number
      readonly ballot: Ballot
      readonly voter: string
      readonly promised: Ballot
    }
  /** The slot is decided, the asker is behind: `epoch` is what the voter knows. */
  | {
      readonly kind: 'decided'
      readonly slot: number
      readonly ballot: Ballot
      readonly voter: string
      readonly epoch: number
    }
  /** The voter knows only `epoch`, which is before slot − 1: it has to learn first. */
  | {
      readonly kind: 'behind'
      readonly slot: number
      readonly ballot: Ballot
      readonly voter: string
      readonly epoch: number
    }

const VOTE_KINDS: readonly Vote['kind'][] = ['promised', 'accepted', 'refused', 'decided', 'behind']

export interface Contacted {
  readonly round: number
  /** Who answers, as a voter. */
  readonly voter: string
  /** The epoch it knows. */
  readonly epoch: number
  /** The highest epoch it knows or has accepted a value for. */
  readonly accepted: number
}

/** What a process loaded of a partition: where its log stood as the snapshot was made. */
export interface Remembered {
  readonly partition: number
  readonly epoch: number
  readonly sequence: number
}

/** A frame of the lane, decoded. */
export type ControlMessage =
  | { readonly kind: 'prepare'; readonly slot: number; readonly ballot: Ballot }
  | {
      readonly kind: 'accept'
      readonly slot: number
      readonly ballot: Ballot
      readonly value: Uint8Array
    }
  | { readonly kind: 'contact'; readonly round: number; readonly epoch: number }
  | { readonly kind: 'suggest'; readonly change: Uint8Array }
  | { readonly kind: 'decided' | 'fetched'; readonly slot: number; readonly value: Uint8Array }
  | { readonly kind: 'fetch'; readonly epoch: number }
  | { readonly kind: 'record' | 'fetchedRecord' | 'found'; readonly topology: Uint8Array }
  | { readonly kind: 'vote'; readonly vote: Vote }
  | { readonly kind: 'contacted'; readonly contacted: Contacted }
  | { readonly kind: 'founded'; readonly clusterId: string }
  | { readonly kind: 'remembers'; readonly partitions: readonly Remembered[] }
  | {
      readonly kind: 'call'
      readonly call: number
      readonly topic: string
      readonly timeoutMs: number
      readonly request: Uint8Array
    }
  | { readonly kind: 'called'; readonly call: number; readonly ok: boolean; readonly reply: Uint8Array }

const NAME_BYTES_MAX = 1024
const TOPIC_BYTES_MAX = 256
/** A cluster has no more partitions. */
const REMEMBERED_MAX = 65_536

export function encodeControl(message: ControlMessage): Uint8Array {
  const w = new ByteWriter(sizeHint(message))
  switch (message.kind) {
    case 'prepare':
      beginFrame(w, FrameType.prepare)
      w.varint(message.slot)
      writeBallot(w, message.ballot)
      break
    case 'accept':
      beginFrame(w, FrameType.acceptValue)
      w.varint(message.slot)
      writeBallot(w, message.ballot)
      w.blob(message.value)
      break
    case 'contact':
      beginFrame(w, FrameType.contact)
      w.varint(message.round)
      w.varint(message.epoch)
      break
    case 'suggest':
      beginFrame(w, FrameType.suggest)
      w.blob(message.change)
      break
    case 'decided':
    case 'fetched':
      beginFrame(w, message.kind === 'decided' ? FrameType.decided : FrameType.fetched)
      w.varint(message.slot)
      w.blob(message.value)
      break
    case 'fetch':
      beginFrame(w, FrameType.fetch)
      w.varint(message.epoch)
      break
    case 'record':
    case 'fetchedRecord':
    case 'found':
      beginFrame(w, RECORD_TYPES[message.kind])
      w.blob(message.topology)
      break
    case 'vote':
      beginFrame(w, FrameType.vote)
      writeVote(w, message.vote)
      break
    case 'contacted': {
      const { round, voter, epoch, accepted } = message.contacted
      beginFrame(w, FrameType.contacted)
      w.varint(round)
      w.text(voter)
      w.varint(epoch)
      w.varint(accepted)
      break
    }
    case 'founded':
      beginFrame(w, FrameType.founded)
      w.text(message.clusterId)
      break
    case 'remembers':
      beginFrame(w, FrameType.remembers)
      w.varint(message.partitions.length)
      for (const { partition, epoch, sequence } of message.partitions) {
        w.varint(partition)
        w.varint(epoch)
        w.uint48(sequence)
      }
      break
    case 'call':
      beginFrame(w, FrameType.call)
      w.varint(message.call)
      w.text(message.topic)
      w.varint(message.timeoutMs)
      w.blob(message.request)
      break
    case 'called':
      beginFrame(w, FrameType.called)
      w.varint(message.call)
      w.uint8(message.ok ? 1 : 0)
      w.blob(message.reply)
      break
  }
  return finishFrame(w)
}

const RECORD_TYPES = {
  record: FrameType.record,
  fetchedRecord: FrameType.fetchedRecord,
  found: FrameType.found,
} as const

/**
 * @param r stands behind the type byte.
 * @throws CacheError PROTOCOL_ERROR when the type is none of the lane's, or the frame is not exactly one message.
 */
export function decodeControl(type: number, r: ByteReader): ControlMessage {
  const message = readMessage(type, r)
  if (r.remaining !== 0) throw new CacheError('PROTOCOL_ERROR', 'bytes behind the end of a control frame')
  return message
}

function readMessage(type: number, r: ByteReader): ControlMessage {
  switch (type) {
    case FrameType.prepare:
      return { kind: 'prepare', slot: r.varint(), ballot: readBallot(r) }
    case FrameType.acceptValue:
      return { kind: 'accept', slot: r.varint(), ballot: readBallot(r), value: r.blob() }
    case FrameType.contact:
      return { kind: 'contact', round: r.varint(), epoch: r.varint() }
    case FrameType.suggest:
      return { kind: 'suggest', change: r.blob() }
    case FrameType.decided:
      return { kind: 'decided', slot: r.varint(), value: r.blob() }
    case FrameType.fetched:
      return { kind: 'fetched', slot: r.varint(), value: r.blob() }
    case FrameType.fetch:
      return { kind: 'fetch', epoch: r.varint() }
    case FrameType.record:
      return { kind: 'record', topology: r.blob() }
    case FrameType.fetchedRecord:
      return { kind: 'fetchedRecord', topology: r.blob() }
    case FrameType.found:
      return { kind: 'found', topology: r.blob() }
    case FrameType.vote:
      return { kind: 'vote', vote: readVote(r) }
    case FrameType.contacted: {
      const round = r.varint()
      return {
        kind: 'contacted',
        contacted: { round, voter: r.text(NAME_BYTES_MAX), epoch: r.varint(), accepted: r.varint() },
      }
    }
    case FrameType.founded:
      return { kind: 'founded', clusterId: r.text(64) }
    case FrameType.remembers:
      return { kind: 'remembers', partitions: readRemembered(r) }
    case FrameType.call:
      return {
        kind: 'call',
        call: r.varint(),
        topic: r.text(TOPIC_BYTES_MAX),
        timeoutMs: r.varint(),
        request: r.blob(),
      }
    case FrameType.called:
      return { kind: 'called', call: r.varint(), ok: readFlag(r), reply: r.blob() }
    default:
      throw new CacheError('PROTOCOL_ERROR', `frame type 0x${type.toString(16)} on the lane control`)
  }
}

export function writeBallot(w: ByteWriter, ballot: Ballot): void {
  w.varint(ballot.round)
  w.text(ballot.proposer)
}

export function readBallot(r: ByteReader): Ballot {
  return { round: r.varint(), proposer: r.text(NAME_BYTES_MAX) }
}

function readRemembered(r: ByteReader): Remembered[] {
  const count = r.varint()
  if (count > REMEMBERED_MAX || count > r.remaining)
    throw new CacheError('PROTOCOL_ERROR', `a frame that tells of ${count} partitions`)
  const partitions: Remembered[] = []
  for (let left = count; left > 0; left--)
    partitions.push({ partition: r.varint(), epoch: r.varint(), sequence: r.uint48() })
  return partitions
}

function writeVote(w: ByteWriter, vote: Vote): void {
  w.uint8(VOTE_KINDS.indexOf(vote.kind))
  w.varint(vote.slot)
  writeBallot(w, vote.ballot)
  w.text(vote.voter)
  switch (vote.kind) {
    case 'promised':
      w.uint8(vote.accepted === undefined ? 0 : 1)
      if (vote.accepted !== undefined) {
        writeBallot(w, vote.accepted.ballot)
        w.blob(vote.accepted.value)
      }
      return
    case 'refused':
      writeBallot(w, vote.promised)
      return
    case 'decided':
    case 'behind':
      w.varint(vote.epoch)
      return
    case 'accepted':
  }
}

function readVote(r: ByteReader): Vote {
  const kind = VOTE_KINDS[r.uint8()]
  if (kind === undefined) throw new CacheError('PROTOCOL_ERROR', 'a vote of an unknown kind')
  const slot = r.varint()
  const ballot = readBallot(r)
  const voter = r.text(NAME_BYTES_MAX)
  switch (kind) {
    case 'promised':
      return { kind, slot, ballot, voter, accepted: readAccepted(r) }
    case 'accepted':
      return { kind, slot, ballot, voter }
    case 'refused':
      return { kind, slot, ballot, voter, promised: readBallot(r) }
    case 'decided':
    case 'behind':
      return { kind, slot, ballot, voter, epoch: r.varint() }
  }
}

function readAccepted(r: ByteReader): AcceptedValue | undefined {
  return readFlag(r) ? { ballot: readBallot(r), value: r.blob() } : undefined
}

function readFlag(r: ByteReader): boolean {
  const flag = r.uint8()
  if (flag > 1) throw new CacheError('PROTOCOL_ERROR', 'a flag of a control frame is malformed')
  return flag === 1
}

function sizeHint(message: ControlMessage): number {
  if ('value' in message) return 256 + message.value.length
  if ('topology' in message) return 64 + message.topology.length
  if ('request' in message) return 320 + message.request.length
  if ('reply' in message) return 64 + message.reply.length
  if ('change' in message) return 64 + message.change.length
  if ('partitions' in message) return 64 + 16 * message.partitions.length
  return 256
}
