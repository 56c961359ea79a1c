/**
 * This node's stream to whoever listens at one address, for what nodes agree on: the lane `control`. It introduces both sides to
 * each other, carries questions there and answers back, and is opened again whenever it fails, after a jittered pause of 50 ms,
 * doubling to 1 s. An address may come to lead to another process of the node, or to another node altogether.
 */

import { ByteReader } from '../kernel/bytes.ts'
import { CacheError, toCacheError } from '../kernel/errors.ts'
import type { Log } from '../kernel/log.ts'
import { type Random, uniform } from '../kernel/random.ts'
import type { Scheduler, Timer } from '../kernel/scheduler.ts'
import { type ControlMessage, decodeControl, encodeControl } from '../wire/control-frames.ts'
import { FrameType } from '../wire/frames.ts'
import { decodeError } from '../wire/handshake.ts'
import { decodePeerWelcome, type PeerWelcome } from '../wire/peer-frames.ts'
import type { Dialer, FrameHandler, FrameStream } from '../wire/transport.ts'

export interface ControlLinkHandler {
  /** The PEER_HELLO for the next stream. */
  hello(streamNumber: number): Uint8Array
  welcomed(link: ControlLink, peer: PeerWelcome): void
  answered(link: ControlLink, message: ControlMessage): void
  /** The stream broke, or could not be opened. `peer` is who was there, if it was open. */
  lost(link: ControlLink, error: CacheError | undefined, peer: PeerWelcome | undefined): void
}

export interface ControlLinkPorts {
  readonly dialer: Dialer
  readonly scheduler: Scheduler
  readonly random: Random
  readonly log: Log
}

const RETRY_MIN_MS = 50
const RETRY_MAX_MS = 1000
const CONNECT_TIMEOUT_MS = 1000
const WELCOME_TIMEOUT_MS = 2000

export class ControlLink {
  readonly address: string
  readonly #ports: ControlLinkPorts
  readonly #handler: ControlLinkHandler
  #stream: FrameStream | undefined
  #peer: PeerWelcome | undefined
  #timer: Timer | undefined
  #failures = 0
  #streams = 0
  #closed = false
  /** Why the last attempt failed, for status. */
  lastError: CacheError | undefined

  constructor(address: string, ports: ControlLinkPorts, handler: ControlLinkHandler) {
    this.address = address
    this.#ports = ports
    this.#handler = handler
  }

  /** Who is there; undefined while the stream is not open. */
  get peer(): PeerWelcome | undefined {
    return this.#peer
  }

  start(): void {
    this.#dial()
  }

  /** @returns false when nobody is there to hear it. */
  send(message: ControlMessage): boolean {
    if (this.#peer === undefined || this.#stream === undefined) return false
    this.#stream.send(encodeControl(message))
    return true
  }

  /** Ends the stream and opens it anew. */
  hangUp(why: string): void {
    const stream = this.#stream
    if (stream === undefined) return
    stream.close(true)
    this.#down(stream, new CacheError('UNAVAILABLE', why, { node: this.address }))
  }

  close(): void {
    this.#closed = true
    this.#timer?.cancel()
    this.#stream?.close()
    this.#stream = undefined
    this.#peer = undefined
  }

  #dial(): void {
    if (this.#closed) return
    const { dialer, scheduler } = this.#ports
    const handler: FrameHandler = {
      frame: (body) => this.#frame(stream, body),
      drained: () => {},
      closed: (error) => this.#down(stream, error),
    }
    const stream = dialer.open(
      this.address,
      { service: 'cluster', lane: 'control', connectTimeoutMs: CONNECT_TIMEOUT_MS },
      handler,
    )
    this.#stream = stream
    this.#timer = scheduler.after(CONNECT_TIMEOUT_MS + WELCOME_TIMEOUT_MS, () => {
      if (this.#stream !== stream || this.#peer !== undefined) return
      stream.close(true)
      this.#down(
        stream,
        new CacheError('UNAVAILABLE', `${this.address} does not answer`, {
          node: this.address,
          failure: 'timeout',
        }),
      )
    })
    stream.send(this.#handler.hello(++this.#streams))
  }

  #frame(stream: FrameStream, body: Uint8Array): void {
    if (this.#stream !== stream) return
    try {
      const r = new ByteReader(body, 1)
      const type = body[0] ?? 0
      if (type === FrameType.error) throw decodeError(r)
      if (this.#peer !== undefined) {
        this.#handler.answered(this, decodeControl(type, r))
        return
      }
      if (type !== FrameType.peerWelcome)
        throw new CacheError('PROTOCOL_ERROR', 'the first frame is not PEER_WELCOME')
      const peer = decodePeerWelcome(r)
      this.#peer = peer
      this.#failures = 0
      this.lastError = undefined
      this.#timer?.cancel()
      this.#handler.welcomed(this, peer)
    } catch (error) {
      if (this.#stream !== stream) return
      stream.close(true)
      this.#down(stream, toCacheError(error))
    }
  }

  #down(stream: FrameStream, error: CacheError | undefined): void {
    if (this.#stream !== stream) return
    const peer = this.#peer
    this.#stream = undefined
    this.#peer = undefined
    this.#timer?.cancel()
    this.#timer = undefined
    if (error !== undefined && error.code !== 'UNAVAILABLE' && error.code !== 'NOT_READY') {
      const { code, message } = error
      if (this.lastError?.message !== message)
        this.#ports.log.warn('a control stream was refused', { address: this.address, code, reason: message })
    }
    this.lastError = error
    if (!this.#closed) {
      const ceiling = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** Math.min(10, this.#failures++))
      this.#timer = this.#ports.scheduler.after(ceiling * (0.5 + uniform(this.#ports.random) / 2), () =>
        this.#dial(),
      )
    }
    this.#handler.lost(this, error, peer)
  }
}
