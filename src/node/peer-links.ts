/**
 * This node's streams to the other processes of its cluster: one link to each that the topology names, as long as it does. What comes on
 * them is replication's, which knows a process by its position in the topology.
 *
 * A process is a node id with an incarnation: a node that was started anew is another process, to which another link leads.
 */

import type { Topology } from '../topology/topology.ts'
import type { Ack, ReplicaPosition } from '../wire/peer-frames.ts'
import type { FrameStream } from '../wire/transport.ts'
import type { DataPlane } from './data-plane.ts'
import type { NodeOptions } from './options.ts'
import { PeerLink, type PeerLinkHandler, type PeerLinkPorts } from './peer-link.ts'

export interface PeerLinksPorts extends PeerLinkPorts {
  diskId(): string
  dataPlane(): DataPlane | undefined
}

export class PeerLinks implements PeerLinkHandler {
  readonly #options: NodeOptions
  readonly #incarnation: string
  readonly #ports: PeerLinksPorts
  /** By process. */
  readonly #links = new Map<string, PeerLink>()
  #closed = false

  constructor(options: NodeOptions, incarnation: string, ports: PeerLinksPorts) {
    this.#options = options
    this.#incarnation = incarnation
    this.#ports = ports
  }

  /** The link to that process. */
  to(process: ProcessName): PeerLink | undefined {
    return this.#links.get(processName(process))
  }

  /** Whether that process acknowledges what this node orders. */
  isFollowing(process: ProcessName): boolean {
    const link = this.to(process)
    return (
      link !== undefined &&
      this.#ports.dataPlane()?.replicator.shipping.isAvailable(this.#indexOf(link)) === true
    )
  }

  /** Ends those to processes that are no part of the cluster any more: before the topology that says so is taken up. */
  drop(topology: Topology, self: number): void {
    for (const [name, link] of this.#links) {
      const stays = topology.nodes.some(
        (node) => processName(node) === name && node.address === link.address && node.state !== 'gone',
      )
      if (stays && self >= 0) continue
      this.#links.delete(name)
      if (link.isLinked) this.lost(link)
      this.bulkDown(link)
      link.close()
    }
  }

  /** Begins those that are missing, once the topology is taken up. A process without a role replicates nothing. */
  add(topology: Topology, self: number): void {
    if (self < 0 || this.#closed) return
    const identity = {
      clusterName: this.#options.clusterName,
      nodeId: this.#options.nodeId,
      incarnation: this.#incarnation,
      address: topology.nodes[self]?.address ?? '',
      diskId: () => this.#ports.diskId(),
      clusterId: () => topology.clusterId,
    }
    topology.nodes.forEach((node, index) => {
      const name = processName(node)
      if (index === self || node.state === 'gone' || this.#links.has(name)) return
      const link = new PeerLink(node, identity, this.#ports, this)
      this.#links.set(name, link)
      link.start()
    })
  }

  /** Hangs up on peers that are linked but silent: a half-open connection must not look alive. */
  checkSilence(): void {
    const limitMs = 3 * this.#options.replicaTimeoutMs
    for (const link of this.#links.values()) {
      const silentMs = this.#ports.dataPlane()?.replicator.shipping.silenceMs(this.#indexOf(link))
      if (silentMs !== undefined && silentMs > limitMs) link.hangUp(`silent for ${Math.round(silentMs)} ms`)
    }
  }

  close(): void {
    this.#closed = true
    for (const link of this.#links.values()) link.close()
  }

  // What links report.

  resumed(link: PeerLink, stream: FrameStream, positions: readonly ReplicaPosition[]): void {
    this.#ports.dataPlane()?.replicator.peerLinked(this.#indexOf(link), stream, positions)
    link.startBulk()
  }

  acked(link: PeerLink, ack: Ack): void {
    this.#ports.dataPlane()?.replicator.peerAcked(this.#indexOf(link), ack)
  }

  answered(link: PeerLink, body: Uint8Array): void {
    this.#ports.dataPlane()?.replicator.peerAnswered(this.#indexOf(link), body)
  }

  lost(link: PeerLink): void {
    this.#ports.dataPlane()?.replicator.peerLost(this.#indexOf(link))
  }

  bulkUp(link: PeerLink, stream: FrameStream): void {
    this.#ports.dataPlane()?.replicator.outbox.linkUp(this.#indexOf(link), stream)
  }

  bulkDrained(link: PeerLink): void {
    this.#ports.dataPlane()?.replicator.outbox.drained(this.#indexOf(link))
  }

  bulkDown(link: PeerLink): void {
    this.#ports.dataPlane()?.replicator.outbox.linkDown(this.#indexOf(link))
  }

  staged(link: PeerLink, stageId: number, ok: boolean): void {
    this.#ports.dataPlane()?.replicator.outbox.answered(this.#indexOf(link), stageId, ok)
  }

  #indexOf({ nodeId, incarnation }: PeerLink): number {
    const nodes = this.#ports.dataPlane()?.topology.nodes
    return nodes?.findIndex((node) => node.nodeId === nodeId && node.incarnation === incarnation) ?? -1
  }
}

interface ProcessName {
  readonly nodeId: string
  /** Undefined: of nodes that were told of and not met, there is no link. */
  readonly incarnation?: string
}

function processName({ nodeId, incarnation }: ProcessName): string {
  return `${nodeId}/${incarnation ?? ''}`
}
