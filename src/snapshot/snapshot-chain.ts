/**
 * A snapshot and those it builds on, newest first, and what they together say of one partition.
 *
 * Each bucket of a partition is described by the newest snapshot that walked it: by the terms of all that was alive in it. Entries
 * lie in that snapshot or in older ones, also in such as describe no bucket any more; one counts if its term is alive, and once.
 */

import { DIGEST_BUCKETS } from '../engine/digest.ts'
import { ByteReader } from '../kernel/bytes.ts'
import { CacheError } from '../kernel/errors.ts'
import type { Compression } from './compression.ts'
import { partitionKey, recordKey } from './layout.ts'
import { readTerms } from './live-terms.ts'
import { decodeSummary, type PartitionSummary, type SnapshotManifest } from './manifest.ts'
import type { SnapshotStore } from './snapshot-store.ts'
import { damaged, openRecord, RecordKind, type StoredRecord } from './stored-record.ts'
import { TermTable, toggleTerm } from './term-table.ts'

/** Records that are unpacked at a time. */
const AHEAD = 4
const OWNS_NOTHING = new Uint8Array(DIGEST_BUCKETS)

export interface OpenedRecord {
  readonly key: string
  readonly kind: number
  readonly crc: number
  readonly storedBytes: number
  readonly raw: Uint8Array
}

/** What one snapshot of a chain has of a partition. */
export interface PartitionLayer {
  readonly id: string
  readonly summary: PartitionSummary
  /** 1 for each bucket whose newest description is here. */
  readonly owns: Uint8Array
}

export class SnapshotChain {
  /** Newest first. */
  readonly manifests: readonly SnapshotManifest[]
  readonly #store: SnapshotStore
  readonly #compression: Compression

  constructor(store: SnapshotStore, compression: Compression, manifests: readonly SnapshotManifest[]) {
    this.manifests = manifests
    this.#store = store
    this.#compression = compression
  }

  get newest(): SnapshotManifest {
    return this.manifests[0] as SnapshotManifest
  }

  /**
   * Newest first, as far back as is needed to know all buckets; undefined when the newest snapshot has not this partition.
   * @throws CacheError DATA_LOSS
   */
  async layers(partition: number): Promise<readonly PartitionLayer[] | undefined> {
    if (!this.newest.partitions.includes(partition)) return undefined
    const layers: PartitionLayer[] = []
    const open = new Uint8Array(DIGEST_BUCKETS).fill(1)
    for (const { id } of this.manifests) {
      const summary = await this.summary(id, partition)
      const owns = open.map((missing, bucket) => (missing === 1 && summary.described[bucket] === 1 ? 1 : 0))
      layers.push({ id, summary, owns })
      for (let bucket = 0; bucket < DIGEST_BUCKETS; bucket++) if (owns[bucket] === 1) open[bucket] = 0
      if (!open.includes(1)) return layers
    }
    throw damaged(partitionKey(this.newest.id, partition), 'it refers to a snapshot that is not there')
  }

  /** Behind the layers that describe the partition, `from` of them: older ones, which entries that did not change since may lie in. */
  async *olderLayers(partition: number, from: number): AsyncGenerator<PartitionLayer> {
    for (const { id, partitions } of this.manifests.slice(from)) {
      // What came after one without it was written whole.
      if (!partitions.includes(partition)) return
      yield { id, summary: await this.summary(id, partition), owns: OWNS_NOTHING }
    }
  }

  /** What a snapshot says of a partition. @throws CacheError DATA_LOSS */
  async summary(id: string, partition: number): Promise<PartitionSummary> {
    const key = partitionKey(id, partition)
    const bytes = await this.#store.get(key)
    if (bytes === undefined) throw damaged(key, 'it is missing')
    const record = openRecord(key, bytes)
    if (record.kind !== RecordKind.partition) throw damaged(key, 'it is of another kind')
    return decodeSummary(record.body)
  }

  /** The terms of all that was alive in a partition, in `live`, which is emptied before. @throws CacheError DATA_LOSS when they don't give its digest. */
  async liveTerms(
    partition: number,
    layers: readonly PartitionLayer[],
    live: TermTable = new TermTable(),
  ): Promise<TermTable> {
    live.clear()
    const digest = new Uint32Array(DIGEST_BUCKETS * 2)
    const reader = new ByteReader(new Uint8Array(0))
    for (const { id, summary, owns } of layers) {
      for await (const { key, kind, raw } of this.records(id, summary, summary.termsFrom, summary.records)) {
        if (kind !== RecordKind.terms) throw damaged(key, 'it is of another kind')
        readTerms(reader.reset(raw, 0, raw.length), (bucket, low, high) => {
          if (owns[bucket] !== 1) return
          live.add(low, high)
          toggleTerm(digest, bucket, low, high)
        })
      }
    }
    const { id, summary } = layers[0] as PartitionLayer
    const key = partitionKey(id, partition)
    if (live.size !== summary.entries) {
      throw damaged(key, `it tells of ${summary.entries} entries, its terms of ${live.size}`)
    }
    if (summary.digest.some((word, at) => digest[at] !== word))
      throw damaged(key, 'its terms do not give its digest')
    return live
  }

  /** The records `from`..`to` − 1 of a partition, checked and unpacked, in order. @throws CacheError DATA_LOSS */
  async *records(
    id: string,
    { partition }: PartitionSummary,
    from: number,
    to: number,
  ): AsyncGenerator<OpenedRecord> {
    const ahead: Promise<OpenedRecord>[] = []
    let number = from
    if (from < to) {
      for await (const [key, bytes] of this.#store.read(
        recordKey(id, partition, from),
        recordKey(id, partition, to),
      )) {
        const expected = recordKey(id, partition, number++)
        if (key !== expected) throw damaged(expected, 'it is missing')
        const opened = this.#open(key, bytes)
        opened.catch(() => {})
        ahead.push(opened)
        if (ahead.length >= AHEAD) yield await (ahead.shift() as Promise<OpenedRecord>)
        // Without asking whether there is more: that would be as much work again where there are few.
        if (number === to) break
      }
    }
    for (const opened of ahead) yield await opened
    if (number !== to) throw damaged(recordKey(id, partition, number), 'it is missing')
  }

  async #open(key: string, bytes: Uint8Array): Promise<OpenedRecord> {
    const record = openRecord(key, bytes)
    const { kind, crc } = record
    return { key, kind, crc, storedBytes: bytes.length, raw: await this.#unpack(key, record) }
  }

  async #unpack(key: string, { packed, rawBytes, body }: StoredRecord): Promise<Uint8Array> {
    if (!packed) {
      if (body.length !== rawBytes) throw damaged(key, 'it has another length than it says')
      return body
    }
    // What unpacks believes the length in front of the body, so that is checked before.
    const says = new DataView(body.buffer, body.byteOffset, body.byteLength)
    if (body.length < 4 || says.getUint32(0, true) !== rawBytes)
      throw damaged(key, 'it has another length than it says')
    try {
      return await this.#compression.unpack(body)
    } catch (cause) {
      throw damaged(key, 'it can not be unpacked', cause)
    }
  }
}

/** Malformed content behind a right checksum is damage, too. */
export function asDamage(key: string, error: unknown): unknown {
  if (!(error instanceof CacheError) || error.code !== 'PROTOCOL_ERROR') return error
  return damaged(key, error.message, error)
}
