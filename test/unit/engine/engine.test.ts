import { describe, expect, it } from 'vitest'
import { Engine, EntryDraft, INLINE_VALUE_BYTES_MAX, NO_ENTRY } from '../../../src/engine/engine.ts'
import type { EvictionPolicyName } from '../../../src/engine/eviction/policy.ts'
import { ByteWriter } from '../../../src/kernel/bytes.ts'
import { CacheError } from '../../../src/kernel/errors.ts'
import { MemoryAccount } from '../../../src/kernel/memory-account.ts'
import { integerBetween, SeededRandom } from '../../../src/kernel/random.ts'

const REGION = 4
const HASH_KEY = { low: 11, high: 22 }

function engineWith(options: { policy?: EvictionPolicyName; memoryBytes?: number } = {}): Engine {
  const memory = new MemoryAccount(options.memoryBytes ?? 2 ** 30)
  const engine = new Engine({ hashKey: HASH_KEY, memory, segmentBytes: 128 * 1024 })
  engine.addRegion(REGION, { policy: options.policy ?? 'lru' })
  engine.addPartition(0)
  engine.setPrimary(0, true)
  return engine
}

function draftOf(
  engine: Engine,
  key: string,
  value: string | Uint8Array,
  fields: Partial<EntryDraft> = {},
): EntryDraft {
  const draft = new EntryDraft()
  draft.regionId = REGION
  draft.key = Buffer.from(key)
  draft.keyEnd = draft.key.length
  draft.hash = engine.hashKey(REGION, draft.key, 0, draft.keyEnd)
  draft.value = Buffer.from(value)
  draft.valueEnd = draft.value.length
  return Object.assign(draft, fields)
}

function put(
  engine: Engine,
  key: string,
  value: string | Uint8Array = key,
  fields: Partial<EntryDraft> = {},
): number {
  return engine.put(draftOf(engine, key, value, fields))
}

function find(engine: Engine, key: string, partition = 0): number {
  const bytes = Buffer.from(key)
  return engine.find(
    partition,
    REGION,
    engine.hashKey(REGION, bytes, 0, bytes.length),
    bytes,
    0,
    bytes.length,
  )
}

function textOf(engine: Engine, e: number): string {
  const writer = new ByteWriter()
  engine.copyValue(e, writer)
  return Buffer.from(writer.toBytes()).toString()
}

function keyOf(engine: Engine, e: number): string {
  const writer = new ByteWriter()
  engine.copyKey(e, writer)
  return Buffer.from(writer.toBytes()).toString()
}

/** Keys in the order they would be evicted. */
function evictionOrder(engine: Engine): string[] {
  const keys: string[] = []
  for (let e = engine.victim(REGION); e !== NO_ENTRY; e = engine.victim(REGION)) {
    keys.push(keyOf(engine, e))
    engine.remove(e, 1)
  }
  return keys
}

function codeOf(action: () => unknown): string {
  try {
    action()
  } catch (error) {
    return error instanceof CacheError ? error.code : String(error)
  }
  return 'none'
}

describe('eviction order', () => {
  it('LRU: reads and writes count as use', () => {
    const engine = engineWith()
    for (const key of ['a', 'b', 'c', 'd']) put(engine, key)
    engine.touch(find(engine, 'a'))
    put(engine, 'b', 'another')
    expect(evictionOrder(engine)).toEqual(['c', 'd', 'a', 'b'])
    expect(engine.regionStats(REGION).evicted).toBe(4)
  })

  it('FIFO: only writes count', () => {
    const engine = engineWith({ policy: 'fifo' })
    for (const key of ['a', 'b', 'c', 'd']) put(engine, key)
    engine.touch(find(engine, 'a'))
    put(engine, 'b', 'another')
    expect(evictionOrder(engine)).toEqual(['a', 'c', 'd', 'b'])
  })

  it('a new primary begins in the order of the writes', () => {
    const engine = engineWith()
    engine.addPartition(9)
    const at = (epoch: number, sequence: number): Partial<EntryDraft> => ({
      partition: 9,
      versionEpoch: epoch,
      versionSequence: sequence,
    })
    put(engine, 'third', '', at(2, 1))
    put(engine, 'second', '', at(1, 2 ** 40))
    put(engine, 'first', '', at(1, 7))
    expect(engine.victim(REGION)).toBe(NO_ENTRY)
    expect(engine.regionStats(REGION).entries).toBe(0)
    engine.setPrimary(9, true)
    expect(evictionOrder(engine)).toEqual(['first', 'second', 'third'])
  })
})

describe('memory', () => {
  it('refuses what does not fit, and has changed nothing then', () => {
    const engine = engineWith({ memoryBytes: 3_000_000 })
    let stored = 0
    while (codeOf(() => put(engine, `key${stored}`, 'v'.repeat(500))) === 'none') stored++
    expect(stored).toBeGreaterThan(1000)
    const digest = engine.digest(0).slice()
    const stats = engine.stats
    expect(codeOf(() => put(engine, 'one more', 'v'.repeat(500)))).toBe('OVERLOADED')
    expect(codeOf(() => put(engine, 'key7', 'w'.repeat(600)))).toBe('OVERLOADED')
    expect(codeOf(() => engine.newLargeValue(1_000_000))).toBe('OVERLOADED')
    expect(engine.stats).toEqual(stats)
    expect(engine.digest(0)).toEqual(digest)
    expect(textOf(engine, find(engine, 'key7'))).toBe('v'.repeat(500))
    // What is evicted makes room.
    for (let i = 0; i < 600; i++) engine.remove(engine.victim(REGION))
    for (let i = 0; i < 300; i++) put(engine, `new${i}`, 'w'.repeat(500))
  })

  it('keeps nine tenths of the log alive while values of all sizes are overwritten', () => {
    const engine = engineWith()
    const random = new SeededRandom(5)
    for (let i = 0; i < 200_000; i++) {
      const value = noise.subarray(0, integerBetween(random, 200, 400))
      put(engine, `key${integerBetween(random, 0, 19_999)}`, value, { versionSequence: i })
    }
    const { liveBytes, logBytes } = engine.stats
    expect(liveBytes / (logBytes - 4 * 128 * 1024)).toBeGreaterThan(0.88)
  })

  it('compacts in slices and gives segments back after a mass removal', () => {
    const engine = engineWith()
    for (let i = 0; i < 50_000; i++) put(engine, `key${i}`, noise.subarray(0, 100))
    const full = engine.stats.logBytes
    for (let i = 0; i < 50_000; i++) if (i % 10 !== 0) engine.remove(find(engine, `key${i}`))
    let slices = 0
    while (engine.maintain(16_384)) slices++
    expect(slices).toBeGreaterThan(5)
    expect(engine.stats.logBytes).toBeLessThan(full / 4)
    for (let i = 0; i < 50_000; i += 10) expect(textOf(engine, find(engine, `key${i}`)).length).toBe(100)
  })
})

describe('large values', () => {
  const bytes = Buffer.alloc(300_001, 'large value ')

  function upload(engine: Engine): ReturnType<Engine['newLargeValue']> {
    const value = engine.newLargeValue(bytes.length)
    for (let at = 0; at < bytes.length; at += 61_440)
      value.append(bytes, at, Math.min(at + 61_440, bytes.length))
    return value
  }

  it('are stored, read in pieces, and outlive their entry while pinned', () => {
    const engine = engineWith()
    const value = upload(engine)
    const e = put(engine, 'big', '', { large: value })
    value.release()
    expect(engine.valueBytes(e)).toBe(bytes.length)
    expect(engine.compareValue(e, bytes, 0, bytes.length)).toBe(true)
    const pinned = engine.largeValue(e)?.retain()
    if (pinned === undefined) throw new Error('not large')
    put(engine, 'big', 'small now')
    expect(engine.stats.largeBytes).toBe(pinned.heldBytes)
    for (let at = 0; at < bytes.length; ) {
      const count = Math.min(61_440, pinned.contiguousBytes(at))
      expect(bytes.compare(pinned.view(at, count), 0, count, at, at + count)).toBe(0)
      at += count
    }
    expect(Buffer.from(pinned.view(60_000, 200_000)).equals(bytes.subarray(60_000, 260_000))).toBe(true)
    pinned.release()
    expect(engine.stats.largeBytes).toBe(0)
  })

  it('keep the blocks when a value is put again for the same key', () => {
    const engine = engineWith()
    const value = upload(engine)
    put(engine, 'big', '', { large: value })
    value.release()
    const e = put(engine, 'big', '', { large: value, versionSequence: 2 })
    expect(engine.compareValue(e, bytes, 0, bytes.length)).toBe(true)
    engine.remove(e)
    expect(engine.stats.largeBytes).toBe(0)
  })

  it('waste little: at most 8 KiB each', () => {
    const engine = engineWith()
    for (const size of [65_537, 70_000, 100_000, 122_881, 131_072, 1_000_000]) {
      const value = engine.newLargeValue(size)
      expect(value.heldBytes - size).toBeLessThan(8192)
      expect(engine.stats.largeBytes).toBe(value.heldBytes)
      value.discard()
      expect(engine.stats.largeBytes).toBe(0)
    }
  })

  it('take the blocks that others left before new memory', () => {
    const memory = new MemoryAccount(2 ** 30)
    const engine = new Engine({ hashKey: HASH_KEY, memory, segmentBytes: 128 * 1024 })
    const values = Array.from({ length: 20 }, () => engine.newLargeValue(131_072 - 8192))
    const held = memory.totalBytes
    for (let i = 0; i < 20; i += 2) values[i]?.discard()
    for (let i = 0; i < 20; i += 2) values[i] = engine.newLargeValue(131_072 - 8192)
    expect(memory.totalBytes).toBe(held)
    for (const value of values) value.discard()
    expect(engine.stats.largeBytes).toBe(0)
  })

  it('are refused half uploaded, and counted as bugs when misused', () => {
    const engine = engineWith()
    const value = engine.newLargeValue(100_000)
    value.append(bytes, 0, 1000)
    expect(codeOf(() => put(engine, 'big', '', { large: value }))).toBe('INTERNAL')
    expect(codeOf(() => value.append(bytes, 0, 100_000))).toBe('INTERNAL')
    expect(codeOf(() => value.view(0, 1001))).toBe('INTERNAL')
    value.discard()
    expect(codeOf(() => value.release())).toBe('INTERNAL')
    expect(codeOf(() => value.view(0, 1))).toBe('INTERNAL')
  })
})

describe('limits', () => {
  it('takes keys of 1 to 1024 bytes, values up to the inline limit, empty values', () => {
    const engine = engineWith()
    const longest = 'k'.repeat(1024)
    put(engine, longest, noise.subarray(0, INLINE_VALUE_BYTES_MAX))
    put(engine, 'k', '')
    expect(engine.valueBytes(find(engine, longest))).toBe(INLINE_VALUE_BYTES_MAX)
    expect(engine.valueBytes(find(engine, 'k'))).toBe(0)
    expect(find(engine, 'k'.repeat(1023))).toBe(NO_ENTRY)
  })

  it('says so when the caller is wrong', () => {
    const engine = engineWith()
    expect(codeOf(() => put(engine, ''))).toBe('INTERNAL')
    expect(codeOf(() => put(engine, 'k', noise.subarray(0, INLINE_VALUE_BYTES_MAX + 1)))).toBe('INTERNAL')
    expect(codeOf(() => put(engine, 'k', '', { partition: 1 }))).toBe('INTERNAL')
    expect(codeOf(() => put(engine, 'k', '', { regionId: 5 }))).toBe('INTERNAL')
    expect(codeOf(() => put(engine, 'k', '', { expiresAtMs: Number.NaN }))).toBe('INTERNAL')
    expect(codeOf(() => put(engine, 'k', '', { expiresAtMs: 1e18 }))).toBe('INTERNAL')
    expect(codeOf(() => engine.addPartition(0))).toBe('INTERNAL')
    expect(codeOf(() => engine.addRegion(REGION, { policy: 'lru' }))).toBe('INTERNAL')
    const e = put(engine, 'k')
    engine.remove(e)
    expect(codeOf(() => engine.remove(e))).toBe('INTERNAL')
    expect(engine.stats.entries).toBe(0)
  })

  it('keeps keys apart whose hashes are equal, and refuses more of them than a page holds', () => {
    const engine = engineWith()
    let stored = 0
    while (
      stored < 1000 &&
      codeOf(() => put(engine, `k${stored}`, `${stored}`, { hash: 0xdead_beef })) === 'none'
    )
      stored++
    expect(stored).toBe(68)
    for (let i = 0; i < stored; i++) {
      const key = Buffer.from(`k${i}`)
      expect(textOf(engine, engine.find(0, REGION, 0xdead_beef, key, 0, key.length))).toBe(`${i}`)
    }
    expect(codeOf(() => put(engine, 'more', '', { hash: 0xdead_beef }))).toBe('OVERLOADED')
    put(engine, 'other', 'fine')
    expect(textOf(engine, find(engine, 'other'))).toBe('fine')
  })
})

describe('enumeration', () => {
  it('gives each entry of a large partition in its bucket, once, growing and shrinking', () => {
    const engine = engineWith()
    const count = 30_000
    for (let i = 0; i < count; i++) put(engine, `k${i}`, '')
    const seen = (): number => {
      const entries = new Set<number>()
      for (let bucket = 0; bucket < 64; bucket++) {
        engine.forEachInBucket(0, bucket, (e) => {
          expect(engine.hash(e) >>> 26).toBe(bucket)
          expect(entries.has(e)).toBe(false)
          entries.add(e)
        })
      }
      return entries.size
    }
    expect(seen()).toBe(count)
    const pages = engine.index.pageCount
    for (let i = 0; i < count; i++) if (i % 20 !== 0) engine.remove(find(engine, `k${i}`))
    expect(seen()).toBe(count / 20)
    expect(engine.index.pageCount).toBeLessThan(pages / 8)
    expect(engine.clearRegion(0, REGION, Buffer.from('k1'))).toBeGreaterThan(count / 60)
    expect(engine.clearRegion(0, REGION)).toBeGreaterThan(count / 60)
    expect(seen()).toBe(0)
  })
})

describe('digests', () => {
  it('are equal exactly when two engines hold the same versions of the same keys', () => {
    const one = engineWith()
    const two = engineWith()
    for (let i = 0; i < 500; i++) put(one, `k${i}`, 'v', { versionEpoch: 1, versionSequence: i })
    for (let i = 499; i >= 0; i--) put(two, `k${i}`, 'v', { versionEpoch: 1, versionSequence: i })
    expect(two.digest(0)).toEqual(one.digest(0))
    one.setExpiry(find(one, 'k3'), 0, 1, 600)
    expect(two.digest(0)).not.toEqual(one.digest(0))
    const differing = [...one.digest(0).keys()].filter((i) => one.digest(0)[i] !== two.digest(0)[i])
    const bucket = one.hash(find(one, 'k3')) >>> 26
    expect(differing).toEqual([2 * bucket, 2 * bucket + 1])
    put(two, 'k3', 'v', { versionEpoch: 1, versionSequence: 600 })
    expect(two.digest(0)).toEqual(one.digest(0))
  })

  it('tell apart every part of a version', () => {
    const seen = new Set<string>()
    for (const versionEpoch of [1, 2, 2 ** 32 - 1]) {
      for (const versionSequence of [1, 2, 2 ** 32, 2 ** 32 + 1, 2 ** 47]) {
        const engine = engineWith()
        put(engine, 'k', 'v', { versionEpoch, versionSequence })
        seen.add(engine.digest(0).join())
      }
    }
    expect(seen.size).toBe(15)
  })
})

const noise = Buffer.alloc(INLINE_VALUE_BYTES_MAX + 1, 'noise')
