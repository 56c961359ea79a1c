/**
 * Streams of frames, as a port. Three implementations share one contract suite: gRPC, the in-process pair of
 * embedded mode, and the simulated network.
 *
 * Rules: frames arrive whole and in order or the stream closes; `closed` is called exactly once and last; nothing is
 * delivered from inside `open` or `send`; after `close()` no handler is called any more but `closed`.
 */

import type { CacheError } from '../kernel/errors.ts'

/** `cache`: clients' operations. `cluster`: node to node. */
export type StreamService = 'cache' | 'cluster'

/** What the owner of a stream implements. */
export interface FrameHandler {
  /** A frame's body. The bytes are the handler's to keep, but for those of chunks (`isChunk`): valid until it returns. */
  frame(body: Uint8Array): void
  /** After `send` returned false: the buffer has drained, go on sending. */
  drained(): void
  /**
   * The stream has ended. `undefined` when it was closed in an orderly way by either side. The accepting side may take an
   * abort for an orderly end (over HTTP/2 the two can look alike); a process that died is never taken for one.
   */
  closed(error: CacheError | undefined): void
}

export interface FrameStream {
  /** `send` copies the frame: its bytes are the sender's again once it returns. */
  readonly copies?: true
  /**
   * Queues a frame (with its envelope, as `finishFrame` returns it; the stream owns the bytes from here on).
   * @returns false when the stream's buffer is above its mark: the frame is queued, but wait for `drained`.
   * After the stream closed, frames are dropped and true is returned.
   */
  send(message: Uint8Array): boolean
  /**
   * `send` for a frame of which all but the beginning lies elsewhere: `head`, with the envelope, then `parts`. They may be
   * sent without being copied: what they show must not change until `sent` is called, once, also when the stream ends.
   */
  sendParts(head: Uint8Array, parts: readonly Uint8Array[], sent?: () => void): boolean
  /** Bytes queued here and not yet handed to the network. */
  readonly queuedBytes: number
  /** Stops delivering frames; the sender is slowed down by flow control. */
  pause(): void
  resume(): void
  /** Large values will arrive: lets the other side send further ahead, as far as there is room for that. */
  widen?(): void
  /** Ends the stream: queued frames are still sent, unless `abort`. */
  close(abort?: boolean): void
}

export interface DialOptions {
  readonly service: StreamService
  /** How long connecting may take. Default 1,000 ms. */
  readonly connectTimeoutMs?: number
  /** Streams with different lanes never share a connection, so that bulk data can't delay small frames. */
  readonly lane?: Lane
}

/** `operations`: small frames. `bulk`: large values. `gossip`: who is alive, between nodes only; `control`: who owns what, likewise. */
export type Lane = 'operations' | 'bulk' | 'gossip' | 'control'

/**
 * Opens streams. A failure to connect is reported through `closed` with UNAVAILABLE, whose `failure` tells a refused
 * connection from one that timed out: the first is evidence that no process listens, the second is none.
 */
export interface Dialer {
  open(address: string, options: DialOptions, handler: FrameHandler): FrameStream
  /** Closes what it keeps between streams (connections). */
  close(): void
}

/** Accepts streams: called once per stream, returns who handles it. */
export type Accept = (service: StreamService, stream: FrameStream, remoteAddress: string) => FrameHandler
