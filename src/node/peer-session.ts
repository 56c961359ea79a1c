/**
 * A stream that another node opened to this one: its handshake, then its log (lane `operations`), its large values (`bulk`), or what
 * those have to say who handle the other lanes.
 */

import { ByteReader } from '../kernel/bytes.ts'
import { CacheError, toCacheError } from '../kernel/errors.ts'
import type { Log } from '../kernel/log.ts'
import type { Scheduler, Timer } from '../kernel/scheduler.ts'
import { type ReceiverPorts, ReplicaReceiver } from '../replication/replica-receiver.ts'
import { FrameType } from '../wire/frames.ts'
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
  /** What this node's disk is called; undefined while it has not been opened. */
  diskId(): string | undefined
  /** The epoch this node knows; 0: none. */
  epoch(): number
  /** Takes over a stream of the lane `control` after PEER_WELCOME. */
  control(stream: FrameStream, hello: PeerHello): FrameHandler
  /** Takes over a stream of the lane `gossip` after its PEER_HELLO was found good. Without it, such streams are refused. */
  gossip?(stream: FrameStream, hello: PeerHello): FrameHandler
}

const HELLO_TIMEOUT_MS = 5000

export class PeerSession implements FrameHandler {
  readonly #stream: FrameStream
  readonly #ports: PeerSessionPorts
  #timer: Timer | undefined
  #receiver: ReplicaReceiver | undefined
  #closed = false
  hello: PeerHello | undefined
  /** Set on the lanes gossip and control: all that comes after PEER_HELLO is for it. */
  #handler: FrameHandler | undefined

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
      if (this.#handler === undefined) this.#receive(body)
      else this.#handler.frame(body)
    } catch (error) {
      this.#refuse(toCacheError(error))
    }
  }

  drained(): void {}

  closed(error: CacheError | undefined): void {
    this.#end(error)
  }

  close(): void {
    if (this.#closed) return
    this.#stream.close()
    this.#end()
  }

  /** This node has taken up a topology: the peer's log can come, if it is part of it, and comes no more, if it was. */
  adopted(plane: DataPlane): void {
    const { hello } = this
    if (hello?.lane !== 'operations') return
    const node = this.#sender(plane)
    if (this.#receiver !== undefined) {
      // Its position may be given to another process: nothing more may come in its name.
      if (node < 0) this.close()
      return
    }
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
      case FrameType.ask:
      case FrameType.fetchTail:
      case FrameType.syncBegin:
      case FrameType.syncIds:
      case FrameType.syncRange:
      case FrameType.syncEnd:
      case FrameType.compare:
        if (this.#receiver === undefined) throw new CacheError('PROTOCOL_ERROR', 'a question before RESUME')
        this.#ports.dataPlane()?.replicator.peerAsked(this.#receiver, body)
        return
      case FrameType.stage:
        this.#stage(r, body)
        return
      case FrameType.stageDrop: {
        const plane = this.#ports.dataPlane()
        if (plane !== undefined) plane.replicator.inbox.drop(this.#sender(plane), r.uint32())
        return
      }
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
    if (hello.targetNodeId !== '' && hello.targetNodeId !== options.nodeId) {
      throw new CacheError('CONFIGURATION', `this is node ${options.nodeId}, not ${hello.targetNodeId}`)
    }
    // Safety does not rest on this alone: a process without a role takes no log, and one with a role is fenced by epochs that are later
    // than those its predecessor was named in. Refusing at once tells the peer that it knows an old record.
    if (hello.targetIncarnation !== '' && hello.targetIncarnation !== incarnation) {
      throw new CacheError('UNAVAILABLE', `${options.nodeId} was started again: this is another process`)
    }
    const plane = this.#ports.dataPlane()
    if (plane !== undefined && hello.clusterId !== '' && hello.clusterId !== plane.clusterId) {
      throw new CacheError(
        'WRONG_CLUSTER',
        `this node belongs to cluster ${plane.clusterId}, ${hello.nodeId} to ${hello.clusterId}: to have one of them join the other, move its data directory away`,
      )
    }
    if (hello.lane === 'gossip' && this.#ports.gossip === undefined) {
      throw new CacheError('UNSUPPORTED', 'this node does not gossip yet')
    }
    const diskId = this.#ports.diskId()
    if (diskId === undefined) throw new CacheError('NOT_READY', `${options.nodeId} is still opening its data`)
    this.hello = hello
    this.#timer?.cancel()
    this.#ports.admitted(this)
    if (hello.lane === 'gossip') {
      this.#handler = this.#ports.gossip?.(this.#stream, hello)
      return
    }
    this.#stream.send(
      encodePeerWelcome({
        version,
        nodeId: options.nodeId,
        incarnation,
        diskId,
        clusterId: plane?.clusterId ?? '',
        epoch: this.#ports.epoch(),
      }),
    )
    if (hello.lane === 'control') this.#handler = this.#ports.control(this.#stream, hello)
    else if (plane !== undefined) this.adopted(plane)
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
      (node) =>
        node.nodeId === hello?.nodeId && node.incarnation === hello.incarnation && node.state !== 'gone',
    )
  }

  #refuse(error: CacheError): void {
    if (this.#closed) return
    const { log } = this.#ports
    // Whoever is told that this is another process, or to come back later, is not wrong: it does not know yet.
    const report = error.code === 'UNAVAILABLE' || error.code === 'NOT_READY' ? log.debug : log.warn
    report.call(log, 'a stream of a peer was refused', {
      node: this.hello?.nodeId,
      code: error.code,
      reason: error.message,
    })
    this.#stream.send(encodeError(error.code, error.message))
    this.#stream.close()
    this.#end()
  }

  #end(error?: CacheError): void {
    if (this.#closed) return
    this.#closed = true
    this.#handler?.closed(error)
    this.#timer?.cancel()
    this.#receiver?.close()
    const plane = this.#ports.dataPlane()
    if (plane !== undefined && this.hello?.lane === 'bulk') {
      plane.replicator.inbox.dropSender(this.#sender(plane))
    }
    this.#ports.ended(this)
  }
}
