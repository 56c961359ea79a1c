/**
 * The first frame in each direction of a `cache` stream (docs/protocol.md, "Handshake"). The client names the versions
 * it speaks; the node answers with one of them, its identity, its limits and the topology, or with an error frame.
 */

import { type ByteReader, ByteWriter } from '../kernel/bytes.ts'
import { CacheError, ERROR_KINDS, type ErrorCode, errorCodeFromWire } from '../kernel/errors.ts'
import { beginFrame, FrameType, finishFrame, PROTOCOL_VERSION_MAX, PROTOCOL_VERSION_MIN } from './frames.ts'

/** "RC" as a little-endian 16-bit integer: tells a stray client apart from an old one. */
const MAGIC = 0x4352

export interface Hello {
  readonly versionMin: number
  readonly versionMax: number
  readonly lane: 'operations' | 'bulk'
  /** 64 random bits as 16 hex digits. Streams of one client to one node share it. */
  readonly session: string
  /** Rises with each stream of the session to a node: a newer stream of a lane supersedes the older ones. */
  readonly streamNumber: number
  /** The cluster this client expects, as 32 hex digits; empty before the first contact. */
  readonly clusterId: string
  /** Shown to operators; at most 128 bytes. */
  readonly clientName: string
  readonly token: string
  /** Applies to operations that name no timeout of their own, in milliseconds. */
  readonly timeoutMs: number
}

export interface Welcome {
  readonly version: number
  readonly clusterId: string
  readonly nodeId: string
  readonly incarnation: string
  readonly keyBytesMax: number
  readonly valueBytesMax: number
  /** Bytes of requests that may be unanswered at one time on this stream. */
  readonly creditBytes: number
  /** Operations that may be unanswered at one time on this stream. */
  readonly operationsMax: number
  /** The topology as clients see it (topology/codec.ts); empty while none is committed. */
  readonly topology: Uint8Array
}

export function encodeHello(hello: Hello): Uint8Array {
  const w = new ByteWriter(256)
  beginFrame(w, FrameType.hello)
  w.uint16(MAGIC)
  w.uint16(hello.versionMin)
  w.uint16(hello.versionMax)
  w.uint8(hello.lane === 'bulk' ? 1 : 0)
  writeHex(w, hello.session, 8)
  w.varint(hello.streamNumber)
  w.text(hello.clusterId)
  w.text(hello.clientName)
  w.text(hello.token)
  w.varint(Math.ceil(hello.timeoutMs))
  return finishFrame(w)
}

/**
 * @param r stands behind the type byte.
 * @throws CacheError PROTOCOL_ERROR, or VERSION_MISMATCH naming both ranges.
 */
export function decodeHello(r: ByteReader): Hello {
  if (r.uint16() !== MAGIC) throw new CacheError('PROTOCOL_ERROR', 'the first frame is not a ringcache HELLO')
  const versionMin = r.uint16()
  const versionMax = r.uint16()
  negotiate(versionMin, versionMax)
  const lane = r.uint8() === 1 ? 'bulk' : 'operations'
  const session = readHex(r, 8)
  return {
    versionMin,
    versionMax,
    lane,
    session,
    streamNumber: r.varint(),
    clusterId: r.text(64),
    clientName: r.text(128),
    token: r.text(8192),
    timeoutMs: r.varint(),
  }
}

/** The highest version both sides speak. @throws CacheError VERSION_MISMATCH when there is none. */
export function negotiate(versionMin: number, versionMax: number): number {
  const version = Math.min(versionMax, PROTOCOL_VERSION_MAX)
  if (version < versionMin || version < PROTOCOL_VERSION_MIN) {
    throw new CacheError(
      'VERSION_MISMATCH',
      `this node speaks protocol versions ${PROTOCOL_VERSION_MIN} to ${PROTOCOL_VERSION_MAX}, the other side ${versionMin} to ${versionMax}: upgrade the older one`,
    )
  }
  return version
}

export function encodeWelcome(welcome: Welcome): Uint8Array {
  const w = new ByteWriter(256 + welcome.topology.length)
  beginFrame(w, FrameType.welcome)
  w.uint16(welcome.version)
  w.text(welcome.clusterId)
  w.text(welcome.nodeId)
  w.text(welcome.incarnation)
  w.varint(welcome.keyBytesMax)
  w.varint(welcome.valueBytesMax)
  w.varint(welcome.creditBytes)
  w.varint(welcome.operationsMax)
  w.blob(welcome.topology)
  return finishFrame(w)
}

/** @param r stands behind the type byte. */
export function decodeWelcome(r: ByteReader): Welcome {
  return {
    version: r.uint16(),
    clusterId: r.text(64),
    nodeId: r.text(256),
    incarnation: r.text(64),
    keyBytesMax: r.varint(),
    valueBytesMax: r.varint(),
    creditBytes: r.varint(),
    operationsMax: r.varint(),
    topology: r.blob(),
  }
}

/** An ERROR frame: the stream ends behind it. */
export function encodeError(code: ErrorCode, message: string): Uint8Array {
  const w = new ByteWriter(64 + message.length)
  beginFrame(w, FrameType.error)
  w.uint8(ERROR_KINDS[code].wire)
  w.text(message)
  return finishFrame(w)
}

/** @param r stands behind the type byte. */
export function decodeError(r: ByteReader): CacheError {
  const code = errorCodeFromWire(r.uint8())
  return new CacheError(code, r.text())
}

export function writeHex(w: ByteWriter, hex: string, bytes: number): void {
  for (let i = 0; i < bytes; i++) w.uint8(Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16) || 0)
}

export function readHex(r: ByteReader, bytes: number): string {
  let hex = ''
  for (let i = 0; i < bytes; i++) hex += r.uint8().toString(16).padStart(2, '0')
  return hex
}
