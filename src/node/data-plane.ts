/**
 * What a node has once a topology is committed: its memory, its replicas, the dispatcher over them, and the work that keeps
 * them in order (expiry, eviction, compaction), in slices of a few hundred microseconds.
 */

import { Engine } from '../engine/engine.ts'
import { ByteWriter } from '../kernel/bytes.ts'
import type { Clock } from '../kernel/clock.ts'
import { CacheError } from '../kernel/errors.ts'
import type { Log } from '../kernel/log.ts'
import type { MemoryAccount } from '../kernel/memory-account.ts'
import type { BrokenRules } from '../kernel/rule-switch.ts'
import { onDemand, type Scheduler, type SleepingTimer } from '../kernel/scheduler.ts'
import type { Uncompress } from '../replication/atomic-group.ts'
import type { ClusterPort } from '../replication/cluster-port.ts'
import { Replicator } from '../replication/replicator.ts'
import { encodeTopology } from '../topology/codec.ts'
import { RecordEncoder } from '../topology/record-encoder.ts'
import type { NodeIndex, Topology } from '../topology/topology.ts'
import { beginFrame, FrameType, finishFrame } from '../wire/frames.ts'
import { Dispatcher } from './dispatcher.ts'
import { Handovers } from './handovers.ts'
import type { NodeOptions } from './options.ts'
import { RegionCounters } from './region-counters.ts'
import { UploadRoom } from './uploads.ts'

const MAINTENANCE_MS = 50
/** What one slice of maintenance does at most. The pauses that benchmarks report are those of such slices. */
export const EXPIRIES_PER_SLICE: number = 500
export const EVICTIONS_PER_SLICE: number = 500
export const COMPACTION_BYTES_PER_SLICE: number = 256 * 1024
/** Slices in one maintenance run at most, each in a turn of its own. */
const SLICES_PER_RUN = 200

export interface DataPlanePorts {
  readonly clock: Clock
  readonly scheduler: Scheduler
  readonly log: Log
  readonly memory: MemoryAccount
  readonly uncompress: Uncompress
  readonly options: NodeOptions
  /** What replication needs of the cluster around it; undefined: the topology never changes. */
  readonly cluster?: ClusterPort
  readonly brokenRules?: BrokenRules | undefined
}

export class DataPlane {
  readonly clusterId: string
  #topology: Topology
  /** Encoded when somebody asks for it, once for all clients. */
  #clientTopology: Uint8Array | undefined
  #topologyFrame: Uint8Array | undefined
  #nodeTopology: Uint8Array
  readonly engine: Engine
  readonly replicator: Replicator
  readonly dispatcher: Dispatcher
  readonly counters: RegionCounters = new RegionCounters()
  /** For values that clients are uploading. */
  readonly uploadRoom: UploadRoom
  readonly #ports: DataPlanePorts
  readonly #clientEncoder = new RecordEncoder('client')
  readonly #maintenance: SleepingTimer
  readonly #handovers: Handovers
  #self: NodeIndex
  #slices = 0
  /** The slices that ran last found something to do. */
  #isBusy = false
  #closed = false

  /** @param self this node's position in the topology; −1: it has no role. */
  constructor(topology: Topology, self: NodeIndex, ports: DataPlanePorts) {
    if (topology.hashKey === undefined) throw new CacheError('INTERNAL', 'a topology without its hash key')
    this.#ports = ports
    const { clock, scheduler, log, memory, uncompress, options } = ports
    this.#topology = topology
    this.#self = self
    this.clusterId = topology.clusterId
    this.#nodeTopology = encodeTopology(topology, 'node')
    this.engine = new Engine({ hashKey: topology.hashKey, memory })
    this.#maintenance = onDemand(scheduler, MAINTENANCE_MS, () => this.maintain())
    this.replicator = new Replicator(
      {
        engine: this.engine,
        clock,
        scheduler,
        memory,
        log,
        uncompress,
        removed: (regionId, why) => this.counters.removed(regionId, why),
        changed: () => this.#maintenance.wake(),
        cluster: ports.cluster,
        brokenRules: ports.brokenRules,
      },
      {
        backlogBytes: options.backlogBytes,
        replicaTimeoutMs: options.replicaTimeoutMs,
        keyBytesMax: options.keyBytesMax,
        valueBytesMax: options.valueBytesMax,
        stagingBytes: 8 * options.valueBytesMax,
        timeoutMaxMs: options.timeoutMaxMs,
      },
    )
    this.uploadRoom = new UploadRoom(Math.max(4 * options.valueBytesMax, options.memoryLimitBytes / 8))
    this.replicator.adopt(topology, self)
    this.dispatcher = new Dispatcher(
      {
        engine: this.engine,
        replicator: this.replicator,
        clock,
        counters: this.counters,
        nodeId: options.nodeId,
        limits: options,
        stats: (regionId) => JSON.stringify(this.regionStats(regionId)),
      },
      new ByteWriter(4096),
    )
    this.#handovers = new Handovers({
      scheduler,
      topology: () => this.#topology,
      self: () => this.#self,
      move: (partition, node) => this.replicator.movePrimary(partition, node),
    })
  }

  get topology(): Topology {
    return this.#topology
  }

  get memory(): MemoryAccount {
    return this.#ports.memory
  }

  /** The topology as clients may see it, encoded. */
  get clientTopology(): Uint8Array {
    this.#clientTopology ??= this.#clientEncoder.encode(this.#topology)
    return this.#clientTopology
  }

  /** The frame TOPOLOGY, for all clients the same: who sends it must leave its bytes alone. */
  get topologyFrame(): Uint8Array {
    if (this.#topologyFrame === undefined) {
      const { clientTopology } = this
      const w = new ByteWriter(16 + clientTopology.length)
      beginFrame(w, FrameType.topology)
      w.blob(clientTopology)
      this.#topologyFrame = finishFrame(w)
    }
    return this.#topologyFrame
  }

  get nodeTopology(): Uint8Array {
    return this.#nodeTopology
  }

  /**
   * Takes up a newer topology of the same cluster; an older one is ignored.
   * @param self this node's position in it; −1: it has no role.
   * @param encoded as nodes hold it
   */
  adopt(topology: Topology, self: NodeIndex, encoded: Uint8Array = encodeTopology(topology, 'node')): void {
    if (topology.epoch <= this.#topology.epoch) return
    this.#topology = topology
    this.#self = self
    this.#clientTopology = undefined
    this.#topologyFrame = undefined
    this.#nodeTopology = encoded
    this.replicator.adopt(topology, self)
    this.#handovers.adopted()
  }

  /** Figures of one region on this node; `entries` and `bytes` count what this node is primary of. */
  regionStats(regionId: number): object {
    const { options, memory } = this.#ports
    const { entries, bytes } = this.engine.regionStats(regionId)
    return {
      node: options.nodeId,
      entries,
      bytes,
      ...this.counters.counts(regionId),
      memoryBytes: memory.totalBytes,
      memoryLimitBytes: memory.limitBytes,
    }
  }

  /**
   * Expires, evicts and compacts what is due. It follows each change by itself; call it now and then besides, for what only time or
   * the memory of the process brings about. @returns whether it is worth doing again soon
   */
  maintain(): boolean {
    if (this.#slices > 0) return true
    this.#isBusy = false
    this.#slices = SLICES_PER_RUN
    this.engine.trim()
    this.#slice()
    if (this.#isBusy) this.#maintenance.wake()
    return this.#isBusy
  }

  close(): void {
    this.#closed = true
    this.#maintenance.cancel()
    this.#handovers.close()
    this.replicator.close()
  }

  #slice(): void {
    if (this.#closed) return
    const { removals } = this.replicator
    const expired = removals.expireDue(EXPIRIES_PER_SLICE)
    const evicted = removals.evict(EVICTIONS_PER_SLICE)
    const compacting = this.engine.maintain(COMPACTION_BYTES_PER_SLICE)
    const more = expired === EXPIRIES_PER_SLICE || evicted === EVICTIONS_PER_SLICE || compacting
    this.#slices = more ? this.#slices - 1 : 0
    this.#isBusy ||= expired > 0 || evicted > 0 || compacting
    if (this.#slices > 0) this.#ports.scheduler.nextTurn(() => this.#slice())
  }
}
