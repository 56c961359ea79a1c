/**
 * The outermost shape of what travels on an `Exchange` stream (docs/protocol.md, "Frames").
 *
 * Each gRPC message is the protobuf message `Frame { bytes body = 1 }`, so that any gRPC stack can carry it. The body
 * starts with one byte that names the frame's type. A writer leaves room for protobuf's tag and length in front of
 * the body, so that a finished frame is sent without being copied: the length is a varint padded to five bytes,
 * which protobuf allows.
 */

import type { ByteWriter } from '../kernel/bytes.ts'
import { CacheError } from '../kernel/errors.ts'
import type { FrameStream } from './transport.ts'

/** The protocol versions this release speaks. A node and a client use the highest that both know. */
export const PROTOCOL_VERSION_MIN: number = 1
export const PROTOCOL_VERSION_MAX: number = 1

/** Bytes in front of a frame's body: protobuf's tag and padded length. */
export const FRAME_HEADROOM: number = 6
/** Largest body that is accepted, in bytes. Values that would exceed it travel in chunks. */
export const FRAME_BYTES_MAX: number = 1024 * 1024
/**
 * A request frame is closed when its body reaches this size, in bytes: below the 64 KiB HTTP/2 flow-control window of
 * a grpc-js server, so that a frame never waits for a window update.
 */
export const REQUEST_FRAME_BYTES_TARGET: number = 56 * 1024
/** A response frame is closed when its body reaches this size, in bytes. */
export const RESPONSE_FRAME_BYTES_TARGET: number = 256 * 1024
/** Largest value that travels inside a request or response frame, in bytes; larger ones use a bulk stream. */
export const INLINE_VALUE_BYTES_MAX: number = 64 * 1024
/** Size of the chunks of a large value, in bytes, from client to node and between nodes. */
export const UPLOAD_CHUNK_BYTES: number = 60 * 1024
/** Size of the chunks of a large value, in bytes, from node to client. */
export const DOWNLOAD_CHUNK_BYTES: number = 256 * 1024

/** First byte of a body. Below 0x80: sent by the side that opened the stream; from 0x80: by the side that accepted it. */
export const FrameType = {
  hello: 0x01,
  request: 0x02,
  upload: 0x03,
  cancel: 0x04,
  uploadDrop: 0x05,

  peerHello: 0x21,
  replicate: 0x22,
  stage: 0x23,
  stageDrop: 0x24,
  forward: 0x27,
  ask: 0x28,
  fetchTail: 0x29,
  syncBegin: 0x2a,
  syncIds: 0x2b,
  syncRange: 0x2c,
  syncEnd: 0x2d,
  compare: 0x2e,

  prepare: 0x30,
  acceptValue: 0x31,
  contact: 0x32,
  suggest: 0x33,
  decided: 0x34,
  fetch: 0x35,
  record: 0x36,
  found: 0x37,
  remembers: 0x38,
  call: 0x39,

  gossipPing: 0x40,
  gossipPingRequest: 0x41,
  gossipUpdates: 0x42,
  gossipPush: 0x43,

  welcome: 0x81,
  response: 0x82,
  value: 0x83,
  topology: 0x84,
  goAway: 0x85,
  error: 0x8f,

  peerWelcome: 0xa1,
  ack: 0xa2,
  staged: 0xa3,
  resume: 0xa4,
  forwarded: 0xa7,
  positions: 0xa8,
  tail: 0xa9,
  syncState: 0xaa,
  compared: 0xab,
  syncHeld: 0xac,

  vote: 0xb0,
  contacted: 0xb2,
  fetched: 0xb4,
  fetchedRecord: 0xb5,
  founded: 0xb7,
  called: 0xb9,

  gossipAck: 0xc0,
  gossipNack: 0xc1,
  gossipPull: 0xc3,
} as const
export type FrameType = (typeof FrameType)[keyof typeof FrameType]

/** Whether frames of this type carry pieces of large values: whoever gets one takes the bytes out at once. */
export function isChunk(type: number | undefined): boolean {
  return type === FrameType.upload || type === FrameType.stage || type === FrameType.value
}

/** Starts a frame in `writer`, which is cleared first. */
export function beginFrame(writer: ByteWriter, type: FrameType): void {
  writer.clear()
  writer.reserve(FRAME_HEADROOM + 1)
  writer.length = FRAME_HEADROOM
  writer.uint8(type)
}

/**
 * Completes the frame and hands over a copy of its bytes, envelope included. The writer can be used for the next.
 * @param moreBytes of the body follow in parts of their own
 */
export function finishFrame(writer: ByteWriter, moreBytes = 0): Uint8Array {
  const message = writer.take()
  sealFrame(message, moreBytes)
  return message
}

/** Completes the frame and sends it. The writer can be used for the next. */
export function sendFrame(stream: FrameStream, writer: ByteWriter): void {
  const message = stream.copies === true ? writer.lend() : writer.take()
  sealFrame(message)
  stream.send(message)
}

/** The frame that `head` and `parts` are together. */
export function joinFrame(head: Uint8Array, parts: readonly Uint8Array[]): Uint8Array {
  const message = new Uint8Array(parts.reduce((bytes, part) => bytes + part.length, head.length))
  message.set(head)
  let at = head.length
  for (const part of parts) {
    message.set(part, at)
    at += part.length
  }
  return message
}

/** Writes the envelope into the first FRAME_HEADROOM bytes of `message`, which `moreBytes` follow. */
export function sealFrame(message: Uint8Array, moreBytes = 0): void {
  const bodyBytes = message.length - FRAME_HEADROOM + moreBytes
  message[0] = 0x0a
  message[1] = (bodyBytes & 0x7f) | 0x80
  message[2] = ((bodyBytes >>> 7) & 0x7f) | 0x80
  message[3] = ((bodyBytes >>> 14) & 0x7f) | 0x80
  message[4] = ((bodyBytes >>> 21) & 0x7f) | 0x80
  message[5] = bodyBytes >>> 28
}

/**
 * The body inside a serialized `Frame` message, as a view. Accepts the length in any varint form.
 * @throws CacheError PROTOCOL_ERROR when the bytes are not exactly one `body` field, or the body is empty or too large.
 */
export function openFrame(message: Uint8Array): Uint8Array {
  let at = 1
  let bodyBytes = 0
  if (message.length < 3 || message[0] !== 0x0a) throw new CacheError('PROTOCOL_ERROR', 'not a Frame message')
  for (let shift = 0; ; shift += 7) {
    const byte = message[at++]
    if (byte === undefined || shift > 28)
      throw new CacheError('PROTOCOL_ERROR', 'the length of a Frame is malformed')
    bodyBytes += (byte & 0x7f) * 2 ** shift
    if (byte < 0x80) break
  }
  if (bodyBytes !== message.length - at || bodyBytes === 0) {
    throw new CacheError('PROTOCOL_ERROR', 'a Frame must hold exactly one non-empty body')
  }
  if (bodyBytes > FRAME_BYTES_MAX) {
    throw new CacheError('PROTOCOL_ERROR', `a frame of ${bodyBytes} bytes exceeds ${FRAME_BYTES_MAX}`)
  }
  return message.subarray(at)
}
