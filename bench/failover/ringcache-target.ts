/** Three nodes of ringcache, as `dist` has them. */

import { ChaosCluster } from '../../test/chaos/cluster/chaos-cluster.ts'
import type { ChaosNode } from '../../test/chaos/cluster/chaos-node.ts'
import type { ChaosNetwork, End } from '../../test/chaos/network/network.ts'
import type { TopologyView } from './messages.ts'
import type { FailoverTarget } from './target.ts'

const NODES = 3
const PARTITIONS = 256

export class RingcacheTarget implements FailoverTarget {
  readonly name = 'ringcache, 3 nodes'
  readonly driver = 'ringcache'
  readonly network: ChaosNetwork
  readonly #cluster: ChaosCluster
  readonly #view: () => Promise<TopologyView>

  private constructor(network: ChaosNetwork, cluster: ChaosCluster, view: () => Promise<TopologyView>) {
    this.network = network
    this.#cluster = cluster
    this.#view = view
  }

  /** @param view what the driver's client knows of the topology. */
  static async start(
    network: ChaosNetwork,
    folder: string,
    build: string,
    view: () => Promise<TopologyView>,
  ): Promise<RingcacheTarget> {
    const cluster = await ChaosCluster.start({
      ...{ nodes: NODES, spares: 0, network, build, folder, partitions: PARTITIONS },
      smallDisk: false,
      falseClock: false,
    })
    return new RingcacheTarget(network, cluster, view)
  }

  get addresses(): readonly string[] {
    return this.#cluster.addresses
  }

  get ends(): readonly End[] {
    return this.#cluster.nodes.map(({ id }) => id)
  }

  async ownersOf(): Promise<readonly (End | undefined)[]> {
    return (await this.#view()).owners
  }

  async isWhole(): Promise<boolean> {
    return (await this.#view()).isWhole
  }

  kill(node: End): Promise<void> {
    return this.#node(node).kill()
  }

  restart(node: End): Promise<void> {
    return this.#node(node).start()
  }

  pause(node: End): void {
    this.#node(node).pause()
  }

  resume(node: End): void {
    this.#node(node).resume()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#cluster[Symbol.asyncDispose]()
  }

  #node(id: End): ChaosNode {
    const node = this.#cluster.nodes.find((each) => each.id === id)
    if (node === undefined) throw new Error(`there is no node ${id}`)
    return node
  }
}
