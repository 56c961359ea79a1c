/**
 * A cluster of processes that replicate, on virtual time, over a register that is one record: fast enough for thousands of runs,
 * and small enough to say exactly what happens.
 */

import type { ClusterId, Epoch, Incarnation, NodeId, RegionId } from '../../../src/kernel/ids.ts'
import type { Log } from '../../../src/kernel/log.ts'
import { randomHex, SeededRandom } from '../../../src/kernel/random.ts'
import type { BrokenRules } from '../../../src/kernel/rule-switch.ts'
import { DEFAULT_REGION, type NodeOptions } from '../../../src/node/options.ts'
import type { Replica } from '../../../src/replication/replica.ts'
import { SimulatedHost } from '../../../src/testing/simulated-host.ts'
import { type NetworkOptions, SimulatedNetwork } from '../../../src/testing/simulated-network.ts'
import { VirtualTime } from '../../../src/testing/virtual-time.ts'
import { NO_RING, type RegionRecord, type Topology } from '../../../src/topology/topology.ts'
import type { ProcessName, Transform } from '../../../src/topology/transforms.ts'
import { placeInTurn } from '../place-in-turn.ts'
import { RawClient } from '../raw-client.ts'
import { ReplicaNode } from './replica-node.ts'
import { StandInRegister } from './stand-in-register.ts'

export interface ReplicaClusterOptions {
  readonly nodes?: number
  readonly replicas?: number
  readonly partitions?: number
  readonly seed?: number
  readonly brokenRules?: BrokenRules
  readonly region?: Partial<RegionRecord>
  readonly node?: Partial<NodeOptions>
  readonly network?: NetworkOptions
  readonly log?: Log
}

export class ReplicaCluster {
  readonly time: VirtualTime = new VirtualTime()
  readonly network: SimulatedNetwork
  readonly random: SeededRandom
  readonly register: StandInRegister
  readonly hosts: readonly SimulatedHost[]
  readonly #options: ReplicaClusterOptions
  readonly #clientHost: SimulatedHost
  #streams = 0
  /** By machine: the process on it. */
  readonly nodes: (ReplicaNode | undefined)[] = []
  /** Processes that ended, with what they held. */
  readonly dead: ReplicaNode[] = []

  constructor(options: ReplicaClusterOptions = {}) {
    this.#options = options
    const { nodes = 3, seed = 1 } = options
    this.random = new SeededRandom(seed)
    this.network = new SimulatedNetwork(this.time, new SeededRandom(this.random.uint32()), options.network)
    this.hosts = Array.from({ length: nodes }, (_, i) => new SimulatedHost(`n${i}`, this.time))
    this.#clientHost = new SimulatedHost('client', this.time)
    for (const host of this.hosts) this.nodes.push(this.#newNode(host))
    this.register = new StandInRegister(
      this.#firstTopology(),
      this.time,
      this.network,
      new SeededRandom(this.random.uint32()),
      options.brokenRules,
    )
    this.hosts.forEach((host, at) => {
      this.register.add({
        host,
        isUp: () => this.nodes[at] !== undefined,
        learned: (topology, sentMs) => this.nodes[at]?.learned(topology, sentMs),
      })
    })
  }

  /** Starts, and waits until every partition is served. */
  async start(): Promise<void> {
    for (const node of this.nodes) node?.learned(this.register.topology, 0)
    await this.time.advance(400)
  }

  /** The process on machine `at`. @throws RangeError when there is none */
  node(at: number): ReplicaNode {
    const node = this.nodes[at]
    if (node === undefined) throw new RangeError(`no process runs on machine ${at}`)
    return node
  }

  replica(at: number, partition = 0): Replica | undefined {
    return this.nodes[at]?.plane?.replicator.replica(partition)
  }

  /** Which machine runs the node at this position of the present record; −1 when its process is gone. */
  machineOf(position: number): number {
    const record = this.register.topology.nodes[position]
    return this.nodes.findIndex((node) => node?.incarnation === record?.incarnation)
  }

  /** The machine of the partition's primary, as the register has it. */
  primaryOf(partition = 0): number {
    return this.machineOf(this.register.topology.partitions[partition]?.primary ?? -1)
  }

  /** The position of the process on machine `at`. */
  positionOf(at: number): number {
    const { incarnation } = this.node(at)
    return this.register.topology.nodes.findIndex((node) => node.incarnation === incarnation)
  }

  crash(at: number): ReplicaNode | undefined {
    const node = this.nodes[at]
    if (node === undefined) return undefined
    this.nodes[at] = undefined
    node.ended = true
    this.dead.push(node)
    node.host.crash()
    this.network.crash(node.host)
    return node
  }

  restart(at: number): ReplicaNode {
    const node = this.#newNode(this.hosts[at] as SimulatedHost)
    this.nodes[at] = node
    return node
  }

  /** Cuts both directions between two machines. */
  cut(a: number, b: number): void {
    this.network.cut(`n${a}`, `n${b}`)
    this.network.cut(`n${b}`, `n${a}`)
  }

  heal(a: number, b: number): void {
    this.network.heal(`n${a}`, `n${b}`)
    this.network.heal(`n${b}`, `n${a}`)
  }

  process(at: number): ProcessName {
    return this.node(at).name
  }

  fail(node: ReplicaNode): boolean {
    return this.register.commit([{ kind: 'NodeFailed', process: node.name }])
  }

  commit(...transforms: Transform[]): boolean {
    return this.register.commit(transforms)
  }

  /** A client's stream to the process on machine `at`. */
  async client(at: number, session?: string, lane: 'operations' | 'bulk' = 'operations'): Promise<RawClient> {
    const client = this.open(at, this.#clientHost, session, lane)
    await this.time.until(client.opened())
    return client
  }

  open(
    at: number,
    host: SimulatedHost,
    session: string = randomHex(this.random, 16),
    lane: 'operations' | 'bulk' = 'operations',
  ): RawClient {
    return new RawClient(this.network.dialer(host), `10.0.0.${at}:1`, session, lane, ++this.#streams)
  }

  run<T>(promise: Promise<T>, limitMs = 20_000): Promise<T> {
    return this.time.until(promise, limitMs)
  }

  async waitFor(condition: () => boolean, limitMs = 10_000): Promise<void> {
    const untilMs = this.time.monotonicMs() + limitMs
    while (!condition()) {
      if (this.time.monotonicMs() >= untilMs) throw new Error(`it did not come to be within ${limitMs} ms`)
      await this.time.advance(5)
    }
  }

  close(): void {
    for (const node of this.nodes) node?.close()
  }

  #newNode(host: SimulatedHost): ReplicaNode {
    const at = Number(host.name.slice(1))
    return new ReplicaNode(
      host,
      `10.0.0.${at}:1`,
      randomHex(this.random, 16),
      { partitionCount: this.#options.partitions ?? 1, ...this.#options.node },
      {
        network: this.network,
        brokenRules: this.#options.brokenRules,
        log: this.#options.log,
        propose: (transform) => this.register.propose(host, [transform]),
        isProvenDead: (nodeId, incarnation) =>
          this.dead.some((node) => node.nodeId === nodeId && node.incarnation === incarnation),
      },
    )
  }

  #firstTopology(): Topology {
    const { replicas = 3, partitions = 1, region } = this.#options
    const group = {
      name: 'default',
      replicationFactor: replicas,
      firstPartition: 0,
      partitionCount: partitions,
    }
    return {
      clusterId: 'c0ffee00c0ffee00c0ffee00c0ffee00' as ClusterId,
      clusterName: 'test',
      epoch: 1 as Epoch,
      hashKey: { low: 1, high: 2 },
      nodes: this.nodes.map((node) => ({
        nodeId: node?.nodeId as NodeId,
        incarnation: node?.incarnation as Incarnation,
        diskId: '',
        address: node?.address as string,
        zone: '',
        weight: 1,
        state: 'active',
      })),
      voters: [],
      ring: NO_RING,
      groups: [group],
      regions: [{ ...DEFAULT_REGION, regionId: 0 as RegionId, group: 'default', ...region }],
      nextRegionId: 1,
      partitions: placeInTurn(group, this.nodes.length),
    }
  }
}
