/**
 * A stream that another node opened to this one: its handshake, its proposals, its log, its large values.
 */

import { ByteReader, ByteWriter } from '../kernel/bytes.ts'
import { CacheError, toCacheError } from '../kernel/errors.ts'
import type { Log } from '../kernel/log.ts'
import type { Scheduler, Timer } from '../kernel/scheduler.ts'
import { type ReceiverPorts, ReplicaReceiver } from '../replication/replica-receiver.ts'
import { decodeTopology } from '../topology/codec.ts'
import type { Topology } from '../topology/topology.ts'
import { beginFrame, FrameType, finishFrame } from '../wire/frames.ts'
import { encodeError, negotiate } from '../wire/handshake.ts'
import {
  decodePeerHello,
  decodeStage,
  encodePeerWelcome,
  encodeResume,
  encodeStageState,
  type PeerHello,
} from '../wire/peer-frames.ts'
import type { FrameHandler, FrameStream } from '../wire/transport.ts'
import type { DataPlane } from './data-plane.ts'
import type { NodeOptions } from './options.ts'

export interface PeerSessionPorts {
  readonly options: NodeOptions
  readonly incarnation: string
  readonly scheduler: Scheduler
  readonly log: Log
  dataPlane(): DataPlane | undefined
  receiverPorts(plane: DataPlane): ReceiverPorts
  /** The peer said who it is: older streams of its lane are closed. */
  admitted(session: PeerSession): void
  ended(session: PeerSession): void
  /** @returns whether the proposal is accepted. */
  proposed(topology: Topology): boolean
  committed(topology: Topology): void
}

const HELLO_TIMEOUT_MS = 5000
const NO_TOPOLOGY = new Uint8Array(0)

export class PeerSession implements FrameHandler {
  readonly #stream: FrameStream
  readonly #ports: PeerSessionPorts
  #timer: Timer | undefined
  #receiver: ReplicaReceiver | undefined
  #closed = false
  hello: PeerHello | undefined

  constructor(stream: FrameStream, ports: PeerSessionPorts) {
    this.#stream = stream
    this.#ports = ports
    this.#timer = ports.scheduler.after(HELLO_TIMEOUT_MS, () =>
      this.#refuse(new CacheError('PROTOCOL_ERROR', `no PEER_HELLO within ${HELLO_TIMEOUT_MS} ms`)),
    )
  }

  frame(body: Uint8Array): void {
    if (this.#closed) return
    try {
      this.#receive(body)
    } catch (error) {
      this.#refuse(toCacheError(error))
    }
  }

  drained(): void {}

  closed(): void {
    this.#end()
  }

  close(): void {
    if (this.#closed) return
    this.#stream.close()
    this.#end()
  }

  /** This node has taken up a topology: the peer's log can come, if it is part of it. */
  adopted(plane: DataPlane): void {
    const { hello } = this
    if (hello === undefined || hello.lane === 'bulk' || this.#receiver !== undefined) return
    const node = this.#sender(plane)
    if (node < 0 || plane.replicator.self < 0) return
    this.#receiver = new ReplicaReceiver(node, this.#stream, this.#ports.receiverPorts(plane))
    this.#stream.send(encodeResume(this.#receiver.positions(plane.replicator.replicas())))
  }

  #receive(body: Uint8Array): void {
    const r = new ByteReader(body, 1)
    if (this.hello === undefined) {
      if (body[0] !== FrameType.peerHello)
        throw new CacheError('PROTOCOL_ERROR', 'the first frame is not PEER_HELLO')
      this.#greet(decodePeerHello(r))
      return
    }
    switch (body[0]) {
      case FrameType.replicate:
        if (this.#receiver === undefined) throw new CacheError('PROTOCOL_ERROR', 'a log before RESUME')
        this.#receiver.replicate(body)
        return
      case FrameType.stage:
        this.#stage(r, body)
        return
      case FrameType.stageDrop: {
        const plane = this.#ports.dataPlane()
        if (plane !== undefined) plane.replicator.inbox.drop(this.#sender(plane), r.uint32())
        return
      }
      case FrameType.propose:
        this.#propose(decodeTopology(r.blob()))
        return
      case FrameType.commit:
        this.#ports.committed(decodeTopology(r.blob()))
        return
      default:
        throw new CacheError('PROTOCOL_ERROR', `unexpected frame type 0x${(body[0] ?? 0).toString(16)}`)
    }
  }

  #greet(hello: PeerHello): void {
    const { options, incarnation } = this.#ports
    const version = negotiate(hello.versionMin, hello.versionMax)
    if (hello.clusterName !== options.clusterName) {
      throw new CacheError(
        'WRONG_CLUSTER',
        `this node belongs to cluster ${options.clusterName}, not ${hello.clusterName}`,
      )
    }
    if (hello.targetNodeId !== options.nodeId) {
      throw new CacheError('CONFIGURATION', `this is node ${options.nodeId}, not ${hello.targetNodeId}`)
    }
    if (!options.nodes.some((node) => node.nodeId === hello.nodeId)) {
      throw new CacheError('CONFIGURATION', `${hello.nodeId} is not in this node's list of nodes`)
    }
    if (hello.topology.length > 0) this.#ports.committed(decodeTopology(hello.topology))
    const plane = this.#ports.dataPlane()
    if (plane !== undefined && hello.clusterId !== '' && hello.clusterId !== plane.clusterId) {
      throw new CacheError(
        'WRONG_CLUSTER',
        `this node belongs to cluster ${plane.clusterId}, ${hello.nodeId} to ${hello.clusterId}: restart all nodes together`,
      )
    }
    this.hello = hello
    this.#timer?.cancel()
    this.#ports.admitted(this)
    this.#stream.send(
      encodePeerWelcome({
        version,
        nodeId: options.nodeId,
        incarnation,
        topology: plane?.nodeTopology ?? NO_TOPOLOGY,
      }),
    )
    if (plane !== undefined) this.adopted(plane)
  }

  #propose(topology: Topology): void {
    if (!this.#ports.proposed(topology)) return
    const w = new ByteWriter(64)
    beginFrame(w, FrameType.accept)
    w.text(topology.clusterId)
    this.#stream.send(finishFrame(w))
  }

  #stage(r: ByteReader, body: Uint8Array): void {
    const plane = this.#ports.dataPlane()
    const node = plane === undefined ? -1 : this.#sender(plane)
    if (plane === undefined || node < 0) return
    const chunk = decodeStage(r)
    const result = plane.replicator.inbox.chunk(node, chunk, body)
    if (result !== 'more')
      this.#stream.send(encodeStageState(FrameType.staged, chunk.stageId, result === 'whole'))
  }

  /** The peer's position in the topology; −1 when this process of it has none. */
  #sender(plane: DataPlane): number {
    const { hello } = this
    return plane.topology.nodes.findIndex(
      (node) => node.nodeId === hello?.nodeId && node.incarnation === hello.incarnation,
    )
  }

  #refuse(error: CacheError): void {
    if (this.#closed) return
    this.#ports.log.warn('a stream of a peer was refused', {
      node: this.hello?.nodeId,
      code: error.code,
      reason: error.message,
    })
    this.#stream.send(encodeError(error.code, error.message))
    this.#stream.close()
    this.#end()
  }

  #end(): void {
    if (this.#closed) return
    this.#closed = true
    this.#timer?.cancel()
    this.#receiver?.close()
    const plane = this.#ports.dataPlane()
    if (plane !== undefined && this.hello?.lane === 'bulk') {
      plane.replicator.inbox.dropSender(this.#sender(plane))
    }
    this.#ports.ended(this)
  }
}
