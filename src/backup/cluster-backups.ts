/**
 * What can be asked for about backups of the whole cluster, on any node. Whoever asks chooses the node; another can be asked to go on
 * when that one ends, because all that a run has done lies in the place it writes to, and nowhere else.
 *
 * A *place* is where backups lie: a folder (`/var/backups`) or a bucket (`s3://bucket/prefix`); '' is the one of the configuration.
 */

import type { Retention } from '../snapshot/retention.ts'
import type { BackupManifest } from './backup-manifest.ts'

export interface BackupSpec {
  /** 1 to 64 letters, digits, dots, hyphens and underscores, the first a letter or digit. */
  readonly name: string
  readonly place: string
  /** What all nodes together write in a second; 0: no limit. */
  readonly bytesPerSecond: number
  /** Goes on with what an earlier run of this name left behind; one that is complete already is returned as it is. */
  readonly resume: boolean
}

export interface BackupProgress {
  readonly partitionsDone: number
  readonly partitions: number
  readonly entries: number
  /** Of entries, before they were packed. */
  readonly rawBytes: number
  readonly storedBytes: number
  /** Undefined while there is no pace to go by. */
  readonly etaMs: number | undefined
}

export interface RunOptions<Progress> {
  /** Ends the run with ABORTED. What it stored stays; a later run may go on with it. */
  readonly signal?: AbortSignal
  /** At most a few times a second. */
  readonly onProgress?: (progress: Progress) => void
}

export interface BackupListing {
  readonly name: string
  /** `complete`: its manifest is there. `incomplete`: a run ended early, or is under way. `unusable`: see `reason`. */
  readonly state: 'complete' | 'incomplete' | 'unusable'
  /** When the run began; of an incomplete one, when its oldest object was written. */
  readonly startedMs: number
  /** When the manifest was written; of an incomplete one, when its newest object was. */
  readonly finishedMs: number
  readonly clusterId: string
  readonly clusterName: string
  readonly entries: number
  readonly storedBytes: number
  readonly reason: string
}

export interface BackupRetention extends Retention {
  /** Only those are looked at whose names begin with it. Default all. */
  readonly prefix?: string
  /** Incomplete ones go once nothing was added to them for so long. Default a day. Those of other clusters stay. */
  readonly incompleteForMs?: number
}

export interface ClusterBackups {
  /**
   * Makes a backup. Valid once its manifest, written last, is there.
   * @throws CacheError INVALID_ARGUMENT when there is one of this name (without `resume`), CONFIGURATION, PERMISSION_DENIED, UNAVAILABLE
   *   when the place can't be used, ABORTED
   */
  create(spec: BackupSpec, options?: RunOptions<BackupProgress>): Promise<BackupManifest>
  /** Newest first, at most 1000. */
  list(place: string, options?: RunOptions<never>): Promise<readonly BackupListing[]>
  /** Removes a backup, complete or not: the manifest first. @throws CacheError INVALID_ARGUMENT when there is none */
  delete(place: string, name: string, options?: RunOptions<never>): Promise<void>
  /** Removes backups of this cluster that no rule keeps; the newest complete one always stays. @returns the names removed */
  prune(place: string, retention: BackupRetention, options?: RunOptions<never>): Promise<readonly string[]>
}
