/**
 * The configuration of a cluster, complete: every option has a value, durations are milliseconds, sizes are bytes. What
 * one option means for another (a factor above the number of nodes, an address used twice) is checked here.
 */

import { isLoopback } from '../kernel/address.ts'
import type { JobDefinition } from '../topology/jobs.ts'
import type { Durability, EvictionPolicyName, ReadKind } from '../topology/topology.ts'
import { jobContradictions, jobsOf } from './jobs.ts'
import { name as nameKind } from './kinds.ts'
import { foundText, pathText } from './problems.ts'
import { type ClusterFile, type LogLevel, REGIONS_MAX } from './schema.ts'
import type { OptionPath, Problem } from './source.ts'

export interface NodeConfig {
  readonly id: string
  /** `host:port` */
  readonly address: string
  readonly host: string
  readonly port: number
  readonly zone: string
  /** Share of the data, relative to the other nodes. */
  readonly weight: number
  /** As written; relative to the folder of the file. Undefined: the node keeps nothing on disk. */
  readonly dataDir: string | undefined
}

export interface ReplicationConfig {
  readonly factor: number
  readonly partitions: number
  readonly durability: Durability
  readonly read: ReadKind
  readonly minInSync: number
  readonly replicaTimeoutMs: number
  readonly backlogBytes: number
  readonly onMajorityLoss: 'serve' | 'block'
}

export interface MemoryConfig {
  readonly limitBytes: number
  /** Share of the limit, 0..1. */
  readonly highWatermark: number
}

export interface LimitsConfig {
  readonly valueBytesMax: number
  readonly keyBytesMax: number
  /** Per node. */
  readonly streamsMax: number
  /** Unanswered, per stream. */
  readonly creditBytes: number
  /** Unanswered, per stream. */
  readonly operationsMax: number
  readonly timeoutMaxMs: number
}

export interface RegionConfig {
  readonly name: string
  /** In the whole cluster, counted once. 0: no limit of its own. */
  readonly sizeBytes: number
  /** In the whole cluster, counted once. 0: no limit of its own. */
  readonly maxEntries: number
  /** 0: entries don't expire by themselves. */
  readonly ttlMs: number
  readonly policy: EvictionPolicyName
  readonly durability: Durability
  readonly read: ReadKind
  readonly minInSync: number
}

export interface ClusterConfig {
  readonly name: string
  readonly nodes: readonly NodeConfig[]
  readonly insecure: boolean
  readonly replication: ReplicationConfig
  readonly memory: MemoryConfig
  readonly limits: LimitsConfig
  /** `default` first, the others as the file has them. */
  readonly regions: readonly RegionConfig[]
  /** Undefined: none are made. */
  readonly snapshots?: SnapshotConfig
  readonly backup?: BackupConfig
  /** What the cluster is given to do by itself. */
  readonly jobs: readonly JobDefinition[]
  readonly log: { readonly level: LogLevel }
}

export interface SnapshotConfig {
  readonly intervalMs: number
  readonly onStop: boolean
  /** Full ones, each with those that build on it. */
  readonly keepFulls: number
  /** 0: no limit. */
  readonly bytesPerSecond: number
}

export interface BackupConfig {
  /** Undefined: each command has to say where. */
  readonly storage?: StorageConfig
  /** 0: no limit. */
  readonly bytesPerSecond: number
}

export type StorageConfig =
  | { readonly type: 'directory'; readonly path: string }
  | {
      readonly type: 's3'
      readonly bucket: string
      readonly prefix: string
      readonly region?: string
      readonly endpoint?: string
    }

/** The region that is used when none is named. It always exists. */
const DEFAULT_REGION = 'default'
const FACTOR_DEFAULT = 3
const NO_FOLDER = 'none'

/** Completes a valid file. */
export function complete(file: ClusterFile): ClusterConfig {
  const { replication, limits } = file
  return {
    name: file.name,
    nodes: file.nodes.map(({ id, address, zone, weight, dataDir }) => ({
      id,
      address: address.text,
      host: address.host,
      port: address.port,
      zone,
      weight,
      dataDir: dataDir === NO_FOLDER ? undefined : (dataDir ?? `data/${id}`),
    })),
    insecure: file.insecure,
    replication: {
      factor: factorOf(file),
      partitions: replication.partitions,
      durability: replication.durability,
      read: replication.read,
      minInSync: replication.minInSync,
      replicaTimeoutMs: replication.replicaTimeout,
      backlogBytes: replication.backlog,
      onMajorityLoss: replication.onMajorityLoss,
    },
    memory: { limitBytes: file.memory.limit, highWatermark: file.memory.highWatermark },
    limits: {
      valueBytesMax: limits.value,
      keyBytesMax: limits.key,
      streamsMax: limits.streams,
      creditBytes: limits.credit,
      operationsMax: limits.operations,
      timeoutMaxMs: limits.timeoutMax,
    },
    regions: regionsOf(file),
    ...(file.snapshots === undefined ? {} : { snapshots: snapshotsOf(file.snapshots) }),
    ...(file.backup === undefined ? {} : { backup: backupOf(file.backup) }),
    jobs: jobsOf(file),
    log: file.log,
  }
}

function backupOf({ storage, bytesPerSecond }: NonNullable<ClusterFile['backup']>): BackupConfig {
  if (storage === undefined) return { bytesPerSecond }
  const { type, path = '', bucket = '', prefix = '', region, endpoint } = storage
  if (type === 'directory') return { storage: { type, path }, bytesPerSecond }
  const more = {
    ...(region === undefined ? {} : { region }),
    ...(endpoint === undefined ? {} : { endpoint }),
  }
  return { storage: { type, bucket, prefix, ...more }, bytesPerSecond }
}

function snapshotsOf({
  interval,
  onStop,
  keep,
  bytesPerSecond,
}: NonNullable<ClusterFile['snapshots']>): SnapshotConfig {
  return { intervalMs: interval, onStop, keepFulls: keep, bytesPerSecond }
}

function factorOf(file: ClusterFile): number {
  return file.replication.factor ?? Math.min(FACTOR_DEFAULT, file.nodes.length)
}

function regionsOf(file: ClusterFile): RegionConfig[] {
  const others = Object.keys(file.regions).filter((region) => region !== DEFAULT_REGION)
  return [DEFAULT_REGION, ...others].map((region) => {
    const { replication } = file
    const own = file.regions[region]
    return {
      name: region,
      sizeBytes: own?.size ?? 0,
      maxEntries: own?.maxEntries ?? own?.policy.maxItems ?? 0,
      ttlMs: own?.ttl ?? 0,
      policy: own?.policy.type ?? 'lru',
      durability: own?.durability ?? replication.durability,
      read: own?.read ?? replication.read,
      minInSync: own?.minInSync ?? replication.minInSync,
    }
  })
}

/** What options mean for one another. */
export function contradictions(file: ClusterFile): Problem[] {
  return [
    ...nodeContradictions(file),
    ...replicationContradictions(file),
    ...regionContradictions(file),
    ...backupContradictions(file),
    ...jobContradictions(file),
  ]
}

function backupContradictions({ backup }: ClusterFile): Problem[] {
  const storage = backup?.storage
  if (storage === undefined) return []
  const path = ['backup', 'storage']
  const needed = storage.type === 'directory' ? 'path' : 'bucket'
  const others =
    storage.type === 'directory' ? (['bucket', 'prefix', 'region', 'endpoint'] as const) : (['path'] as const)
  const problems: Problem[] = others
    .filter((option) => storage[option] !== undefined)
    .map((option) => problem([...path, option], storage[option], `the type is ${storage.type}; leave it out`))
  if (storage[needed] === undefined)
    problems.push({
      path,
      message: `${pathText(path)} has the type ${storage.type}, which needs a ${needed}`,
    })
  return problems
}

function nodeContradictions({ nodes, insecure }: ClusterFile): Problem[] {
  const problems: Problem[] = []
  for (const [index, node] of nodes.entries()) {
    const sameId = nodes.findIndex(({ id }) => id === node.id)
    if (sameId < index) {
      problems.push(
        problem(
          ['nodes', index, 'id'],
          node.id,
          `nodes[${sameId}] has this id already; give each node its own`,
        ),
      )
    }
    const sameAddress = nodes.findIndex(({ address }) => key(address) === key(node.address))
    if (sameAddress < index) {
      const path = ['nodes', index, 'address']
      problems.push(
        problem(
          path,
          node.address.text,
          `nodes[${sameAddress}] has this address already; give each node its own`,
        ),
      )
    }
    if (!insecure && !isLoopback(node.address.host)) {
      problems.push(
        problem(
          ['nodes', index, 'address'],
          node.address.text,
          'this is beyond the loopback interface, where traffic is neither encrypted nor authenticated. ' +
            'Use 127.0.0.1, or write `insecure: true` when everybody in that network may read and change everything',
        ),
      )
    }
  }
  return problems
}

function key({ host, port }: { host: string; port: number }): string {
  return `${host.toLowerCase()} ${port}`
}

function replicationContradictions(file: ClusterFile): Problem[] {
  const { nodes, replication, memory, limits } = file
  const factor = factorOf(file)
  const problems: Problem[] = []
  if (factor > nodes.length) {
    problems.push(
      problem(
        ['replication', 'factor'],
        factor,
        `there are ${nodes.length} nodes; list more nodes or lower it`,
      ),
    )
  }
  if (replication.minInSync > factor) {
    problems.push(problem(['replication', 'minInSync'], replication.minInSync, aboveFactor(factor)))
  }
  const path = ['replication', 'backlog']
  if (replication.backlog < limits.value) {
    const reason = `a value may have ${limits.value} bytes (limits.value), which the backlog has to hold; raise it or lower limits.value`
    problems.push({ ...problem(path, replication.backlog, reason), related: ['limits', 'value'] })
  }
  if (replication.backlog > memory.limit / 2) {
    const reason = `that is over half of the ${memory.limit} of memory.limit; lower it or raise memory.limit`
    problems.push({ ...problem(path, replication.backlog, reason), related: ['memory', 'limit'] })
  }
  return problems
}

function regionContradictions(file: ClusterFile): Problem[] {
  const factor = factorOf(file)
  const problems: Problem[] = []
  const names = Object.keys(file.regions)
  if (names.length > REGIONS_MAX) {
    problems.push({
      path: ['regions'],
      message: `regions has ${names.length} entries; at most ${REGIONS_MAX} are allowed`,
    })
  }
  for (const [name, region] of Object.entries(file.regions)) {
    const path = ['regions', name]
    if (nameKind.parse(name) === undefined) {
      problems.push({
        path,
        atKey: true,
        message: `${pathText(path)} is no name for a region; allowed: ${nameKind.allowed}`,
      })
    }
    if (region.minInSync !== undefined && region.minInSync > factor) {
      problems.push(problem([...path, 'minInSync'], region.minInSync, aboveFactor(factor)))
    }
    if (region.maxEntries !== undefined && region.policy.maxItems !== undefined) {
      const message = 'maxEntries says the same and is given, too; leave one of the two out'
      problems.push(problem([...path, 'policy', 'maxItems'], region.policy.maxItems, message))
    }
  }
  return problems
}

function aboveFactor(factor: number): string {
  return `there are ${factor} copies (replication.factor), so that quorum writes would always be refused; lower it`
}

function problem(path: OptionPath, found: unknown, message: string): Problem {
  return { path, message: `${pathText(path)} is ${foundText(found)}, but ${message}` }
}
