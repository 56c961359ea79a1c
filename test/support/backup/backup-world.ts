/**
 * Three nodes that back up one cluster, on virtual time: they share an engine, and each is primary of some of its partitions. A node can be
 * killed, and its partitions given to another.
 */

import type { BackupManifest } from '../../../src/backup/backup-manifest.ts'
import { BackupReader } from '../../../src/backup/backup-reader.ts'
import { BackupRun, type BackupRunPorts } from '../../../src/backup/backup-run.ts'
import type { BackupProgress, BackupSpec, RunOptions } from '../../../src/backup/cluster-backups.ts'
import { PartAgent } from '../../../src/backup/part-agent.ts'
import { type Verification, VerifyRun } from '../../../src/backup/verify-run.ts'
import { WatchedStore } from '../../../src/backup/watched-store.ts'
import { CacheError } from '../../../src/kernel/errors.ts'
import { silentLog } from '../../../src/kernel/log.ts'
import type { BackupStore } from '../../../src/snapshot/backup-store.ts'
import { immediateCompression } from '../../../src/snapshot/compression.ts'
import { Pace } from '../../../src/snapshot/pace.ts'
import type { Topology } from '../../../src/topology/topology.ts'
import {
  CLUSTER_ID,
  Collector,
  type Content,
  SnapshotWorld,
  type WorldOptions,
} from '../snapshots/snapshot-world.ts'
import { MemoryStore } from './memory-store.ts'

const LIMIT_MS = 3_600_000
export const STALL_MS = 30_000

export class BackupWorld {
  readonly snapshots: SnapshotWorld
  readonly store: MemoryStore = new MemoryStore()
  /** Where a node writes, if not to `store`. */
  readonly ownStores: Map<string, MemoryStore> = new Map()
  /** By partition: the node that is its primary. */
  readonly primaries: string[]
  readonly nodes: readonly string[] = ['a', 'b', 'c']
  readonly #agents = new Map<string, PartAgent>()
  epoch = 5
  /** No majority confirms what the run knows. */
  isCutOff = false

  constructor(seed: number, options: Partial<WorldOptions> = {}) {
    this.snapshots = new SnapshotWorld(seed, {
      partitions: [0, 1, 2, 3, 4, 5, 6],
      keys: 60,
      valueBytesMax: 900,
      largePerMille: 10,
      textTags: true,
      ...options,
    })
    this.snapshots.fill()
    this.primaries = this.snapshots.options.partitions.map((_, i) => this.nodes[i % 3] as string)
    for (const node of this.nodes) this.start(node)
  }

  get time(): SnapshotWorld['time'] {
    return this.snapshots.time
  }

  start(node: string): void {
    const { host, random } = this.snapshots
    this.#agents.set(
      node,
      new PartAgent({
        nodeId: node,
        clock: host,
        scheduler: host,
        random,
        log: silentLog,
        compression: immediateCompression,
        open: (_place, signal) => this.open(this.ownStores.get(node) ?? this.store, signal),
        source: (partitions) => ({
          ...this.snapshots.source,
          clusterId: CLUSTER_ID,
          partitions: () => partitions,
          position: (partition) =>
            this.primaries[partition] === node ? this.snapshots.source.position(partition) : undefined,
        }),
      }),
    )
  }

  /** What it was writing is lost; another node takes its partitions, in a later epoch. */
  kill(node: string, heir?: string): void {
    this.#agents.get(node)?.close()
    this.#agents.delete(node)
    if (heir === undefined) return
    this.snapshots.epoch++
    this.epoch++
    this.primaries.forEach((primary, partition) => {
      if (primary === node) this.primaries[partition] = heir
    })
  }

  open(store: BackupStore, signal?: AbortSignal): Promise<BackupStore> {
    return WatchedStore.open(Promise.resolve(store), this.snapshots.host, STALL_MS, signal)
  }

  /** A run as it goes on in some node. */
  async begin(
    spec: Partial<BackupSpec> = {},
    options: RunOptions<BackupProgress> = {},
  ): Promise<BackupManifest> {
    const { host, random } = this.snapshots
    const ports: BackupRunPorts = {
      clock: host,
      scheduler: host,
      random,
      log: silentLog,
      topology: () => this.#topology(),
      confirmedMs: () => (this.isCutOff ? Number.NEGATIVE_INFINITY : host.monotonicMs()),
      parts: {
        writeParts: async (address, request) => {
          const agent = this.#agents.get(address)
          if (agent === undefined) throw new CacheError('UNAVAILABLE', `${address} is gone`)
          return agent.ask(request)
        },
      },
    }
    const full = { name: 'one', place: '', bytesPerSecond: 0, resume: false, ...spec }
    return new BackupRun(full, await this.open(this.store), ports, options, 2 * STALL_MS).run()
  }

  create(spec: Partial<BackupSpec> = {}, options: RunOptions<BackupProgress> = {}): Promise<BackupManifest> {
    return this.time.until(this.begin(spec, options), LIMIT_MS)
  }

  /** What the backup has, by partition. */
  async read(name = 'one'): Promise<Map<number, Content>> {
    const found = new Map<number, Content>()
    const reader = await this.#reader(name)
    await this.time.until(
      reader.each(
        async ({ partition }, read) => {
          const content: Content = new Map()
          await read(new Collector(content))
          found.set(partition, content)
        },
        ({ error }) => {
          throw error
        },
      ),
      LIMIT_MS,
    )
    return found
  }

  async verify(name = 'one'): Promise<Verification> {
    const reader = await this.#reader(name)
    return this.time.until(new VerifyRun(reader, this.snapshots.host).run(), LIMIT_MS)
  }

  async #reader(name: string): Promise<BackupReader> {
    const { host } = this.snapshots
    const pace = new Pace(host, host)
    const store = await this.time.until(this.open(this.store))
    return this.time.until(BackupReader.open(name, { store, compression: immediateCompression, pace }))
  }

  #topology(): Topology {
    const partitions = this.primaries.map((primary) => ({
      partitionEpoch: this.snapshots.epoch,
      primary: this.nodes.indexOf(primary),
    }))
    const nodes = this.nodes.map((nodeId) => ({ nodeId, address: nodeId, state: 'active' }))
    // A run looks at nothing else of it.
    return {
      clusterId: CLUSTER_ID,
      clusterName: 'test',
      epoch: this.epoch,
      partitions,
      nodes,
      regions: this.snapshots.source.regions(),
    } as unknown as Topology
  }
}
