/** An engine whose entries change at random, and a library of snapshots of it, on virtual time. */

import { Engine, EntryDraft, type EntryIndex, type LargeValue, NO_ENTRY } from '../../../src/engine/engine.ts'
import { ByteWriter } from '../../../src/kernel/bytes.ts'
import type { RegionId } from '../../../src/kernel/ids.ts'
import { silentLog } from '../../../src/kernel/log.ts'
import { MemoryAccount } from '../../../src/kernel/memory-account.ts'
import { integerBetween, SeededRandom } from '../../../src/kernel/random.ts'
import { immediateCompression } from '../../../src/snapshot/compression.ts'
import type { StoredEntry } from '../../../src/snapshot/entry-record.ts'
import type { SnapshotManifest } from '../../../src/snapshot/manifest.ts'
import type { PaceOptions } from '../../../src/snapshot/pace.ts'
import type { EntrySink, PartitionRead } from '../../../src/snapshot/partition-reader.ts'
import { type CreateOptions, SnapshotLibrary } from '../../../src/snapshot/snapshot-library.ts'
import type { SnapshotSource } from '../../../src/snapshot/snapshot-writer.ts'
import { SimulatedDisk } from '../../../src/testing/simulated-disk.ts'
import { SimulatedHost } from '../../../src/testing/simulated-host.ts'
import { simulatedSnapshotStore } from '../../../src/testing/simulated-snapshot-store.ts'
import { VirtualTime } from '../../../src/testing/virtual-time.ts'
import type { RegionRecord } from '../../../src/topology/topology.ts'

const HASH_KEY = { low: 0x1234_5678, high: 0x9abc_def0 }
export const CLUSTER_ID = 'cluster-1'
const REGION_IDS = [1, 7]
const NOISE_BYTES = 2 * 1024 * 1024

/** Values are cut out of it: in half of it bytes are any, in the other half they can be packed. */
const NOISE: Buffer = (() => {
  const random = new SeededRandom(1)
  const noise = Buffer.alloc(NOISE_BYTES)
  for (let i = 0; i < NOISE_BYTES; i++) noise[i] = random.uint32() & (i & 0x1_0000 ? 0xff : 0x03)
  return noise
})()

/** All there is to know of the entries of a partition, by region and key. */
export type Content = Map<string, string>

export interface WorldOptions {
  readonly partitions: readonly number[]
  readonly keys: number
  readonly valueBytesMax: number
  /** Share of large values, per thousand writes. */
  readonly largePerMille?: number
  readonly chainMax?: number
  /** Tags are texts, as those of clients, in place of any bytes. */
  readonly textTags?: boolean
}

/** Two tags as they are stored. */
const TEXT_TAGS: Buffer = Buffer.from('\x03one\x05three')

export function newEngine(): Engine {
  const engine = new Engine({
    hashKey: HASH_KEY,
    memory: new MemoryAccount(1024 * 1024 * 1024),
    segmentBytes: 128 * 1024,
  })
  for (const id of REGION_IDS) engine.addRegion(id, { policy: 'lru' })
  return engine
}

export class SnapshotWorld {
  readonly time: VirtualTime = new VirtualTime()
  readonly host: SimulatedHost
  readonly random: SeededRandom
  readonly disk: SimulatedDisk
  readonly engine: Engine = newEngine()
  readonly options: WorldOptions
  /** Content of each partition as its position was last asked for: when it was sealed. */
  readonly sealed: Map<number, Content> = new Map()
  /** Partitions whose position is not known. */
  readonly notWhole: Set<number> = new Set()
  readonly sequences: Map<number, number> = new Map()
  readonly #draft: EntryDraft = new EntryDraft()
  epoch = 1

  constructor(seed: number, options: WorldOptions) {
    this.options = options
    this.random = new SeededRandom(seed)
    this.host = new SimulatedHost('a', this.time)
    this.disk = new SimulatedDisk(this.host, this.random)
    for (const partition of options.partitions) {
      this.engine.addPartition(partition)
      this.engine.setPrimary(partition, true)
      this.sequences.set(partition, 0)
    }
  }

  get source(): SnapshotSource {
    return {
      engine: this.engine,
      partitions: () => this.options.partitions,
      position: (partition) => {
        if (this.notWhole.has(partition) || !this.engine.hasPartition(partition)) return undefined
        this.sealed.set(partition, contentOf(this.engine, partition))
        const lastSequence = this.sequences.get(partition) ?? 0
        return {
          partitionEpoch: this.epoch,
          lastEpoch: this.epoch,
          lastSequence,
          clockMs: this.time.wallMs(),
        }
      },
      regions: () => REGION_IDS.map(regionRecord),
    }
  }

  below(limit: number): number {
    return integerBetween(this.random, 0, limit - 1)
  }

  open(): Promise<SnapshotLibrary> {
    const { chainMax } = this.options
    return this.time.until(
      SnapshotLibrary.open({
        store: simulatedSnapshotStore(this.disk),
        compression: immediateCompression,
        clock: this.host,
        scheduler: this.host,
        random: this.random,
        log: silentLog,
        ...(chainMax === undefined ? {} : { chainMax }),
      }),
    )
  }

  create(library: SnapshotLibrary, options: Partial<CreateOptions> = {}): Promise<SnapshotManifest> {
    return this.time.until(
      library.create({ clusterId: CLUSTER_ID, node: 'a', source: this.source, ...options }),
      3_600_000,
    )
  }

  /** What the snapshot has of a partition. */
  async read(
    library: SnapshotLibrary,
    id: string,
    partition: number,
    options: PaceOptions & { readonly nowMs?: number } = {},
  ): Promise<{ content: Content; read: PartitionRead | undefined }> {
    const content: Content = new Map()
    const read = await this.time.until(
      library.read(id, partition, new Collector(content), options),
      3_600_000,
    )
    return { content, read }
  }

  /** Stores, changes or removes something. */
  mutate(partition: number): void {
    const dice = this.below(10)
    if (dice < 6) this.set(partition, this.below(this.options.keys))
    else if (dice < 8) this.remove(partition, this.below(this.options.keys))
    else this.setExpiry(partition, this.below(this.options.keys))
  }

  set(partition: number, number: number, expiresAtMs: number = this.expiry()): void {
    const { engine } = this
    const draft = this.#draft.clear()
    const large = this.below(1000) < (this.options.largePerMille ?? 0)
    const bytes = large ? 65_537 + this.below(600_000) : this.below(this.options.valueBytesMax + 1)
    const from = this.below(NOISE_BYTES - bytes)
    draft.partition = partition
    draft.regionId = regionOf(number)
    draft.key = keyOf(number)
    draft.keyEnd = draft.key.length
    draft.hash = engine.hashKey(draft.regionId, draft.key, 0, draft.keyEnd)
    draft.codec = this.below(256)
    draft.createdAtMs = this.time.wallMs()
    draft.expiresAtMs = expiresAtMs
    draft.versionEpoch = this.epoch
    draft.versionSequence = this.next(partition)
    if (this.below(4) === 0) {
      draft.tags = NOISE
      draft.tagsStart = this.below(1000)
      draft.tagsEnd = draft.tagsStart + 1 + this.below(40)
      draft.tagCount = 1 + this.below(3)
      if (this.options.textTags === true) {
        draft.tags = TEXT_TAGS
        draft.tagsStart = 0
        draft.tagsEnd = TEXT_TAGS.length
        draft.tagCount = 2
      }
    }
    let value: LargeValue | undefined
    if (large) {
      value = engine.newLargeValue(bytes)
      value.append(NOISE, from, from + bytes)
      draft.large = value
    } else {
      draft.value = NOISE
      draft.valueStart = from
      draft.valueEnd = from + bytes
    }
    engine.put(draft)
    value?.release()
  }

  remove(partition: number, number: number): void {
    const e = this.find(partition, number)
    this.next(partition)
    if (e !== NO_ENTRY) this.engine.remove(e)
  }

  setExpiry(partition: number, number: number): void {
    const e = this.find(partition, number)
    const sequence = this.next(partition)
    if (e !== NO_ENTRY) this.engine.setExpiry(e, this.expiry(), this.epoch, sequence)
  }

  find(partition: number, number: number): EntryIndex {
    const key = keyOf(number)
    const hash = this.engine.hashKey(regionOf(number), key, 0, key.length)
    return this.engine.find(partition, regionOf(number), hash, key, 0, key.length)
  }

  fill(): void {
    for (const partition of this.options.partitions)
      for (let number = 0; number < this.options.keys; number++) this.set(partition, number)
  }

  next(partition: number): number {
    const sequence = (this.sequences.get(partition) ?? 0) + 1
    this.sequences.set(partition, sequence)
    return sequence
  }

  expiry(): number {
    return this.below(3) === 0 ? this.time.wallMs() + 1000 + this.below(100_000) : 0
  }
}

export function contentOf(engine: Engine, partition: number): Content {
  const content: Content = new Map()
  const entries: EntryIndex[] = []
  for (let hash = 0; hash < 2 ** 32; ) hash = engine.collectFrom(partition, hash, entries)
  const copy = (write: (w: ByteWriter) => void): Uint8Array => {
    const w = new ByteWriter()
    write(w)
    return w.toBytes()
  }
  for (const e of entries) {
    content.set(
      nameOf(
        engine.regionId(e),
        copy((w) => engine.copyKey(e, w)),
      ),
      describeEntry({
        version: [engine.versionEpoch(e), engine.versionSequence(e)],
        times: [engine.createdAtMs(e), engine.expiresAtMs(e)],
        codec: engine.codec(e),
        tags: engine.tagCount(e),
        tagBytes: copy((w) => engine.copyTags(e, w)),
        value: copy((w) => engine.copyValue(e, w)),
      }),
    )
  }
  return content
}

/** Collects what a snapshot hands over. */
export class Collector implements EntrySink {
  readonly #content: Content

  constructor(content: Content) {
    this.#content = content
  }

  small(entry: StoredEntry): void {
    this.#keep(entry, entry.bytes.slice(entry.set.valueStart, entry.set.valueEnd))
  }

  async large(entry: StoredEntry, pieces: AsyncIterable<Uint8Array>): Promise<void> {
    const parts: Uint8Array[] = []
    for await (const piece of pieces) parts.push(piece.slice())
    this.#keep(entry, Buffer.concat(parts))
  }

  #keep({ bytes, set, versionEpoch, versionSequence }: StoredEntry, value: Uint8Array): void {
    const name = nameOf(set.regionId, bytes.subarray(set.keyStart, set.keyEnd))
    if (this.#content.has(name)) throw new Error(`${name} was handed over twice`)
    this.#content.set(
      name,
      describeEntry({
        version: [versionEpoch, versionSequence],
        times: [set.createdAtMs, set.expiresAtMs],
        codec: set.codec,
        tags: set.tagCount,
        tagBytes: set.tagCount === 0 ? new Uint8Array(0) : bytes.slice(set.tagsStart, set.tagsEnd),
        value,
      }),
    )
  }
}

function describeEntry(parts: {
  version: number[]
  times: number[]
  codec: number
  tags: number
  tagBytes: Uint8Array
  value: Uint8Array
}): string {
  const { version, times, codec, tags, tagBytes, value } = parts
  const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64')
  return `${version} ${times} ${codec} ${tags} ${hex(tagBytes)} ${value.length} ${hex(value)}`
}

function nameOf(regionId: number, key: Uint8Array): string {
  return `${regionId}/${Buffer.from(key).toString('latin1')}`
}

function regionOf(number: number): number {
  return REGION_IDS[number % REGION_IDS.length] as number
}

function keyOf(number: number): Buffer {
  return Buffer.from(`key-${number}`)
}

function regionRecord(id: number): RegionRecord {
  return {
    regionId: id as RegionId,
    name: `region-${id}`,
    group: 'default',
    sizeBytes: 0,
    maxEntries: 0,
    ttlMs: 0,
    policy: 'lru',
    durability: 'quorum',
    read: 'primary',
    minInSync: 1,
  }
}
