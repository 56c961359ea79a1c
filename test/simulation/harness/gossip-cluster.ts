/** Nodes that do nothing but gossip, on a simulated network and virtual time. */

import { silentLog } from '../../../src/kernel/log.ts'
import { randomHex, SeededRandom } from '../../../src/kernel/random.ts'
import type { MemberView, Verdict } from '../../../src/membership/events.ts'
import type { MembershipOptions } from '../../../src/membership/options.ts'
import { Gossip } from '../../../src/node/gossip.ts'
import { SimulatedHost } from '../../../src/testing/simulated-host.ts'
import { type NetworkOptions, SimulatedNetwork } from '../../../src/testing/simulated-network.ts'
import { VirtualTime } from '../../../src/testing/virtual-time.ts'

export interface Change {
  readonly atMs: number
  readonly seenBy: string
  readonly nodeId: string
  readonly incarnation: string
  readonly before: Verdict | undefined
  readonly verdict: Verdict
  readonly proven: boolean
}

export class GossipNode {
  readonly nodeId: string
  readonly address: string
  readonly host: SimulatedHost
  incarnation = ''
  gossip: Gossip | undefined
  condemned = 0
  /** What it was told of later topologies. */
  readonly ahead: [string, number, number][] = []

  constructor(nodeId: string, address: string, host: SimulatedHost) {
    this.nodeId = nodeId
    this.address = address
    this.host = host
  }
}

export class GossipCluster {
  readonly time: VirtualTime = new VirtualTime()
  readonly network: SimulatedNetwork
  readonly nodes: readonly GossipNode[]
  readonly changes: Change[] = []
  readonly #random: SeededRandom
  readonly #options: Partial<MembershipOptions>

  constructor(
    count: number,
    seed = 1,
    network: NetworkOptions = {},
    options: Partial<MembershipOptions> = {},
  ) {
    this.#random = new SeededRandom(seed)
    this.#options = options
    this.network = new SimulatedNetwork(this.time, new SeededRandom(this.#random.uint32()), network)
    this.nodes = Array.from({ length: count }, (_, i) => {
      const nodeId = `n${i + 1}`
      return new GossipNode(nodeId, `10.0.0.${i + 1}:1`, new SimulatedHost(nodeId, this.time))
    })
  }

  /** Starts every node and waits until each knows all. */
  static async started(...of: ConstructorParameters<typeof GossipCluster>): Promise<GossipCluster> {
    const cluster = new GossipCluster(...of)
    for (const node of cluster.nodes) cluster.startNode(node)
    await cluster.time.advance(3000)
    for (const node of cluster.nodes) for (const other of cluster.nodes) cluster.expectAlive(node, other)
    cluster.changes.length = 0
    return cluster
  }

  node(number: number): GossipNode {
    const node = this.nodes[number - 1]
    if (node === undefined) throw new Error(`there is no node ${number}`)
    return node
  }

  startNode(node: GossipNode): void {
    const { host, nodeId, address } = node
    const random = new SeededRandom(this.#random.uint32())
    const incarnation = randomHex(random, 16)
    node.incarnation = incarnation
    const peers = this.nodes.filter((other) => other !== node)
    const gossip = new Gossip(
      {
        clusterName: 'test',
        nodeId,
        incarnation,
        address,
        diskId: () => `disk-${nodeId}`,
        clusterId: () => '',
      },
      peers,
      { clock: host, scheduler: host, random, log: silentLog, dialer: this.network.dialer(host) },
      {
        changed: (member, before) => this.#record(nodeId, member, before),
        topologyDiffers: (from, epoch, hash) => node.ahead.push([from, epoch, hash]),
        condemned: () => node.condemned++,
      },
      this.#options,
    )
    node.gossip = gossip
    this.network.listen(address, host, (_service, stream) => gossip.accept(stream))
    gossip.start()
  }

  kill(node: GossipNode): void {
    node.gossip = undefined
    node.host.crash()
    this.network.crash(node.host)
  }

  cutBoth(a: GossipNode, b: GossipNode): void {
    this.network.cut(a.host.name, b.host.name)
    this.network.cut(b.host.name, a.host.name)
  }

  healBoth(a: GossipNode, b: GossipNode): void {
    this.network.heal(a.host.name, b.host.name)
    this.network.heal(b.host.name, a.host.name)
  }

  /** How `node` sees that process of `other`; its present one by default. */
  view(node: GossipNode, other: GossipNode, incarnation: string = other.incarnation): MemberView | undefined {
    return node.gossip
      ?.members()
      .find((member) => member.nodeId === other.nodeId && member.incarnation === incarnation)
  }

  expectAlive(node: GossipNode, other: GossipNode): void {
    const verdict = this.view(node, other)?.verdict
    if (verdict !== 'alive') throw new Error(`${node.nodeId} holds ${other.nodeId} for ${verdict}`)
  }

  /** Deaths and departures, as they were seen. */
  get losses(): Change[] {
    return this.changes.filter(({ verdict }) => verdict === 'dead' || verdict === 'left')
  }

  #record(seenBy: string, member: MemberView, before: Verdict | undefined): void {
    const { nodeId, incarnation, verdict, proven } = member
    const atMs = this.time.monotonicMs()
    this.changes.push({ atMs, seenBy, nodeId, incarnation, before, verdict, proven })
  }
}
