/**
 * Writes one snapshot of a node, partition by partition, in slices, while the node serves.
 *
 * What is valid: only what the manifest names, and that is written last, synced. Until then, and after an error, all that was
 * written is nothing. A partition that can't be sealed (it left the node, or is changed faster than it can be read) is left
 * out and named, with the reason; the others are good.
 *
 * Memory: 4 MiB of records on their way, the large values of one slice (pinned, not copied), and about 32 bytes for each entry
 * of one partition.
 */

import { DIGEST_BUCKETS } from '../engine/digest.ts'
import type { Engine, LargeValue } from '../engine/engine.ts'
import type { Clock } from '../kernel/clock.ts'
import { CacheError } from '../kernel/errors.ts'
import type { Log } from '../kernel/log.ts'
import type { RegionRecord } from '../topology/topology.ts'
import type { Compression } from './compression.ts'
import { EntryBatch, PIECE_BYTES, piecesOf } from './entry-record.ts'
import { manifestKey, partitionKey, partitionRange, recordKey } from './layout.ts'
import { LiveTerms } from './live-terms.ts'
import {
  encodeJson,
  FORMAT,
  type PartitionSummary,
  type SkippedPartition,
  type SnapshotManifest,
  type SnapshotPosition,
} from './manifest.ts'
import type { Pace } from './pace.ts'
import { PartitionWalk, sameBuckets } from './partition-walk.ts'
import { RecordPipe } from './record-pipe.ts'
import type { PartitionLayer, SnapshotChain } from './snapshot-chain.ts'
import type { SnapshotStore } from './snapshot-store.ts'
import { chainCrc, RecordKind } from './stored-record.ts'
import { TermTable } from './term-table.ts'

/** What a snapshot is made of: the node, as the writer sees it. */
export interface SnapshotSource {
  readonly engine: Engine
  /** The partitions to be written, ascending. */
  partitions(): readonly number[]
  /** Where a partition stands at this moment; undefined while it is not held here, or not whole. */
  position(partition: number): SnapshotPosition | undefined
  regions(): readonly RegionRecord[]
}

export interface SnapshotProgress {
  readonly partitionsDone: number
  readonly partitions: number
  readonly writtenEntries: number
  readonly rawBytes: number
}

export interface SnapshotWriterOptions {
  readonly id: string
  readonly clusterId: string
  readonly node: string
  /** What the snapshot is to build on; undefined: it is a full one. */
  readonly base: SnapshotChain | undefined
  readonly store: SnapshotStore
  readonly compression: Compression
  readonly source: SnapshotSource
  readonly pace: Pace
  readonly clock: Clock
  readonly log: Log
  readonly onProgress?: ((progress: SnapshotProgress) => void) | undefined
  /** Hashes that may wait to be read again. For tests. */
  readonly changesMax?: number | undefined
}

/** A record of entries is closed from this size on. */
const RECORD_BYTES = 224 * 1024
/** Walks of one partition, each after one that was overrun. */
const WALKS_MAX = 4
/** Slices behind the walk in which changes were read again and others came. */
const CHASES_MAX = 2000

interface Seal {
  readonly position: SnapshotPosition
  readonly digest: Uint32Array
  readonly entries: number
}

/** What was framed of one partition. */
interface Tally {
  crc: number
  rawBytes: number
  storedBytes: number
}

export class SnapshotWriter {
  readonly #options: SnapshotWriterOptions
  readonly #pipe: RecordPipe
  readonly #batches: EntryBatch[] = []
  readonly #freeBatches: EntryBatch[] = []
  readonly #done: number[] = []
  readonly #skipped: SkippedPartition[] = []
  /** One after the other, all partitions use these. */
  readonly #terms: LiveTerms = new LiveTerms()
  readonly #known: TermTable = new TermTable()
  #partitions = 0
  #entries = 0
  #writtenEntries = 0
  #records = 0
  readonly #total: Tally = { crc: 0, rawBytes: 0, storedBytes: 0 }

  constructor(options: SnapshotWriterOptions) {
    this.#options = options
    this.#pipe = new RecordPipe(options.store, options.compression)
  }

  /** @throws CacheError STORAGE_FAILED, ABORTED: nothing of it is valid */
  async write(): Promise<SnapshotManifest> {
    const { source, clock, log, id } = this.#options
    const startedMs = clock.wallMs()
    try {
      const partitions = source.partitions()
      this.#partitions = partitions.length
      for (const partition of partitions) {
        const reason = await this.#writePartition(partition)
        if (reason === undefined) {
          this.#done.push(partition)
        } else {
          await this.#skip(partition, reason)
          log.warn('a partition is left out of a snapshot', { snapshot: id, partition, reason })
        }
        this.#report()
      }
      // Behind this all that the manifest counts is framed.
      await this.#pipe.flush()
      return await this.#writeManifest(startedMs)
    } finally {
      await this.#pipe.end()
      for (const batch of this.#batches) batch.clear()
    }
  }

  /** @returns why it is left out; undefined when it is not */
  async #writePartition(partition: number): Promise<string | undefined> {
    const { engine } = this.#options.source
    if (this.#position(partition) === undefined) return NOT_HELD
    let base = await this.#baseOf(partition)
    if (this.#position(partition) === undefined) return NOT_HELD
    const tally: Tally = { crc: 0, rawBytes: 0, storedBytes: 0 }
    const numbers = { next: 0, writtenEntries: 0 }
    for (let walks = 0; walks < WALKS_MAX; walks++) {
      const terms = this.#terms
      terms.clear()
      const asBase =
        base === undefined
          ? new Uint8Array(DIGEST_BUCKETS)
          : sameBuckets(engine.digest(partition), (base.layers[0] as PartitionLayer).summary.digest)
      const { changesMax } = this.#options
      const walk = new PartitionWalk({
        engine,
        partition,
        asBase,
        terms,
        ...(changesMax === undefined ? {} : { changesMax }),
      })
      try {
        const seal = await this.#walk(partition, walk, base, tally, numbers, walks > 0)
        if (seal === 'left') return NOT_HELD
        if (seal === 'overrun') continue
        if (seal === 'damaged base') {
          base = undefined
          continue
        }
        return await this.#close(partition, seal, terms, walk.described, tally, numbers)
      } finally {
        walk.stop()
      }
    }
    return 'its entries were changed faster than they could be read'
  }

  /** Goes through a partition up to the moment at which all of it is read as it is then. */
  async #walk(
    partition: number,
    walk: PartitionWalk,
    base: PartitionBase | undefined,
    tally: Tally,
    numbers: Numbers,
    hurry: boolean,
  ): Promise<Seal | 'left' | 'overrun' | 'damaged base'> {
    const { pace, source } = this.#options
    let chases = 0
    let batch = this.#takeBatch()
    const giveUp = <T>(why: T): T => {
      batch.clear()
      this.#freeBatches.push(batch)
      return why
    }
    for (;;) {
      if (base !== undefined && walk.known === undefined && !walk.passed) {
        walk.known = await this.#unlessDamaged(partition, base.terms())
        if (walk.known === undefined) return giveUp('damaged base')
      }
      await pace.turn({ hurry: hurry || walk.pressing })
      if (!walk.held) return giveUp('left')
      const before = batch.bytes + batch.largeBytes
      walk.slice(batch, pace)
      pace.moved(batch.bytes + batch.largeBytes - before)
      if (walk.overrun || (walk.passed && ++chases > CHASES_MAX)) return giveUp('overrun')
      let seal: Seal | undefined
      if (walk.whole) {
        // Nothing may come between the look at the walk and what is taken here.
        const position = this.#position(partition)
        if (position === undefined) return giveUp('left')
        const { engine } = source
        seal = { position, digest: engine.digest(partition).slice(), entries: engine.entries(partition) }
        walk.stop()
      }
      if (seal !== undefined || batch.bytes >= RECORD_BYTES || batch.large.length > 0) {
        await this.#emit(partition, batch, tally, numbers)
        if (seal !== undefined) return seal
        batch = this.#takeBatch()
      }
    }
  }

  /** Sends the batch, and its large values behind it, on their way. */
  async #emit(partition: number, batch: EntryBatch, tally: Tally, numbers: Numbers): Promise<void> {
    const { pace, id } = this.#options
    if (batch.entries === 0) {
      this.#freeBatches.push(batch)
      return
    }
    numbers.writtenEntries += batch.entries
    const large = batch.takeLarge()
    try {
      const raw = batch.writer.bytes.subarray(0, batch.bytes)
      await this.#pipe.add({
        key: recordKey(id, partition, numbers.next++),
        kind: RecordKind.entries,
        raw,
        framed: (crc, storedBytes) => {
          count(tally, crc, raw.length, storedBytes)
          batch.clear()
          this.#freeBatches.push(batch)
        },
      })
      for (const value of large) {
        for (let piece = 0; piece < piecesOf(value.totalBytes); piece++) {
          if (pace.over) await pace.turn({ hurry: true })
          await this.#emitPiece(partition, value, piece, tally, numbers)
        }
      }
    } finally {
      for (const value of large) value.release()
    }
  }

  #emitPiece(
    partition: number,
    value: LargeValue,
    piece: number,
    tally: Tally,
    numbers: Numbers,
  ): Promise<void> {
    const from = piece * PIECE_BYTES
    const raw = Uint8Array.from(value.view(from, Math.min(PIECE_BYTES, value.totalBytes - from)))
    return this.#pipe.add({
      key: recordKey(this.#options.id, partition, numbers.next++),
      kind: RecordKind.piece,
      raw,
      framed: (crc, storedBytes) => count(tally, crc, raw.length, storedBytes),
    })
  }

  /** Writes what makes a sealed partition whole: its terms and its summary. @returns why it can't be, or undefined */
  async #close(
    partition: number,
    seal: Seal,
    terms: LiveTerms,
    described: readonly number[],
    tally: Tally,
    numbers: Numbers,
  ): Promise<string | undefined> {
    const { pace, id } = this.#options
    const termsFrom = numbers.next
    const digest = new Uint32Array(DIGEST_BUCKETS * 2)
    for (const raw of terms.sections(digest)) {
      if (pace.over) await pace.turn({ hurry: true })
      await this.#pipe.add({
        key: recordKey(id, partition, numbers.next++),
        kind: RecordKind.terms,
        raw,
        dense: true,
        framed: (crc, storedBytes) => count(tally, crc, raw.length, storedBytes),
      })
    }
    // What was read must be what the engine held: the one check that no change was missed.
    const same = sameBuckets(digest, seal.digest)
    if (described.some((walked, bucket) => walked === 1 && same[bucket] !== 1))
      return 'what was read of it does not give its digest; please report this'
    const { next: records, writtenEntries } = numbers
    const summary = (): PartitionSummary => ({
      partition,
      ...seal.position,
      entries: seal.entries,
      writtenEntries,
      rawBytes: tally.rawBytes,
      storedBytes: tally.storedBytes,
      records,
      termsFrom,
      crc: tally.crc,
      digest: [...seal.digest],
      described,
    })
    await this.#pipe.add({
      key: partitionKey(id, partition),
      kind: RecordKind.partition,
      raw: () => encodeJson(summary()),
      framed: (crc, storedBytes) => {
        count(this.#total, crc, tally.rawBytes, tally.storedBytes + storedBytes)
      },
    })
    this.#entries += seal.entries
    this.#writtenEntries += writtenEntries
    this.#records += records + 1
    return undefined
  }

  async #writeManifest(startedMs: number): Promise<SnapshotManifest> {
    const { id, base, clusterId, node, source, clock } = this.#options
    const manifest: SnapshotManifest = {
      format: FORMAT,
      id,
      kind: base === undefined ? 'full' : 'incremental',
      base: base?.newest.id ?? null,
      chain: (base?.manifests.length ?? 0) + 1,
      clusterId,
      node,
      startedMs,
      finishedMs: clock.wallMs(),
      partitions: this.#done,
      skipped: this.#skipped,
      regions: source.regions(),
      entries: this.#entries,
      writtenEntries: this.#writtenEntries,
      rawBytes: this.#total.rawBytes,
      storedBytes: this.#total.storedBytes,
      records: this.#records,
      crc: this.#total.crc,
    }
    await this.#pipe.add({
      key: manifestKey(id),
      kind: RecordKind.manifest,
      raw: () => encodeJson(manifest),
      framed: () => {},
    })
    await this.#pipe.flush({ sync: true })
    return manifest
  }

  async #skip(partition: number, reason: string): Promise<void> {
    await this.#pipe.flush()
    const { from, to } = partitionRange(this.#options.id, partition)
    await this.#options.store.clear(from, to)
    this.#skipped.push({ partition, reason })
  }

  /** What the base has of the partition. One that is damaged there is written whole. */
  async #baseOf(partition: number): Promise<PartitionBase | undefined> {
    const { base } = this.#options
    if (base === undefined) return undefined
    const layers = await this.#unlessDamaged(partition, base.layers(partition))
    return layers && { layers, terms: () => base.liveTerms(partition, layers, this.#known) }
  }

  async #unlessDamaged<T>(partition: number, reading: Promise<T>): Promise<T | undefined> {
    try {
      return await reading
    } catch (error) {
      if (!(error instanceof CacheError) || error.code !== 'DATA_LOSS') throw error
      const { log, id } = this.#options
      log.warn('a partition is written whole, because the snapshot before is damaged', {
        snapshot: id,
        partition,
        why: error.message,
      })
      return undefined
    }
  }

  #position(partition: number): SnapshotPosition | undefined {
    const { source } = this.#options
    return source.engine.hasPartition(partition) ? source.position(partition) : undefined
  }

  #takeBatch(): EntryBatch {
    const spare = this.#freeBatches.pop()
    if (spare !== undefined) return spare
    const batch = new EntryBatch(this.#options.source.engine)
    this.#batches.push(batch)
    return batch
  }

  #report(): void {
    this.#options.onProgress?.({
      partitionsDone: this.#done.length + this.#skipped.length,
      partitions: this.#partitions,
      writtenEntries: this.#writtenEntries,
      rawBytes: this.#total.rawBytes,
    })
  }
}

const NOT_HELD = 'this node does not hold it, or not whole'

interface PartitionBase {
  readonly layers: readonly PartitionLayer[]
  terms(): Promise<TermTable>
}

interface Numbers {
  next: number
  writtenEntries: number
}

function count(tally: Tally, crc: number, rawBytes: number, storedBytes: number): void {
  tally.crc = chainCrc(tally.crc, crc)
  tally.rawBytes += rawBytes
  tally.storedBytes += storedBytes
}
