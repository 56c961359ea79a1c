/**
 * The memory of one node: partitions of entries, found by key, kept within budgets, expired by time. It knows no network,
 * no clock and no cluster; times are arguments. The layers above decide what is stored and what goes: the engine never
 * removes an entry by itself.
 *
 * - Keys and values lie in a record log (memory-log), what links them in columns (entry-table, key-index): no
 *   JavaScript object exists per entry, so a million entries cost the garbage collector nothing.
 * - An entry is a number. It holds good until the entry is removed; storing a new value for its key keeps it.
 * - Entries of partitions this node is primary for are *linked*: in their region's eviction order, in the timing wheel, in the
 *   region's budget. Those of backups only exist.
 * - Each call does work bounded by its arguments. Compaction is paid for in slices by `put` and driven by `maintain`.
 * - A call that throws has changed nothing. OVERLOADED: the memory limit would be passed. INTERNAL: a caller's mistake.
 */

import type { ByteWriter } from '../kernel/bytes.ts'
import { type HashKey, halfSipHash } from '../kernel/hash.ts'
import type { MemoryAccount } from '../kernel/memory-account.ts'
import { toggleDigest } from './digest.ts'
import type { EntryDraft } from './entry-draft.ts'
import { type EntryIndex, EntryTable, NIL } from './entry-table.ts'
import { FifoPolicy } from './eviction/fifo.ts'
import { LruPolicy } from './eviction/lru.ts'
import type { EvictionPolicyName } from './eviction/policy.ts'
import { broken, invariant } from './invariant.ts'
import { KeyIndex } from './key-index.ts'
import { INLINE_VALUE_BYTES_MAX, type LargeValue, LargeValues } from './large-value.ts'
import { MemoryLog } from './memory-log.ts'
import { Partition, type PartitionWatcher } from './partition.ts'
import {
  copyBytes,
  FLAG_LARGE,
  FLAG_STALE,
  KEY_MASK,
  KEY_SHIFT,
  keyStart,
  RECORD_CODEC,
  RECORD_CREATED,
  RECORD_ENTRY,
  RECORD_EPOCH,
  RECORD_HIGHS,
  RECORD_LENGTHS,
  RECORD_SEQUENCE,
  RECORD_SLOTS,
  RECORD_STALE,
  recordWords,
  sameBytes,
  TWO_32,
  VALUE_MASK,
  wordsFor,
} from './record.ts'
import { Region, type RegionStats } from './region.ts'
import { SegmentPool } from './segment-pool.ts'
import { EXPIRY_MS_MAX, TimingWheel } from './timing-wheel.ts'

export { EntryDraft } from './entry-draft.ts'
export type { EntryIndex } from './entry-table.ts'
export type { EvictionPolicyName } from './eviction/policy.ts'
export { INLINE_VALUE_BYTES_MAX, type LargeValue } from './large-value.ts'
export type { PartitionWatcher } from './partition.ts'
export type { RegionStats } from './region.ts'

/** The answer when there is no entry. */
export const NO_ENTRY = -1
/** What an entry costs beside its record: its row and its share of the index. Budgets count it. */
const ENTRY_OVERHEAD_BYTES = 24

const KEY_BYTES_MAX = KEY_MASK
const SLOTS_MAX = 0x1_0000
const PARTITION_NUMBER_MAX = 0xf_ffff
const SEGMENT_BYTES_MIN = 128 * 1024
const NOTHING = new Uint8Array(0)

/** Why an entry is removed; only counted. */
export const RemovalReason = { deleted: 0, evicted: 1, expired: 2 } as const
export type RemovalReason = (typeof RemovalReason)[keyof typeof RemovalReason]

export interface EngineOptions {
  /** The secret of the key hash; the same on all nodes of a cluster, so that digests can be compared. */
  readonly hashKey: HashKey
  /** Asked before memory is taken; what is held is reported under 'engine'. */
  readonly memory: MemoryAccount
  /** A power of two, 128 KiB at least. Default 1 MiB. */
  readonly segmentBytes?: number
}

export interface EngineStats {
  readonly entries: number
  /** Records of living entries; large values are counted apart. */
  readonly liveBytes: number
  /** Segments of the record log. */
  readonly logBytes: number
  /** Segments kept for reuse. */
  readonly idleBytes: number
  readonly columnBytes: number
  readonly indexBytes: number
  readonly largeBytes: number
  readonly compactedBytes: number
  readonly scheduled: number
}

export class Engine {
  readonly log: MemoryLog
  readonly table: EntryTable
  readonly index: KeyIndex
  readonly wheel: TimingWheel
  readonly #hashKey: HashKey
  readonly #pool: SegmentPool
  readonly #largeValues: LargeValues
  readonly #large: (LargeValue | undefined)[] = []
  readonly #largeFree: number[] = []
  readonly #regionById: Map<number, Region> = new Map()
  readonly #regions: Region[] = []
  readonly #partitionByNumber: (Partition | undefined)[] = []
  readonly #partitions: (Partition | undefined)[] = []
  readonly #partitionSlotsFree: number[] = []
  /** The region looked up last: operations come in runs of one region. */
  #lastRegion: Region | undefined

  constructor(options: EngineOptions) {
    const { hashKey, memory, segmentBytes = 1024 * 1024 } = options
    invariant(
      segmentBytes >= SEGMENT_BYTES_MIN && (segmentBytes & (segmentBytes - 1)) === 0,
      `segmentBytes is ${segmentBytes}; it has to be a power of two, ${SEGMENT_BYTES_MIN} or more`,
    )
    this.#hashKey = hashKey
    this.#pool = new SegmentPool(memory, segmentBytes)
    this.table = new EntryTable(memory)
    this.log = new MemoryLog(this.#pool, this.table)
    this.index = new KeyIndex(memory, this.table, this.log)
    this.wheel = new TimingWheel(this.table)
    this.#largeValues = new LargeValues(this.#pool)
  }

  // Regions and partitions

  addRegion(regionId: number, options: { readonly policy: EvictionPolicyName }): void {
    invariant(!this.#regionById.has(regionId), `region ${regionId} exists already`)
    invariant(this.#regions.length < SLOTS_MAX, 'too many regions')
    const policy = options.policy === 'lru' ? new LruPolicy(this.table) : new FifoPolicy(this.table)
    const region = new Region(regionId, this.#regions.length, policy)
    this.#regions.push(region)
    this.#regionById.set(regionId, region)
  }

  hasRegion(regionId: number): boolean {
    return this.#regionById.has(regionId)
  }

  /** The numbers of all regions that were ever added. */
  regionIds(): number[] {
    return this.#regions.map((region) => region.id)
  }

  /** Whether the partition holds an entry of the region. Looks at every entry. */
  holdsRegion(partition: number, regionId: number): boolean {
    const { slot } = this.#region(regionId)
    const entries: EntryIndex[] = []
    this.index.collect(this.#partition(partition).directory, entries)
    return entries.some((e) => (this.#word(e, RECORD_SLOTS) & 0xffff) === slot)
  }

  /** This node's share of the region's size, over the entries it is primary for. 0: without limit. */
  setBudget(regionId: number, bytes: number, entries: number): void {
    const region = this.#region(regionId)
    region.budgetBytes = bytes
    region.budgetEntries = entries
  }

  /** Begins an empty replica, as a backup. @throws CacheError OVERLOADED */
  addPartition(partition: number): void {
    invariant(!this.hasPartition(partition), `partition ${partition} exists already`)
    invariant(partition >= 0 && partition <= PARTITION_NUMBER_MAX, `partition ${partition} is out of range`)
    const slot = this.#partitionSlotsFree.pop() ?? this.#partitions.length
    invariant(slot < SLOTS_MAX, 'too many partitions')
    const added = new Partition(partition, slot, this.index.createDirectory())
    this.#partitions[slot] = added
    while (this.#partitionByNumber.length <= partition) this.#partitionByNumber.push(undefined)
    this.#partitionByNumber[partition] = added
  }

  hasPartition(partition: number): boolean {
    return this.#partitionByNumber[partition] !== undefined
  }

  /** Removes a partition and up to `entriesMax` of its entries; call again until it returns true: it is gone. */
  dropPartition(partition: number, entriesMax: number = Number.POSITIVE_INFINITY): boolean {
    const p = this.#partition(partition)
    const entries: EntryIndex[] = []
    this.index.collect(p.directory, entries, entriesMax)
    for (const e of entries) this.remove(e)
    if (p.entries > 0) return false
    this.index.dropDirectory(p.directory)
    this.#partitionByNumber[partition] = undefined
    this.#partitions[p.slot] = undefined
    this.#partitionSlotsFree.push(p.slot)
    return true
  }

  isPrimary(partition: number): boolean {
    return this.#partition(partition).primary
  }

  /**
   * Links or unlinks a partition's entries. They are linked in the order of their versions, as the youngest of their
   * regions: recency is not replicated.
   */
  setPrimary(partition: number, primary: boolean): void {
    const p = this.#partition(partition)
    if (p.primary === primary) return
    const entries: EntryIndex[] = []
    this.index.collect(p.directory, entries)
    if (primary) {
      p.primary = true
      for (const e of this.#inWriteOrder(entries)) this.#link(this.#regionOf(e), e, this.entryBytes(e))
    } else {
      for (const e of entries) this.#unlink(this.#regionOf(e), e, this.entryBytes(e))
      p.primary = false
    }
  }

  // Reading

  /** The hash of a key, for `find`, `put` and buckets. */
  hashKey(regionId: number, bytes: Uint8Array, start: number, end: number): number {
    return halfSipHash(this.#hashKey, regionId, bytes, start, end)
  }

  /** The entry with exactly this key, expired or not; NO_ENTRY when there is none. */
  find(
    partition: number,
    regionId: number,
    hash: number,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): EntryIndex {
    const region = this.#region(regionId)
    const e = this.index.find(this.#partition(partition).directory, hash, region.slot, bytes, start, end)
    return e === NIL ? NO_ENTRY : e
  }

  isExpired(e: EntryIndex, nowMs: number): boolean {
    const expiresAtMs = this.table.expiresAtMs(e)
    return expiresAtMs !== 0 && expiresAtMs <= nowMs
  }

  /** A read found the entry. Without effect on a backup's. */
  touch(e: EntryIndex): void {
    const slots = this.#word(e, RECORD_SLOTS)
    if ((this.#partitions[slots >>> 16] as Partition).primary) {
      ;(this.#regions[slots & 0xffff] as Region).policy.touched(e)
    }
  }

  codec(e: EntryIndex): number {
    return this.#word(e, RECORD_CODEC) & 0xff
  }

  /** Length of the value. */
  valueBytes(e: EntryIndex): number {
    const lengths = this.#word(e, RECORD_LENGTHS)
    return lengths & FLAG_LARGE ? this.#largeOf(e).totalBytes : lengths & VALUE_MASK
  }

  /** The value when it is a large one. Retain it to read on after the entry changes. */
  largeValue(e: EntryIndex): LargeValue | undefined {
    return this.#word(e, RECORD_LENGTHS) & FLAG_LARGE ? this.#largeOf(e) : undefined
  }

  /** Appends the value, large or not. */
  copyValue(e: EntryIndex, writer: ByteWriter): void {
    const location = this.table.location(e)
    const words = this.log.wordsAt(location)
    const at = this.log.wordOf(location)
    const lengths = words[at + RECORD_LENGTHS] as number
    if (lengths & FLAG_LARGE) {
      this.#largeOf(e).copy(writer)
      return
    }
    const start = valueStart(words, at, lengths)
    writer.raw(this.log.bytesAt(location), start, start + (lengths & VALUE_MASK))
  }

  compareValue(e: EntryIndex, bytes: Uint8Array, start: number, end: number): boolean {
    const location = this.table.location(e)
    const words = this.log.wordsAt(location)
    const at = this.log.wordOf(location)
    const lengths = words[at + RECORD_LENGTHS] as number
    if (lengths & FLAG_LARGE) return this.#largeOf(e).equals(bytes, start, end)
    if ((lengths & VALUE_MASK) !== end - start) return false
    return sameBytes(this.log.bytesAt(location), valueStart(words, at, lengths), bytes, start, end - start)
  }

  versionEpoch(e: EntryIndex): number {
    return this.#word(e, RECORD_EPOCH)
  }

  versionSequence(e: EntryIndex): number {
    return this.#word(e, RECORD_SEQUENCE) + (this.#word(e, RECORD_HIGHS) & 0xffff) * TWO_32
  }

  createdAtMs(e: EntryIndex): number {
    return this.#word(e, RECORD_CREATED) + (this.#word(e, RECORD_HIGHS) >>> 16) * TWO_32
  }

  /** 0: never. */
  expiresAtMs(e: EntryIndex): number {
    return this.table.expiresAtMs(e)
  }

  /** 0: never. */
  staleAtMs(e: EntryIndex): number {
    if (!(this.#word(e, RECORD_LENGTHS) & FLAG_STALE)) return 0
    return this.#word(e, RECORD_STALE) + this.#word(e, RECORD_STALE + 1) * TWO_32
  }

  regionId(e: EntryIndex): number {
    return this.#regionOf(e).id
  }

  /** The cluster-wide number. */
  partition(e: EntryIndex): number {
    return (this.#partitions[this.#word(e, RECORD_SLOTS) >>> 16] as Partition).number
  }

  hash(e: EntryIndex): number {
    return this.table.hash(e)
  }

  /** Length of the key. */
  keyBytes(e: EntryIndex): number {
    return (this.#word(e, RECORD_LENGTHS) >>> KEY_SHIFT) & KEY_MASK
  }

  copyKey(e: EntryIndex, writer: ByteWriter): void {
    const location = this.table.location(e)
    const at = this.log.wordOf(location)
    const lengths = this.log.wordsAt(location)[at + RECORD_LENGTHS] as number
    const start = keyStart(at, lengths)
    writer.raw(this.log.bytesAt(location), start, start + ((lengths >>> KEY_SHIFT) & KEY_MASK))
  }

  tagCount(e: EntryIndex): number {
    return (this.#word(e, RECORD_CODEC) >>> 8) & 0xff
  }

  tagsBytes(e: EntryIndex): number {
    return this.#word(e, RECORD_CODEC) >>> 16
  }

  /** Appends the tags as they were given. */
  copyTags(e: EntryIndex, writer: ByteWriter): void {
    const location = this.table.location(e)
    const words = this.log.wordsAt(location)
    const at = this.log.wordOf(location)
    const lengths = words[at + RECORD_LENGTHS] as number
    const start = keyStart(at, lengths) + ((lengths >>> KEY_SHIFT) & KEY_MASK)
    writer.raw(this.log.bytesAt(location), start, start + ((words[at + RECORD_CODEC] as number) >>> 16))
  }

  /** What the entry counts for in budgets: record, columns, blocks. */
  entryBytes(e: EntryIndex): number {
    const location = this.table.location(e)
    const words = this.log.wordsAt(location)
    const at = this.log.wordOf(location)
    return this.#cost(words, at)
  }

  // Writing

  /**
   * Stores the draft, in place of the entry with its key if there is one, which then keeps its number.
   * @throws CacheError OVERLOADED when there is no memory for it; nothing is changed then.
   */
  put(draft: EntryDraft): EntryIndex {
    const region = this.#region(draft.regionId)
    const p = this.#partition(draft.partition)
    const { hash, large } = draft
    const keyBytes = draft.keyEnd - draft.keyStart
    const tagsBytes = draft.tagsEnd - draft.tagsStart
    const valueBytes = large === undefined ? draft.valueEnd - draft.valueStart : 4
    invariant(keyBytes > 0 && keyBytes <= KEY_BYTES_MAX, 'a key of this length can not be stored')
    invariant(
      valueBytes >= 0 && valueBytes <= INLINE_VALUE_BYTES_MAX,
      'a large value was given as a small one',
    )
    invariant(large === undefined || large.complete, 'an incomplete large value')
    invariant(tagsBytes >= 0 && tagsBytes <= 0xffff && draft.tagCount <= 0xff, 'too many tags')
    invariant(draft.expiresAtMs >= 0 && draft.expiresAtMs <= EXPIRY_MS_MAX, 'an expiry out of range')
    const words = wordsFor(draft.staleAtMs !== 0, keyBytes, tagsBytes, valueBytes)

    let e = this.index.find(p.directory, hash, region.slot, draft.key, draft.keyStart, draft.keyEnd)
    this.log.prepare(words)
    if (e === NIL) {
      this.table.reserve()
      this.index.reserve(p.directory, hash)
      if (draft.expiresAtMs !== 0) this.table.reserveExpiry(this.table.nextEntry)
      large?.retain()
      e = this.table.add(hash, this.log.append(words))
      this.index.add(p.directory, hash, e)
      p.entries++
    } else {
      if (draft.expiresAtMs !== 0) this.table.reserveExpiry(e)
      // Before the old value is released: it may be the same.
      large?.retain()
      this.#replace(p, region, e, words)
    }
    const location = this.table.location(e)
    const record = this.log.wordsAt(location)
    const at = this.log.wordOf(location)
    this.#write(draft, record, this.log.bytesAt(location), at, e, region.slot | (p.slot << 16))
    const cost = this.#cost(record, at)
    toggle(p, hash, record, at)
    p.bytes += cost
    this.table.setExpiresAtMs(e, draft.expiresAtMs)
    if (p.primary) this.#link(region, e, cost)
    this.log.pay(words)
    return e
  }

  /** Changes when the entry expires (0: never) and its version with it. @throws CacheError OVERLOADED */
  setExpiry(e: EntryIndex, expiresAtMs: number, versionEpoch: number, versionSequence: number): void {
    invariant(expiresAtMs >= 0 && expiresAtMs <= EXPIRY_MS_MAX, 'an expiry out of range')
    if (expiresAtMs !== 0) this.table.reserveExpiry(e)
    const location = this.table.location(e)
    const words = this.log.wordsAt(location)
    const at = this.log.wordOf(location)
    const p = this.#partitions[(words[at + RECORD_SLOTS] as number) >>> 16] as Partition
    const hash = this.table.hash(e)
    toggle(p, hash, words, at)
    words[at + RECORD_EPOCH] = versionEpoch
    words[at + RECORD_SEQUENCE] = versionSequence
    words[at + RECORD_HIGHS] =
      ((words[at + RECORD_HIGHS] as number) & 0xffff_0000) | Math.floor(versionSequence / TWO_32)
    toggle(p, hash, words, at)
    this.wheel.cancel(e)
    this.table.setExpiresAtMs(e, expiresAtMs)
    if (p.primary && expiresAtMs !== 0) this.wheel.schedule(e)
  }

  remove(e: EntryIndex, reason: RemovalReason = RemovalReason.deleted): void {
    const location = this.table.location(e)
    const words = this.log.wordsAt(location)
    const at = this.log.wordOf(location)
    invariant(
      words !== undefined && words[at + RECORD_ENTRY] === e,
      'removal of an entry that does not exist',
    )
    const slots = words[at + RECORD_SLOTS] as number
    const p = this.#partitions[slots >>> 16] as Partition
    const region = this.#regions[slots & 0xffff] as Region
    const hash = this.table.hash(e)
    this.#forget(p, region, e, hash, words, at)
    this.index.remove(p.directory, hash, e)
    p.entries--
    const count = recordWords(words, at)
    this.#releaseLarge(words, at)
    this.table.remove(e)
    this.log.release(location, count)
    if (reason === RemovalReason.evicted) region.evicted++
    else if (reason === RemovalReason.expired) region.expired++
  }

  /** Removes a region's entries in one partition whose keys begin with `prefix[start..end)`. @returns how many. */
  clearRegion(
    partition: number,
    regionId: number,
    prefix: Uint8Array = NOTHING,
    start = 0,
    end: number = prefix.length,
  ): number {
    const { slot } = this.#region(regionId)
    const entries: EntryIndex[] = []
    this.index.collect(this.#partition(partition).directory, entries)
    let removed = 0
    for (const e of entries) {
      const location = this.table.location(e)
      const words = this.log.wordsAt(location)
      const at = this.log.wordOf(location)
      const lengths = words[at + RECORD_LENGTHS] as number
      if (((words[at + RECORD_SLOTS] as number) & 0xffff) !== slot) continue
      if (((lengths >>> KEY_SHIFT) & KEY_MASK) < end - start) continue
      if (!sameBytes(this.log.bytesAt(location), keyStart(at, lengths), prefix, start, end - start)) continue
      this.remove(e)
      removed++
    }
    return removed
  }

  /** Room for a value above INLINE_VALUE_BYTES_MAX, with one reference, the caller's. @throws CacheError OVERLOADED */
  newLargeValue(totalBytes: number): LargeValue {
    invariant(totalBytes > INLINE_VALUE_BYTES_MAX, `a large value of ${totalBytes} bytes`)
    return this.#largeValues.create(totalBytes)
  }

  // Budgets and time

  overBudget(regionId: number): boolean {
    return this.#region(regionId).overBudget
  }

  /** The linked entry that its policy lets go first; NO_ENTRY when there is none. */
  victim(regionId: number): EntryIndex {
    const e = this.#region(regionId).policy.victim()
    return e === NIL ? NO_ENTRY : e
  }

  /** The region with the most primary bytes, which gives way when memory is short; undefined when all are empty. */
  fullestRegion(): number | undefined {
    let fullest: Region | undefined
    for (const region of this.#regions) {
      if (region.entries > 0 && (fullest === undefined || region.bytes > fullest.bytes)) fullest = region
    }
    return fullest?.id
  }

  /**
   * Hands over up to `limit` linked entries that are due, each once: the callback removes it, or gives it another expiry.
   * @returns how many. See `isExpiryBehind` for whether more is to do.
   */
  expireDue(nowMs: number, limit: number, onDue: (e: EntryIndex) => void): number {
    return this.wheel.advance(nowMs, limit, onDue)
  }

  /** Whether `expireDue` at this time may find more. */
  isExpiryBehind(nowMs: number): boolean {
    return this.wheel.isBehind(nowMs)
  }

  // Enumeration and figures

  /** The partition's own digest, 64 buckets of two words: it changes with the entries; copy it to keep it. */
  digest(partition: number): Uint32Array {
    return this.#partition(partition).digest
  }

  /** Visits all entries of one of a partition's 64 buckets. The visitor may remove the entry it is given, no other. */
  forEachInBucket(partition: number, bucket: number, visit: (e: EntryIndex) => void): void {
    const entries: EntryIndex[] = []
    this.index.collectBucket(this.#partition(partition).directory, bucket, entries)
    for (const e of entries) visit(e)
  }

  /**
   * Entries of a partition whose hash is at least `hash`, one page of the index, appended to `into`. The pages follow each
   * other in the order of the hash.
   * @returns the first hash behind them; 2^32 when there are no more
   */
  collectFrom(partition: number, hash: number, into: EntryIndex[]): number {
    return this.index.collectFrom(this.#partition(partition).directory, hash, into)
  }

  /** Has `watcher` told of each change to the partition from now on. */
  watch(partition: number, watcher: PartitionWatcher): void {
    const p = this.#partition(partition)
    p.watchers = [...(p.watchers ?? []), watcher]
  }

  unwatch(partition: number, watcher: PartitionWatcher): void {
    const p = this.#partitionByNumber[partition]
    const left = p?.watchers?.filter((one) => one !== watcher) ?? []
    if (p !== undefined) p.watchers = left.length === 0 ? undefined : left
  }

  /** Whether the partition is held, and has been since `watch` was called with this watcher. */
  isWatchedBy(partition: number, watcher: PartitionWatcher): boolean {
    return this.#partitionByNumber[partition]?.watchers?.includes(watcher) === true
  }

  /** Entries of one partition. */
  entries(partition: number): number {
    return this.#partition(partition).entries
  }

  /** Bytes of one partition, counted as for budgets. */
  partitionBytes(partition: number): number {
    return this.#partition(partition).bytes
  }

  /** The numbers of the partitions held. */
  partitions(): number[] {
    return this.#partitions.flatMap((p) => (p === undefined ? [] : [p.number])).sort((a, b) => a - b)
  }

  regionStats(regionId: number): RegionStats {
    return this.#region(regionId).stats
  }

  get stats(): EngineStats {
    return {
      entries: this.table.count,
      liveBytes: this.log.liveBytes,
      logBytes: this.log.usedBytes,
      idleBytes: this.#pool.idleCount * this.#pool.segmentBytes,
      columnBytes: this.table.bytes,
      indexBytes: this.index.bytes,
      largeBytes: this.#largeValues.heldBytes,
      compactedBytes: this.log.movedBytes,
      scheduled: this.wheel.count,
    }
  }

  /** Lets go of memory that was not wanted for a while; to be called every 50 ms. */
  trim(): void {
    this.#pool.trim()
  }

  /** One slice of compaction, about `bytesMax` of copying. @returns whether more is to do. */
  maintain(bytesMax: number): boolean {
    return this.log.needsCompaction && this.log.compact(bytesMax >>> 2) > 0 && this.log.needsCompaction
  }

  /** Bytes of the log that compaction would give back. */
  get deadBytes(): number {
    return this.log.deadBytes
  }

  /** Compacts though there is no need of it. @returns the bytes it looked at or copied; 0: nothing is to be gained */
  compact(bytesMax: number): number {
    return this.log.compact(bytesMax >>> 2) * 4
  }

  // Inside

  #region(regionId: number): Region {
    if (this.#lastRegion?.id === regionId) return this.#lastRegion
    const region = this.#regionById.get(regionId)
    if (region === undefined) throw broken(`region ${regionId} does not exist`)
    this.#lastRegion = region
    return region
  }

  #partition(partition: number): Partition {
    const p = this.#partitionByNumber[partition]
    if (p === undefined) throw broken(`partition ${partition} is not held here`)
    return p
  }

  #word(e: EntryIndex, field: number): number {
    const location = this.table.location(e)
    return this.log.wordsAt(location)[this.log.wordOf(location) + field] as number
  }

  #largeOf(e: EntryIndex): LargeValue {
    const location = this.table.location(e)
    return this.#large[this.#largeIndex(this.log.wordsAt(location), this.log.wordOf(location))] as LargeValue
  }

  /** Where the large value of the record at `at` is kept. */
  #largeIndex(words: Uint32Array, at: number): number {
    const start = valueStart(words, at, words[at + RECORD_LENGTHS] as number)
    let index = 0
    for (let i = 3; i >= 0; i--)
      index = (index << 8) | (((words[(start + i) >>> 2] as number) >>> (((start + i) & 3) * 8)) & 0xff)
    return index
  }

  #releaseLarge(words: Uint32Array, at: number): void {
    if (!((words[at + RECORD_LENGTHS] as number) & FLAG_LARGE)) return
    const index = this.#largeIndex(words, at)
    this.#large[index]?.release()
    this.#large[index] = undefined
    this.#largeFree.push(index)
  }

  /** Takes the old value of `e` out of all figures and gives `e` a place of `count` words. */
  #replace(p: Partition, region: Region, e: EntryIndex, count: number): void {
    const location = this.table.location(e)
    const words = this.log.wordsAt(location)
    const at = this.log.wordOf(location)
    this.#forget(p, region, e, this.table.hash(e), words, at)
    this.#releaseLarge(words, at)
    // A record of the same size is overwritten where it is: no garbage.
    const old = recordWords(words, at)
    if (old === count) return
    this.table.setLocation(e, this.log.append(count))
    this.log.release(location, old)
  }

  /** Writes the draft's record at word `at`. A large value's reference is the record's from here on. */
  #write(
    draft: EntryDraft,
    words: Uint32Array,
    bytes: Uint8Array,
    at: number,
    e: EntryIndex,
    slots: number,
  ): void {
    const { large } = draft
    const keyBytes = draft.keyEnd - draft.keyStart
    const valueBytes = large === undefined ? draft.valueEnd - draft.valueStart : 4
    let lengths = (keyBytes << KEY_SHIFT) | valueBytes
    if (large !== undefined) lengths |= FLAG_LARGE
    if (draft.staleAtMs !== 0) {
      lengths |= FLAG_STALE
      words[at + RECORD_STALE] = draft.staleAtMs
      words[at + RECORD_STALE + 1] = Math.floor(draft.staleAtMs / TWO_32)
    }
    words[at + RECORD_ENTRY] = e
    words[at + RECORD_LENGTHS] = lengths
    words[at + RECORD_EPOCH] = draft.versionEpoch
    words[at + RECORD_SEQUENCE] = draft.versionSequence
    words[at + RECORD_HIGHS] =
      Math.floor(draft.versionSequence / TWO_32) | (Math.floor(draft.createdAtMs / TWO_32) << 16)
    words[at + RECORD_CREATED] = draft.createdAtMs
    words[at + RECORD_SLOTS] = slots
    words[at + RECORD_CODEC] = draft.codec | (draft.tagCount << 8) | ((draft.tagsEnd - draft.tagsStart) << 16)
    let to = keyStart(at, lengths)
    copyBytes(draft.key, draft.keyStart, draft.keyEnd, bytes, to)
    to += keyBytes
    if (draft.tagsEnd > draft.tagsStart) {
      copyBytes(draft.tags, draft.tagsStart, draft.tagsEnd, bytes, to)
      to += draft.tagsEnd - draft.tagsStart
    }
    if (large === undefined) {
      copyBytes(draft.value, draft.valueStart, draft.valueEnd, bytes, to)
    } else {
      const index = this.#largeFree.pop() ?? this.#large.length
      this.#large[index] = large
      for (let i = 0; i < 4; i++) bytes[to + i] = index >>> (8 * i)
    }
  }

  /** What the record at `at` counts for in budgets. */
  #cost(words: Uint32Array, at: number): number {
    const cost = recordWords(words, at) * 4 + ENTRY_OVERHEAD_BYTES
    if (!((words[at + RECORD_LENGTHS] as number) & FLAG_LARGE)) return cost
    return cost + (this.#large[this.#largeIndex(words, at)] as LargeValue).heldBytes
  }

  /** Takes an entry out of its partition's figures, and unlinks it. Its record, at `at`, stays. */
  #forget(p: Partition, region: Region, e: EntryIndex, hash: number, words: Uint32Array, at: number): void {
    const cost = this.#cost(words, at)
    toggle(p, hash, words, at)
    p.bytes -= cost
    if (p.primary) this.#unlink(region, e, cost)
  }

  #link(region: Region, e: EntryIndex, cost: number): void {
    region.link(e, cost)
    if (this.table.expiresAtMs(e) !== 0) this.wheel.schedule(e)
  }

  #unlink(region: Region, e: EntryIndex, cost: number): void {
    region.unlink(e, cost)
    this.wheel.cancel(e)
  }

  #regionOf(e: EntryIndex): Region {
    return this.#regions[this.#word(e, RECORD_SLOTS) & 0xffff] as Region
  }

  #inWriteOrder(entries: EntryIndex[]): Iterable<EntryIndex> {
    const epochs = Float64Array.from(entries, (e) => this.versionEpoch(e))
    const sequences = Float64Array.from(entries, (e) => this.versionSequence(e))
    // The entries of a batch share a version; the hash makes their order the same on each node.
    const order = Uint32Array.from(entries.keys()).sort(
      (a, b) =>
        (epochs[a] as number) - (epochs[b] as number) ||
        (sequences[a] as number) - (sequences[b] as number) ||
        this.hash(entries[a] as number) - this.hash(entries[b] as number),
    )
    return order.map((i) => entries[i] as number)
  }
}

/** Puts the record at `at` into its partition's digest, or takes it out again. */
function toggle(p: Partition, hash: number, words: Uint32Array, at: number): void {
  toggleDigest(
    p.digest,
    hash,
    words[at + RECORD_EPOCH] as number,
    words[at + RECORD_SEQUENCE] as number,
    (words[at + RECORD_HIGHS] as number) & 0xffff,
  )
  // Whatever changes a partition changes its digest: no change can be missed here.
  if (p.watchers !== undefined) for (const watcher of p.watchers) watcher.changed(hash)
}

/** Byte offset, in the segment, of the value of the record at word `at`. */
function valueStart(words: Uint32Array, at: number, lengths: number): number {
  return (
    keyStart(at, lengths) +
    ((lengths >>> KEY_SHIFT) & KEY_MASK) +
    ((words[at + RECORD_CODEC] as number) >>> 16)
  )
}
