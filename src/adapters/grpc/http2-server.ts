/**
 * The HTTP/2 server inside a grpc-js server. Exchange streams are taken from it before grpc-js sees them; grpc-js has no public
 * way to share a connection with another handler, so this one file reaches inside, and says so when it finds nothing.
 */

import type { Http2Server, Http2Session, IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2'
import type { Server } from '@grpc/grpc-js'
import { CacheError } from '../../kernel/errors.ts'

type StreamListener = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, ...rest: unknown[]) => void

/**
 * Passes each new HTTP/2 stream to `take` first; grpc-js gets those it does not take. `isAlone` says of a stream that is
 * taken whether it is the only one that its connection has had.
 * @throws CacheError INTERNAL when this release of grpc-js is built otherwise.
 */
export function takeStreams(
  server: Server,
  take: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, isAlone: () => boolean) => boolean,
): void {
  const inside: unknown = Reflect.get(server, 'http2Servers')
  const servers: Http2Server[] = inside instanceof Map ? [...inside.keys()] : []
  if (servers.length === 0) {
    throw new CacheError(
      'INTERNAL',
      'this release of @grpc/grpc-js keeps its HTTP/2 servers elsewhere: use the pinned one',
    )
  }
  const opened = new WeakMap<Http2Session, number>()
  for (const http2 of servers) {
    const listeners = http2.listeners('stream') as StreamListener[]
    http2.removeAllListeners('stream')
    const dispatch: StreamListener = (stream, headers, ...rest) => {
      const { session } = stream
      if (session !== undefined) opened.set(session, (opened.get(session) ?? 0) + 1)
      const isAlone = (): boolean => session !== undefined && opened.get(session) === 1
      if (take(stream, headers, isAlone)) return
      for (const listener of listeners) listener.call(http2, stream, headers, ...rest)
    }
    http2.on('stream', dispatch)
  }
}
