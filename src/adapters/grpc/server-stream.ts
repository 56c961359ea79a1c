/** The accepting end of an Exchange stream. */

import type { Http2Stream, ServerHttp2Stream } from 'node:http2'
import { status as Status } from '@grpc/grpc-js'
import { CacheError } from '../../kernel/errors.ts'
import { encodeError } from '../../wire/handshake.ts'
import type { FrameHandler } from '../../wire/transport.ts'
import { ExchangeStream } from './exchange-stream.ts'

const RESPONSE_HEADERS = { ':status': 200, 'content-type': 'application/grpc' }

export interface ServerStreamEvents {
  /** Whether the stream is the only one that its connection has had. */
  isAlone(): boolean
  /** It is to carry large values. */
  widen(): void
  closed(): void
}

export class GrpcServerStream extends ExchangeStream {
  readonly #http2: ServerHttp2Stream
  readonly #peer: string
  readonly #events: ServerStreamEvents
  #endedInOrder = false

  constructor(http2: ServerHttp2Stream, peer: string, events: ServerStreamEvents) {
    super('open', () => events.isAlone())
    this.#http2 = http2
    this.#peer = peer
    this.#events = events
    // The headers tell the other side that the stream stands.
    http2.respond(RESPONSE_HEADERS, { waitForTrailers: true })
    http2.on('wantTrailers', () => http2.sendTrailers({ 'grpc-status': String(Status.OK) }))
  }

  /** Delivers to `handler` from now on. */
  start(handler: FrameHandler): void {
    this.attach(this.#http2, handler)
  }

  widen(): void {
    this.#events.widen()
  }

  protected override endWriting(stream: Http2Stream): void {
    this.#endedInOrder = true
    stream.end()
  }

  protected override remoteEnded(): void {
    if (this.state === 'open') this.endOrderly()
  }

  /** Tells the other side why, then ends. */
  protected override rejected(error: CacheError): void {
    if (this.state !== 'open') return
    this.failure = error
    this.send(encodeError(error.code, error.message))
    this.endOrderly()
  }

  protected override reason(): CacheError | undefined {
    if (this.failure !== undefined || this.#endedInOrder || this.state === 'aborted') return this.failure
    return new CacheError('UNAVAILABLE', `the stream from ${this.#peer} was reset`, { failure: 'reset' })
  }

  protected override released(): void {
    this.#events.closed()
  }
}
