/**
 * Reads a backup: partition by partition, each entry that was alive when it was sealed, once. All that is read is checked: the
 * descriptions by their checksums, their parts' lengths, each record's checksum, and that the entries give the partition's digest.
 */

import { CacheError } from '../kernel/errors.ts'
import type { BackupStore } from '../snapshot/backup-store.ts'
import type { Compression } from '../snapshot/compression.ts'
import type { SnapshotManifest } from '../snapshot/manifest.ts'
import type { Pace } from '../snapshot/pace.ts'
import { type EntrySink, type PartitionRead, PartitionReader } from '../snapshot/partition-reader.ts'
import { SnapshotChain } from '../snapshot/snapshot-chain.ts'
import {
  type BackupManifest,
  type BackupPart,
  checkBackupName,
  damagedObject,
  findDescribed,
  manifestName,
  type PartRecord,
  partDataName,
  partRecordName,
  partsPrefix,
} from './backup-manifest.ts'
import { PartView } from './part-view.ts'

export interface BackupReaderOptions {
  readonly store: BackupStore
  readonly compression: Compression
  readonly pace: Pace
  readonly signal?: AbortSignal | undefined
}

/** A partition of a backup, and where it lies. */
export interface BackupPartition {
  readonly partition: number
  readonly part: string
  readonly entries: number
  readonly rawBytes: number
}

/** What is wrong with a backup. */
export interface BackupProblem {
  readonly part: string
  /** Undefined: it concerns the part as a whole, all of its partitions. */
  readonly partition: number | undefined
  readonly error: CacheError
}

export class BackupReader {
  readonly manifest: BackupManifest
  readonly #options: BackupReaderOptions

  private constructor(manifest: BackupManifest, options: BackupReaderOptions) {
    this.manifest = manifest
    this.#options = options
  }

  /** @throws CacheError INVALID_ARGUMENT when there is no such backup, or it never became one; DATA_LOSS, VERSION_MISMATCH */
  static async open(name: string, options: BackupReaderOptions): Promise<BackupReader> {
    return new BackupReader(await readManifest(options.store, name, options.signal), options)
  }

  /**
   * Goes through all parts. `visit` reads the partitions that it wants.
   * @param problem what is damaged; what it throws ends the reading
   */
  async each(
    visit: (partition: BackupPartition, read: ReadPartition) => Promise<void>,
    problem: (problem: BackupProblem) => void,
  ): Promise<void> {
    const lengths = await this.#lengths()
    for (const part of this.manifest.parts) {
      const record = await unlessDamaged(this.#partRecord(part, lengths), (error) =>
        problem({ part: part.name, partition: undefined, error }),
      )
      if (record !== undefined) await this.#eachOf(part, record, visit, problem)
    }
  }

  async #eachOf(
    part: BackupPart,
    record: PartRecord,
    visit: (partition: BackupPartition, read: ReadPartition) => Promise<void>,
    problem: (problem: BackupProblem) => void,
  ): Promise<void> {
    const { store, compression, pace, signal } = this.#options
    const view = new PartView(store, this.manifest.name, record, signal)
    const used = new Set(part.partitions)
    for (const { summary } of record.partitions) {
      const { partition, entries, rawBytes } = summary
      if (!used.has(partition)) continue
      const chain = new SnapshotChain(view, compression, [standIn(record)])
      const read: ReadPartition = async (sink, options = {}) => {
        const reader = new PartitionReader(chain, partition, sink, { pace, ...options })
        const found = await reader.read()
        if (found === undefined || found.summary.crc !== summary.crc)
          throw damagedObject(
            store,
            partDataName(this.manifest.name, part.name),
            `partition ${partition} is another`,
          )
        return found
      }
      await unlessDamaged(visit({ partition, part: part.name, entries, rawBytes }, read), (error) =>
        problem({ part: part.name, partition, error: this.#named(part, partition, error) }),
      )
    }
  }

  #named(part: BackupPart, partition: number, error: CacheError): CacheError {
    const { store } = this.#options
    const why = error.message.replace(/\. Use another .*$/, '')
    return damagedObject(store, partDataName(this.manifest.name, part.name), `partition ${partition}: ${why}`)
  }

  async #lengths(): Promise<Map<string, number>> {
    const { store, signal } = this.#options
    const lengths = new Map<string, number>()
    for await (const { name, bytes } of store.list(partsPrefix(this.manifest.name), callOptions(signal)))
      lengths.set(name, bytes)
    return lengths
  }

  async #partRecord(part: BackupPart, lengths: ReadonlyMap<string, number>): Promise<PartRecord> {
    const { store, signal } = this.#options
    const { name } = this.manifest
    const object = partRecordName(name, part.name)
    const found = await findDescribed<PartRecord>(store, object, callOptions(signal))
    if (found === undefined) throw damagedObject(store, object, 'it is missing')
    if (found.crc !== part.crc || found.value.name !== part.name)
      throw damagedObject(store, object, 'it is not the one the manifest was written over')
    const data = partDataName(name, part.name)
    const bytes = lengths.get(data)
    if (bytes === undefined) throw damagedObject(store, data, 'it is missing')
    if (bytes !== part.bytes) throw damagedObject(store, data, `it has ${bytes} bytes, not ${part.bytes}`)
    return found.value
  }
}

export type ReadPartition = (
  sink: EntrySink,
  options?: { readonly nowMs?: number; readonly everything?: boolean },
) => Promise<PartitionRead>

/** @throws CacheError as `BackupReader.open` */
export async function readManifest(
  store: BackupStore,
  name: string,
  signal: AbortSignal | undefined,
): Promise<BackupManifest> {
  checkBackupName(name)
  const found = await findManifest(store, name, signal)
  if (found !== undefined) return found
  let isBegun = false
  for await (const _ of store.list(`${name}/`, callOptions(signal))) {
    isBegun = true
    break
  }
  throw new CacheError(
    'INVALID_ARGUMENT',
    isBegun
      ? `the backup ${name} in ${store.where} was never finished: go on with it (snapshot create --resume) or delete it`
      : `there is no backup ${name} in ${store.where}: \`snapshot list\` shows those there are`,
  )
}

/** Undefined: there is none. @throws CacheError DATA_LOSS, VERSION_MISMATCH, and as the store does */
export async function findManifest(
  store: BackupStore,
  name: string,
  signal: AbortSignal | undefined,
): Promise<BackupManifest | undefined> {
  const found = await findDescribed<BackupManifest>(store, manifestName(name), callOptions(signal))
  if (found !== undefined && found.value.name !== name)
    throw damagedObject(store, manifestName(name), `it is the one of ${found.value.name}`)
  return found?.value
}

export function callOptions(signal: AbortSignal | undefined): { readonly signal?: AbortSignal } {
  return signal === undefined ? {} : { signal }
}

/** A part is a full snapshot of its partitions. */
function standIn({ name, node, clusterId, startedMs, finishedMs, partitions }: PartRecord): SnapshotManifest {
  return {
    format: 1,
    id: name,
    kind: 'full',
    base: null,
    chain: 1,
    clusterId,
    node,
    startedMs,
    finishedMs,
    partitions: partitions.map(({ summary }) => summary.partition),
    skipped: [],
    regions: [],
    entries: 0,
    writtenEntries: 0,
    rawBytes: 0,
    storedBytes: 0,
    records: 0,
    crc: 0,
  }
}

async function unlessDamaged<T>(
  work: Promise<T>,
  damaged: (error: CacheError) => void,
): Promise<T | undefined> {
  try {
    return await work
  } catch (error) {
    if (!(error instanceof CacheError) || error.code !== 'DATA_LOSS') throw error
    damaged(error)
    return undefined
  }
}
