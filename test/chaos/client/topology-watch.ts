/**
 * What a client of its own, which is idle, is told of the topology: who the primaries are, and what is not as it should be.
 * It is built from the parts of dist, for applications have no use for this.
 */

import { pathToFileURL } from 'node:url'
import type { ClientCore, ClientPorts } from '../../../src/client/client-core.ts'
import type { ClientSettings, ConnectOptions } from '../../../src/client/options.ts'
import { partitionOf } from '../../../src/kernel/key.ts'
import type { Topology } from '../../../src/topology/topology.ts'

export class TopologyWatch {
  readonly #core: ClientCore

  private constructor(core: ClientCore) {
    this.#core = core
  }

  static async open(build: string, addresses: readonly string[]): Promise<TopologyWatch> {
    const [{ ClientCore }, { resolveSettings }, ports] = await Promise.all([
      fromDist<{
        ClientCore: new (
          ports: ClientPorts,
          settings: ClientSettings,
          onClose: () => Promise<void>,
        ) => ClientCore
      }>(build, 'client/client-core.js'),
      fromDist<{ resolveSettings: (options: ConnectOptions) => ClientSettings }>(build, 'client/options.js'),
      machine(build),
    ])
    const settings = resolveSettings({ nodes: addresses, connectTimeout: 20_000 })
    const core = new ClientCore(ports, settings, async () => {})
    await core.contact()
    return new TopologyWatch(core)
  }

  /** The node of each key's primary, keys of the region `default`. */
  owners(keys: readonly string[]): readonly (string | undefined)[] {
    const { topology } = this.#core.router
    const region = topology.regions.find(({ name }) => name === 'default')
    const group = topology.groups.find(({ name }) => name === region?.group)
    if (region === undefined || group === undefined) throw new Error('there is no region default')
    return keys.map((key) => {
      const bytes = Buffer.from(key)
      const at = partitionOf(bytes, 0, bytes.length, region.regionId, group.partitionCount)
      const partition = topology.partitions[group.firstPartition + at]
      return topology.nodes[partition?.primary ?? -1]?.nodeId
    })
  }

  /** The newest that is known here. */
  get topology(): Topology {
    return this.#core.router.topology
  }

  /** Nodes that are the primary of some partition. */
  leaders(): readonly string[] {
    const { nodes, partitions } = this.#core.router.topology
    return [...new Set(partitions.flatMap(({ primary }) => nodes[primary]?.nodeId ?? []))].sort()
  }

  /** What is missing, or undefined when every partition has all its copies in sync and none on the way. */
  problem(): string | undefined {
    return missingCopies(this.#core.router.topology)
  }

  close(): Promise<void> {
    return this.#core.close()
  }
}

function missingCopies({ groups, partitions, nodes }: Topology): string | undefined {
  let [few, learning, led] = [0, 0, 0]
  for (const { firstPartition, partitionCount, replicationFactor } of groups) {
    for (const partition of partitions.slice(firstPartition, firstPartition + partitionCount)) {
      if (partition.inSync.length < replicationFactor) few++
      if (partition.learners.length > 0) learning++
      if (nodes[partition.primary] !== undefined) led++
    }
  }
  if (few === 0 && learning === 0 && led === partitions.length) return undefined
  return `${few} partitions of ${partitions.length} lack copies, ${learning} have learners, ${partitions.length - led} no primary`
}

async function machine(build: string): Promise<ClientPorts> {
  const [clock, scheduler, random, dialer] = await Promise.all([
    fromDist<{ systemClock: ClientPorts['clock'] }>(build, 'adapters/system/clock.js'),
    fromDist<{ systemScheduler: ClientPorts['scheduler'] }>(build, 'adapters/system/scheduler.js'),
    fromDist<{ systemRandom: ClientPorts['random'] }>(build, 'adapters/system/random.js'),
    fromDist<{ GrpcDialer: new () => ClientPorts['dialer'] }>(build, 'adapters/grpc/dialer.js'),
  ])
  return {
    clock: clock.systemClock,
    scheduler: scheduler.systemScheduler,
    random: random.systemRandom,
    dialer: new dialer.GrpcDialer(),
  }
}

/** dist is not there when this file is checked; callers say what they use of it. */
export async function fromDist<T>(build: string, module: string): Promise<T> {
  return (await import(pathToFileURL(`${build}/dist/${module}`).href)) as T
}
