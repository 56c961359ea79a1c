/** A control stream that another node opened to this one: its questions, and what this node tells it there. */

import { ByteReader } from '../kernel/bytes.ts'
import { type ControlMessage, decodeControl, encodeControl } from '../wire/control-frames.ts'
import type { PeerHello } from '../wire/peer-frames.ts'
import type { FrameHandler, FrameStream } from '../wire/transport.ts'

export interface ControlSessionHandler {
  asked(session: ControlSession, message: ControlMessage): void
  left(session: ControlSession): void
}

export class ControlSession implements FrameHandler {
  /** Who opened it. */
  readonly peer: PeerHello
  readonly #stream: FrameStream
  readonly #handler: ControlSessionHandler

  constructor(stream: FrameStream, peer: PeerHello, handler: ControlSessionHandler) {
    this.#stream = stream
    this.peer = peer
    this.#handler = handler
  }

  send(message: ControlMessage): void {
    this.#stream.send(encodeControl(message))
  }

  /** @throws CacheError PROTOCOL_ERROR, whereupon the stream is refused. */
  frame(body: Uint8Array): void {
    this.#handler.asked(this, decodeControl(body[0] ?? 0, new ByteReader(body, 1)))
  }

  drained(): void {}

  closed(): void {
    this.#handler.left(this)
  }
}
