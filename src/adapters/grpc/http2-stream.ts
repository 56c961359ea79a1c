/**
 * The HTTP/2 stream inside a grpc-js server call. grpc-js has no public way to drop what is queued for a client that does
 * not read, or to limit messages per method; both are needed to keep a node's memory bounded. So this one file reaches
 * inside, and everything works, less strictly, where it finds nothing.
 */

import { type ServerInterceptingCallInterface, status as Status } from '@grpc/grpc-js'

const NGHTTP2_CANCEL = 8

interface Inside {
  readonly stream?: { close?: (code: number) => void }
  readonly decoder?: { maxReadMessageLength?: number }
}

/** Drops what is queued and tells the other side that the stream broke. */
export function resetCall(call: ServerInterceptingCallInterface): void {
  const { stream } = call as Inside
  if (typeof stream?.close === 'function') stream.close(NGHTTP2_CANCEL)
  else call.sendStatus({ code: Status.UNAVAILABLE, details: 'the stream was aborted' })
}

/** Refuses larger messages before they are assembled. The server's option is one for all methods. */
export function limitMessage(call: ServerInterceptingCallInterface, bytesMax: number): void {
  const { decoder } = call as Inside
  if (decoder?.maxReadMessageLength !== undefined) decoder.maxReadMessageLength = bytesMax
}
