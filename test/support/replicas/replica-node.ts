/**
 * A process that replicates, without the rest of a node: a data plane, clients' sessions on it, streams to its peers, and
 * what it knows of the topology.
 */

import { ByteReader, ByteWriter } from '../../../src/kernel/bytes.ts'
import type { Incarnation, NodeId } from '../../../src/kernel/ids.ts'
import { type Log, silentLog } from '../../../src/kernel/log.ts'
import { MemoryAccount } from '../../../src/kernel/memory-account.ts'
import type { BrokenRules } from '../../../src/kernel/rule-switch.ts'
import { ClientSession } from '../../../src/node/client-session.ts'
import { DataPlane } from '../../../src/node/data-plane.ts'
import { type NodeOptions, SINGLE_NODE } from '../../../src/node/options.ts'
import { ReplicaReceiver } from '../../../src/replication/replica-receiver.ts'
import type { SimulatedHost } from '../../../src/testing/simulated-host.ts'
import type { SimulatedNetwork } from '../../../src/testing/simulated-network.ts'
import { positionOf } from '../../../src/topology/apply-nodes.ts'
import { isUp, type NodeIndex, type Topology } from '../../../src/topology/topology.ts'
import type { Transform } from '../../../src/topology/transforms.ts'
import { beginFrame, FrameType, finishFrame } from '../../../src/wire/frames.ts'
import {
  decodeAck,
  decodeResume,
  decodeStage,
  encodeResume,
  encodeStageState,
} from '../../../src/wire/peer-frames.ts'
import type { FrameHandler, FrameStream } from '../../../src/wire/transport.ts'

export interface ReplicaNodePorts {
  readonly network: SimulatedNetwork
  readonly brokenRules: BrokenRules | undefined
  readonly log: Log | undefined
  propose(transform: Transform): void
  isProvenDead(nodeId: string, incarnation: string): boolean
}

interface Greeting {
  readonly nodeId: string
  readonly incarnation: string
  readonly target: string
  readonly lane: 'operations' | 'bulk'
}

const REDIAL_MS = 40

export class ReplicaNode {
  readonly nodeId: string
  readonly incarnation: string
  readonly address: string
  readonly host: SimulatedHost
  readonly options: NodeOptions
  readonly memory: MemoryAccount
  readonly #ports: ReplicaNodePorts
  readonly #dialed = new Map<string, FrameStream>()
  readonly #accepted = new Set<Accepted>()
  plane: DataPlane | undefined
  topology: Topology | undefined
  contactMs: number = Number.NEGATIVE_INFINITY
  ended = false

  constructor(
    host: SimulatedHost,
    address: string,
    incarnation: string,
    options: Partial<NodeOptions>,
    ports: ReplicaNodePorts,
  ) {
    this.host = host
    this.nodeId = host.name
    this.address = address
    this.incarnation = incarnation
    this.options = { ...SINGLE_NODE, ...options, nodeId: host.name }
    this.memory = new MemoryAccount(this.options.memoryLimitBytes)
    this.#ports = ports
    ports.network.listen(address, host, (service, stream) => {
      if (service === 'cluster') return this.#accept(stream)
      return new ClientSession(stream, 'client', {
        clock: host,
        scheduler: host,
        log: silentLog,
        options: this.options,
        incarnation,
        dataPlane: () => this.plane,
        isStopping: () => false,
        admitted: () => {},
        ended: () => {},
      })
    })
  }

  get self(): NodeIndex {
    return this.topology === undefined ? -1 : positionOf(this.topology, this.name)
  }

  get name(): { nodeId: NodeId; incarnation: Incarnation } {
    return { nodeId: this.nodeId as NodeId, incarnation: this.incarnation as Incarnation }
  }

  learned(topology: Topology, sentMs: number): void {
    if (this.ended) return
    this.contactMs = Math.max(this.contactMs, sentMs)
    if (this.topology !== undefined && topology.epoch <= this.topology.epoch) return
    this.topology = topology
    if (this.plane === undefined) {
      this.plane = new DataPlane(topology, this.self, {
        clock: this.host,
        scheduler: this.host,
        log: this.#ports.log ?? silentLog,
        memory: this.memory,
        uncompress: (stored) => stored,
        options: this.options,
        brokenRules: this.#ports.brokenRules,
        cluster: {
          propose: (transform) => this.#ports.propose(transform),
          isProvenDead: (node) => {
            const { nodeId, incarnation } = this.topology?.nodes[node] ?? { nodeId: '', incarnation: '' }
            return this.#ports.isProvenDead(nodeId, incarnation)
          },
          voterContactMs: () => this.contactMs,
        },
      })
    } else {
      this.plane.adopt(topology, this.self)
    }
    this.#dialAll()
    for (const accepted of [...this.#accepted]) accepted.adopted()
  }

  close(): void {
    this.ended = true
    this.plane?.close()
  }

  #dialAll(): void {
    if (this.self < 0 || this.topology === undefined) return
    this.topology.nodes.forEach((node, index) => {
      if (index === this.self || !isUp(node.state)) return
      for (const lane of ['operations', 'bulk'] as const) this.#dial(node.nodeId, node.incarnation, lane)
    })
  }

  #dial(nodeId: string, incarnation: string, lane: 'operations' | 'bulk'): void {
    const name = `${nodeId}/${incarnation}/${lane}`
    const address = this.topology?.nodes.find((node) => node.incarnation === incarnation)?.address
    if (this.#dialed.has(name) || this.ended || address === undefined) return
    const index = (): NodeIndex =>
      this.topology === undefined
        ? -1
        : positionOf(this.topology, { nodeId: nodeId as NodeId, incarnation: incarnation as Incarnation })
    let up = false
    const stream = this.#ports.network.dialer(this.host).open(
      address,
      { service: 'cluster', lane, connectTimeoutMs: 500 },
      {
        frame: (body) => {
          const replicator = this.plane?.replicator
          if (replicator === undefined) return
          const r = new ByteReader(body, 1)
          switch (body[0]) {
            case FrameType.resume:
              up = true
              if (lane === 'bulk') replicator.outbox.linkUp(index(), stream)
              else replicator.peerLinked(index(), stream, decodeResume(r))
              return
            case FrameType.ack:
              replicator.peerAcked(index(), decodeAck(r))
              return
            case FrameType.staged:
              replicator.outbox.answered(index(), r.uint32(), r.uint8() === 1)
              return
            default:
              replicator.peerAnswered(index(), body)
          }
        },
        drained: () => {
          if (lane === 'bulk') this.plane?.replicator.outbox.drained(index())
        },
        closed: () => {
          this.#dialed.delete(name)
          const node = index()
          if (up && node >= 0 && lane === 'bulk') this.plane?.replicator.outbox.linkDown(node)
          if (up && node >= 0 && lane === 'operations') this.plane?.replicator.peerLost(node)
          const known = node >= 0 && isUp(this.topology?.nodes[node]?.state)
          if (known) this.host.after(REDIAL_MS, () => this.#dial(nodeId, incarnation, lane))
        },
      },
    )
    this.#dialed.set(name, stream)
    const w = new ByteWriter(128)
    beginFrame(w, FrameType.peerHello)
    w.text(this.nodeId)
    w.text(this.incarnation)
    w.text(incarnation)
    w.uint8(lane === 'bulk' ? 1 : 0)
    stream.send(finishFrame(w))
  }

  #accept(stream: FrameStream): FrameHandler {
    const accepted = new Accepted(this, stream, () => this.#accepted.delete(accepted))
    this.#accepted.add(accepted)
    return accepted
  }
}

/** A stream that a peer opened. */
class Accepted implements FrameHandler {
  readonly #node: ReplicaNode
  readonly #stream: FrameStream
  readonly #ended: () => void
  #greeting: Greeting | undefined
  #receiver: ReplicaReceiver | undefined
  #resumed = false

  constructor(node: ReplicaNode, stream: FrameStream, ended: () => void) {
    this.#node = node
    this.#stream = stream
    this.#ended = ended
  }

  adopted(): void {
    const { plane } = this.#node
    const index = this.#index()
    if (plane === undefined || this.#greeting === undefined || this.#resumed) return
    if (index < 0 || this.#node.self < 0) return
    this.#resumed = true
    if (this.#greeting.lane === 'bulk') {
      this.#stream.send(encodeResume([]))
      return
    }
    this.#receiver = new ReplicaReceiver(index, this.#stream, plane.replicator.receiverPorts())
    this.#stream.send(encodeResume(this.#receiver.positions(plane.replicator.replicas())))
  }

  frame(body: Uint8Array): void {
    const r = new ByteReader(body, 1)
    if (this.#greeting === undefined) {
      this.#greeting = {
        nodeId: r.text(64),
        incarnation: r.text(64),
        target: r.text(64),
        lane: r.uint8() === 1 ? 'bulk' : 'operations',
      }
      if (this.#greeting.target !== this.#node.incarnation) {
        this.#stream.close(true)
        return
      }
      this.adopted()
      return
    }
    const replicator = this.#node.plane?.replicator
    if (replicator === undefined) return
    switch (body[0]) {
      case FrameType.replicate:
        this.#receiver?.replicate(body)
        return
      case FrameType.stage: {
        const chunk = decodeStage(r)
        const result = replicator.inbox.chunk(this.#index(), chunk, body)
        if (result !== 'more')
          this.#stream.send(encodeStageState(FrameType.staged, chunk.stageId, result === 'whole'))
        return
      }
      case FrameType.stageDrop:
        replicator.inbox.drop(this.#index(), r.uint32())
        return
      default:
        if (this.#receiver !== undefined) replicator.peerAsked(this.#receiver, body)
    }
  }

  drained(): void {}

  closed(): void {
    this.#receiver?.close()
    if (this.#greeting?.lane === 'bulk') this.#node.plane?.replicator.inbox.dropSender(this.#index())
    this.#ended()
  }

  #index(): NodeIndex {
    const { topology } = this.#node
    if (topology === undefined || this.#greeting === undefined) return -1
    return positionOf(topology, {
      nodeId: this.#greeting.nodeId as NodeId,
      incarnation: this.#greeting.incarnation as Incarnation,
    })
  }
}
