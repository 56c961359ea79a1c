/** This node's control streams: one to each address where a node of its cluster listens, or may. */

import type { Topology } from '../topology/topology.ts'
import { voterName } from '../topology/voters.ts'
import type { ControlMessage } from '../wire/control-frames.ts'
import { ControlLink, type ControlLinkHandler, type ControlLinkPorts } from './control-link.ts'
import { type NodeOptions, ownAddress } from './options.ts'

export class ControlLinks {
  readonly #options: NodeOptions
  readonly #ports: ControlLinkPorts
  readonly #handler: ControlLinkHandler
  /** By address. */
  readonly #links = new Map<string, ControlLink>()

  constructor(options: NodeOptions, ports: ControlLinkPorts, handler: ControlLinkHandler) {
    this.#options = options
    this.#ports = ports
    this.#handler = handler
  }

  all(): Iterable<ControlLink> {
    return this.#links.values()
  }

  /** Streams to every node there is; while this node is not part of the cluster, also to those it was told of. */
  update(topology: Topology | undefined, isMember: boolean): void {
    const { nodeId, nodes, join = [] } = this.#options
    const wanted = new Set<string>()
    for (const node of topology?.nodes ?? []) {
      if (node.state !== 'gone' && node.nodeId !== nodeId) wanted.add(node.address)
    }
    for (const voter of topology?.voters ?? []) if (voter.nodeId !== nodeId) wanted.add(voter.address)
    if (!isMember) for (const address of [...nodes.map((node) => node.address), ...join]) wanted.add(address)
    wanted.delete(ownAddress(this.#options))
    for (const link of [...this.#links.values()]) if (!wanted.has(link.address)) this.drop(link)
    for (const address of wanted) {
      if (this.#links.has(address)) continue
      const link = new ControlLink(address, this.#ports, this.#handler)
      this.#links.set(address, link)
      link.start()
    }
  }

  drop(link: ControlLink): void {
    this.#links.delete(link.address)
    link.close()
  }

  /** The open stream to that node. */
  to(nodeId: string): ControlLink | undefined {
    for (const link of this.#links.values()) if (link.peer?.nodeId === nodeId) return link
    return undefined
  }

  /** @returns false when it can't be reached now. */
  sendToVoter(voter: string, message: ControlMessage): boolean {
    for (const link of this.#links.values()) {
      const { peer } = link
      if (peer !== undefined && voterName(peer.nodeId, peer.diskId) === voter) return link.send(message)
    }
    return false
  }

  sendToAll(message: ControlMessage): void {
    for (const link of this.#links.values()) link.send(message)
  }

  close(): void {
    for (const link of this.#links.values()) link.close()
    this.#links.clear()
  }
}
