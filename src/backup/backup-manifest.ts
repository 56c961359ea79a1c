/**
 * What a backup says about itself. `<name>/manifest.json`, written last, makes it valid.
 *
 * **Formats.** A node reads the formats from FORMAT_MIN to FORMAT and writes FORMAT. What older readers would misread raises FORMAT; fields
 * that can be left out do not. FORMAT_MIN follows two minor releases later at the earliest.
 */

import type { PartitionSummary } from '../snapshot/manifest.ts'
import type { RegionRecord } from '../topology/topology.ts'

/** Partitions that one node wrote, in one object. */
export interface BackupPart {
  /** Of the object, without `.data`. */
  readonly name: string
  readonly bytes: number
  /** Of the part's own description. */
  readonly crc: number
  /** Those that count; another part may have the others. */
  readonly partitions: readonly number[]
}

export interface BackupManifest {
  readonly format: number
  readonly name: string
  readonly clusterId: string
  readonly clusterName: string
  /** Of the topology as the run began, and as it ended. */
  readonly epochs: readonly [number, number]
  readonly partitionCount: number
  readonly startedMs: number
  readonly finishedMs: number
  /** Those whose parts it consists of, and the releases they run. */
  readonly nodes: readonly { readonly nodeId: string; readonly release: string }[]
  readonly regions: readonly RegionRecord[]
  readonly parts: readonly BackupPart[]
  readonly entries: number
  readonly rawBytes: number
  readonly storedBytes: number
}

/** A part's description, `<name>/parts/<part>.json`, written once its object is there. */
export interface PartRecord {
  readonly format: number
  readonly name: string
  readonly clusterId: string
  readonly node: string
  readonly release: string
  readonly startedMs: number
  readonly finishedMs: number
  readonly bytes: number
  readonly partitions: readonly PartPartition[]
}

export interface PartPartition {
  readonly summary: PartitionSummary
  /** Where its records begin, those of its terms begin, its summary begins, and where that ends. */
  readonly offsets: readonly [number, number, number, number]
}
