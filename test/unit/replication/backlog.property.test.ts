import { describe, expect, it } from 'vitest'
import { ByteWriter } from '../../../src/kernel/bytes.ts'
import { integerBetween, SeededRandom, uniform } from '../../../src/kernel/random.ts'
import { Backlog, NO_RECORD } from '../../../src/replication/backlog.ts'

interface Model {
  readonly partition: number
  readonly sequence: number
  readonly epoch: number
  readonly effect: Uint8Array
  readonly pinnedBytes: number
}

const PARTITIONS = 5
const CHUNK_BYTES = 1024 * 1024

/** A backlog beside a plain list of the same records. */
class Pair {
  readonly records: Model[] = []
  first = 0
  accountedBytes = 0
  pinned = 0
  released = 0
  readonly releasedRecords: Set<number> = new Set()
  readonly last: number[] = new Array<number>(PARTITIONS).fill(NO_RECORD)
  readonly sequences: number[] = new Array<number>(PARTITIONS).fill(0)
  readonly backlog: Backlog

  constructor(bytesMax: number, recordsMax: number) {
    this.backlog = new Backlog(
      bytesMax,
      (record) => {
        // Dropped oldest first, while it can still be read.
        expect(record).toBe(this.first)
        this.expectRecord(record)
        this.first++
      },
      (delta) => {
        this.accountedBytes += delta
      },
      recordsMax,
    )
  }

  append(partition: number, effect: Uint8Array, pinnedBytes: number): void {
    const sequence = (this.sequences[partition] as number) + 1
    this.sequences[partition] = sequence
    const record = this.records.length
    if (pinnedBytes > 0) this.pinned++
    const got = this.backlog.append(
      partition,
      7,
      sequence,
      effect,
      effect.length,
      this.last[partition] as number,
      pinnedBytes === 0
        ? undefined
        : {
            byteLength: pinnedBytes,
            release: () => {
              expect(this.releasedRecords.has(record)).toBe(false)
              this.releasedRecords.add(record)
              this.released++
            },
          },
    )
    expect(got).toBe(record)
    this.records.push({ partition, sequence, epoch: 7, effect, pinnedBytes })
    this.last[partition] = record
  }

  expectRecord(record: number): void {
    const { backlog } = this
    const model = this.records[record] as Model
    expect(backlog.partition(record)).toBe(model.partition)
    expect(backlog.sequence(record)).toBe(model.sequence)
    expect(backlog.epoch(record)).toBe(model.epoch)
    expect(backlog.effectBytes(record)).toBe(model.effect.length)
    expect(backlog.pinned(record)?.byteLength ?? 0).toBe(model.pinnedBytes)
    const w = new ByteWriter(16)
    backlog.copyEffect(record, w)
    expect(Buffer.compare(w.toBytes(), model.effect)).toBe(0)
  }

  /** All that is to hold between calls. */
  check(bytesMax: number, recordsMax: number): void {
    const { backlog, records } = this
    expect([backlog.first, backlog.end]).toEqual([this.first, records.length])
    let bytes = 0
    const chains = new Map<number, number>()
    for (let record = records.length - 1; record >= backlog.first; record--) {
      const model = records[record] as Model
      bytes += model.effect.length + model.pinnedBytes
      // Each leads to its partition's next: so those kept are the newest of its log, without a gap.
      expect(backlog.next(record)).toBe(chains.get(model.partition) ?? NO_RECORD)
      chains.set(model.partition, record)
    }
    expect(backlog.heldBytes).toBe(bytes)
    const kept = backlog.end - backlog.first
    expect(bytes <= bytesMax || kept === 1).toBe(true)
    expect(kept).toBeLessThanOrEqual(recordsMax)
    let pinnedLeft = 0
    for (let record = backlog.first; record < backlog.end; record++)
      if ((records[record] as Model).pinnedBytes > 0) pinnedLeft++
    expect(this.pinned - this.released).toBe(pinnedLeft)
  }
}

describe('a backlog', () => {
  it.each([
    [1, 4096, 100_000],
    [2, 200, 100_000],
    [3, 1_000_000, 64],
    [4, 3 * CHUNK_BYTES, 100_000],
    [5, 50_000, 1],
  ])(
    'seed %i, %i bytes, %i records: keeps the newest of each log without a gap, within its bounds',
    (seed, bytesMax, recordsMax) => {
      const random = new SeededRandom(seed)
      const pair = new Pair(bytesMax, recordsMax)
      const large = bytesMax > CHUNK_BYTES
      for (let i = 0; i < 2500; i++) {
        const dice = uniform(random)
        const bytes =
          large && dice < 0.02
            ? integerBetween(random, 1, 2 * CHUNK_BYTES)
            : integerBetween(random, 0, large ? 20_000 : 100)
        const effect = new Uint8Array(bytes).fill(i)
        pair.append(
          integerBetween(random, 0, PARTITIONS - 1),
          effect,
          dice > 0.9 ? integerBetween(random, 1, 5000) : 0,
        )
        if (i % 100 === 0) pair.check(bytesMax, recordsMax)
        if (i % 20 === 0 && pair.backlog.first < pair.backlog.end)
          pair.expectRecord(integerBetween(random, pair.backlog.first, pair.backlog.end - 1))
      }
      // Chunks are used again: no more memory than the records need, and a few to spare.
      expect(pair.accountedBytes).toBeLessThan(3 * bytesMax + 8 * CHUNK_BYTES)
      pair.backlog.close()
      expect(pair.accountedBytes).toBe(0)
      expect(pair.released).toBe(pair.pinned)
      expect(pair.backlog.heldBytes).toBe(0)
    },
  )

  it('takes a record larger than itself, alone', () => {
    const pair = new Pair(1000, 100)
    pair.append(0, new Uint8Array(10), 0)
    pair.append(1, new Uint8Array(5000), 0)
    pair.check(1000, 100)
    expect(pair.backlog.first).toBe(1)
    pair.append(0, new Uint8Array(10), 0)
    pair.check(1000, 100)
    expect(pair.backlog.first).toBe(2)
    pair.backlog.close()
    expect(pair.accountedBytes).toBe(0)
  })

  it('goes on after it was emptied', () => {
    const pair = new Pair(100, 100)
    for (let i = 0; i < 50; i++) {
      pair.append(i % 2, new Uint8Array(90).fill(i), 0)
      pair.expectRecord(i)
      pair.check(100, 100)
    }
  })
})
