/**
 * Reads a backup from beginning to end and checks all there is to check: that every part is there in its length, each record's checksum,
 * the order and number of the records, that each entry which was alive is there, once, and gives its partition's digest.
 */

import type { Clock } from '../kernel/clock.ts'
import { throwIfAborted } from '../kernel/errors.ts'
import type { EntrySink } from '../snapshot/partition-reader.ts'
import type { BackupReader } from './backup-reader.ts'
import type { RunOptions } from './cluster-backups.ts'
import type { RestoreProgress } from './restore-run.ts'

export interface Verification {
  readonly name: string
  readonly isGood: boolean
  readonly partitions: number
  readonly entries: number
  readonly storedBytes: number
  /** What is wrong, part by part; at most 100. */
  readonly problems: readonly string[]
  /** Parts and partitions that are damaged. */
  readonly problemCount: number
}

const PROBLEMS_MAX = 100
const PROGRESS_MS = 250

export class VerifyRun {
  readonly #reader: BackupReader
  readonly #clock: Clock
  readonly #options: RunOptions<RestoreProgress>
  #reportedMs = Number.NEGATIVE_INFINITY

  constructor(reader: BackupReader, clock: Clock, options: RunOptions<RestoreProgress> = {}) {
    this.#reader = reader
    this.#clock = clock
    this.#options = options
  }

  /** @throws CacheError ABORTED, and when the place can't be read */
  async run(): Promise<Verification> {
    const { manifest } = this.#reader
    const begunMs = this.#clock.monotonicMs()
    const problems: string[] = []
    let problemCount = 0
    let partitions = 0
    let entries = 0
    let storedBytes = 0
    let rawBytes = 0
    await this.#reader.each(
      async (partition, read) => {
        throwIfAborted(this.#options.signal)
        const found = await read(NOBODY, { everything: true })
        partitions++
        entries += found.entries
        storedBytes += found.storedBytes
        rawBytes += partition.rawBytes
        this.#report(begunMs, partitions, entries, rawBytes)
      },
      ({ error }) => {
        problemCount++
        if (problems.length < PROBLEMS_MAX) problems.push(error.message)
      },
    )
    if (problemCount === 0 && (partitions !== manifest.partitions || entries !== manifest.entries)) {
      problemCount++
      problems.push(
        `it says that it has ${manifest.partitions} partitions of ${manifest.entries} entries, and has ${partitions} of ${entries}`,
      )
    }
    const { name } = manifest
    return { name, isGood: problemCount === 0, partitions, entries, storedBytes, problems, problemCount }
  }

  #report(begunMs: number, partitionsDone: number, entries: number, rawBytes: number): void {
    const nowMs = this.#clock.monotonicMs()
    if (nowMs - this.#reportedMs < PROGRESS_MS) return
    this.#reportedMs = nowMs
    const { manifest } = this.#reader
    const left = Math.max(0, manifest.rawBytes - rawBytes)
    this.#options.onProgress?.({
      partitionsDone,
      partitions: manifest.partitions,
      entries,
      written: 0,
      kept: 0,
      expired: 0,
      passedOver: 0,
      refused: 0,
      rawBytes,
      etaMs: rawBytes === 0 ? undefined : Math.round(((nowMs - begunMs) / rawBytes) * left),
    })
  }
}

const NOBODY: EntrySink = { small: () => {}, large: async () => {} }
