/**
 * Reads one partition out of a chain of snapshots: each entry that was alive when it was sealed, once, in no particular order.
 *
 * All that is read is checked: each record's checksum, that none is missing, that the terms of what is alive give the digest
 * that was taken as the partition was sealed, and that an entry was found for each term. An error comes after entries were
 * handed over: who stores them must be ready to drop them again.
 *
 * Memory: a few records, and about 20 bytes for each entry of the partition.
 */

import { digestTerm } from '../engine/digest.ts'
import { ByteReader } from '../kernel/bytes.ts'
import { PIECE_BYTES, piecesOf, readStoredEntry, StoredEntry } from './entry-record.ts'
import { partitionKey } from './layout.ts'
import type { PartitionSummary } from './manifest.ts'
import type { Pace } from './pace.ts'
import { asDamage, type OpenedRecord, type PartitionLayer, type SnapshotChain } from './snapshot-chain.ts'
import { chainCrc, damaged, RecordKind } from './stored-record.ts'
import type { TermTable } from './term-table.ts'

/** Who takes the entries. What it is handed holds good during the call, until its promise settles. */
export interface EntrySink {
  /** A promise: nothing more is to come before it settles. */
  small(entry: StoredEntry): void | Promise<void>
  /** Called once for each large value: it takes the pieces as far as it wants. */
  large(entry: StoredEntry, pieces: AsyncIterable<Uint8Array>): Promise<void>
}

export interface ReadOptions {
  readonly pace: Pace
  /** Entries that expired by then are left out, in milliseconds since the Unix epoch. Without it none is. */
  readonly nowMs?: number | undefined
  /** Reads all records, those that hold nothing alive included. */
  readonly everything?: boolean
}

export interface PartitionRead {
  readonly summary: PartitionSummary
  /** Handed over. */
  readonly entries: number
  readonly expired: number
  readonly storedBytes: number
}

/** Entries between two looks at the clock. */
const CLOCK_EVERY = 32

export class PartitionReader {
  readonly #chain: SnapshotChain
  readonly #partition: number
  readonly #sink: EntrySink
  readonly #options: ReadOptions
  readonly #reader: ByteReader = new ByteReader(new Uint8Array(0))
  readonly #entry: StoredEntry = new StoredEntry()
  readonly #term: Uint32Array = new Uint32Array(2)
  #entries = 0
  #expired = 0
  #storedBytes = 0

  constructor(chain: SnapshotChain, partition: number, sink: EntrySink, options: ReadOptions) {
    this.#chain = chain
    this.#partition = partition
    this.#sink = sink
    this.#options = options
  }

  /** @throws CacheError DATA_LOSS naming the record, and whatever the sink throws */
  async read(): Promise<PartitionRead | undefined> {
    const { everything = false } = this.#options
    const layers = await this.#chain.layers(this.#partition)
    if (layers === undefined) return undefined
    const live = await this.#chain.liveTerms(this.#partition, layers)
    for (const layer of layers) {
      if (live.size === 0 && !everything) break
      await this.#readLayer(layer, live, everything)
    }
    if (live.size > 0) {
      for await (const layer of this.#chain.olderLayers(this.#partition, layers.length)) {
        await this.#readLayer(layer, live, everything)
        if (live.size === 0) break
      }
    }
    const { id, summary } = layers[0] as PartitionLayer
    if (live.size > 0)
      throw damaged(partitionKey(id, this.#partition), `${live.size} of its entries are nowhere to be found`)
    return { summary, entries: this.#entries, expired: this.#expired, storedBytes: this.#storedBytes }
  }

  async #readLayer({ id, summary }: PartitionLayer, live: TermTable, everything: boolean): Promise<void> {
    const { pace } = this.#options
    const end = everything ? summary.records : summary.termsFrom
    const records = this.#chain.records(id, summary, 0, end)
    let crc = 0
    const next = async (): Promise<OpenedRecord | undefined> => {
      const { done, value } = await records.next()
      if (done === true) return undefined
      crc = chainCrc(crc, value.crc)
      this.#storedBytes += value.storedBytes
      pace.moved(value.raw.length)
      return value
    }
    try {
      for (let record = await next(); record !== undefined; record = await next()) {
        if (pace.over || pace.owes) await pace.turn()
        if (record.kind === RecordKind.terms && everything) continue
        if (record.kind !== RecordKind.entries) throw damaged(record.key, 'it is of another kind')
        try {
          await this.#readRecord(record, live, next)
        } catch (error) {
          throw asDamage(record.key, error)
        }
        if (live.size === 0 && !everything) return
      }
    } finally {
      await records.return(undefined)
    }
    if (everything && crc !== summary.crc)
      throw damaged(partitionKey(id, this.#partition), 'its records are not those that were written')
  }

  async #readRecord(
    { raw }: OpenedRecord,
    live: TermTable,
    next: () => Promise<OpenedRecord | undefined>,
  ): Promise<void> {
    const { pace, nowMs = Number.NEGATIVE_INFINITY } = this.#options
    const reader = this.#reader.reset(raw, 0, raw.length)
    const entry = this.#entry
    const term = this.#term
    /** Those whose values are in the records behind this one. */
    const large: { readonly at: number; readonly counts: boolean }[] = []
    for (let seen = 1; reader.remaining > 0; seen++) {
      const at = reader.at
      readStoredEntry(reader, entry)
      digestTerm(entry.hash, entry.versionEpoch, entry.versionSequence, term)
      let counts = live.take(term[0] as number, term[1] as number)
      if (counts && entry.set.expiresAtMs !== 0 && entry.set.expiresAtMs <= nowMs) {
        this.#expired++
        counts = false
      }
      if (counts) this.#entries++
      if (entry.largeBytes !== undefined) large.push({ at, counts })
      else if (counts) {
        const wait = this.#sink.small(entry)
        if (wait !== undefined) await wait
      }
      if (seen % CLOCK_EVERY === 0 && pace.over) await pace.turn()
    }
    for (const { at, counts } of large) {
      readStoredEntry(reader.reset(raw, at, raw.length), entry)
      const pieces = piecesIn(entry.largeBytes as number, next, pace)
      if (counts) await this.#sink.large(entry, pieces)
      // What the sink did not take is passed over.
      for await (const _ of pieces);
    }
  }
}

/** The pieces of one large value, from the records that come next. */
async function* piecesIn(
  bytes: number,
  next: () => Promise<OpenedRecord | undefined>,
  pace: Pace,
): AsyncGenerator<Uint8Array> {
  const pieces = piecesOf(bytes)
  for (let piece = 0; piece < pieces; piece++) {
    const record = await next()
    const length = Math.min(PIECE_BYTES, bytes - piece * PIECE_BYTES)
    if (record?.kind !== RecordKind.piece || record.raw.length !== length)
      throw damaged(record?.key ?? 'behind the last', 'a piece of a large value should be here')
    if (pace.over) await pace.turn()
    yield record.raw
  }
}
