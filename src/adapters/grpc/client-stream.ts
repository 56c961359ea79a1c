/**
 * The dialling end of an Exchange stream. A connection belongs to one stream: it is opened with it and closed with it. That
 * keeps lanes and services apart, reports a refused connection at once, and makes an abort release everything.
 *
 * Pings find a node that hangs or was cut off (keepalive.ts).
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
import { CacheError, type ConnectionFailure } from '../../kernel/errors.ts'
import type { DialOptions, FrameHandler } from '../../wire/transport.ts'
import {
  DATA_FRAME_BYTES_MAX,
  EXCHANGE_PATHS,
  KEEPALIVE_TIMEOUT_MS,
  WINDOW_BYTES,
} from './channel-options.ts'
import { ExchangeStream } from './exchange-stream.ts'
import type { Watched } from './keepalive.ts'
import { errorOfStatus } from './status.ts'

const CONNECT_TIMEOUT_MS = 1_000

export class GrpcClientStream extends ExchangeStream implements Watched {
  readonly #address: string
  readonly #onClosed: (stream: GrpcClientStream) => void
  #session: ClientHttp2Session | undefined
  #pingDeadline: NodeJS.Timeout | undefined
  /** The status the node ended the stream with, once it has. */
  #status: { readonly code: number; readonly details: string } | undefined
  /** The first word on what went wrong is the telling one. */
  #broken: Error | undefined

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
    const what = this.#broken?.message ?? 'the connection was lost'
    return new CacheError('UNAVAILABLE', `the stream to ${this.#address} ended: ${what}`, {
      node: this.#address,
      ...failureOf(this.#broken),
    })
  }

  protected override released(): void {
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
    session.on('error', (error: Error) => {
      this.#broken ??= error
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
      this.#broken ??= error
    })
    stream.on('response', (headers) => this.#responded(headers))
    stream.on('trailers', (trailers) => this.#note(trailers))
    this.startTimer(timeoutMs, () => {
      const message = `no connection to ${this.#address} within ${timeoutMs} ms: is the node running and reachable?`
      this.abort(new CacheError('UNAVAILABLE', message, { node: this.#address, failure: 'timeout' }))
    })
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

  takeHeard(): boolean {
    const { heard } = this
    this.heard = false
    return heard
  }

  ping(): void {
    const session = this.#session
    if (session === undefined || session.destroyed || session.connecting || this.#pingDeadline !== undefined)
      return
    this.#pingDeadline = setTimeout(() => {
      const message = `${this.#address} did not answer a ping within ${KEEPALIVE_TIMEOUT_MS} ms`
      this.abort(new CacheError('UNAVAILABLE', message, { node: this.#address, failure: 'timeout' }))
    }, KEEPALIVE_TIMEOUT_MS)
    session.ping(() => {
      clearTimeout(this.#pingDeadline)
      this.#pingDeadline = undefined
      this.heard = true
    })
  }
}

/** What the system's error says; `reset` when it names none, since then the other side closed the connection. */
function failureOf(error: Error | undefined): { failure?: ConnectionFailure } {
  // A host name with several addresses: refused only if each of them refused.
  // A stream that was opened before the connection stood is cancelled, and names what became of the connection as the cause.
  const reason = error?.cause instanceof Error ? error.cause : error
  const errors: readonly Error[] = reason instanceof AggregateError ? reason.errors : reason ? [reason] : []
  const codes = errors.map((one: NodeJS.ErrnoException) => one.code)
  if (codes.length > 0 && codes.every((code) => code === 'ECONNREFUSED')) return { failure: 'refused' }
  if (codes.includes('ETIMEDOUT')) return { failure: 'timeout' }
  // Nothing is known of the process behind a name that does not resolve or a network without a way.
  if (codes.some((code) => code !== undefined && NO_WAY.has(code))) return {}
  return { failure: 'reset' }
}

const NO_WAY: ReadonlySet<string> = new Set([
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EHOSTDOWN',
  'ENETDOWN',
  'EADDRNOTAVAIL',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EMFILE',
  'ENFILE',
])

/** gRPC percent-encodes its messages. */
function decodeDetails(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
