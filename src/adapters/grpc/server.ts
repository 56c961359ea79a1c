/**
 * A node's gRPC server: the Exchange streams, and beside them the ordinary services that are added to it.
 *
 * It owns its TCP listener, so that a port in use is reported as such, connections are counted and can be cut. Bounds:
 * connections, Exchange streams in all and per connection, HTTP/2 streams per connection. A stream too many is told
 * OVERLOADED in an ERROR frame and ended.
 */

import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2'
import { createServer, type Socket, type Server as TcpServer } from 'node:net'
import { type ConnectionInjector, Server, ServerCredentials } from '@grpc/grpc-js'
import { parseAddress } from '../../kernel/address.ts'
import { CacheError } from '../../kernel/errors.ts'
import { encodeError } from '../../wire/handshake.ts'
import type { Accept, FrameHandler, StreamService } from '../../wire/transport.ts'
import {
  BULK_STREAMS_WIDE,
  BULK_WINDOW_BYTES,
  DATA_FRAME_BYTES_MAX,
  EXCHANGE_PATHS,
  WINDOW_BYTES,
} from './channel-options.ts'
import { takeStreams } from './http2-server.ts'
import { GrpcServerStream } from './server-stream.ts'

export interface GrpcServerOptions {
  readonly accept: Accept
  /** Exchange streams open at one time, per service: clients must not crowd out the other nodes. */
  readonly streamsMax: Readonly<Record<StreamService, number>>
  /** Exchange streams open at one time on one connection. Default 16. */
  readonly streamsPerConnectionMax?: number
  /** Connections open at one time; further ones are closed at once. Default 4,096. */
  readonly connectionsMax?: number
  /** Largest message of the ordinary services, in bytes. Exchange frames have a limit of their own. Default 32 MiB. */
  readonly messageBytesMax?: number
  /** Ordinary services, e.g. unary calls, health, reflection. */
  readonly services?: readonly GrpcService[]
}

/** Adds an ordinary service to the server. */
export type GrpcService = (server: Pick<Server, 'addService'>) => void

const HTTP2_STREAMS_PER_CONNECTION = 256
const KEEPALIVE_TIME_MS = 10_000
const KEEPALIVE_TIMEOUT_MS = 5_000

export class GrpcServer {
  readonly #options: GrpcServerOptions
  readonly #server: Server
  readonly #injector: ConnectionInjector
  readonly #listener: TcpServer
  readonly #sockets: Set<Socket> = new Set()
  readonly #streamsByConnection: Map<string, number> = new Map()
  readonly #streams: Record<StreamService, number> = { cache: 0, cluster: 0 }
  /** Clients' bulk streams with a wide window. */
  #wideStreams = 0

  private constructor(options: GrpcServerOptions) {
    this.#options = options
    this.#server = new Server({
      'grpc.enable_channelz': 0,
      'grpc.max_concurrent_streams': HTTP2_STREAMS_PER_CONNECTION,
      'grpc.max_receive_message_length': options.messageBytesMax ?? 32 * 1024 * 1024,
      'grpc.max_send_message_length': -1,
      'grpc.keepalive_time_ms': KEEPALIVE_TIME_MS,
      'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
    })
    for (const addService of options.services ?? []) addService(this.#server)
    this.#injector = this.#server.createConnectionInjector(ServerCredentials.createInsecure())
    takeStreams(this.#server, this.#take)
    this.#listener = createServer({ noDelay: true }, (socket) => this.#connected(socket))
    this.#listener.maxConnections = options.connectionsMax ?? 4096
  }

  /**
   * @param address `host:port`
   * @throws CacheError CONFIGURATION when the address cannot be listened on, saying why and what to change.
   */
  static async listen(address: string, options: GrpcServerOptions): Promise<GrpcServer> {
    const parsed = parseAddress(address)
    if (parsed === undefined) {
      throw new CacheError(
        'CONFIGURATION',
        `"${address}" is no address; write host:port, such as 127.0.0.1:7401`,
      )
    }
    const { host, port } = parsed
    const server = new GrpcServer(options)
    await new Promise<void>((resolve, reject) => {
      const failed = (error: NodeJS.ErrnoException): void => {
        server.#injector.destroy()
        reject(listenError(error, address, port))
      }
      server.#listener.once('error', failed)
      server.#listener.listen(port, host, () => {
        server.#listener.removeListener('error', failed)
        resolve()
      })
    })
    return server
  }

  /** Exchange streams open now. */
  get streams(): number {
    return this.#streams.cache + this.#streams.cluster
  }

  /** Connections open now. */
  get connections(): number {
    return this.#sockets.size
  }

  /** Takes no further connections, lets open calls end until `deadlineMs` has passed, then cuts the rest. */
  async close(deadlineMs = 1_000): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#listener.close(() => resolve()))
    this.#injector.drain(deadlineMs)
    const cut = setTimeout(() => {
      for (const socket of this.#sockets) socket.destroy()
    }, deadlineMs)
    await closed
    clearTimeout(cut)
    this.#injector.destroy()
    this.#server.forceShutdown()
  }

  #connected(socket: Socket): void {
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
    // HTTP/2 reports a broken connection through its session; without a listener here it would be an uncaught error.
    socket.on('error', () => {})
    this.#injector.injectConnection(socket)
  }

  /** Takes the Exchange streams; grpc-js gets the rest. */
  readonly #take = (
    http2: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    isAlone: () => boolean,
  ): boolean => {
    const path = headers[':path']
    const service =
      path === EXCHANGE_PATHS.cache ? 'cache' : path === EXCHANGE_PATHS.cluster ? 'cluster' : undefined
    if (service === undefined || !headers['content-type']?.startsWith('application/grpc')) return false
    const { remoteAddress, remotePort } = http2.session?.socket ?? {}
    const connection = `${remoteAddress}:${remotePort}`
    const refusal = this.#refusal(service, connection)
    if (refusal !== undefined) {
      const refused = new GrpcServerStream(http2, connection, {
        isAlone,
        widen(): void {},
        closed(): void {},
      })
      refused.start(IGNORE)
      refused.send(encodeError('OVERLOADED', refusal))
      refused.close()
      return true
    }
    this.#streams[service]++
    this.#streamsByConnection.set(connection, (this.#streamsByConnection.get(connection) ?? 0) + 1)
    let isWide = false
    const stream = new GrpcServerStream(http2, connection, {
      isAlone,
      widen: () => {
        if (isWide || service !== 'cache' || this.#wideStreams >= BULK_STREAMS_WIDE || !isAlone()) return
        isWide = true
        this.#wideStreams++
        widenWindow(http2, BULK_WINDOW_BYTES)
      },
      closed: () => {
        if (isWide) this.#wideStreams--
        this.#streams[service]--
        const left = (this.#streamsByConnection.get(connection) ?? 1) - 1
        if (left === 0) this.#streamsByConnection.delete(connection)
        else this.#streamsByConnection.set(connection, left)
      },
    })
    // Other nodes are few and trusted with memory: their large values need not wait for a round trip per 64 KiB.
    if (service === 'cluster') widenWindow(http2, WINDOW_BYTES)
    stream.start(this.#options.accept(service, stream, connection))
    return true
  }

  /** Why there is no room for one more stream; undefined when there is. */
  #refusal(service: StreamService, connection: string): string | undefined {
    const onConnection = this.#streamsByConnection.get(connection) ?? 0
    if (onConnection >= (this.#options.streamsPerConnectionMax ?? 16)) {
      return `this connection has ${onConnection} streams open, as many as are allowed: use one stream per client and lane`
    }
    const open = this.#streams[service]
    if (open < this.#options.streamsMax[service]) return undefined
    return `this node has ${open} streams open, as many as are allowed: close some clients or add nodes`
  }
}

/** Lets the other end send `bytes` ahead, on the stream and on its connection. */
function widenWindow(http2: ServerHttp2Stream, bytes: number): void {
  const { session } = http2
  if (session === undefined || session.destroyed) return
  session.setLocalWindowSize(bytes)
  session.settings({ initialWindowSize: bytes, maxFrameSize: DATA_FRAME_BYTES_MAX })
}

const IGNORE: FrameHandler = { frame(): void {}, drained(): void {}, closed(): void {} }

function listenError(cause: NodeJS.ErrnoException, address: string, port: number): CacheError {
  const messages: Readonly<Record<string, string>> = {
    EADDRINUSE: `port ${port} is already in use on this machine: stop the process that listens on ${address}, or give this node another port in cluster.yaml`,
    EACCES: `this user may not listen on port ${port}: choose one above 1023 in cluster.yaml`,
    EADDRNOTAVAIL: `${address} is no address of this machine: correct the node's address in cluster.yaml`,
    ENOTFOUND: `the host name in ${address} is unknown: correct the node's address in cluster.yaml`,
  }
  const message = messages[cause.code ?? ''] ?? `cannot listen on ${address}: ${cause.message}`
  return new CacheError('CONFIGURATION', message, { cause })
}
