/**
 * The snapshots of one node, in one store: made, listed, read, checked and removed.
 *
 * - A snapshot is listed only if its manifest is there, whole, and so are those it builds on. What a crash left half done is removed as the
 *   library opens; what a failed snapshot left, at once, or by `tidy` where that is not possible.
 * - One change at a time: a second one is refused. Reading goes beside it; what is being read is not removed.
 * - An incremental snapshot builds on the newest one, up to `chainMax` in a row; then a full one is made.
 */

import type { Engine } from '../engine/engine.ts'
import type { Clock } from '../kernel/clock.ts'
import { CacheError, toCacheError } from '../kernel/errors.ts'
import type { Log } from '../kernel/log.ts'
import { type Random, randomHex } from '../kernel/random.ts'
import type { Scheduler } from '../kernel/scheduler.ts'
import type { Compression } from './compression.ts'
import { EngineLoader } from './engine-loader.ts'
import {
  EVERYTHING,
  idOfKey,
  isSnapshotId,
  manifestKey,
  partitionKey,
  snapshotId,
  snapshotRange,
  timeOfSnapshotId,
} from './layout.ts'
import {
  decodeManifest,
  type PartitionSummary,
  type SnapshotKind,
  type SnapshotManifest,
} from './manifest.ts'
import { Pace, type PaceOptions } from './pace.ts'
import { type EntrySink, type PartitionRead, PartitionReader } from './partition-reader.ts'
import { expendable, type Retention } from './retention.ts'
import { SnapshotChain } from './snapshot-chain.ts'
import type { SnapshotStore } from './snapshot-store.ts'
import { type SnapshotProgress, type SnapshotSource, SnapshotWriter } from './snapshot-writer.ts'
import { chainCrc, damaged, openRecord, RecordKind } from './stored-record.ts'

export interface SnapshotLibraryPorts {
  readonly store: SnapshotStore
  readonly compression: Compression
  readonly clock: Clock
  readonly scheduler: Scheduler
  readonly random: Random
  readonly log: Log
  /** Snapshots that one needs to be read, itself included. Default 8, at least 1: full ones only. */
  readonly chainMax?: number
}

export interface CreateOptions extends PaceOptions {
  readonly clusterId: string
  readonly node: string
  readonly source: SnapshotSource
  /** Default `incremental`: on the newest snapshot of this cluster, if there is one that can be built on. */
  readonly kind?: SnapshotKind
  readonly onProgress?: (progress: SnapshotProgress) => void
  /** Hashes of a partition that may wait to be read again. For tests. */
  readonly changesMax?: number
}

/** A snapshot that can't be used, and why. */
export interface UnusableSnapshot {
  readonly id: string
  readonly error: CacheError
}

export interface LoadedPartition extends PartitionRead {
  readonly loaded: number
  /** Entries of regions that the engine does not know. */
  readonly ofUnknownRegions: number
}

export interface Verification {
  readonly id: string
  readonly partitions: number
  readonly entries: number
  /** Read, those of the snapshots it builds on included. */
  readonly storedBytes: number
  /** What is wrong, partition by partition; empty: all of it is good. */
  readonly problems: readonly { readonly partition: number; readonly error: CacheError }[]
}

const CHAIN_MAX = 8
const SNAPSHOTS_MAX = 1000

export class SnapshotLibrary {
  readonly #ports: SnapshotLibraryPorts
  readonly #chainMax: number
  /** By id. */
  readonly #manifests = new Map<string, SnapshotManifest>()
  readonly #unusable = new Map<string, CacheError>()
  /** How often each is being read. */
  readonly #readers = new Map<string, number>()
  /** What was never finished, and could not be removed yet. */
  readonly #leftovers = new Set<string>()
  /** Found so at the start. */
  readonly #unfinished: string[] = []
  #changing: string | undefined

  private constructor(ports: SnapshotLibraryPorts) {
    this.#ports = ports
    this.#chainMax = Math.max(1, ports.chainMax ?? CHAIN_MAX)
  }

  /** Finds what is there and removes what is half done. @throws CacheError STORAGE_FAILED when the store can't be read */
  static async open(ports: SnapshotLibraryPorts): Promise<SnapshotLibrary> {
    const library = new SnapshotLibrary(ports)
    await library.#find()
    return library
  }

  /** Oldest first. */
  list(): readonly SnapshotManifest[] {
    return [...this.#manifests.values()].sort((a, b) => (a.id < b.id ? -1 : 1))
  }

  /** Those that are there and can't be used: damaged, of another format, or without what they build on. */
  unusable(): readonly UnusableSnapshot[] {
    return [...this.#unusable].map(([id, error]) => ({ id, error }))
  }

  /** Those that had no end when the library was opened: they are removed. */
  unfinished(): readonly string[] {
    return this.#unfinished
  }

  /** @throws CacheError INVALID_ARGUMENT when there is none, DATA_LOSS or VERSION_MISMATCH when it can't be used */
  show(id: string): SnapshotManifest {
    const manifest = this.#manifests.get(id)
    if (manifest !== undefined) return manifest
    throw (
      this.#unusable.get(id) ??
      new CacheError('INVALID_ARGUMENT', `there is no snapshot ${id}: list shows those there are`)
    )
  }

  /** The newest one of a cluster. */
  newest(clusterId: string): SnapshotManifest | undefined {
    return this.list()
      .filter((manifest) => manifest.clusterId === clusterId)
      .at(-1)
  }

  /**
   * @throws CacheError OVERLOADED while another change is under way, STORAGE_FAILED, ABORTED. Nothing has come of it then, and
   *   the earlier snapshots are as they were.
   */
  create(options: CreateOptions): Promise<SnapshotManifest> {
    return this.#change('a snapshot', async () => {
      if (this.#manifests.size + this.#unusable.size >= SNAPSHOTS_MAX)
        throw new CacheError(
          'OVERLOADED',
          `there are ${SNAPSHOTS_MAX} snapshots: delete some, or set a retention`,
        )
      const { store, compression, clock, scheduler, log } = this.#ports
      const { clusterId, node, source, onProgress, changesMax } = options
      const base = options.kind === 'full' ? undefined : this.#baseFor(clusterId)
      const id = this.#nextId()
      const writer = new SnapshotWriter({
        id,
        clusterId,
        node,
        source,
        store,
        compression,
        clock,
        log,
        base,
        onProgress,
        changesMax,
        pace: new Pace(clock, scheduler, options),
      })
      try {
        const manifest = await writer.write()
        this.#manifests.set(id, manifest)
        return manifest
      } catch (error) {
        this.#leftovers.add(id)
        // Whoever gives it up is in a hurry.
        if (options.signal?.aborted !== true) await this.#tidy()
        throw toCacheError(error)
      }
    })
  }

  /** Removes what failed snapshots left, as far as the disk allows. */
  tidy(): Promise<void> {
    return this.#change('a clean-up', () => this.#tidy())
  }

  /** What a snapshot says of its partitions. @throws CacheError as `show`, and DATA_LOSS */
  summary(id: string, partition: number): Promise<PartitionSummary | undefined> {
    return this.#reading(id, async (chain) => (await chain.layers(partition))?.[0]?.summary)
  }

  /**
   * Hands each entry of a partition to `sink`. Undefined when the snapshot has not this partition.
   * @param options expired entries are left out when `nowMs` is given
   * @throws CacheError as `show`; DATA_LOSS, after some entries were handed over
   */
  read(
    id: string,
    partition: number,
    sink: EntrySink,
    options: PaceOptions & { readonly nowMs?: number } = {},
  ): Promise<PartitionRead | undefined> {
    const pace = this.#pace(options)
    const { nowMs } = options
    return this.#reading(id, (chain) => new PartitionReader(chain, partition, sink, { pace, nowMs }).read())
  }

  /**
   * Loads a partition into an engine that has it and the regions. Undefined when the snapshot has not this partition.
   * @throws CacheError as `read`, and OVERLOADED when the memory is full: drop the partition then
   */
  async loadInto(
    id: string,
    partition: number,
    engine: Engine,
    options: PaceOptions & { readonly nowMs: number },
  ): Promise<LoadedPartition | undefined> {
    const loader = new EngineLoader(engine, partition, options.signal)
    const read = await this.read(id, partition, loader, options)
    const { loaded, ofUnknownRegions } = loader
    return read && { ...read, loaded, ofUnknownRegions }
  }

  /** Reads every byte of a snapshot and of those it builds on. @throws CacheError as `show`, ABORTED, STORAGE_FAILED */
  async verify(
    id: string,
    options: PaceOptions & { onPartition?(partition: number): void } = {},
  ): Promise<Verification> {
    const pace = this.#pace(options)
    const problems: { partition: number; error: CacheError }[] = []
    let entries = 0
    let storedBytes = 0
    const { partitions } = this.show(id)
    await this.#reading(id, async (chain) => {
      for (const partition of partitions) {
        try {
          const read = await new PartitionReader(chain, partition, NOBODY, { pace, everything: true }).read()
          entries += read?.entries ?? 0
          storedBytes += read?.storedBytes ?? 0
        } catch (error) {
          const { code } = toCacheError(error)
          if (code !== 'DATA_LOSS') throw error
          problems.push({ partition, error: toCacheError(error) })
        }
        options.onPartition?.(partition)
      }
      if (problems.length === 0) await this.#checkManifest(chain.newest)
    })
    return { id, partitions: partitions.length, entries, storedBytes, problems }
  }

  /**
   * Removes a snapshot; with `cascade`, those that build on it, too.
   * @throws CacheError INVALID_ARGUMENT when there is none or others build on it, OVERLOADED while it is being read
   */
  delete(id: string, options: { readonly cascade?: boolean } = {}): Promise<readonly string[]> {
    return this.#change('a deletion', async () => {
      if (!this.#unusable.has(id)) this.show(id)
      const ids = [id]
      // Oldest first: one that builds on another comes after it.
      for (const { id: other, base } of this.list()) if (base !== null && ids.includes(base)) ids.push(other)
      if (ids.length > 1 && options.cascade !== true) {
        throw new CacheError(
          'INVALID_ARGUMENT',
          `snapshots build on ${id}: ${ids.slice(1).join(', ')}. Delete them first, or all together (cascade)`,
        )
      }
      const read = ids.find((one) => this.#readers.has(one))
      if (read !== undefined)
        throw new CacheError('OVERLOADED', `snapshot ${read} is being read: delete it when that is done`)
      await this.#remove(ids.toReversed())
      return ids
    })
  }

  /**
   * Removes what no rule keeps, and what can't be used and is older than all that is kept. What is being read stays until next time.
   * @returns the ids removed
   */
  prune(retention: Retention): Promise<readonly string[]> {
    return this.#change('a clean-up', async () => {
      const ids = expendable(this.list(), retention, this.#ports.clock.wallMs())
      const oldest = this.list().find(({ id }) => !ids.includes(id))?.id ?? ''
      for (const id of this.#unusable.keys()) if (id < oldest) ids.push(id)
      const free = ids.filter((id) => !this.#readers.has(id))
      await this.#remove(free)
      return free
    })
  }

  /** Bytes that a snapshot takes on the disk, about. */
  sizeBytes(id: string): Promise<number> {
    const { from, to } = snapshotRange(id)
    return this.#ports.store.sizeBytes(from, to)
  }

  close(): Promise<void> {
    return this.#ports.store.close()
  }

  async #find(): Promise<void> {
    const { store, log } = this.#ports
    for (let from = EVERYTHING.from; ; ) {
      const key = await store.firstKey(from, EVERYTHING.to)
      if (key === undefined) break
      const id = idOfKey(key)
      from = snapshotRange(id).to
      const error = isSnapshotId(id) ? await this.#readManifest(id) : undefined
      if (error === undefined) continue
      this.#unusable.set(id, error)
      log.warn('a snapshot can not be used', { snapshot: id, why: error.message })
    }
    // Oldest first, so that one without its base makes those useless that build on it.
    for (const { id, base } of this.list()) {
      if (base === null || this.#manifests.has(base)) continue
      this.#manifests.delete(id)
      const error = new CacheError(
        'DATA_LOSS',
        `snapshot ${id} builds on ${base}, which is not there: delete it`,
      )
      this.#unusable.set(id, error)
      log.warn('a snapshot can not be used', { snapshot: id, why: error.message })
    }
  }

  /** Lists the snapshot if it is whole, removes it if it has no manifest. @returns why it can't be used */
  async #readManifest(id: string): Promise<CacheError | undefined> {
    const { store, log } = this.#ports
    const key = manifestKey(id)
    try {
      const bytes = await store.get(key)
      if (bytes === undefined) {
        log.info('a snapshot that was never finished is removed', { snapshot: id })
        this.#leftovers.add(id)
        this.#unfinished.push(id)
        await this.#tidy()
        return undefined
      }
      const { kind, body } = openRecord(key, bytes)
      if (kind !== RecordKind.manifest) return damaged(key, 'it is of another kind')
      this.#manifests.set(id, decodeManifest(id, body))
      return undefined
    } catch (error) {
      const { code } = toCacheError(error)
      if (code === 'DATA_LOSS' || code === 'VERSION_MISMATCH') return toCacheError(error)
      throw error
    }
  }

  /** Whether the partitions' own records are those that the manifest was written over. */
  async #checkManifest({ id, partitions, crc }: SnapshotManifest): Promise<void> {
    const { store } = this.#ports
    let chain = 0
    for (const partition of partitions) {
      const key = partitionKey(id, partition)
      const bytes = await store.get(key)
      if (bytes === undefined) throw damaged(key, 'it is missing')
      chain = chainCrc(chain, openRecord(key, bytes).crc)
    }
    if (chain !== crc) throw damaged(manifestKey(id), 'the partitions are not those it was written over')
  }

  /** What a new snapshot can build on. */
  #baseFor(clusterId: string): SnapshotChain | undefined {
    const newest = this.newest(clusterId)
    if (newest === undefined || newest.chain >= this.#chainMax) return undefined
    return this.#chain(newest.id)
  }

  #chain(id: string): SnapshotChain {
    const manifests: SnapshotManifest[] = []
    for (let at: string | null = id; at !== null; ) {
      const manifest: SnapshotManifest = this.show(at)
      manifests.push(manifest)
      at = manifest.base
    }
    return new SnapshotChain(this.#ports.store, this.#ports.compression, manifests)
  }

  async #reading<T>(id: string, work: (chain: SnapshotChain) => Promise<T>): Promise<T> {
    const chain = this.#chain(id)
    const ids = chain.manifests.map((manifest) => manifest.id)
    for (const one of ids) this.#readers.set(one, (this.#readers.get(one) ?? 0) + 1)
    try {
      return await work(chain)
    } finally {
      for (const one of ids) {
        const count = (this.#readers.get(one) ?? 1) - 1
        if (count === 0) this.#readers.delete(one)
        else this.#readers.set(one, count)
      }
    }
  }

  async #change<T>(what: string, work: () => Promise<T>): Promise<T> {
    if (this.#changing !== undefined)
      throw new CacheError('OVERLOADED', `${this.#changing} is under way: ask for ${what} when it is done`)
    this.#changing = what
    try {
      return await work()
    } finally {
      this.#changing = undefined
    }
  }

  /** Removes snapshots one by one, the manifest first: a crash leaves records that are removed at the next start. */
  async #remove(ids: readonly string[]): Promise<void> {
    const { store } = this.#ports
    for (const id of ids) {
      await store.write([{ key: manifestKey(id), value: undefined }], { sync: true })
      this.#manifests.delete(id)
      this.#unusable.delete(id)
      await this.#removeRecords(id)
    }
  }

  async #tidy(): Promise<void> {
    for (const id of this.#leftovers) {
      try {
        // A manifest that was reported as not written may be there all the same: without its records it must not be.
        await this.#ports.store.write([{ key: manifestKey(id), value: undefined }], { sync: true })
        await this.#removeRecords(id)
        this.#leftovers.delete(id)
      } catch (cause) {
        const why = toCacheError(cause).message
        this.#ports.log.warn('what is left of a failed snapshot can not be removed yet', {
          snapshot: id,
          why,
        })
        return
      }
    }
  }

  async #removeRecords(id: string): Promise<void> {
    const { store } = this.#ports
    const { from, to } = snapshotRange(id)
    await store.clear(from, to)
    await store.compact(from, to)
  }

  /** Later than all there are, even when the wall clock was set back. */
  #nextId(): string {
    const { clock, random } = this.#ports
    const last = [...this.#manifests.keys(), ...this.#unusable.keys()].sort().at(-1)
    const wallMs = Math.max(clock.wallMs(), last === undefined ? 0 : timeOfSnapshotId(last) + 1)
    return snapshotId(wallMs, randomHex(random, 8))
  }

  #pace(options: PaceOptions): Pace {
    return new Pace(this.#ports.clock, this.#ports.scheduler, options)
  }
}

const NOBODY: EntrySink = { small: () => {}, large: async () => {} }
