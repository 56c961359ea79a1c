/**
 * What a snapshot says about itself: the manifest, written last and synced, which makes it valid, and a record for each
 * partition. Both are JSON with a checksum, so that later formats can add fields.
 *
 * **Formats.** A node reads the formats from FORMAT_MIN to FORMAT and writes FORMAT. What older readers would misread (the
 * form of entries, records, keys or terms) raises FORMAT; fields that can be left out do not. FORMAT_MIN follows two minor
 * releases later at the earliest, so a cluster that is upgraded release by release never meets one it can't read.
 */

import { CacheError } from '../kernel/errors.ts'
import type { RegionRecord } from '../topology/topology.ts'

export const FORMAT = 1
const FORMAT_MIN = 1

export type SnapshotKind = 'full' | 'incremental'

/** Where a partition stood at the moment it was sealed. */
export interface SnapshotPosition {
  readonly partitionEpoch: number
  /** The version of the last operation applied. */
  readonly lastEpoch: number
  readonly lastSequence: number
  /** The partition's clock. */
  readonly clockMs: number
}

/** A partition that is not in the snapshot though it was to be. */
export interface SkippedPartition {
  readonly partition: number
  readonly reason: string
}

export interface SnapshotManifest {
  readonly format: number
  readonly id: string
  readonly kind: SnapshotKind
  /** The snapshot it builds on; null for a full one. */
  readonly base: string | null
  /** How many snapshots are needed to read it, itself included. */
  readonly chain: number
  readonly clusterId: string
  readonly node: string
  readonly startedMs: number
  readonly finishedMs: number
  readonly partitions: readonly number[]
  readonly skipped: readonly SkippedPartition[]
  /** As they were, so that a restore finds them by name. */
  readonly regions: readonly RegionRecord[]
  /** Alive, in all its partitions. */
  readonly entries: number
  /** Written into it; the others are in those it builds on. */
  readonly writtenEntries: number
  readonly rawBytes: number
  readonly storedBytes: number
  readonly records: number
  /** Over the checksums of its partitions' records. */
  readonly crc: number
}

export interface PartitionSummary extends SnapshotPosition {
  readonly partition: number
  /** Alive. */
  readonly entries: number
  readonly writtenEntries: number
  readonly rawBytes: number
  readonly storedBytes: number
  /** Records of entries, pieces and terms; the terms begin at `termsFrom`. */
  readonly records: number
  readonly termsFrom: number
  /** Over the records' checksums. */
  readonly crc: number
  /** The partition's digest: 64 buckets of two words. */
  readonly digest: readonly number[]
  /** A bucket with 1 is described here, with 0 it is as in the base. */
  readonly described: readonly number[]
}

export function encodeJson(value: SnapshotManifest | PartitionSummary): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value))
}

export function decodeManifest(id: string, body: Uint8Array): SnapshotManifest {
  const manifest = JSON.parse(new TextDecoder().decode(body)) as SnapshotManifest
  if (manifest.format > FORMAT || manifest.format < FORMAT_MIN) {
    const advice =
      manifest.format > FORMAT ? 'start a newer release of ringcache' : 'read it with an older release'
    throw new CacheError(
      'VERSION_MISMATCH',
      `snapshot ${id} has format ${manifest.format}, this release reads ${FORMAT_MIN} to ${FORMAT}: ${advice}, or delete it`,
    )
  }
  if (manifest.id !== id) throw new CacheError('DATA_LOSS', `the manifest of snapshot ${id} is another's`)
  return manifest
}

export function decodeSummary(body: Uint8Array): PartitionSummary {
  return JSON.parse(new TextDecoder().decode(body)) as PartitionSummary
}
