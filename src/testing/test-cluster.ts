/**
 * A whole cluster in one process, on virtual time and a simulated network: the same node code that runs in production.
 * The same seed replays the same run, event by event.
 */

import type { Cache } from '../client/cache.ts'
import { openClient } from '../client/cache-client.ts'
import { decompress } from '../client/codecs/compression.ts'
import { type ConnectOptions, resolveSettings } from '../client/options.ts'
import { ByteReader } from '../kernel/bytes.ts'
import { type Log, silentLog } from '../kernel/log.ts'
import { SeededRandom } from '../kernel/random.ts'
import type { BrokenRules } from '../kernel/rule-switch.ts'
import { NodeCore } from '../node/node-core.ts'
import { type BootstrapRegion, DEFAULT_REGION, type NodeOptions, SINGLE_NODE } from '../node/options.ts'
import { stopInOrder } from '../node/orderly-stop.ts'
import { immediateCompression } from '../snapshot/compression.ts'
import { SimulatedDisk } from './simulated-disk.ts'
import { SimulatedHost } from './simulated-host.ts'
import { type NetworkOptions, SimulatedNetwork } from './simulated-network.ts'
import { simulatedSnapshotStore } from './simulated-snapshot-store.ts'
import { TraceHash } from './trace-hash.ts'
import { VirtualTime } from './virtual-time.ts'

export interface TestClusterOptions {
  /** Number of nodes, 1..9. Default 3. */
  readonly nodes?: number
  /** Decides every random choice of the run. Default 1. */
  readonly seed?: number
  readonly regions?: readonly Partial<BootstrapRegion>[]
  /** Overrides for every node. */
  readonly node?: Partial<NodeOptions>
  readonly network?: NetworkOptions
  /** Where the nodes log to; given a function, each node has its own. */
  readonly log?: Log | ((nodeId: string) => Log)
  /** Rules of the protocol that the nodes break: for tests of the tests. */
  readonly brokenRules?: BrokenRules
}

/** A process that ends in order waits so long for its streams to end. */
const LAST_FRAMES_MS = 100

/** One machine of the cluster and the node process on it, if it runs. */
export interface TestNode {
  readonly nodeId: string
  readonly address: string
  readonly host: SimulatedHost
  /** Its data directory, which outlives the process. */
  readonly disk: SimulatedDisk
  /** Where its snapshots lie, if it makes any. */
  readonly snapshotDisk: SimulatedDisk | undefined
  core: NodeCore | undefined
}

export interface KillOptions {
  /**
   * `process` (default): kill -9; its connections are reset, its machine refuses new ones. `power`: the whole machine is
   * gone without a word, until a process is started on it again.
   */
  readonly what?: 'process' | 'power'
}

export interface StartOptions {
  /** `empty`: the data directory was lost. Default `kept`. */
  readonly disk?: 'kept' | 'empty'
}

/**
 * Starts a cluster and waits until it serves.
 *
 * ```ts
 * const cluster = await createTestCluster({ nodes: 3, seed: 7 })
 * const cache = await cluster.connect()
 * await cluster.run(cache.set('user:1', { name: 'Ada' }))
 * cluster.killNode(cluster.nodes[2])
 * await cluster.run(cache.get('user:1'))
 * cluster.close()
 * ```
 */
export async function createTestCluster(options: TestClusterOptions = {}): Promise<TestCluster> {
  const cluster = new TestCluster(options)
  await cluster.start()
  return cluster
}

export class TestCluster {
  readonly time: VirtualTime = new VirtualTime()
  readonly network: SimulatedNetwork
  readonly random: SeededRandom
  /** Of everything that nodes and clients sent to each other so far: equal in two runs of one seed. */
  readonly trace: TraceHash = new TraceHash()
  readonly #nodes: TestNode[] = []
  readonly #bootstrapCount: number
  readonly #options: TestClusterOptions
  readonly #hosts = new Map<string, SimulatedHost>()

  constructor(options: TestClusterOptions = {}) {
    this.#options = options
    this.random = new SeededRandom(options.seed ?? 1)
    this.network = new SimulatedNetwork(this.time, new SeededRandom(this.random.uint32()), options.network)
    this.network.onDelivery = (from, to, body) => this.trace.add(this.time.monotonicMs(), from, to, body)
    this.#bootstrapCount = options.nodes ?? 3
    for (let i = 0; i < this.#bootstrapCount; i++) this.addNode()
  }

  get nodes(): readonly TestNode[] {
    return this.#nodes
  }

  /** A further machine; `startNode` starts a node on it, which joins the cluster. */
  addNode(): TestNode {
    const number = this.#nodes.length + 1
    const nodeId = `node-${number}`
    const host = new SimulatedHost(nodeId, this.time)
    const node: TestNode = {
      nodeId,
      address: `10.0.0.${number}:7401`,
      host,
      disk: new SimulatedDisk(host, new SeededRandom(this.random.uint32())),
      snapshotDisk:
        this.#options.node?.snapshots === undefined
          ? undefined
          : new SimulatedDisk(host, new SeededRandom(this.random.uint32())),
      core: undefined,
    }
    this.#nodes.push(node)
    return node
  }

  /** Starts every node and waits until each serves. @throws Error when that takes over 10 s of virtual time. */
  async start(): Promise<void> {
    for (const node of this.nodes) this.startNode(node)
    await this.waitFor(() => this.isServing(), 10_000)
  }

  isServing(): boolean {
    return this.nodes.every((node) => {
      const status = node.core?.status()
      return status?.state === 'serving' && status.peers.every((peer) => peer.following)
    })
  }

  /** Starts a process on the node's machine; a restart is a new incarnation. */
  startNode(node: TestNode, options: StartOptions = {}): void {
    const { host, snapshotDisk } = node
    if (options.disk === 'empty') {
      node.disk.wipe()
      snapshotDisk?.wipe()
    }
    this.network.powerOn(host)
    const { log = silentLog, brokenRules } = this.#options
    const core = new NodeCore(this.#nodeOptions(node), {
      clock: host,
      scheduler: host,
      random: new SeededRandom(this.random.uint32()),
      log: typeof log === 'function' ? log(node.nodeId) : log,
      dialer: this.network.dialer(host),
      store: node.disk.open(),
      ...(snapshotDisk === undefined
        ? {}
        : {
            snapshots: {
              compression: immediateCompression,
              open: async () => simulatedSnapshotStore(snapshotDisk),
            },
          }),
      uncompress: (stored) => decompress(new ByteReader(stored), SINGLE_NODE.valueBytesMax),
      ...(brokenRules === undefined ? {} : { brokenRules }),
    })
    node.core = core
    this.network.listen(node.address, host, core.accept)
    core.start()
  }

  /** The process is gone with its memory. Returns what it held, for checks. */
  killNode(node: TestNode, { what = 'process' }: KillOptions = {}): NodeCore | undefined {
    const { core } = node
    node.core = undefined
    node.disk.crash()
    node.snapshotDisk?.crash()
    node.host.crash()
    if (what === 'power') this.network.powerOff(node.host)
    else this.network.crash(node.host)
    return core
  }

  /** The process ends in order, as on SIGTERM. */
  async stopNode(node: TestNode): Promise<void> {
    const { core, host } = node
    if (core === undefined) return
    await stopInOrder(core, host, host)
    core.close()
    // What was sent last arrives.
    await new Promise<void>((resolve) => host.after(LAST_FRAMES_MS, resolve))
    if (node.core === core) this.killNode(node)
  }

  /** A machine for clients. */
  clientHost(name: string): SimulatedHost {
    let host = this.#hosts.get(name)
    if (host === undefined) {
      host = new SimulatedHost(name, this.time)
      this.#hosts.set(name, host)
    }
    return host
  }

  /**
   * A client on a machine of its own (one per `host` name). Virtual time stands still unless somebody moves it: pass what the
   * client returns to `run`.
   */
  connect<V = unknown>(options: ConnectOptions = {}, host = 'app'): Promise<Cache<V>> {
    const machine = this.clientHost(host)
    const nodes = options.nodes ?? this.nodes.map((node) => node.address)
    const ports = {
      clock: machine,
      scheduler: machine,
      random: new SeededRandom(this.random.uint32()),
      dialer: this.network.dialer(machine),
    }
    return this.run(openClient<V>(ports, resolveSettings({ ...options, nodes })))
  }

  /** Lets time pass until `promise` settles. @throws Error when `limitMs` of virtual time are not enough. */
  run<T>(promise: Promise<T>, limitMs = 60_000): Promise<T> {
    return this.time.until(promise, limitMs)
  }

  /** Lets time pass until `condition` holds. @throws Error after `limitMs`. */
  async waitFor(condition: () => boolean, limitMs = 10_000): Promise<void> {
    const untilMs = this.time.monotonicMs() + limitMs
    while (!condition()) {
      if (this.time.monotonicMs() >= untilMs)
        throw new Error(`the condition did not hold within ${limitMs} ms`)
      await this.time.advance(5)
    }
  }

  /** Stops every node, as their processes would end. */
  close(): void {
    for (const node of this.nodes) node.core?.close()
  }

  #nodeOptions(node: TestNode): NodeOptions {
    const regions = this.#options.regions ?? [{}]
    const founders = this.#nodes.slice(0, this.#bootstrapCount)
    return {
      ...SINGLE_NODE,
      clusterName: 'test',
      nodeId: node.nodeId,
      address: node.address,
      nodes: founders.map(({ nodeId, address }) => ({ nodeId, address, zone: '' })),
      ...(founders.includes(node) ? {} : { join: founders.map(({ address }) => address) }),
      regions: regions.map((region) => ({ ...DEFAULT_REGION, ...region })),
      partitionCount: 8,
      replicationFactor: Math.min(3, this.#bootstrapCount),
      ...this.#options.node,
    }
  }
}
