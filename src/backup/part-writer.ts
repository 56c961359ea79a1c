/**
 * Writes one part: some partitions of this node, each consistent at one sequence, straight from memory into the place of the backup,
 * while the node serves (snapshot/snapshot-writer.ts). Its description follows once the object is there, so a part without one is nothing.
 */

import type { Clock } from '../kernel/clock.ts'
import type { Log } from '../kernel/log.ts'
import type { BackupStore } from '../snapshot/backup-store.ts'
import type { Compression } from '../snapshot/compression.ts'
import type { Pace } from '../snapshot/pace.ts'
import { type SnapshotProgress, type SnapshotSource, SnapshotWriter } from '../snapshot/snapshot-writer.ts'
import { FORMAT, type PartRecord, partDataName, partRecordName, writeDescribed } from './backup-manifest.ts'
import { PartStream } from './part-stream.ts'

export interface PartWriterOptions {
  readonly backup: string
  /** Of the part; unlike any other. */
  readonly part: string
  readonly clusterId: string
  readonly node: string
  readonly source: SnapshotSource
  readonly store: BackupStore
  readonly compression: Compression
  readonly pace: Pace
  readonly clock: Clock
  readonly log: Log
  readonly signal: AbortSignal
  readonly onProgress?: (progress: SnapshotProgress) => void
}

/**
 * @returns undefined when none of the partitions could be written: nothing is stored then
 * @throws CacheError as the store does, and ABORTED. Nothing counts then
 */
export async function writePart(options: PartWriterOptions): Promise<PartRecord | undefined> {
  const { backup, part, clusterId, node, store, clock, signal, onProgress } = options
  const startedMs = clock.wallMs()
  const stream = new PartStream(part)
  const storing = store
    .put(partDataName(backup, part), stream.content(), { signal })
    .catch((error: unknown) => {
      stream.fail(error)
      throw error
    })
  // Whoever waits for the writer hears of it first.
  storing.catch(() => {})
  const writer = new SnapshotWriter({ ...options, id: part, store: stream, base: undefined, onProgress })
  try {
    await writer.write()
    stream.end()
  } catch (error) {
    stream.fail(error)
    await storing.catch(() => {})
    throw error
  }
  const bytes = await storing
  const { partitions } = stream
  if (partitions.length === 0) {
    await store.delete([partDataName(backup, part)], { signal })
    return undefined
  }
  const finishedMs = clock.wallMs()
  const record: PartRecord = {
    format: FORMAT,
    name: part,
    clusterId,
    node,
    startedMs,
    finishedMs,
    bytes,
    partitions,
  }
  await writeDescribed(store, partRecordName(backup, part), record, { signal })
  return record
}
