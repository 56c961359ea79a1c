/**
 * A node as a process of its own: NodeCore on the machine's clock, gRPC in front of it, the unary gateway beside it.
 *
 * Shutting down: the node says NOT_SERVING to health checks, takes on nothing more, finishes what is under way and says goodbye to the
 * other nodes. It closes its listener once they have taken over and its clients know, so that nobody takes the refused connection of an
 * orderly stop for a crash.
 */

import { join, resolve } from 'node:path'
import { DirectoryStore } from '../adapters/backup/directory-store.ts'
import { S3Store } from '../adapters/backup/s3-store.ts'
import { AdminChannel } from '../adapters/grpc/admin-channel.ts'
import { GrpcDialer } from '../adapters/grpc/dialer.ts'
import { HealthService, reflectionService } from '../adapters/grpc/health.ts'
import { adminServiceOf, cacheServiceOf, loadProtos } from '../adapters/grpc/proto.ts'
import { GrpcServer } from '../adapters/grpc/server.ts'
import { adminService, unaryService } from '../adapters/grpc/unary-service.ts'
import { LevelSnapshotStore } from '../adapters/level/level-snapshot-store.ts'
import { LevelStore } from '../adapters/level/level-store.ts'
import { threadedCompression } from '../adapters/lz4/lz4-compression.ts'
import { systemClock } from '../adapters/system/clock.ts'
import { createSystemLog } from '../adapters/system/log.ts'
import { processBytes } from '../adapters/system/memory.ts'
import { systemRandom } from '../adapters/system/random.ts'
import { systemScheduler } from '../adapters/system/scheduler.ts'
import { parsePlace } from '../backup/place.ts'
import { decompress } from '../client/codecs/compression.ts'
import type { ClusterConfig, NodeConfig } from '../config/cluster-config.ts'
import { loadClusterConfig, resolveClusterConfig } from '../config/load.ts'
import { isLoopback } from '../kernel/address.ts'
import { ByteReader } from '../kernel/bytes.ts'
import type { DurableStore } from '../kernel/durable-store.ts'
import { CacheError, toCacheError } from '../kernel/errors.ts'
import type { Log } from '../kernel/log.ts'
import { MemoryStore } from '../kernel/memory-store.ts'
import { every, type Timer } from '../kernel/scheduler.ts'
import type { BackupStore } from '../snapshot/backup-store.ts'
import type { RegionRecord } from '../topology/topology.ts'
import type { WritePartsReply } from '../wire/admin.ts'
import type { Dialer } from '../wire/transport.ts'
import { AdminService } from './admin/admin-service.ts'
import { JobsAdmin } from './admin/jobs-admin.ts'
import { ObservabilityAdmin } from './admin/observability-admin.ts'
import { NodeBackups } from './backup/node-backups.ts'
import { ClusterTarget } from './backup/restore-target.ts'
import { CompositeDialer } from './gateway/composite-dialer.ts'
import { Gateway } from './gateway/gateway.ts'
import { GatewayClient } from './gateway/gateway-client.ts'
import { backupJob } from './jobs/backup-job.ts'
import { NodeCore, type NodeStatus } from './node-core.ts'
import type { NodeOptions } from './options.ts'
import { stopInOrder } from './orderly-stop.ts'
import type { SnapshotMedium } from './snapshot-keeper.ts'

export interface CacheNodeOptions {
  /** Path of a cluster.yaml, or an object shaped as one. */
  readonly config: string | object
  /** Which of its nodes this process is. */
  readonly nodeId: string
  /** Addresses of nodes of a cluster that runs: this node joins that one, and founds none. */
  readonly join?: readonly string[]
  /** Default: JSON lines on standard output, at the level of the configuration. */
  readonly log?: Log
}

/** How often the node's state is looked at while it starts, and later for health checks, in milliseconds. */
const START_CHECK_MS = 25
const STATE_CHECK_MS = 500
const CLOSE_TIMEOUT_MS = 5_000
const RELEASE_MS = 1_000
/** Streams of another node: four lanes, and as many again while a broken one has not been noticed. */
const STREAMS_PER_PEER = 8
/** Others may join. */
const PEERS_MIN = 16
const MIB = 1024 * 1024

export class CacheNode implements AsyncDisposable {
  readonly #core: NodeCore
  readonly #server: GrpcServer
  readonly #dialer: GrpcDialer
  readonly #store: DurableStore
  readonly #gatewayClient: GatewayClient
  readonly #admin: AdminService
  readonly #backups: BackupParts
  readonly #health: HealthService
  readonly #log: Log
  /** For clients in this process: reaches this node without a socket, and the others over the network. */
  readonly localDialer: () => Dialer
  /** Resolves with why the node can't go on, when that happens: it is to be closed, and may be started again. */
  readonly failed: Promise<CacheError>
  #fail: ((error: CacheError) => void) | undefined
  #stateCheck: Timer | undefined
  #closing: Promise<void> | undefined

  private constructor(parts: {
    core: NodeCore
    server: GrpcServer
    dialer: GrpcDialer
    localDialer: () => Dialer
    store: DurableStore
    gatewayClient: GatewayClient
    admin: AdminService
    backups: BackupParts
    health: HealthService
    log: Log
  }) {
    this.#core = parts.core
    this.#server = parts.server
    this.#dialer = parts.dialer
    this.localDialer = parts.localDialer
    this.#store = parts.store
    this.#gatewayClient = parts.gatewayClient
    this.#admin = parts.admin
    this.#backups = parts.backups
    this.#health = parts.health
    this.#log = parts.log
    this.failed = new Promise((resolve) => {
      this.#fail = resolve
    })
    this.#report()
  }

  /**
   * Listens and meets the other nodes. Resolves once it listens; `whenServing` tells when the cluster stands.
   * @throws CacheError CONFIGURATION when the configuration is wrong, has no such node, or it cannot listen at its address.
   */
  static async start(options: CacheNodeOptions): Promise<CacheNode> {
    const { nodeId } = options
    const config =
      typeof options.config === 'string'
        ? await loadClusterConfig(options.config)
        : resolveClusterConfig(options.config)
    const node = findNode(config, nodeId)
    const log = options.log ?? createSystemLog({ level: config.log.level, fields: { node: nodeId } })
    const store = node.dataDir === undefined ? new MemoryStore() : await LevelStore.open(node.dataDir)
    try {
      return await CacheNode.#start(config, node, options.join, store, log)
    } catch (error) {
      await store.close().catch(() => {})
      throw error
    }
  }

  static async #start(
    config: ClusterConfig,
    node: NodeConfig,
    join: readonly string[] | undefined,
    store: DurableStore,
    log: Log,
  ): Promise<CacheNode> {
    const nodeId = node.id
    const dialer = new GrpcDialer()
    const core = new NodeCore(nodeOptions(config, node, join), {
      clock: systemClock,
      scheduler: systemScheduler,
      random: systemRandom,
      log,
      dialer,
      store,
      ...snapshotMedium(config, node, log),
      uncompress: (stored) => decompress(new ByteReader(stored), config.limits.valueBytesMax),
      processBytes,
    })
    const localDialer = (): Dialer => new CompositeDialer(node.address, core.accept, systemScheduler, dialer)
    const gatewayClient = new GatewayClient(
      {
        clock: systemClock,
        scheduler: systemScheduler,
        random: systemRandom,
        dialer: localDialer(),
      },
      node.address,
    )
    const gateway = new Gateway(
      (region, prefix) => gatewayClient.region(region, prefix),
      config.limits.valueBytesMax,
    )
    const protos = loadProtos()
    const backups = backupParts(config, node, core, localDialer, adminServiceOf(protos), log, (region) =>
      admin.createRegion({ name: region.name, group: groupFor(core, region), settings: region }),
    )
    core.jobs.register(backupJob(backups.backups.desk, config.backup?.bytesPerSecond ?? 0))
    const admin: AdminService = new AdminService({
      control: core.desk,
      nodeId,
      clock: systemClock,
      scheduler: systemScheduler,
      backups: backups.backups,
      jobs: new JobsAdmin(core.jobs, systemClock),
      observability: new ObservabilityAdmin(core, systemClock),
    })
    const health = new HealthService()
    const server = await GrpcServer.listen(node.address, {
      accept: core.accept,
      streamsMax: {
        cache: config.limits.streamsMax,
        cluster: STREAMS_PER_PEER * Math.max(PEERS_MIN, 2 * config.nodes.length),
      },
      messageBytesMax: Math.max(4 * MIB, config.limits.valueBytesMax + MIB),
      services: [
        unaryService(cacheServiceOf(protos), gateway),
        adminService(adminServiceOf(protos), admin),
        health.service,
        reflectionService(protos),
      ],
    })
    core.start()
    log.info('listening', { address: node.address, incarnation: core.incarnation, pid: process.pid })
    const parts = { core, server, dialer, localDialer, store, gatewayClient, admin, backups, health, log }
    return new CacheNode(parts)
  }

  get nodeId(): string {
    return this.#core.options.nodeId
  }

  status(): NodeStatus {
    return this.#core.status()
  }

  /**
   * Resolves once the node is a member of its cluster; after `timeoutMs` also when the cluster goes on without it, for it passes calls
   * on. @throws CacheError NOT_READY when it knows no cluster by then, and what keeps it from going on
   */
  whenServing(timeoutMs = 30_000): Promise<void> {
    return new Promise((resolve, reject) => {
      const giveUpAtMs = systemClock.monotonicMs() + timeoutMs
      const timer = every(systemScheduler, START_CHECK_MS, () => {
        const { state, peers } = this.#core.status()
        const isOver = systemClock.monotonicMs() > giveUpAtMs
        if (state === 'serving' || (state === 'no-role' && isOver)) {
          timer.cancel()
          resolve()
        } else if (this.#core.failure !== undefined) {
          timer.cancel()
          reject(this.#core.failure)
        } else if (state === 'stopped' || isOver) {
          timer.cancel()
          const missing = peers
            .filter((peer) => !peer.linked)
            .map((peer) => `${peer.nodeId} (${peer.address})`)
          const why =
            missing.length > 0 ? `it has not met ${missing.join(', ')}` : 'no topology was agreed on'
          reject(new CacheError('NOT_READY', `${this.nodeId} does not serve after ${timeoutMs} ms: ${why}`))
        }
      })
    })
  }

  /** Stops in order; what is still under way after `timeoutMs` is cut off. Idempotent. */
  close(timeoutMs: number = CLOSE_TIMEOUT_MS): Promise<void> {
    this.#closing ??= this.#close(timeoutMs)
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(timeoutMs: number): Promise<void> {
    const deadlineMs = systemClock.monotonicMs() + timeoutMs
    this.#log.info('stopping')
    this.#stateCheck?.cancel()
    this.#health.stop()
    this.#admin.close()
    this.#backups.backups.close()
    await stopInOrder(this.#core, systemClock, systemScheduler, timeoutMs)
    await this.#gatewayClient.close()
    await this.#backups.close()
    this.#core.close()
    await this.#server.close(Math.max(0, Math.min(500, deadlineMs - systemClock.monotonicMs())))
    this.#dialer.close()
    await this.#snapshotsClosed()
    await this.#store.close().catch((error: unknown) => {
      this.#log.warn('the data directory could not be closed', { reason: toCacheError(error).message })
    })
    this.#log.info('stopped')
  }

  /** A disk that hangs is not waited for. */
  async #snapshotsClosed(): Promise<void> {
    let timer: Timer | undefined
    const over = new Promise<void>((resolve) => {
      timer = systemScheduler.after(RELEASE_MS, resolve)
    })
    await Promise.race([this.#core.released, over])
    timer?.cancel()
  }

  #report(): void {
    const { failure } = this.#core
    if (failure !== undefined) this.#fail?.(failure)
    const { state } = this.#core.status()
    this.#health.answering = state === 'serving' || state === 'no-role'
    this.#health.holdsReplicas = state === 'serving'
    const delayMs = state === 'starting' ? START_CHECK_MS : STATE_CHECK_MS
    this.#stateCheck = systemScheduler.after(delayMs, () => this.#report())
  }
}

function findNode(config: ClusterConfig, nodeId: string): NodeConfig {
  const node = config.nodes.find(({ id }) => id === nodeId)
  if (node === undefined) {
    const known = config.nodes.map(({ id }) => id).join(', ')
    throw new CacheError('CONFIGURATION', `the configuration has no node ${nodeId}; it has ${known}`)
  }
  if (!config.insecure && !isLoopback(node.host)) {
    throw new CacheError(
      'CONFIGURATION',
      `${nodeId} would listen on ${node.address}, beyond this machine, where nothing is encrypted or authenticated: use a loopback address, or write \`insecure: true\` when everybody in that network may read and change everything`,
    )
  }
  return node
}

/** Snapshots lie beside what else the node keeps. */
function snapshotMedium(
  { snapshots }: ClusterConfig,
  { dataDir }: NodeConfig,
  log: Log,
): { snapshots?: SnapshotMedium } {
  if (snapshots === undefined) return {}
  if (dataDir === undefined) {
    log.warn('no snapshots are made: the node has no data directory (dataDir: none)')
    return {}
  }
  const folder = join(dataDir, 'snapshots')
  return { snapshots: { compression: threadedCompression, open: () => LevelSnapshotStore.open(folder) } }
}

interface BackupParts {
  readonly backups: NodeBackups
  /** Ends the connections that were made for it. */
  close(): Promise<void>
}

const PARTS_TIMEOUT_MS = 5000
const RESTORE_TIMEOUT_MS = 30_000

function backupParts(
  config: ClusterConfig,
  node: NodeConfig,
  core: NodeCore,
  localDialer: () => Dialer,
  adminDefinition: ReturnType<typeof adminServiceOf>,
  log: Log,
  createRegion: (region: RegionRecord) => Promise<unknown>,
): BackupParts {
  const { clock, scheduler, random } = {
    clock: systemClock,
    scheduler: systemScheduler,
    random: systemRandom,
  }
  const client = new GatewayClient({ clock, scheduler, random, dialer: localDialer() }, node.address, {
    name: 'restore',
    timeoutMs: RESTORE_TIMEOUT_MS,
  })
  const channels = new Map<string, AdminChannel>()
  const closeChannels = (): void => {
    for (const channel of channels.values()) channel.close()
    channels.clear()
  }
  const channelTo = (address: string): AdminChannel => {
    // More than there can be nodes: some are gone.
    if (channels.size > 2 * core.options.nodes.length + PEERS_MIN) closeChannels()
    const channel = channels.get(address) ?? new AdminChannel(address, adminDefinition)
    channels.set(address, channel)
    return channel
  }
  const backups = new NodeBackups({
    nodeId: node.id,
    address: node.address,
    clock,
    scheduler,
    random,
    log,
    observer: core.observer,
    medium: { compression: threadedCompression, open: (place) => openPlace(config, place) },
    bytesPerSecond: config.backup?.bytesPerSecond ?? 0,
    target: new ClusterTarget({
      clock,
      scheduler,
      random,
      regions: () => core.control.topology?.regions ?? [],
      createRegion: async (region) => void (await createRegion(region)),
      client: (region) => client.region(region),
    }),
    plane: () => core.dataPlane,
    topology: () => core.control.topology,
    confirmedMs: () => core.control.voterContactMs(),
    writeParts: async (address, request) =>
      (await channelTo(address).call('writeParts', request, PARTS_TIMEOUT_MS)) as WritePartsReply,
  })
  return {
    backups,
    close: async () => {
      closeChannels()
      await client.close()
    },
  }
}

/** The one it had, if there is such a one here. */
function groupFor({ control }: NodeCore, { group }: RegionRecord): string {
  return control.topology?.groups.some(({ name }) => name === group) === true ? group : ''
}

/** @param place '': as the configuration says. @throws CacheError when there is none, or it can't be used */
async function openPlace({ backup }: ClusterConfig, place: string): Promise<BackupStore> {
  const storage = backup?.storage
  if (place === '') {
    if (storage === undefined)
      throw new CacheError(
        'CONFIGURATION',
        'no place for backups is configured: write a section `backup` with `storage` into cluster.yaml, or name one with --to',
      )
    if (storage.type === 'directory') return DirectoryStore.open({ path: resolve(storage.path) })
    return S3Store.open(storage)
  }
  const found = parsePlace(place)
  if (found.kind === 'directory') return DirectoryStore.open({ path: found.path })
  const { bucket, prefix, region, endpoint = storage?.type === 's3' ? storage.endpoint : undefined } = found
  return S3Store.open({
    bucket,
    prefix,
    ...(region === undefined ? {} : { region }),
    ...(endpoint === undefined ? {} : { endpoint }),
  })
}

function nodeOptions(
  config: ClusterConfig,
  self: NodeConfig,
  join: readonly string[] | undefined,
): NodeOptions {
  const { replication, memory, limits } = config
  return {
    clusterName: config.name,
    nodeId: self.id,
    address: self.address,
    zone: self.zone,
    // Whoever joins founds nothing.
    nodes:
      join === undefined
        ? config.nodes.map(({ id, address, zone, weight }) => ({ nodeId: id, address, zone, weight }))
        : [],
    ...(join === undefined ? {} : { join }),
    regions: config.regions,
    onMajorityLoss: replication.onMajorityLoss,
    partitionCount: replication.partitions,
    replicationFactor: replication.factor,
    memoryLimitBytes: memory.limitBytes,
    memoryHighShare: memory.highWatermark,
    backlogBytes: replication.backlogBytes,
    replicaTimeoutMs: replication.replicaTimeoutMs,
    keyBytesMax: limits.keyBytesMax,
    valueBytesMax: limits.valueBytesMax,
    sessionsMax: limits.streamsMax,
    creditBytes: limits.creditBytes,
    operationsMax: limits.operationsMax,
    timeoutMaxMs: limits.timeoutMaxMs,
    jobs: config.jobs,
    ...(config.snapshots === undefined ? {} : { snapshots: config.snapshots }),
  }
}
