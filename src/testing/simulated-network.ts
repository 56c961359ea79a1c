/**
 * A network of streams on virtual time. Frames of a stream arrive whole and in order, each after a random latency, while
 * different streams overtake each other. A link between two hosts can be slow, and be cut in either direction (frames wait,
 * as TCP would retransmit, until the link heals or the stream is reset). A process that does not read, because it stands
 * still or says so, fills the receiver's buffer and then the sender's.
 *
 * A crashed process resets its streams, of which the other side learns, and its machine refuses connections. A machine
 * without power does neither: its peers hear nothing at all, until it is back and knows nothing of their streams.
 *
 * Not simulated: loss of single frames inside a stream, since TCP hides it. A reset loses what was under way.
 */

import { CacheError } from '../kernel/errors.ts'
import { integerBetween, type Random, uniform } from '../kernel/random.ts'
import { joinFrame, openFrame } from '../wire/frames.ts'
import type { Accept, Dialer, DialOptions, FrameHandler, FrameStream } from '../wire/transport.ts'
import type { SimulatedHost } from './simulated-host.ts'
import type { VirtualTime } from './virtual-time.ts'

export interface NetworkOptions {
  /** Latency of a frame, in milliseconds, uniform between the two. Default 0.2 and 2. */
  readonly latencyMinMs?: number
  readonly latencyMaxMs?: number
  /** Share of frames, 0..1, that take 10 to 50 times as long. Default 0.01. */
  readonly slowShare?: number
  /** A stream's buffer mark, in bytes, above which `send` returns false. Default 64 KiB. */
  readonly bufferBytes?: number
  /** What a stream's receiver takes in, in bytes, before its process has read it. Default 64 KiB. */
  readonly receiveBytes?: number
}

interface Listener {
  readonly host: SimulatedHost
  readonly accept: Accept
}

export class SimulatedNetwork {
  readonly #time: VirtualTime
  readonly #random: Random
  readonly #options: Required<NetworkOptions>
  readonly #listeners = new Map<string, Listener>()
  readonly #streams = new Set<Pipe>()
  readonly #cuts = new Set<string>()
  /** Milliseconds that a route takes longer. */
  readonly #delays = new Map<string, number>()
  /** By address: the machine of a process that has ended. */
  readonly #machines = new Map<string, string>()
  /** Machines without power. */
  readonly #dark = new Set<string>()
  /** Every delivered frame, for traces: from, to, body. */
  onDelivery: ((from: string, to: string, body: Uint8Array) => void) | undefined

  constructor(time: VirtualTime, random: Random, options: NetworkOptions = {}) {
    this.#time = time
    this.#random = random
    this.#options = {
      latencyMinMs: 0.2,
      latencyMaxMs: 2,
      slowShare: 0.01,
      bufferBytes: 65_536,
      receiveBytes: 65_536,
      ...options,
    }
  }

  listen(address: string, host: SimulatedHost, accept: Accept): void {
    this.#listeners.set(address, { host, accept })
  }

  unlisten(address: string): void {
    this.#listeners.delete(address)
  }

  /** The dialer of processes on this host. */
  dialer(host: SimulatedHost): Dialer {
    return {
      open: (address, options, handler) => this.#open(host, address, options, handler),
      close(): void {},
    }
  }

  /** Holds back what `from` sends to `to` until `heal`. */
  cut(from: string, to: string): void {
    this.#cuts.add(`${from}>${to}`)
  }

  heal(from: string, to: string): void {
    if (this.#cuts.delete(`${from}>${to}`)) for (const pipe of this.#streams) pipe.pump()
  }

  healAll(): void {
    this.#cuts.clear()
    this.#delays.clear()
    for (const pipe of this.#streams) pipe.pump()
  }

  isCut(from: string, to: string): boolean {
    return this.isCutOff(`${from}>${to}`, from, to)
  }

  /** As `isCut`, for those who keep the route's name. */
  isCutOff(route: string, from: string, to: string): boolean {
    if (this.#cuts.size > 0 && this.#cuts.has(route)) return true
    return this.#dark.size > 0 && (this.#dark.has(from) || this.#dark.has(to))
  }

  /** Lets what `from` sends to `to` take this much longer, in milliseconds; 0: no longer. */
  delay(from: string, to: string, extraMs: number): void {
    if (extraMs > 0) this.#delays.set(`${from}>${to}`, extraMs)
    else this.#delays.delete(`${from}>${to}`)
  }

  /** To be called with `host.crash()`, instead of `crash`: the machine is gone without a word. */
  powerOff(host: SimulatedHost): void {
    this.#unlistenAll(host)
    this.#dark.add(host.name)
  }

  /** The machine is back. It resets the streams of which it knows nothing. */
  powerOn(host: SimulatedHost): void {
    if (!this.#dark.delete(host.name)) return
    for (const pipe of [...this.#streams]) if (pipe.from === host || pipe.to === host) pipe.reset()
  }

  /** Resets every stream between the two hosts. */
  reset(a: string, b: string): void {
    for (const pipe of [...this.#streams]) {
      if ((pipe.from.name === a && pipe.to.name === b) || (pipe.from.name === b && pipe.to.name === a))
        pipe.reset()
    }
  }

  /** To be called with `host.crash()`: its listeners vanish and its streams are reset. */
  crash(host: SimulatedHost): void {
    this.#unlistenAll(host)
    for (const pipe of [...this.#streams]) if (pipe.from === host || pipe.to === host) pipe.reset()
  }

  get receiveBytes(): number {
    return this.#options.receiveBytes
  }

  latencyMs(route?: string): number {
    const { latencyMinMs, latencyMaxMs, slowShare } = this.#options
    let latency = latencyMinMs + uniform(this.#random) * (latencyMaxMs - latencyMinMs)
    if (uniform(this.#random) < slowShare) latency *= integerBetween(this.#random, 10, 50)
    if (route !== undefined && this.#delays.size > 0) latency += this.#delays.get(route) ?? 0
    return latency
  }

  #unlistenAll(host: SimulatedHost): void {
    for (const [address, listener] of this.#listeners) {
      if (listener.host === host) {
        this.#listeners.delete(address)
        this.#machines.set(address, host.name)
      }
    }
  }

  #open(from: SimulatedHost, address: string, options: DialOptions, handler: FrameHandler): FrameStream {
    const near = new End(from, this.#options.bufferBytes)
    near.handler = handler
    const attempt = (): void => {
      const listener = this.#listeners.get(address)
      const toName = listener?.host.name ?? this.#machines.get(address) ?? address
      if (this.isCut(from.name, toName) || this.isCut(toName, from.name)) {
        // Connecting into a cut takes until the timeout.
        from.after(options.connectTimeoutMs ?? 1000, () =>
          near.fail(
            new CacheError('UNAVAILABLE', `connecting to ${address} timed out`, {
              node: address,
              failure: 'timeout',
            }),
          ),
        )
        return
      }
      if (listener === undefined || near.closed) {
        near.fail(
          new CacheError('UNAVAILABLE', `${address} refused the connection`, {
            node: address,
            failure: 'refused',
          }),
        )
        return
      }
      const far = new End(listener.host, this.#options.bufferBytes)
      const out = new Pipe(this, this.#time, near, far, this.#streams)
      const back = new Pipe(this, this.#time, far, near, this.#streams)
      out.twin = back
      back.twin = out
      near.connect(out, back)
      far.connect(back, out)
      listener.host.nextTurn(() => {
        if (far.closed) return
        far.handler = listener.accept(options.service, far, from.name)
        far.start()
      })
    }
    from.after(this.latencyMs(), attempt)
    return near
  }
}

/** One side of a stream. */
class End implements FrameStream {
  readonly host: SimulatedHost
  readonly #bufferBytes: number
  handler: FrameHandler | undefined
  closed = false
  #pipe: Pipe | undefined
  #incoming: Pipe | undefined
  #early: Uint8Array[] = []
  #paused = false
  #inbox: Uint8Array[] = []
  #full = false
  #pendingClose = false
  queuedBytes = 0
  /** Bytes that arrived at the machine and have not been read by the process. */
  unreadBytes = 0
  /** The process it belongs to: that of a crashed one hears nothing more, not even that its streams broke. */
  readonly #life: number

  constructor(host: SimulatedHost, bufferBytes: number) {
    this.host = host
    this.#life = host.life
    this.#bufferBytes = bufferBytes
  }

  connect(pipe: Pipe, incoming: Pipe): void {
    this.#pipe = pipe
    this.#incoming = incoming
    const early = this.#early
    this.#early = []
    for (const message of early) pipe.send(message)
    if (this.#pendingClose) pipe.finish()
  }

  /** The accepting side's handler is set: deliver what arrived before. */
  start(): void {
    this.resume()
  }

  send(message: Uint8Array): boolean {
    if (this.closed) return true
    this.queuedBytes += message.length
    if (this.#pipe === undefined) this.#early.push(message)
    else this.#pipe.send(message)
    if (this.queuedBytes <= this.#bufferBytes) return true
    // Stays so until `drained` was promised and called, whatever a send below the mark says meanwhile.
    this.#full = true
    return false
  }

  sendParts(head: Uint8Array, parts: readonly Uint8Array[], sent?: () => void): boolean {
    const mayGoOn = this.send(joinFrame(head, parts))
    sent?.()
    return mayGoOn
  }

  sent(bytes: number): void {
    this.queuedBytes -= bytes
    if (this.#full && this.queuedBytes <= this.#bufferBytes / 2) {
      this.#full = false
      this.host.nextTurn(() => {
        if (!this.closed && !this.#isDead) this.handler?.drained()
      })
    }
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    this.#drainSoon()
  }

  /** A frame has reached the machine. */
  arrive(body: Uint8Array): void {
    this.unreadBytes += body.length
    this.host.receive(() => {
      if (this.closed) return
      this.#inbox.push(body)
      this.#drain()
    })
  }

  #drainSoon(): void {
    if (this.#inbox.length > 0) this.host.nextTurn(() => this.#drain())
  }

  #drain(): void {
    while (!this.#paused && !this.closed && !this.#isDead && this.handler !== undefined) {
      const body = this.#inbox.shift()
      if (body === undefined) break
      this.unreadBytes -= body.length
      this.handler.frame(body)
    }
    this.#incoming?.pump()
  }

  close(abort = false): void {
    if (this.closed) return
    this.closed = true
    if (this.#pipe === undefined) this.#pendingClose = true
    else if (abort) this.#pipe.reset()
    else this.#pipe.finish()
    this.host.nextTurn(() => this.#end(undefined))
  }

  /** The stream ended from outside. */
  fail(error: CacheError | undefined): void {
    if (this.closed) return
    this.closed = true
    this.host.receive(() => this.#end(error))
  }

  #end(error: CacheError | undefined): void {
    const { handler } = this
    this.handler = undefined
    if (!this.#isDead) handler?.closed(error)
  }

  get #isDead(): boolean {
    return this.#life !== this.host.life
  }
}

/** One direction of a stream: frames under way, in order. */
class Pipe {
  readonly #network: SimulatedNetwork
  readonly #time: VirtualTime
  readonly #near: End
  readonly #far: End
  readonly #all: Set<Pipe>
  readonly #route: string
  readonly #queue: { body: Uint8Array | undefined; bytes: number; dueMs: number }[] = []
  #lastDueMs = 0
  #armed = false
  #dead = false
  twin: Pipe | undefined

  constructor(network: SimulatedNetwork, time: VirtualTime, near: End, far: End, all: Set<Pipe>) {
    this.#network = network
    this.#time = time
    this.#near = near
    this.#far = far
    this.#all = all
    this.#route = `${near.host.name}>${far.host.name}`
    all.add(this)
  }

  get from(): SimulatedHost {
    return this.#near.host
  }

  get to(): SimulatedHost {
    return this.#far.host
  }

  send(message: Uint8Array): void {
    this.#enqueue(openFrame(message).slice(), message.length)
  }

  /** An orderly end travels behind the frames. */
  finish(): void {
    this.#enqueue(undefined, 0)
  }

  reset(): void {
    for (const pipe of [this, this.twin]) {
      if (pipe === undefined || pipe.#dead) continue
      pipe.#dead = true
      pipe.#all.delete(pipe)
      pipe.#queue.length = 0
      const far = pipe.#far
      this.#time.after(this.#network.latencyMs(), () =>
        far.fail(
          new CacheError('UNAVAILABLE', `the connection to ${pipe.from.name} was reset`, {
            node: pipe.from.name,
            failure: 'reset',
          }),
        ),
      )
    }
  }

  pump(): void {
    if (this.#armed || this.#dead) return
    const head = this.#queue[0]
    if (head === undefined || this.#isHeldUp) return
    this.#armed = true
    this.#time.after(Math.max(0, head.dueMs - this.#time.monotonicMs()), () => {
      this.#armed = false
      if (this.#dead || this.#isHeldUp) return
      const item = this.#queue.shift()
      if (item === undefined) return
      this.#near.sent(item.bytes)
      const { body } = item
      if (body === undefined) {
        this.#end()
      } else {
        this.#network.onDelivery?.(this.from.name, this.to.name, body)
        this.#far.arrive(body)
      }
      this.pump()
    })
  }

  get #isHeldUp(): boolean {
    return (
      this.#far.unreadBytes >= this.#network.receiveBytes ||
      this.#network.isCutOff(this.#route, this.from.name, this.to.name)
    )
  }

  #end(): void {
    this.#dead = true
    this.#all.delete(this)
    this.#far.fail(undefined)
    const { twin } = this
    if (twin !== undefined && !twin.#dead) {
      twin.#dead = true
      twin.#all.delete(twin)
    }
  }

  #enqueue(body: Uint8Array | undefined, bytes: number): void {
    if (this.#dead) return
    const dueMs = Math.max(this.#lastDueMs, this.#time.monotonicMs() + this.#network.latencyMs(this.#route))
    this.#lastDueMs = dueMs
    this.#queue.push({ body, bytes, dueMs })
    this.pump()
  }
}
