/**
 * The dialling end of an Exchange stream. A connection belongs to one stream: it is opened with it and closed with it. That
 * keeps lanes and services apart, reports a refused connection at once, and makes an abort release everything.
 *
 * HTTP/2 pings find a node that hangs or was cut off within `KEEPALIVE_TIME_MS + KEEPALIVE_TIMEOUT_MS`.
 */

import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  type IncomingHttpHeaders,
} from 'node:http2'
import { connect as connectSocket } from 'node:net'
import { status as Status } from '@grpc/grpc-js'
import { parseAddress } from '../../kernel/address.ts'
import { CacheError } from '../../kernel/errors.ts'
import type { DialOptions, FrameHandler } from '../../wire/transport.ts'
import {
  DATA_FRAME_BYTES_MAX,
  EXCHANGE_PATHS,
  KEEPALIVE_TIME_MS,
  KEEPALIVE_TIMEOUT_MS,
  WINDOW_BYTES,
} from './channel-options.ts'
import { ExchangeStream } from './exchange-stream.ts'
import { errorOfStatus } from './status.ts'

const CONNECT_TIMEOUT_MS = 1_000

export class GrpcClientStream extends ExchangeStream {
  readonly #address: string
  readonly #onClosed: (stream: GrpcClientStream) => void
  #session: ClientHttp2Session | undefined
  #keepalive: NodeJS.Timeout | undefined
  #pingDeadline: NodeJS.Timeout | undefined
  /** The status the node ended the stream with, once it has. */
  #status: { readonly code: number; readonly details: string } | undefined
  #broken: string | undefined

  constructor(
    address: string,
    options: DialOptions,
    handler: FrameHandler,
    onClosed: (stream: GrpcClientStream) => void,
  ) {
    super('connecting', () => true)
    this.#address = address
    this.#onClosed = onClosed
    this.#connect(options, handler)
  }

  protected override endWriting(stream: ClientHttp2Stream): void {
    stream.end()
  }

  protected override remoteEnded(): void {
    // The node's trailers came with its end; the close event reports them.
    if (this.state === 'open' || this.state === 'connecting') this.finish()
  }

  protected override rejected(error: CacheError): void {
    this.abort(error)
  }

  protected override reason(): CacheError | undefined {
    if (this.state === 'aborted') return this.failure
    if (this.state === 'closing') return undefined
    const status = this.#status
    if (status?.code === Status.OK) return undefined
    if (status !== undefined) return errorOfStatus(status, this.#address)
    const what = this.#broken ?? 'the connection was lost'
    return new CacheError('UNAVAILABLE', `the stream to ${this.#address} ended: ${what}`, {
      node: this.#address,
    })
  }

  protected override released(): void {
    clearInterval(this.#keepalive)
    clearTimeout(this.#pingDeadline)
    this.#session?.destroy()
    this.#onClosed(this)
  }

  #connect(options: DialOptions, handler: FrameHandler): void {
    const timeoutMs = options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS
    const parsed = parseAddress(this.#address)
    if (parsed === undefined) {
      this.failure = new CacheError(
        'INVALID_ARGUMENT',
        `${this.#address} is no address to connect to; write host:port`,
      )
      process.nextTick(() => {
        this.state = 'closed'
        this.released()
        handler.closed(this.failure)
      })
      return
    }
    const { host, port } = parsed
    const session = connect(`http://${this.#address}`, {
      createConnection: () => connectSocket({ host, port, noDelay: true }),
      settings: {
        enablePush: false,
        initialWindowSize: WINDOW_BYTES,
        maxFrameSize: DATA_FRAME_BYTES_MAX,
      },
    })
    this.#session = session
    // The first word on what went wrong is the telling one.
    session.on('error', (error: Error) => {
      this.#broken ??= error.message
    })
    session.once('connect', () => {
      if (!session.destroyed) session.setLocalWindowSize(WINDOW_BYTES)
    })
    const stream = session.request({
      ':method': 'POST',
      ':path': EXCHANGE_PATHS[options.service],
      'content-type': 'application/grpc',
      te: 'trailers',
      'user-agent': 'ringcache',
    })
    this.attach(stream, handler)
    stream.on('error', (error: Error) => {
      this.#broken ??= error.message
    })
    stream.on('response', (headers) => this.#responded(headers))
    stream.on('trailers', (trailers) => this.#note(trailers))
    this.startTimer(timeoutMs, () => {
      const message = `no connection to ${this.#address} within ${timeoutMs} ms: is the node running and reachable?`
      this.abort(new CacheError('UNAVAILABLE', message, { node: this.#address }))
    })
    this.#keepalive = setInterval(() => this.#ping(session), KEEPALIVE_TIME_MS)
  }

  /** The node accepts a stream by sending its headers. */
  #responded(headers: IncomingHttpHeaders & { ':status'?: number | undefined }): void {
    this.#note(headers)
    const type = headers['content-type'] ?? ''
    if (headers[':status'] !== 200 || !type.startsWith('application/grpc')) {
      this.#status ??= { code: Status.UNIMPLEMENTED, details: `HTTP status ${headers[':status']}` }
      return
    }
    if (this.state !== 'connecting') return
    this.stopTimer()
    this.state = 'open'
  }

  #note(headers: IncomingHttpHeaders): void {
    const code = headers['grpc-status']
    if (code === undefined) return
    const details = headers['grpc-message']
    this.#status ??= {
      code: Number(code),
      details: decodeDetails(typeof details === 'string' ? details : ''),
    }
  }

  #ping(session: ClientHttp2Session): void {
    if (session.destroyed || session.connecting || this.#pingDeadline !== undefined) return
    this.#pingDeadline = setTimeout(() => {
      const message = `${this.#address} did not answer a ping within ${KEEPALIVE_TIMEOUT_MS} ms`
      this.abort(new CacheError('UNAVAILABLE', message, { node: this.#address }))
    }, KEEPALIVE_TIMEOUT_MS)
    session.ping(() => {
      clearTimeout(this.#pingDeadline)
      this.#pingDeadline = undefined
    })
  }
}

/** gRPC percent-encodes its messages. */
function decodeDetails(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
