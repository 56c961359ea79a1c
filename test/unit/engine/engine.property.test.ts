/** The engine does what a Map of objects would do, through millions of random operations on virtual time. */

import assert from 'node:assert/strict'
import { describe, it } from 'vitest'
import { Engine, EntryDraft, type LargeValue, NO_ENTRY } from '../../../src/engine/engine.ts'
import { CacheError } from '../../../src/kernel/errors.ts'
import { MemoryAccount } from '../../../src/kernel/memory-account.ts'
import { integerBetween, SeededRandom, uniform } from '../../../src/kernel/random.ts'
import { auditEngine, auditEntry } from './audit.ts'
import { NaiveCache, type NaiveEntry } from './naive-cache.ts'

const REGIONS = [7, 3, 90_000]
const PARTITIONS = [0, 1, 5, 64, 1023, 70_000]
const MS_PER_DAY = 86_400_000

interface Profile {
  readonly keys: number
  readonly valueBytesMax: number
  readonly memoryBytes: number
  readonly largeShare: number
}

/** One engine and its model, and the operations that are drawn. */
class Run {
  readonly random: SeededRandom
  readonly memory: MemoryAccount
  readonly engine: Engine
  readonly model = new NaiveCache()
  readonly draft = new EntryDraft()
  readonly pinned: { value: LargeValue; bytes: Buffer }[] = []
  readonly profile: Profile
  readonly noise: Buffer
  nowMs = 1_700_000_000_000
  epoch = 1
  sequence = 0
  refused = 0

  constructor(seed: number, profile: Profile) {
    this.random = new SeededRandom(seed)
    this.profile = profile
    this.memory = new MemoryAccount(profile.memoryBytes)
    this.engine = new Engine({
      hashKey: { low: this.random.uint32(), high: this.random.uint32() },
      memory: this.memory,
      segmentBytes: 128 * 1024,
    })
    this.noise = Buffer.alloc(400_000)
    for (let i = 0; i < this.noise.length; i++) this.noise[i] = this.random.uint32()
    for (const [i, regionId] of REGIONS.entries()) {
      this.engine.addRegion(regionId, { policy: i === 1 ? 'fifo' : 'lru' })
      this.model.regions.set(regionId, {
        touchMoves: i !== 1,
        budgetBytes: 0,
        budgetEntries: 0,
        bytes: 0,
        order: new Map(),
      })
    }
    for (const partition of PARTITIONS) this.addPartition(partition)
  }

  below(limit: number): number {
    return integerBetween(this.random, 0, limit - 1)
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T
  }
  addPartition(partition: number): void {
    this.engine.addPartition(partition)
    this.model.partitions.set(partition, false)
    this.setPrimary(partition, this.below(4) > 0)
  }
  setPrimary(partition: number, primary: boolean): void {
    this.engine.setPrimary(partition, primary)
    this.model.setPrimary(partition, primary)
    assert.equal(this.engine.isPrimary(partition), primary)
  }

  /** A key, its place, and what the model holds there. */
  target(): {
    id: string
    partition: number
    regionId: number
    key: Buffer
    hash: number
    held: NaiveEntry | undefined
  } {
    const number = this.below(this.profile.keys)
    const partition = PARTITIONS[number % PARTITIONS.length] as number
    const regionId = REGIONS[(number % 5) % REGIONS.length] as number
    const text = number % 97 === 0 ? `${number}${'k'.repeat(1024 - String(number).length)}` : `k${number}`
    const key = Buffer.from(number % 3 === 0 ? `a:${text}`.slice(0, 1024) : text)
    const hash = this.engine.hashKey(regionId, key, 0, key.length)
    const id = `${regionId}/${key.toString('latin1')}`
    return { id, partition, regionId, key, hash, held: this.model.entries.get(id) }
  }

  step(): void {
    this.nowMs += this.below(1000) === 0 ? this.below(40 * MS_PER_DAY) : this.below(20)
    const dice = uniform(this.random)
    if (dice < 0.4) this.get()
    else if (dice < 0.8) this.set()
    else if (dice < 0.88) this.remove()
    else if (dice < 0.93) this.setExpiry()
    else if (dice < 0.933) this.expire()
    else if (dice < 0.97) this.evict()
    else if (dice < 0.99) this.engine.maintain(integerBetween(this.random, 0, 300_000))
    else if (dice < 0.995) this.readBucket()
    else if (dice < 0.9965) this.setBudget()
    else if (dice < 0.998) this.unpin()
    else if (dice < 0.9995) this.setPrimary(this.pick(PARTITIONS), this.below(2) === 0)
    else if (dice < 0.9998) this.clear()
    else this.dropPartition()
  }

  get(): void {
    const { partition, regionId, key, hash, held } = this.target()
    const e = this.engine.find(partition, regionId, hash, key, 0, key.length)
    if (held === undefined) {
      assert.equal(e, NO_ENTRY, 'a key that was not stored')
      return
    }
    auditEntry(this.engine, e, held)
    assert.equal(
      this.engine.isExpired(e, this.nowMs),
      held.expiresAtMs !== 0 && held.expiresAtMs <= this.nowMs,
    )
    const other = Buffer.from(held.value)
    if (other.length > 0) {
      const at = this.below(other.length)
      other[at] = (other[at] as number) ^ (1 + this.below(255))
      assert.equal(this.engine.compareValue(e, other, 0, other.length), false)
    }
    if (held.value.length > 65_536 && this.pinned.length < 4) {
      this.pinned.push({ value: (this.engine.largeValue(e) as LargeValue).retain(), bytes: held.value })
    }
    this.engine.touch(e)
    this.model.touch(held)
  }

  set(): void {
    const { id, partition, regionId, key, hash, held } = this.target()
    const { draft, random } = this
    const large = uniform(random) < this.profile.largeShare
    const valueBytes = large
      ? integerBetween(random, 65_537, 300_000)
      : this.below(this.profile.valueBytesMax + 1)
    const valueAt = this.below(this.noise.length - valueBytes)
    const tagsBytes = this.below(5) === 0 ? this.below(60) : 0
    const tagsAt = this.below(1000)
    if (this.below(500) === 0) {
      this.epoch++
      this.sequence += this.below(2) * 2 ** 40
    }
    // The operations of a batch share a sequence.
    if (this.below(10) > 0) this.sequence = (this.sequence + 1) % 2 ** 48
    const entry: NaiveEntry = {
      id,
      partition,
      regionId,
      key,
      hash,
      number: NO_ENTRY,
      value: this.noise.subarray(valueAt, valueAt + valueBytes),
      codec: this.below(256),
      epoch: this.epoch,
      sequence: this.sequence,
      createdAtMs: this.nowMs,
      expiresAtMs: this.expiry(),
      staleAtMs: this.below(4) === 0 ? this.nowMs + this.below(10_000) : 0,
      tags: this.noise.subarray(tagsAt, tagsAt + tagsBytes),
      tagCount: tagsBytes === 0 ? 0 : 1 + this.below(64),
      scheduled: false,
    }
    draft.clear()
    draft.partition = partition
    draft.regionId = regionId
    draft.hash = hash
    draft.key = key
    draft.keyEnd = key.length
    draft.codec = entry.codec
    draft.versionEpoch = entry.epoch
    draft.versionSequence = entry.sequence
    draft.createdAtMs = entry.createdAtMs
    draft.expiresAtMs = entry.expiresAtMs
    draft.staleAtMs = entry.staleAtMs
    draft.tags = this.noise
    draft.tagsStart = tagsAt
    draft.tagsEnd = tagsAt + tagsBytes
    draft.tagCount = entry.tagCount
    try {
      if (large && held !== undefined && held.value.length > 65_536 && this.below(3) === 0) {
        // The value it has already.
        draft.large = this.engine.largeValue(held.number)?.retain()
        entry.value = held.value
      } else if (large) {
        draft.large = this.upload(entry.value)
      } else {
        draft.value = this.noise
        draft.valueStart = valueAt
        draft.valueEnd = valueAt + valueBytes
      }
      entry.number = this.engine.put(draft)
    } catch (error) {
      if (!(error instanceof CacheError && error.code === 'OVERLOADED')) throw error
      draft.large?.discard()
      this.refused++
      if (this.refused % 500 === 1) auditEngine(this.engine, this.model)
      return
    }
    draft.large?.release()
    if (held !== undefined) assert.equal(entry.number, held.number, 'a new value keeps the entry')
    this.model.put(entry)
    auditEntry(this.engine, entry.number, entry)
  }

  upload(bytes: Buffer): LargeValue {
    const value = this.engine.newLargeValue(bytes.length)
    for (let at = 0; at < bytes.length; ) {
      const count = Math.min(bytes.length - at, integerBetween(this.random, 1, 60 * 1024))
      value.append(bytes, at, at + count)
      at += count
    }
    assert.ok(value.complete)
    return value
  }

  expiry(): number {
    const kind = this.below(8)
    if (kind < 4) return 0
    if (kind === 4) return this.nowMs - this.below(1000)
    if (kind === 5) return this.nowMs + this.below(300)
    if (kind === 6) return this.nowMs + this.below(100_000)
    return this.nowMs + this.below(100 * 365 * MS_PER_DAY)
  }

  remove(): void {
    const { held } = this.target()
    if (held === undefined) return
    this.engine.remove(held.number)
    this.model.remove(held)
  }

  setExpiry(): void {
    const { held } = this.target()
    if (held === undefined) return
    this.sequence = (this.sequence + 1) % 2 ** 48
    const expiresAtMs = this.expiry()
    try {
      this.engine.setExpiry(held.number, expiresAtMs, this.epoch, this.sequence)
    } catch (error) {
      if (!(error instanceof CacheError && error.code === 'OVERLOADED')) throw error
      return
    }
    held.epoch = this.epoch
    held.sequence = this.sequence
    this.model.setExpiry(held, expiresAtMs)
  }

  expire(): void {
    const due = new Map(this.model.due(this.nowMs).map((entry) => [entry.number, entry]))
    const limit = this.below(3) === 0 ? this.below(20) : Number.POSITIVE_INFINITY
    // A clock set back finds nothing that is not due by it.
    const nowMs = this.below(10) === 0 ? this.nowMs - this.below(1000) : this.nowMs
    let given = 0
    const count = this.engine.expireDue(nowMs, limit, (e) => {
      const entry = due.get(e)
      assert.ok(entry !== undefined && entry.expiresAtMs <= nowMs, 'handed over when due, once')
      due.delete(e)
      given++
      entry.scheduled = false
      const fate = this.below(10)
      if (fate === 0) return
      if (fate === 1) {
        this.engine.setExpiry(e, this.nowMs + 5000, entry.epoch, entry.sequence)
        this.model.setExpiry(entry, this.nowMs + 5000)
        return
      }
      this.engine.remove(e, 2)
      this.model.remove(entry)
    })
    assert.equal(count, given)
    assert.ok(given <= limit, 'no more than asked for')
    if (limit < Number.POSITIVE_INFINITY) return
    for (const entry of due.values()) assert.ok(entry.expiresAtMs > nowMs, 'what is due is handed over')
  }

  evict(): void {
    const regionId = this.pick(REGIONS)
    for (let n = 0; n < 200 && this.model.overBudget(regionId); n++) {
      assert.ok(this.engine.overBudget(regionId))
      const victim = this.model.victim(regionId)
      assert.equal(this.engine.victim(regionId), victim?.number ?? NO_ENTRY, 'the victim')
      if (victim === undefined) break
      this.engine.remove(victim.number, 1)
      this.model.remove(victim)
    }
    const fullest = this.engine.fullestRegion()
    const most = Math.max(...REGIONS.map((id) => this.model.region(id).bytes))
    assert.equal(fullest === undefined ? 0 : this.model.region(fullest).bytes, most)
    if (this.memory.level === 'full' && fullest !== undefined) {
      for (let n = 0; n < 50; n++) {
        const victim = this.model.victim(fullest)
        if (victim === undefined) break
        this.engine.remove(this.engine.victim(fullest), 1)
        this.model.remove(victim)
      }
    }
  }

  setBudget(): void {
    const regionId = this.pick(REGIONS)
    const region = this.model.region(regionId)
    const share = uniform(this.random)
    region.budgetBytes = this.below(2) === 0 ? 0 : Math.floor((region.bytes + 1000) * (0.5 + share))
    region.budgetEntries = this.below(2) === 0 ? 0 : Math.floor((region.order.size + 10) * (0.5 + share))
    this.engine.setBudget(regionId, region.budgetBytes, region.budgetEntries)
  }

  readBucket(): void {
    const partition = this.pick(PARTITIONS)
    const bucket = this.below(64)
    const expected = new Map(
      this.model
        .ofPartition(partition)
        .flatMap((x) => (x.hash >>> 26 === bucket ? [[x.number, x] as const] : [])),
    )
    const drop = this.below(20) === 0
    this.engine.forEachInBucket(partition, bucket, (e) => {
      const entry = expected.get(e)
      assert.ok(entry !== undefined, 'an entry of the bucket, once')
      expected.delete(e)
      if (!drop) return
      this.engine.remove(e)
      this.model.remove(entry)
    })
    assert.equal(expected.size, 0, 'the whole bucket')
  }

  clear(): void {
    const partition = this.pick(PARTITIONS)
    const regionId = this.pick(REGIONS)
    const prefix = this.pick(['', 'a:', 'k1', 'none'])
    const bytes = Buffer.from(`x${prefix}y`)
    const gone = this.model
      .ofPartition(partition)
      .filter((entry) => entry.regionId === regionId && entry.key.toString('latin1').startsWith(prefix))
    assert.equal(this.engine.clearRegion(partition, regionId, bytes, 1, bytes.length - 1), gone.length)
    for (const entry of gone) this.model.remove(entry)
  }

  dropPartition(): void {
    const partition = this.pick(PARTITIONS)
    const most = this.below(2) === 0 ? 100 : Number.POSITIVE_INFINITY
    while (!this.engine.dropPartition(partition, most)) assert.ok(this.engine.hasPartition(partition))
    assert.ok(!this.engine.hasPartition(partition))
    for (const entry of this.model.ofPartition(partition)) this.model.remove(entry)
    this.model.partitions.delete(partition)
    this.addPartition(partition)
  }

  /** What was pinned is whole, whatever became of its entry. */
  unpin(): void {
    const pin = this.pinned.pop()
    if (pin === undefined) return
    for (let at = 0; at < pin.bytes.length; at += 50_000) {
      const count = Math.min(50_000, pin.bytes.length - at)
      assert.equal(pin.bytes.compare(pin.value.view(at, count), 0, count, at, at + count), 0, 'pinned bytes')
    }
    pin.value.release()
  }

  audit(): void {
    auditEngine(this.engine, this.model)
    assert.ok(this.memory.totalBytes <= this.memory.limitBytes, 'the memory limit holds')
    const { idleBytes, columnBytes, indexBytes } = this.engine.stats
    assert.ok(this.memory.held('engine') >= idleBytes + columnBytes + indexBytes, 'what is held is reported')
  }

  /** After everything is removed nothing is left behind. */
  finish(): void {
    assert.ok(this.profile.keys < 1000 || this.engine.stats.compactedBytes > 0, 'records were compacted')
    while (this.pinned.length > 0) this.unpin()
    for (const partition of PARTITIONS) {
      for (const entry of this.model.ofPartition(partition)) this.model.remove(entry)
      this.engine.dropPartition(partition)
      this.model.partitions.delete(partition)
    }
    auditEngine(this.engine, this.model)
    assert.equal(this.engine.stats.largeBytes, 0)
    assert.equal(this.engine.stats.scheduled, 0)
    assert.equal(this.engine.index.pageCount, 0)
  }
}

function run(seed: number, operations: number, profile: Profile): Run {
  const r = new Run(seed, profile)
  for (let i = 0; i < operations; i++) {
    try {
      r.step()
      if (i % 50_000 === 49_999) r.audit()
    } catch (cause) {
      throw new Error(`seed ${seed}, operation ${i}: ${(cause as Error).message}`, { cause })
    }
  }
  r.audit()
  return r
}

const ROOMY = { memoryBytes: 2 ** 31 }

describe('the engine and a map of objects agree', () => {
  for (const seed of [1, 2, 3]) {
    it(`on many small entries (seed ${seed})`, () => {
      run(seed, 300_000, { ...ROOMY, keys: 20_000, valueBytesMax: 120, largeShare: 0 }).finish()
    })
  }
  for (const seed of [11, 12, 13]) {
    it(`on values of all sizes (seed ${seed})`, () => {
      run(seed, 100_000, { ...ROOMY, keys: 2000, valueBytesMax: 3000, largeShare: 0.002 }).finish()
    })
  }
  for (const seed of [21, 22, 23]) {
    it(`on few keys that are written again and again (seed ${seed})`, () => {
      run(seed, 200_000, { ...ROOMY, keys: 120, valueBytesMax: 300, largeShare: 0 }).finish()
    })
  }
  for (const seed of [31, 32, 33]) {
    it(`when memory is full (seed ${seed})`, () => {
      const r = run(seed, 100_000, {
        keys: 3000,
        valueBytesMax: 6000,
        largeShare: 0.001,
        memoryBytes: 5_000_000,
      })
      assert.ok(r.refused > 100, `writes were refused (${r.refused})`)
      r.finish()
    })
  }
})
