/** The nodes of a chaos run, their configuration and folders. */

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { stringify } from 'yaml'
import type { ChaosNetwork } from '../network/network.ts'
import { ChaosNode } from './chaos-node.ts'
import { FalseClock } from './false-clock.ts'
import { SmallDisk } from './small-disk.ts'

export interface ChaosClusterOptions {
  readonly nodes: number
  /** More nodes that exist in the network and can join later. */
  readonly spares: number
  readonly network: ChaosNetwork
  /** Holds dist. */
  readonly build: string
  readonly folder: string
  readonly partitions: number
  /** Gives the last node a file system of its own. */
  readonly smallDisk: boolean
  /** Gives the first node a clock of its own. */
  readonly falseClock: boolean
  /** `memory.limit` of each node; by default 512mb. */
  readonly memoryLimit?: string
  /** `snapshots` of each node; by default it makes none. */
  readonly snapshots?: {
    readonly interval: string
    readonly keep?: number
    readonly bytesPerSecond?: string
  }
  /** Where the cluster is backed up to, in a folder, and when. */
  readonly backup?: { readonly schedule: string; readonly keep: number; readonly folder: string }
}

const DISK_MEBIBYTES = 24

export class ChaosCluster implements AsyncDisposable {
  readonly nodes: readonly ChaosNode[]
  readonly spares: readonly ChaosNode[]
  readonly network: ChaosNetwork
  readonly disk: { readonly node: ChaosNode; readonly disk: SmallDisk } | undefined
  readonly #build: string

  private constructor(parts: {
    nodes: readonly ChaosNode[]
    spares: readonly ChaosNode[]
    network: ChaosNetwork
    disk: ChaosCluster['disk']
    build: string
  }) {
    this.nodes = parts.nodes
    this.spares = parts.spares
    this.network = parts.network
    this.disk = parts.disk
    this.#build = parts.build
  }

  /** Adds the nodes to the network and starts those that are no spares. Clients must be in the network already. */
  static async start(options: ChaosClusterOptions): Promise<ChaosCluster> {
    const { network, folder, build } = options
    mkdirSync(folder, { recursive: true })
    const ids = Array.from({ length: options.nodes + options.spares }, (_, at) => `node${at + 1}`)
    for (const id of ids) await network.addNode(id)
    const disk = options.smallDisk
      ? await SmallDisk.mount(join(folder, 'small-disk'), DISK_MEBIBYTES)
      : undefined
    const library = options.falseClock ? FalseClock.library() : undefined
    const diskAt = options.nodes - 1
    const dataDirs = ids.map((id, at) =>
      disk !== undefined && at === diskAt ? disk.dataDir : join(folder, 'data', id),
    )
    const members = ids.slice(0, options.nodes)
    const make = (id: string, at: number): ChaosNode => {
      const configFile = join(folder, `${id}.yaml`)
      // A spare's own file lists it after the members that the cluster was begun with.
      const listed = members.includes(id) ? members : [...members, id]
      const config = clusterFile(listed, ids, dataDirs, options)
      writeFileSync(configFile, stringify(config))
      return new ChaosNode({
        id,
        network,
        main: join(build, 'dist', 'cli', 'main.js'),
        configFile,
        dataDir: dataDirs[at] as string,
        logFile: join(folder, `${id}.log`),
        clock:
          library !== undefined && at === 0
            ? new FalseClock(library, join(folder, `${id}.clock`))
            : undefined,
      })
    }
    const all = ids.map(make)
    const nodes = all.slice(0, options.nodes)
    const cluster = new ChaosCluster({
      nodes,
      spares: all.slice(options.nodes),
      network,
      disk: disk === undefined ? undefined : { node: nodes[diskAt] as ChaosNode, disk },
      build,
    })
    try {
      await Promise.all(nodes.map((node) => node.start()))
    } catch (error) {
      await cluster[Symbol.asyncDispose]()
      throw error
    }
    return cluster
  }

  /** Addresses of the nodes the cluster was begun with. */
  get addresses(): readonly string[] {
    return this.nodes.map((node) => this.network.addressOf(node.id))
  }

  get running(): readonly ChaosNode[] {
    return [...this.nodes, ...this.spares].filter((node) => node.isRunning)
  }

  /** `dist/cli/main.js` */
  get main(): string {
    return join(this.#build, 'dist', 'cli', 'main.js')
  }

  /** What nodes did that nobody had asked them to. */
  get surprises(): string[] {
    return [...this.nodes, ...this.spares].flatMap((node) => node.surprises)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.nodes, ...this.spares].map((node) => node.kill()))
    await this.disk?.disk[Symbol.asyncDispose]()
  }
}

function clusterFile(
  listed: readonly string[],
  ids: readonly string[],
  dataDirs: readonly string[],
  { network, partitions, memoryLimit = '512mb', snapshots, backup }: ChaosClusterOptions,
): object {
  return {
    name: 'chaos',
    ...(network.kind === 'namespaces' ? { insecure: true } : {}),
    nodes: listed.map((id) => ({
      id,
      address: network.addressOf(id),
      zone: id,
      dataDir: dataDirs[ids.indexOf(id)],
    })),
    replication: { partitions, backlog: '16mb' },
    memory: { limit: memoryLimit },
    ...(snapshots === undefined ? {} : { snapshots }),
    ...(backup === undefined ? {} : { backup: backupSection(backup) }),
    log: { level: 'info' },
  }
}

function backupSection({ schedule, keep, folder }: NonNullable<ChaosClusterOptions['backup']>): object {
  return { schedule, keep, storage: { type: 'directory', path: folder } }
}
