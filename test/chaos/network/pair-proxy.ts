/**
 * A TCP proxy between one dialling end and one node. Faults act as a network's would:
 *
 * - *cut*, per direction: bytes stay where they are, and so do ends and resets of connections. TCP would send them again and
 *   deliver them after the cut, which is what happens here. New connections hang while either direction is cut.
 * - *delay*, per direction: bytes arrive later, in order.
 * - *limit*, per direction: so many bytes a second, over whatever shares the rate.
 * - *reset*: both ends see ECONNRESET.
 *
 * While the node's process is gone nothing listens here, so that connects are refused as the node's own port would refuse
 * them (unless a cut is between: then they hang). Difference from a real network: a connect through a cut seems to succeed,
 * for the system completes the handshake with the proxy; no byte comes back.
 */

import { connect, createServer, type Server, type Socket } from 'node:net'
import type { LinkRate } from './link-rate.ts'

/** `forth`: from the dialling end to the node. */
export type Direction = 'forth' | 'back'

interface Flow {
  cut: boolean
  delayMs: number
  rate: LinkRate | undefined
  /** Passed on so far. */
  bytes: number
}

/** Bytes that may be on their way through a delay, per direction of a connection. */
const DELAYED_BYTES_MAX = 4 * 1024 * 1024
const HOST = '127.0.0.1'
/** Shorter than that a timer can't hold. */
const HELD_MS_MIN = 1

export class PairProxy {
  readonly port: number
  readonly #nodePort: number
  readonly #flows: Record<Direction, Flow> = {
    forth: { cut: false, delayMs: 0, rate: undefined, bytes: 0 },
    back: { cut: false, delayMs: 0, rate: undefined, bytes: 0 },
  }
  readonly #links = new Set<ProxyLink>()
  #server: Server | undefined
  #nodeIsUp = false
  #closed = false

  constructor(port: number, nodePort: number) {
    this.port = port
    this.#nodePort = nodePort
  }

  nodeIsUp(up: boolean): void {
    this.#nodeIsUp = up
    this.#update()
  }

  setCut(direction: Direction, cut: boolean): void {
    this.#flows[direction].cut = cut
    this.#update()
  }

  setDelay(direction: Direction, delayMs: number): void {
    this.#flows[direction].delayMs = delayMs
  }

  /** undefined: without limit. */
  setRate(direction: Direction, rate: LinkRate | undefined): void {
    this.#flows[direction].rate = rate
  }

  /** Bytes passed on so far. */
  bytes(direction: Direction): number {
    return this.#flows[direction].bytes
  }

  reset(): void {
    for (const link of this.#links) link.reset()
  }

  close(): void {
    this.#closed = true
    this.#update()
    this.reset()
  }

  #update(): void {
    const { forth, back } = this.#flows
    const listens = !this.#closed && (this.#nodeIsUp || forth.cut || back.cut)
    if (listens && this.#server === undefined) this.#listen()
    if (!listens) {
      this.#server?.close()
      this.#server = undefined
    }
    for (const link of this.#links) link.update()
  }

  #listen(): void {
    const server = createServer({ pauseOnConnect: true, noDelay: true }, (socket) => {
      const link = new ProxyLink(socket, this.#nodePort, this.#flows, () => this.#links.delete(link))
      this.#links.add(link)
      link.update()
    })
    server.on('error', (error) => {
      // The port is given free a moment after the listener before this one closed.
      if (this.#server === server) this.#server = undefined
      if (!this.#closed && (error as NodeJS.ErrnoException).code === 'EADDRINUSE')
        setTimeout(() => this.#update(), 20)
    })
    server.listen(this.port, HOST)
    this.#server = server
  }
}

/** One connection through the proxy: two sockets, and what is between them. */
class ProxyLink {
  readonly #near: Socket
  readonly #nodePort: number
  readonly #flows: Readonly<Record<Direction, Flow>>
  readonly #onEnd: () => void
  #far: Socket | undefined
  #pipes: readonly ProxyPipe[] = []
  #ended = false

  constructor(near: Socket, nodePort: number, flows: Readonly<Record<Direction, Flow>>, onEnd: () => void) {
    this.#near = near
    this.#nodePort = nodePort
    this.#flows = flows
    this.#onEnd = onEnd
    near.on('error', () => {})
  }

  update(): void {
    if (this.#ended) return
    if (this.#far === undefined) {
      if (this.#flows.forth.cut || this.#flows.back.cut) return
      this.#connect()
    }
    for (const pipe of this.#pipes) pipe.update()
  }

  reset(): void {
    if (this.#ended) return
    this.#ended = true
    for (const socket of [this.#near, this.#far]) if (socket?.destroyed === false) socket.resetAndDestroy()
    this.#onEnd()
  }

  #connect(): void {
    const far = connect({ port: this.#nodePort, host: HOST, noDelay: true })
    this.#far = far
    far.on('error', () => {})
    const finished = (): void => {
      if (this.#pipes.every((pipe) => pipe.isFinished)) this.reset()
    }
    this.#pipes = [
      new ProxyPipe(this.#near, far, this.#flows.forth, finished),
      new ProxyPipe(far, this.#near, this.#flows.back, finished),
    ]
  }
}

/** One direction of one connection. */
class ProxyPipe {
  readonly #from: Socket
  readonly #to: Socket
  readonly #flow: Flow
  readonly #onFinished: () => void
  readonly #delayed: { readonly chunk: Buffer; readonly dueMs: number }[] = []
  #delayedBytes = 0
  /** The link is busy with what was sent before. */
  #isBusy = false
  /** Set once the source has ended, until that is passed on. */
  #ending: 'end' | 'reset' | undefined
  isFinished = false

  constructor(from: Socket, to: Socket, flow: Flow, onFinished: () => void) {
    this.#from = from
    this.#to = to
    this.#flow = flow
    this.#onFinished = onFinished
    from.on('data', (chunk: Buffer) => this.#take(chunk))
    from.on('end', () => this.#end('end'))
    from.on('close', (hadError) => this.#end(hadError ? 'reset' : 'end'))
    to.on('drain', () => this.update())
    this.update()
  }

  update(): void {
    const isFull = this.#isBusy || this.#to.writableNeedDrain || this.#delayedBytes > DELAYED_BYTES_MAX
    if (this.#flow.cut || isFull) {
      this.#from.pause()
      return
    }
    this.#from.resume()
    if (this.#ending !== undefined) this.#passEnd()
  }

  #take(chunk: Buffer): void {
    const { delayMs, rate } = this.#flow
    if (rate !== undefined) this.#hold(rate.spend(chunk.length, performance.now()))
    if (delayMs === 0 && this.#delayed.length === 0) {
      this.#give(chunk)
      return
    }
    // Never before what came earlier, should the delay have become shorter.
    const dueMs = Math.max(performance.now() + delayMs, this.#delayed.at(-1)?.dueMs ?? 0)
    this.#delayedBytes += chunk.length
    if (this.#delayed.push({ chunk, dueMs }) === 1) this.#wait(dueMs)
  }

  #wait(dueMs: number): void {
    setTimeout(() => this.#giveDue(), Math.max(1, dueMs - performance.now()))
  }

  #giveDue(): void {
    const nowMs = performance.now()
    for (
      let first = this.#delayed[0];
      first !== undefined && first.dueMs <= nowMs;
      first = this.#delayed[0]
    ) {
      this.#delayed.shift()
      this.#delayedBytes -= first.chunk.length
      this.#give(first.chunk)
    }
    const next = this.#delayed[0]
    if (next !== undefined) this.#wait(next.dueMs)
    this.update()
  }

  /** Takes no more for so long: the bytes at hand go on at once, and are paid for before others. */
  #hold(ms: number): void {
    if (ms < HELD_MS_MIN) return
    this.#isBusy = true
    this.#from.pause()
    setTimeout(() => {
      this.#isBusy = false
      this.update()
    }, ms)
  }

  #give(chunk: Buffer): void {
    this.#flow.bytes += chunk.length
    if (!this.#to.destroyed && this.#to.writable && !this.#to.write(chunk)) this.#from.pause()
  }

  #end(how: 'end' | 'reset'): void {
    if (this.isFinished || this.#ending === 'reset') return
    this.#ending = how
    if (!this.#flow.cut) this.#passEnd()
  }

  #passEnd(): void {
    if (this.#delayedBytes > 0) return
    const how = this.#ending
    if (how === undefined || this.isFinished) return
    this.isFinished = true
    if (how === 'reset') this.#to.resetAndDestroy()
    else this.#to.end()
    this.#onFinished()
  }
}
