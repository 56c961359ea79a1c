/**
 * This node's gossip stream to one other node: opened, and opened anew whenever it ends. How it ends matters here, for a
 * refused connection after a broken stream is evidence of a death; so the first attempt after a loss comes at once. Later
 * ones wait 50 ms, doubling to 1 s, jittered.
 *
 * Gossip may be lost: what a peer does not read is dropped once `QUEUE_BYTES_MAX` wait.
 */

import { ByteReader } from '../kernel/bytes.ts'
import { CacheError, type ConnectionFailure, toCacheError } from '../kernel/errors.ts'
import type { Log } from '../kernel/log.ts'
import { type Random, uniform } from '../kernel/random.ts'
import type { Scheduler, Timer } from '../kernel/scheduler.ts'
import { FrameType, PROTOCOL_VERSION_MAX, PROTOCOL_VERSION_MIN } from '../wire/frames.ts'
import { decodeError } from '../wire/handshake.ts'
import { decodePeerWelcome, encodePeerHello } from '../wire/peer-frames.ts'
import type { Dialer, FrameStream } from '../wire/transport.ts'

export interface GossipIdentity {
  readonly clusterName: string
  readonly nodeId: string
  /** 16 hex digits. */
  readonly incarnation: string
  /** Where the others reach this node. */
  readonly address: string
  /** What this node's disk is called. */
  diskId(): string
  /** Empty while there is none. */
  clusterId(): string
}

export interface GossipLinkHandler {
  /** @param dialledMs when the dial began that this process answered. */
  up(link: GossipLink, incarnation: string, dialledMs: number): void
  /** The stream ended by itself. `undefined`: in an orderly way. */
  down(link: GossipLink, incarnation: string, failure: ConnectionFailure | undefined): void
  refused(link: GossipLink): void
  /** A frame behind the handshake. Throws CacheError when it is malformed. */
  received(link: GossipLink, incarnation: string, body: Uint8Array): void
}

export interface GossipLinkPorts {
  readonly dialer: Dialer
  readonly scheduler: Scheduler
  readonly clock: { monotonicMs(): number }
  readonly random: Random
  readonly log: Log
}

const RETRY_MIN_MS = 50
const RETRY_MAX_MS = 1000
const CONNECT_TIMEOUT_MS = 1000
const WELCOME_TIMEOUT_MS = 2000
/** A stream that stood so long was no flaw of the peer's: the next one is opened at once. */
const STEADY_MS = 1000
const QUEUE_BYTES_MAX = 256 * 1024

type State =
  | { readonly is: 'closed' }
  | { readonly is: 'waiting'; readonly timer: Timer }
  | {
      readonly is: 'dialling'
      readonly stream: FrameStream
      readonly timer: Timer
      readonly dialledMs: number
    }
  | {
      readonly is: 'up'
      readonly stream: FrameStream
      readonly incarnation: string
      readonly sinceMs: number
    }

export class GossipLink {
  readonly nodeId: string
  address: string
  readonly #identity: GossipIdentity
  readonly #ports: GossipLinkPorts
  readonly #handler: GossipLinkHandler
  #state: State = { is: 'closed' }
  #failures = 0
  #streamNumber = 0
  /** Messages dropped because the peer did not read. */
  dropped = 0

  constructor(
    nodeId: string,
    address: string,
    identity: GossipIdentity,
    ports: GossipLinkPorts,
    handler: GossipLinkHandler,
  ) {
    this.nodeId = nodeId
    this.address = address
    this.#identity = identity
    this.#ports = ports
    this.#handler = handler
  }

  /** The process at the other end, while the stream stands. */
  get incarnation(): string | undefined {
    return this.#state.is === 'up' ? this.#state.incarnation : undefined
  }

  /** Dials now, unless a stream stands or is being opened. */
  dial(): void {
    const { is } = this.#state
    if (is === 'up' || is === 'dialling') return
    if (this.#state.is === 'waiting') this.#state.timer.cancel()
    const { clock, dialer, scheduler } = this.#ports
    const dialledMs = clock.monotonicMs()
    const stream = dialer.open(
      this.address,
      { service: 'cluster', lane: 'gossip', connectTimeoutMs: CONNECT_TIMEOUT_MS },
      {
        frame: (body) => this.#frame(stream, body),
        drained: () => {},
        closed: (error) => this.#ended(stream, error),
      },
    )
    const timer = scheduler.after(CONNECT_TIMEOUT_MS + WELCOME_TIMEOUT_MS, () => {
      stream.close(true)
      const message = `${this.nodeId} accepted a connection and does not answer`
      this.#ended(stream, new CacheError('UNAVAILABLE', message, { node: this.nodeId, failure: 'timeout' }))
    })
    this.#state = { is: 'dialling', stream, timer, dialledMs }
    const { clusterName, nodeId, incarnation, address } = this.#identity
    stream.send(
      encodePeerHello({
        versionMin: PROTOCOL_VERSION_MIN,
        versionMax: PROTOCOL_VERSION_MAX,
        clusterName,
        clusterId: this.#identity.clusterId(),
        nodeId,
        incarnation,
        diskId: this.#identity.diskId(),
        address,
        targetNodeId: this.nodeId,
        // Whichever process is there: to meet another than before is what makes the difference.
        targetIncarnation: '',
        streamNumber: ++this.#streamNumber,
        lane: 'gossip',
      }),
    )
  }

  /** Gives the stream up, whatever state it is in, and opens another: the process at its end is not the one wanted. */
  redial(): void {
    const state = this.#state
    if (state.is === 'up' || state.is === 'dialling') {
      state.stream.close(true)
      const why = 'another process took its place'
      this.#ended(state.stream, new CacheError('UNAVAILABLE', why, { node: this.nodeId, failure: 'timeout' }))
    }
    this.dial()
  }

  /** While the stream stands; else the message is dropped. */
  send(message: Uint8Array): void {
    const state = this.#state
    if (state.is !== 'up') return
    if (state.stream.queuedBytes > QUEUE_BYTES_MAX) this.dropped++
    else state.stream.send(message)
  }

  close(): void {
    const state = this.#state
    this.#state = { is: 'closed' }
    if (state.is === 'waiting' || state.is === 'dialling') state.timer.cancel()
    if (state.is === 'up' || state.is === 'dialling') state.stream.close()
  }

  #isCurrent(stream: FrameStream): boolean {
    return (this.#state.is === 'up' || this.#state.is === 'dialling') && this.#state.stream === stream
  }

  #frame(stream: FrameStream, body: Uint8Array): void {
    const state = this.#state
    if (!this.#isCurrent(stream)) return
    try {
      if (body[0] === FrameType.error) throw decodeError(new ByteReader(body, 1))
      if (state.is === 'up') this.#handler.received(this, state.incarnation, body)
      else if (state.is === 'dialling') this.#welcomed(state, body)
    } catch (error) {
      if (!this.#isCurrent(stream)) return
      stream.close(true)
      this.#ended(stream, toCacheError(error))
    }
  }

  #welcomed(state: Extract<State, { is: 'dialling' }>, body: Uint8Array): void {
    if (body[0] !== FrameType.peerWelcome)
      throw new CacheError('PROTOCOL_ERROR', `${this.nodeId} answers PEER_HELLO with something else`)
    const { nodeId, incarnation } = decodePeerWelcome(new ByteReader(body, 1))
    if (nodeId !== this.nodeId) {
      const what = `${this.address} is node ${nodeId}, not ${this.nodeId}`
      throw new CacheError('CONFIGURATION', `${what}: correct the addresses in cluster.yaml`)
    }
    state.timer.cancel()
    this.#state = { is: 'up', stream: state.stream, incarnation, sinceMs: this.#ports.clock.monotonicMs() }
    this.#handler.up(this, incarnation, state.dialledMs)
  }

  #ended(stream: FrameStream, error: CacheError | undefined): void {
    if (!this.#isCurrent(stream)) return
    const state = this.#state
    const nowMs = this.#ports.clock.monotonicMs()
    if (state.is === 'dialling') state.timer.cancel()
    if (state.is === 'up' && nowMs - state.sinceMs >= STEADY_MS) this.#failures = 0
    const failures = this.#failures++
    const ceilingMs = failures === 0 ? 0 : Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** (failures - 1))
    const delayMs = ceilingMs * (0.5 + uniform(this.#ports.random) / 2)
    this.#state = { is: 'waiting', timer: this.#ports.scheduler.after(delayMs, () => this.dial()) }
    if (error !== undefined && error.code !== 'UNAVAILABLE') {
      const details = { node: this.nodeId, code: error.code, reason: error.message }
      this.#ports.log.warn('a gossip stream was refused', details)
    }
    if (state.is === 'up') this.#handler.down(this, state.incarnation, error?.failure ?? brokeOff(error))
    else if (error?.failure === 'refused') this.#handler.refused(this)
  }
}

/** An end without an error is orderly. With an error of the protocol the process is there, and nothing broke. */
function brokeOff(error: CacheError | undefined): ConnectionFailure | undefined {
  return error === undefined ? undefined : 'timeout'
}
