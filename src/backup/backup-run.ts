/**
 * Makes one backup of the whole cluster, from whichever node was asked.
 *
 * ```
 * begun.json ─► parts, written by the primaries ─► all partitions there ─► every part looked at ─► manifest.json
 * ```
 * - What was done lies in the place alone: another run of the same name takes up what it finds there (docs/decisions/0015).
 * - A partition whose primary changes, or whose part fails, is asked for again where it is by then.
 * - A part counts if this node sees it, in its full length, in the place, and if each partition was sealed in the epoch that it had as the
 *   run began, or a later one: so every write that was acknowledged by then is in it.
 * - It ends with an error once nothing has moved for `stallMs`.
 */

import type { Clock } from '../kernel/clock.ts'
import { CacheError, throwIfAborted } from '../kernel/errors.ts'
import type { Log } from '../kernel/log.ts'
import { type Random, randomHex } from '../kernel/random.ts'
import type { Scheduler } from '../kernel/scheduler.ts'
import type { BackupStore } from '../snapshot/backup-store.ts'
import type { Topology } from '../topology/topology.ts'
import {
  type BackupBeginning,
  type BackupManifest,
  type BackupPart,
  beginningName,
  checkBackupName,
  FORMAT,
  findDescribed,
  manifestName,
  type PartRecord,
  partDataName,
  partRecordName,
  partsPrefix,
  writeDescribed,
} from './backup-manifest.ts'
import { callOptions, findManifest } from './backup-reader.ts'
import type { BackupProgress, BackupSpec, RunOptions } from './cluster-backups.ts'
import { type PartsPort, PartWorkers } from './part-workers.ts'

export interface BackupRunPorts {
  readonly clock: Clock
  readonly scheduler: Scheduler
  readonly random: Random
  readonly log: Log
  readonly parts: PartsPort
  /** @throws CacheError NOT_READY while there is none */
  topology(): Topology
  /** When a majority of the nodes that vote last confirmed that topology; −∞: never. */
  confirmedMs(): number
}

const TURN_MS = 200
const CONFIRM_CHECK_MS = 50
const CONFIRM_MS = 15_000
/** Without any progress. A node may be waited for that starts again, or for a place that is slow. */
const STALL_MS = 180_000

interface FoundPart {
  readonly record: PartRecord
  readonly crc: number
}

export class BackupRun {
  readonly #spec: BackupSpec
  readonly #store: BackupStore
  readonly #ports: BackupRunPorts
  readonly #options: RunOptions<BackupProgress>
  readonly #stallMs: number
  readonly #parts = new Map<string, FoundPart>()
  readonly #covered = new Set<number>()
  /** Named by nodes, and still to be read. */
  readonly #named = new Set<string>()
  #partitionsDone = 0
  #movedMs = 0
  #movedBytes = -1

  constructor(
    spec: BackupSpec,
    store: BackupStore,
    ports: BackupRunPorts,
    options: RunOptions<BackupProgress> = {},
    stallMs: number = STALL_MS,
  ) {
    this.#spec = spec
    this.#store = store
    this.#ports = ports
    this.#options = options
    this.#stallMs = stallMs
  }

  /** @throws CacheError as ClusterBackups.create */
  async run(): Promise<BackupManifest> {
    const { name, place, bytesPerSecond, resume } = this.#spec
    const { signal } = this.#options
    const { clock, scheduler, random, log, parts: ports } = this.#ports
    checkBackupName(name)
    const finished = await findManifest(this.#store, name, signal)
    if (finished !== undefined) return this.#unlessOther(finished, resume)
    const beginning = await this.#begin()
    await this.#findParts(beginning)
    const workers = new PartWorkers({
      backup: name,
      place,
      bytesPerSecond,
      ports,
      clock,
      log,
      nextTask: () => randomHex(random, 16),
      stored: (part) => this.#named.add(part),
    })
    const begunMs = clock.monotonicMs()
    this.#movedMs = begunMs
    try {
      for (;;) {
        throwIfAborted(signal)
        const missing = this.#missing(beginning)
        if (missing.size === 0) break
        const topology = this.#ports.topology()
        this.#checkPartitions(topology, beginning)
        await workers.turn(topology, missing)
        await this.#readNamed(beginning)
        this.#report(workers, beginning, begunMs)
        this.#checkStall(workers, missing)
        await new Promise<void>((resolve) => scheduler.after(TURN_MS, resolve))
      }
    } finally {
      await workers.cancel()
    }
    return this.#finish(beginning)
  }

  #unlessOther(manifest: BackupManifest, resume: boolean): BackupManifest {
    if (resume && manifest.clusterId === this.#ports.topology().clusterId) return manifest
    throw new CacheError(
      'INVALID_ARGUMENT',
      `there is a backup ${manifest.name} in ${this.#store.where} already: choose another name, or delete it first`,
    )
  }

  /** Finds what an earlier run set out to do, or says it itself. */
  async #begin(): Promise<BackupBeginning> {
    const { name, resume } = this.#spec
    const { signal } = this.#options
    await this.#confirm()
    const topology = this.#ports.topology()
    const found = await findDescribed<BackupBeginning>(this.#store, beginningName(name), callOptions(signal))
    if (found !== undefined) {
      const { clusterId, clusterName } = found.value
      if (clusterId !== topology.clusterId)
        throw new CacheError(
          'INVALID_ARGUMENT',
          `the unfinished backup ${name} in ${this.#store.where} is one of the cluster ${clusterName} (${clusterId}): choose another name`,
        )
      if (resume) return found.value
      throw new CacheError(
        'INVALID_ARGUMENT',
        `a backup ${name} in ${this.#store.where} was begun and is not finished: go on with it (--resume), or delete it`,
      )
    }
    const { clusterId, clusterName, epoch, partitions } = topology
    const beginning: BackupBeginning = {
      format: FORMAT,
      name,
      clusterId,
      clusterName,
      startedMs: this.#ports.clock.wallMs(),
      epoch,
      partitionEpochs: partitions.map(({ partitionEpoch }) => partitionEpoch),
    }
    await writeDescribed(this.#store, beginningName(name), beginning, callOptions(signal))
    return beginning
  }

  /** A node that is cut off may not know who is primary: its topology counts once others say that it is the present one. */
  async #confirm(): Promise<void> {
    const { clock, scheduler } = this.#ports
    const begunMs = clock.monotonicMs()
    while (this.#ports.confirmedMs() <= begunMs) {
      throwIfAborted(this.#options.signal)
      if (clock.monotonicMs() - begunMs > CONFIRM_MS)
        throw new CacheError(
          'UNAVAILABLE',
          'this node does not reach a majority of the nodes that vote: look at `ringcache status`, or ask another node',
        )
      await new Promise<void>((resolve) => scheduler.after(CONFIRM_CHECK_MS, resolve))
    }
  }

  /** What lies there already. */
  async #findParts(beginning: BackupBeginning): Promise<void> {
    const { signal } = this.#options
    const prefix = partsPrefix(beginning.name)
    for await (const { name } of this.#store.list(prefix, callOptions(signal)))
      if (name.endsWith('.json')) this.#named.add(name.slice(prefix.length, -'.json'.length))
    await this.#readNamed(beginning)
  }

  async #readNamed(beginning: BackupBeginning): Promise<void> {
    for (const part of this.#named) {
      this.#named.delete(part)
      if (!this.#parts.has(part)) await this.#readPart(part, beginning)
    }
  }

  async #readPart(part: string, { name, clusterId, partitionEpochs }: BackupBeginning): Promise<void> {
    const { signal } = this.#options
    const object = partRecordName(name, part)
    const found = await findDescribed<PartRecord>(this.#store, object, callOptions(signal))
    if (found === undefined) throw notShared(this.#store.where, object)
    const { value: record, crc } = found
    if (record.clusterId !== clusterId) return
    const partitions = record.partitions.filter(
      ({ summary }) =>
        summary.partitionEpoch >= (partitionEpochs[summary.partition] ?? Number.POSITIVE_INFINITY),
    )
    this.#parts.set(part, { record: { ...record, partitions }, crc })
    for (const { summary } of partitions) this.#covered.add(summary.partition)
    this.#movedMs = this.#ports.clock.monotonicMs()
  }

  #missing({ partitionEpochs }: BackupBeginning): Set<number> {
    const missing = new Set<number>()
    for (let partition = 0; partition < partitionEpochs.length; partition++)
      if (!this.#covered.has(partition)) missing.add(partition)
    return missing
  }

  #checkPartitions(topology: Topology, { clusterId, partitionEpochs }: BackupBeginning): void {
    if (topology.clusterId === clusterId && topology.partitions.length >= partitionEpochs.length) return
    throw new CacheError('ABORTED', 'the cluster is another one than when the backup began')
  }

  #checkStall(workers: PartWorkers, missing: ReadonlySet<number>): void {
    const nowMs = this.#ports.clock.monotonicMs()
    const { rawBytes } = workers.moved
    if (rawBytes !== this.#movedBytes) this.#movedMs = nowMs
    this.#movedBytes = rawBytes
    if (nowMs - this.#movedMs < this.#stallMs) return
    const last = workers.lastError
    throw new CacheError(
      last?.code ?? 'UNAVAILABLE',
      `the backup stands still for ${Math.round(this.#stallMs / 1000)} s with ${missing.size} partitions missing: ${last?.message ?? 'nobody serves them; look at `ringcache cluster check`'}`,
      last === undefined ? {} : { cause: last },
    )
  }

  #report(workers: PartWorkers, { partitionEpochs }: BackupBeginning, begunMs: number): void {
    const { clock } = this.#ports
    const partitions = partitionEpochs.length
    const counts = { entries: 0, rawBytes: 0, storedBytes: 0 }
    for (const { record } of this.#parts.values()) {
      for (const { summary } of record.partitions) {
        counts.entries += summary.entries
        counts.rawBytes += summary.rawBytes
        counts.storedBytes += summary.storedBytes
      }
    }
    // What nodes say may be less after one of them failed: it does not go back for that.
    this.#partitionsDone = Math.max(this.#partitionsDone, this.#covered.size, workers.moved.partitions)
    const partitionsDone = Math.min(partitions, this.#partitionsDone)
    const elapsedMs = clock.monotonicMs() - begunMs
    // Once all is written it depends on the place alone.
    const etaMs =
      partitionsDone === 0 || partitionsDone === partitions
        ? undefined
        : Math.round((elapsedMs / partitionsDone) * (partitions - partitionsDone))
    this.#options.onProgress?.({
      partitionsDone,
      partitions,
      entries: Math.max(counts.entries, workers.moved.entries),
      rawBytes: Math.max(counts.rawBytes, workers.moved.rawBytes),
      storedBytes: counts.storedBytes,
      etaMs,
    })
  }

  /** Looks at every part once more, and writes what makes the backup valid. */
  async #finish(beginning: BackupBeginning): Promise<BackupManifest> {
    const { signal } = this.#options
    const { name } = this.#spec
    const topology = this.#ports.topology()
    const parts = this.#chosen()
    const lengths = new Map<string, number>()
    for await (const { name: object, bytes } of this.#store.list(partsPrefix(name), callOptions(signal)))
      lengths.set(object, bytes)
    for (const part of parts) {
      const object = partDataName(name, part.name)
      const bytes = lengths.get(object)
      if (bytes === undefined) throw notShared(this.#store.where, object)
      if (bytes !== part.bytes)
        throw new CacheError(
          'DATA_LOSS',
          `${object} in ${this.#store.where} has ${bytes} bytes, ${part.bytes} were written: delete this backup and make another`,
        )
    }
    // Another run of the same name may have come to its end meanwhile.
    const finished = await findManifest(this.#store, name, signal)
    if (finished !== undefined) return finished
    const sums = { entries: 0, rawBytes: 0, storedBytes: 0 }
    const nodes = new Set<string>()
    for (const { name: part, partitions, bytes } of parts) {
      const { record } = this.#parts.get(part) as FoundPart
      nodes.add(record.node)
      sums.storedBytes += bytes
      for (const { summary } of record.partitions) {
        if (!partitions.includes(summary.partition)) continue
        sums.entries += summary.entries
        sums.rawBytes += summary.rawBytes
      }
    }
    const { clusterId, clusterName, startedMs, epoch, partitionEpochs } = beginning
    const manifest: BackupManifest = {
      format: FORMAT,
      name,
      clusterId,
      clusterName,
      epochs: [epoch, topology.epoch],
      partitions: partitionEpochs.length,
      startedMs,
      finishedMs: this.#ports.clock.wallMs(),
      nodes: [...nodes].sort(),
      regions: topology.regions,
      parts,
      ...sums,
    }
    await writeDescribed(this.#store, manifestName(name), manifest, callOptions(signal))
    return manifest
  }

  /** Each partition once: from the part that has it newest. */
  #chosen(): BackupPart[] {
    const owner = new Map<number, FoundPart>()
    for (const found of this.#parts.values()) {
      for (const { summary } of found.record.partitions) {
        const other = owner.get(summary.partition)
        if (other === undefined || other.record.finishedMs < found.record.finishedMs)
          owner.set(summary.partition, found)
      }
    }
    return [...this.#parts.values()]
      .map((found) => ({
        name: found.record.name,
        bytes: found.record.bytes,
        crc: found.crc,
        partitions: found.record.partitions
          .map(({ summary }) => summary.partition)
          .filter((partition) => owner.get(partition) === found),
      }))
      .filter(({ partitions }) => partitions.length > 0)
      .sort((a, b) => (a.name < b.name ? -1 : 1))
  }
}

function notShared(where: string, object: string): CacheError {
  return new CacheError(
    'CONFIGURATION',
    `${object} was written by another node and is not to be seen in ${where} from here: all nodes must reach one and the same place; use a folder of a file server that each of them mounts there, or a bucket`,
  )
}
