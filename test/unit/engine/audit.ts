/** Compares everything an engine holds, and every figure it keeps, with a naive cache. */

import assert from 'node:assert/strict'
import { toggleDigest } from '../../../src/engine/digest.ts'
import { type Engine, NO_ENTRY } from '../../../src/engine/engine.ts'
import { NIL } from '../../../src/engine/entry-table.ts'
import { ByteWriter } from '../../../src/kernel/bytes.ts'
import { costOf, type NaiveCache, type NaiveEntry, recordBytesOf } from './naive-cache.ts'

const writer = new ByteWriter()

export function auditEngine(engine: Engine, model: NaiveCache): void {
  const { stats } = engine
  const entries = [...model.entries.values()]
  assert.equal(stats.entries, entries.length, 'entries')
  assert.equal(stats.liveBytes, sum(entries, recordBytesOf), 'live bytes by the entries')
  let liveWords = 0
  for (const { words } of engine.log.liveRecords()) liveWords += words
  assert.equal(stats.liveBytes, liveWords * 4, 'live bytes by the segments')
  assert.equal(stats.scheduled, entries.filter((entry) => entry.scheduled).length, 'scheduled')
  assert.deepEqual(
    engine.partitions(),
    [...model.partitions.keys()].sort((a, b) => a - b),
    'partitions',
  )
  for (const partition of model.partitions.keys()) auditPartition(engine, model, partition)
  for (const regionId of model.regions.keys()) auditRegion(engine, model, regionId)
}

function auditPartition(engine: Engine, model: NaiveCache, partition: number): void {
  const entries = model.ofPartition(partition)
  assert.equal(engine.entries(partition), entries.length, `entries of partition ${partition}`)
  assert.equal(engine.partitionBytes(partition), sum(entries, costOf), `bytes of partition ${partition}`)
  const digest = new Uint32Array(128)
  for (const { hash, epoch, sequence } of entries) {
    toggleDigest(digest, hash, epoch, sequence >>> 0, Math.floor(sequence / 2 ** 32))
  }
  assert.deepEqual(engine.digest(partition), digest, `digest of partition ${partition}`)
  const byNumber = new Map(entries.map((entry) => [entry.number, entry]))
  for (let bucket = 0; bucket < 64; bucket++) {
    engine.forEachInBucket(partition, bucket, (e) => {
      const entry = byNumber.get(e)
      assert.ok(entry !== undefined, `entry ${e} of bucket ${bucket} is in the model, once`)
      byNumber.delete(e)
      assert.equal(entry.hash >>> 26, bucket, 'an entry in its bucket')
      auditEntry(engine, e, entry)
    })
  }
  assert.equal(byNumber.size, 0, `entries that no bucket of partition ${partition} gave`)
}

function auditRegion(engine: Engine, model: NaiveCache, regionId: number): void {
  const { order, bytes } = model.region(regionId)
  const stats = engine.regionStats(regionId)
  assert.equal(stats.entries, order.size, `primary entries of region ${regionId}`)
  assert.equal(stats.bytes, bytes, `primary bytes of region ${regionId}`)
  assert.equal(engine.overBudget(regionId), model.overBudget(regionId))
  let e = engine.victim(regionId)
  if (e === NO_ENTRY) e = NIL
  for (const entry of order.values()) {
    assert.equal(e, entry.number, `eviction order of region ${regionId}`)
    e = engine.table.next(e)
  }
  assert.equal(e, NIL, `the end of the eviction order of region ${regionId}`)
}

/** Everything that can be asked of one entry. */
export function auditEntry(engine: Engine, e: number, entry: NaiveEntry): void {
  assert.equal(e, entry.number, 'number')
  assert.equal(engine.find(entry.partition, entry.regionId, entry.hash, entry.key, 0, entry.key.length), e)
  assert.equal(engine.partition(e), entry.partition)
  assert.equal(engine.regionId(e), entry.regionId)
  assert.equal(engine.codec(e), entry.codec)
  assert.equal(engine.versionEpoch(e), entry.epoch)
  assert.equal(engine.versionSequence(e), entry.sequence)
  assert.equal(engine.createdAtMs(e), entry.createdAtMs)
  assert.equal(engine.expiresAtMs(e), entry.expiresAtMs)
  assert.equal(engine.staleAtMs(e), entry.staleAtMs)
  assert.equal(engine.entryBytes(e), costOf(entry))
  assert.equal(engine.valueBytes(e), entry.value.length)
  assert.equal(engine.largeValue(e) !== undefined, entry.value.length > 65_536)
  assert.equal(engine.keyBytes(e), entry.key.length)
  assert.equal(engine.tagCount(e), entry.tagCount)
  assert.equal(engine.tagsBytes(e), entry.tags.length)
  writer.clear()
  engine.copyKey(e, writer)
  engine.copyTags(e, writer)
  engine.copyValue(e, writer)
  const expected = Buffer.concat([entry.key, entry.tags, entry.value])
  assert.equal(expected.compare(writer.bytes, 0, writer.length), 0, 'bytes of key, tags and value')
  assert.ok(engine.compareValue(e, entry.value, 0, entry.value.length), 'compareValue')
}

function sum(entries: readonly NaiveEntry[], of: (entry: NaiveEntry) => number): number {
  let total = 0
  for (const entry of entries) total += of(entry)
  return total
}
