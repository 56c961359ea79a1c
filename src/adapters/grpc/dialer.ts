/** Opens Exchange streams over gRPC: the Dialer of clients and of nodes among each other. */

import type { Dialer, DialOptions, FrameHandler, FrameStream } from '../../wire/transport.ts'
import { GrpcClientStream } from './client-stream.ts'
import { Keepalive } from './keepalive.ts'

export class GrpcDialer implements Dialer {
  readonly #streams: Set<GrpcClientStream> = new Set()
  readonly #keepalive = new Keepalive()

  open(address: string, options: DialOptions, handler: FrameHandler): FrameStream {
    const stream = new GrpcClientStream(address, options, handler, (closed) => {
      this.#keepalive.unwatch(closed)
      this.#streams.delete(closed)
    })
    this.#streams.add(stream)
    this.#keepalive.watch(stream)
    return stream
  }

  /** Aborts the streams that are still open. */
  close(): void {
    for (const stream of this.#streams) stream.close(true)
  }
}
