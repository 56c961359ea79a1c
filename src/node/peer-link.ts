/**
 * This node's streams to one other process of its cluster: it opens them, keeps them open, and says who it is. On the `operations`
 * stream goes the log of what this node orders, on the `bulk` stream large values.
 *
 * A link is made for one process that the topology names: whoever else answers at the address refuses it.
 *
 * A stream that fails is opened anew after a jittered pause, 50 ms doubling to 1 s. A peer that is linked but silent for three
 * times the replica timeout is hung up on: a half-open connection must not look alive.
 */

import { ByteReader } from '../kernel/bytes.ts'
import { CacheError, toCacheError } from '../kernel/errors.ts'
import type { Log } from '../kernel/log.ts'
import { type Random, uniform } from '../kernel/random.ts'
import type { Scheduler, Timer } from '../kernel/scheduler.ts'
import { FrameType, PROTOCOL_VERSION_MAX, PROTOCOL_VERSION_MIN } from '../wire/frames.ts'
import { decodeError } from '../wire/handshake.ts'
import {
  type Ack,
  decodeAck,
  decodePeerWelcome,
  decodeResume,
  encodePeerHello,
  type ReplicaPosition,
} from '../wire/peer-frames.ts'
import type { Dialer, FrameHandler, FrameStream } from '../wire/transport.ts'

export interface PeerIdentity {
  readonly clusterName: string
  readonly nodeId: string
  readonly incarnation: string
  readonly address: string
  diskId(): string
  clusterId(): string
}

/** The process a link leads to. */
export interface PeerTarget {
  readonly nodeId: string
  readonly incarnation: string
  readonly address: string
}

export interface PeerLinkPorts {
  readonly dialer: Dialer
  readonly scheduler: Scheduler
  readonly random: Random
  readonly log: Log
}

export interface PeerLinkHandler {
  /** It said what it holds: its log can be sent. */
  resumed(link: PeerLink, stream: FrameStream, positions: readonly ReplicaPosition[]): void
  acked(link: PeerLink, ack: Ack): void
  /** A frame of replication other than an ACK. */
  answered(link: PeerLink, body: Uint8Array): void
  lost(link: PeerLink): void
  bulkUp(link: PeerLink, stream: FrameStream): void
  bulkDrained(link: PeerLink): void
  bulkDown(link: PeerLink): void
  staged(link: PeerLink, stageId: number, ok: boolean): void
}

const RETRY_MIN_MS = 50
const RETRY_MAX_MS = 1000
const CONNECT_TIMEOUT_MS = 1000
const WELCOME_TIMEOUT_MS = 2000

type Lane = 'operations' | 'bulk'

interface LaneState {
  stream: FrameStream | undefined
  welcomed: boolean
  failures: number
  streamNumber: number
  timer: Timer | undefined
}

export class PeerLink {
  readonly nodeId: string
  readonly incarnation: string
  readonly address: string
  readonly #identity: PeerIdentity
  readonly #dialer: Dialer
  readonly #scheduler: Scheduler
  readonly #random: Random
  readonly #log: Log
  readonly #handler: PeerLinkHandler
  readonly #lanes: Record<Lane, LaneState>
  #closed = false
  /** Why the last attempt failed, for status. */
  lastError: CacheError | undefined

  constructor(target: PeerTarget, identity: PeerIdentity, ports: PeerLinkPorts, handler: PeerLinkHandler) {
    this.nodeId = target.nodeId
    this.incarnation = target.incarnation
    this.address = target.address
    this.#identity = identity
    this.#dialer = ports.dialer
    this.#scheduler = ports.scheduler
    this.#random = ports.random
    this.#log = ports.log
    this.#handler = handler
    this.#lanes = { operations: idleLane(), bulk: idleLane() }
  }

  start(): void {
    this.#dial('operations')
  }

  /** Opens the stream for large values; to be called once the peer takes this node's log. */
  startBulk(): void {
    const lane = this.#lanes.bulk
    if (lane.stream === undefined && lane.timer === undefined) this.#dial('bulk')
  }

  get isLinked(): boolean {
    return this.#lanes.operations.welcomed
  }

  /** Ends both streams and opens them anew. */
  hangUp(why: string): void {
    this.#log.warn('hanging up on a peer', { node: this.nodeId, why })
    for (const lane of ['operations', 'bulk'] as const) {
      const { stream } = this.#lanes[lane]
      if (stream === undefined) continue
      stream.close(true)
      this.#down(lane, stream, new CacheError('UNAVAILABLE', why, { node: this.nodeId }))
    }
  }

  close(): void {
    this.#closed = true
    for (const lane of Object.values(this.#lanes)) {
      lane.timer?.cancel()
      lane.stream?.close()
      lane.stream = undefined
    }
  }

  #dial(name: Lane): void {
    if (this.#closed) return
    const lane = this.#lanes[name]
    lane.timer?.cancel()
    lane.welcomed = false
    lane.streamNumber++
    const handler: FrameHandler = {
      frame: (body) => {
        if (lane.stream === stream) this.#frame(name, lane, stream, body)
      },
      drained: () => {
        if (lane.stream === stream && name === 'bulk') this.#handler.bulkDrained(this)
      },
      closed: (error) => this.#down(name, stream, error),
    }
    const stream = this.#dialer.open(
      this.address,
      { service: 'cluster', lane: name, connectTimeoutMs: CONNECT_TIMEOUT_MS },
      handler,
    )
    lane.stream = stream
    lane.timer = this.#scheduler.after(CONNECT_TIMEOUT_MS + WELCOME_TIMEOUT_MS, () => {
      if (lane.stream !== stream || lane.welcomed) return
      stream.close(true)
      this.#down(
        name,
        stream,
        new CacheError('UNAVAILABLE', `${this.nodeId} does not answer`, { node: this.nodeId }),
      )
    })
    const { clusterName, nodeId, incarnation } = this.#identity
    stream.send(
      encodePeerHello({
        versionMin: PROTOCOL_VERSION_MIN,
        versionMax: PROTOCOL_VERSION_MAX,
        clusterName,
        clusterId: this.#identity.clusterId(),
        nodeId,
        incarnation,
        diskId: this.#identity.diskId(),
        address: this.#identity.address,
        targetNodeId: this.nodeId,
        targetIncarnation: this.incarnation,
        streamNumber: lane.streamNumber,
        lane: name,
      }),
    )
  }

  #frame(name: Lane, lane: LaneState, stream: FrameStream, body: Uint8Array): void {
    try {
      const r = new ByteReader(body, 1)
      switch (body[0]) {
        case FrameType.peerWelcome:
          this.#welcome(name, lane, stream, r)
          return
        case FrameType.resume:
          this.#handler.resumed(this, stream, decodeResume(r))
          return
        case FrameType.ack:
          this.#handler.acked(this, decodeAck(r))
          return
        case FrameType.staged:
          this.#handler.staged(this, r.uint32(), r.uint8() === 1)
          return
        case FrameType.positions:
        case FrameType.tail:
        case FrameType.syncState:
        case FrameType.syncHeld:
        case FrameType.compared:
          this.#handler.answered(this, body)
          return
        case FrameType.error:
          throw decodeError(r)
        default:
          throw new CacheError('PROTOCOL_ERROR', `unexpected frame type 0x${(body[0] ?? 0).toString(16)}`)
      }
    } catch (error) {
      const cacheError = toCacheError(error)
      if (lane.stream !== stream) return
      stream.close(true)
      this.#down(name, stream, cacheError)
    }
  }

  #welcome(name: Lane, lane: LaneState, stream: FrameStream, r: ByteReader): void {
    const welcome = decodePeerWelcome(r)
    if (welcome.nodeId !== this.nodeId) {
      throw new CacheError(
        'CONFIGURATION',
        `${this.address} is node ${welcome.nodeId}, not ${this.nodeId}: correct the addresses in cluster.yaml`,
      )
    }
    lane.welcomed = true
    lane.failures = 0
    this.lastError = undefined
    if (name === 'bulk') this.#handler.bulkUp(this, stream)
  }

  #down(name: Lane, stream: FrameStream, error: CacheError | undefined): void {
    const lane = this.#lanes[name]
    if (lane.stream !== stream) return
    const wasUp = lane.welcomed
    lane.stream = undefined
    lane.welcomed = false
    lane.timer?.cancel()
    lane.timer = undefined
    if (error !== undefined && error.code !== 'UNAVAILABLE') {
      this.#log.warn('a stream to a peer was refused', {
        node: this.nodeId,
        code: error.code,
        reason: error.message,
      })
    }
    this.lastError = error
    if (wasUp) {
      if (name === 'bulk') this.#handler.bulkDown(this)
      else this.#handler.lost(this)
    }
    if (this.#closed) return
    const ceiling = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** lane.failures++)
    lane.timer = this.#scheduler.after(ceiling * (0.5 + uniform(this.#random) / 2), () => this.#dial(name))
  }
}

function idleLane(): LaneState {
  return { stream: undefined, welcomed: false, failures: 0, streamNumber: 0, timer: undefined }
}
