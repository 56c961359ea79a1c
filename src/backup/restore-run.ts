/**
 * Brings a backup back into a cluster that runs, of any number of nodes and partitions: entry by entry, as ordinary writes that a quorum
 * acknowledges. So they get versions of the present, and nothing that is there goes back.
 *
 * - An entry goes into the region of its name; regions that are missing are created with the settings they had.
 * - Its time to live counts on: what expired meanwhile stays out, the rest expires when it would have.
 * - `absent` (the default): only keys that are not there. `newer`: also keys whose entry was written earlier than the backup's, by the
 *   times the primaries gave them. `overwrite`: all. Each is decided where the key is ordered, in one step.
 * - Doing it again, after an end halfway, does no harm: what is there by then is kept (`absent`, `newer`) or written once more.
 */

import { ByteReader } from '../kernel/bytes.ts'
import type { Clock } from '../kernel/clock.ts'
import { CacheError, throwIfAborted, toCacheError } from '../kernel/errors.ts'
import type { StoredEntry } from '../snapshot/entry-record.ts'
import type { EntrySink } from '../snapshot/partition-reader.ts'
import type { RegionRecord } from '../topology/topology.ts'
import { TAG_BYTES_MAX } from '../wire/operations.ts'
import type { BackupPartition, BackupProblem, BackupReader } from './backup-reader.ts'
import type { RunOptions } from './cluster-backups.ts'

export type RestoreMode = 'absent' | 'newer' | 'overwrite'

export interface RestoreSpec {
  readonly name: string
  readonly place: string
  /** Names; empty: all. */
  readonly regions: readonly string[]
  /** Of keys; '': all. */
  readonly prefix: string
  readonly mode: RestoreMode
  /** Writes nothing, and tells what would be written. */
  readonly dryRun: boolean
  /** What is damaged is left out; otherwise it ends the restore. */
  readonly skipDamaged: boolean
  /** Of entries, before they were packed; 0: no limit. */
  readonly bytesPerSecond: number
}

export interface RestoredEntry {
  readonly key: Uint8Array
  readonly codec: number
  readonly value: Uint8Array
  readonly createdAtMs: number
  /** 0: never. */
  readonly expiresAtMs: number
  readonly tags: readonly string[]
}

/** `expired`: while it was on its way. */
export type WriteResult = 'written' | 'kept' | 'expired'

/** The cluster that is restored into. */
export interface RestoreTarget {
  /** Those there are. */
  regions(): readonly RegionRecord[]
  createRegion(region: RegionRecord): Promise<void>
  /**
   * Writes an entry, or with `dryRun` finds out what would become of it.
   * @throws CacheError when it can't be written, after trying again for as long as that may help
   */
  write(
    region: string,
    entry: RestoredEntry,
    options: { readonly mode: RestoreMode; readonly dryRun: boolean; readonly signal?: AbortSignal },
  ): Promise<WriteResult>
}

export interface RestoreProgress {
  readonly partitionsDone: number
  readonly partitions: number
  /** Read, those that were left out included. */
  readonly entries: number
  readonly written: number
  readonly kept: number
  readonly expired: number
  /** Of other regions or prefixes. */
  readonly passedOver: number
  readonly refused: number
  readonly rawBytes: number
  readonly etaMs: number | undefined
}

export interface RestoreReport extends Omit<RestoreProgress, 'etaMs'> {
  readonly name: string
  readonly dryRun: boolean
  readonly regions: readonly {
    readonly name: string
    readonly written: number
    readonly kept: number
    readonly created: boolean
  }[]
  /** Regions whose settings differ from those in the backup: they stay as they are. */
  readonly differences: readonly string[]
  /** What was left out because it is damaged. */
  readonly damaged: readonly string[]
  /** Why entries were refused, each reason once. */
  readonly refusals: readonly string[]
}

const IN_FLIGHT_MAX = 4096
const IN_FLIGHT_BYTES_MAX = 16 * 1024 * 1024
const REFUSALS_MAX = 10
const PROGRESS_MS = 250

const SETTINGS = [
  'sizeBytes',
  'maxEntries',
  'ttlMs',
  'policy',
  'durability',
  'read',
  'minInSync',
] as const satisfies readonly (keyof RegionRecord)[]

export class RestoreRun {
  readonly #spec: RestoreSpec
  readonly #reader: BackupReader
  readonly #target: RestoreTarget
  readonly #clock: Clock
  readonly #options: RunOptions<RestoreProgress>
  readonly #regions = new Map<number, RegionTally>()
  readonly #differences: string[] = []
  readonly #damaged: string[] = []
  readonly #refusals = new Set<string>()
  readonly #prefix: Uint8Array
  readonly #counts = { entries: 0, written: 0, kept: 0, expired: 0, passedOver: 0, refused: 0, rawBytes: 0 }
  #partitionsDone = 0
  #reportedMs = Number.NEGATIVE_INFINITY
  #begunMs = 0
  #inFlight = 0
  #inFlightBytes = 0
  #error: unknown
  #wake: (() => void) | undefined

  constructor(
    spec: RestoreSpec,
    reader: BackupReader,
    target: RestoreTarget,
    clock: Clock,
    options: RunOptions<RestoreProgress> = {},
  ) {
    this.#spec = spec
    this.#reader = reader
    this.#target = target
    this.#clock = clock
    this.#options = options
    this.#prefix = Buffer.from(spec.prefix)
  }

  /** @throws CacheError INVALID_ARGUMENT, UNKNOWN_REGION, DATA_LOSS, ABORTED, and what keeps entries from being written */
  async run(): Promise<RestoreReport> {
    this.#begunMs = this.#clock.monotonicMs()
    await this.#prepareRegions()
    await this.#reader.each(
      async (partition, read) => {
        const nowMs = this.#clock.wallMs()
        const { expired } = await read(this.#sink(), { nowMs })
        this.#counts.expired += expired
        this.#counts.entries += expired
        await this.#settled(0)
        this.#done(partition)
      },
      (problem) => this.#met(problem),
    )
    await this.#settled(0)
    return {
      ...this.#progress(),
      name: this.#spec.name,
      dryRun: this.#spec.dryRun,
      regions: [...this.#regions.values()]
        .filter(({ wanted }) => wanted)
        .map(({ name, written, kept, created }) => ({ name, written, kept, created })),
      differences: this.#differences,
      damaged: this.#damaged,
      refusals: [...this.#refusals],
    }
  }

  async #prepareRegions(): Promise<void> {
    const { regions: wanted, dryRun } = this.#spec
    const { regions } = this.#reader.manifest
    const unknown = wanted.find((name) => !regions.some((region) => region.name === name))
    if (unknown !== undefined)
      throw new CacheError(
        'UNKNOWN_REGION',
        `the backup has no region ${unknown}; it has ${regions.map(({ name }) => name).join(', ')}`,
      )
    for (const region of regions) {
      const { name, regionId } = region
      const tally = { name, wanted: wanted.length === 0 || wanted.includes(name), written: 0, kept: 0 }
      const there = this.#target.regions().find((one) => one.name === name)
      this.#regions.set(regionId, { ...tally, created: there === undefined && tally.wanted })
      if (!tally.wanted) continue
      if (there === undefined) {
        if (!dryRun) await this.#target.createRegion(region)
        continue
      }
      for (const setting of SETTINGS)
        if (there[setting] !== region[setting])
          this.#differences.push(
            `region ${name}: ${setting} is ${there[setting]} here, ${region[setting]} in the backup`,
          )
    }
  }

  #sink(): EntrySink {
    return {
      small: (entry) => {
        const region = this.#wanted(entry)
        if (region === undefined) return undefined
        const { set, bytes } = entry
        this.#write(region, entry, bytes.slice(set.valueStart, set.valueEnd))
        return this.#room()
      },
      large: async (entry, pieces) => {
        const region = this.#wanted(entry)
        if (region === undefined) return
        const value = new Uint8Array(entry.largeBytes ?? 0)
        // The pieces come from records behind this one: what is said of the entry has to be kept.
        const kept = ownCopy(entry)
        let at = 0
        for await (const piece of pieces) {
          value.set(piece, at)
          at += piece.length
        }
        this.#start(region, { ...kept, value })
        await this.#room()
      },
    }
  }

  #wanted(entry: StoredEntry): RegionTally | undefined {
    const { set, bytes } = entry
    this.#counts.entries++
    const region = this.#regions.get(set.regionId)
    const prefix = this.#prefix
    const hasPrefix =
      prefix.length === 0 ||
      (set.keyEnd - set.keyStart >= prefix.length &&
        prefix.every((byte, i) => bytes[set.keyStart + i] === byte))
    if (region?.wanted === true && hasPrefix) return region
    this.#counts.passedOver++
    return undefined
  }

  #write(region: RegionTally, entry: StoredEntry, value: Uint8Array): void {
    this.#start(region, { ...ownCopy(entry), value })
  }

  #start(region: RegionTally, entry: RestoredEntry): void {
    const { mode, dryRun } = this.#spec
    const { signal } = this.#options
    if (dryRun && region.created) {
      region.written++
      this.#counts.written++
      return
    }
    const bytes = entry.value.length + entry.key.length
    this.#inFlight++
    this.#inFlightBytes += bytes
    this.#target
      .write(region.name, entry, { mode, dryRun, ...(signal === undefined ? {} : { signal }) })
      .then(
        (result) => {
          if (result !== 'expired') region[result]++
          this.#counts[result]++
        },
        (error: unknown) => this.#failed(toCacheError(error)),
      )
      .finally(() => {
        this.#inFlight--
        this.#inFlightBytes -= bytes
        this.#wake?.()
      })
  }

  #failed(error: CacheError): void {
    if (!REFUSED.includes(error.code)) {
      this.#error ??= error
      return
    }
    this.#counts.refused++
    if (this.#refusals.size < REFUSALS_MAX) this.#refusals.add(error.message)
  }

  /** Undefined: more may come at once. */
  #room(): Promise<void> | undefined {
    if (this.#error !== undefined) throw this.#error
    if (this.#inFlight < IN_FLIGHT_MAX && this.#inFlightBytes < IN_FLIGHT_BYTES_MAX) return undefined
    return this.#settled(IN_FLIGHT_MAX / 2, IN_FLIGHT_BYTES_MAX / 2)
  }

  async #settled(most: number, mostBytes: number = Number.POSITIVE_INFINITY): Promise<void> {
    this.#report()
    while (this.#inFlight > most || this.#inFlightBytes > mostBytes)
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    if (this.#error !== undefined) throw this.#error
    throwIfAborted(this.#options.signal)
  }

  #met({ error }: BackupProblem): void {
    if (!this.#spec.skipDamaged) throw error
    this.#damaged.push(error.message)
  }

  #done({ rawBytes }: BackupPartition): void {
    this.#partitionsDone++
    this.#counts.rawBytes += rawBytes
    this.#report()
  }

  #report(): void {
    const nowMs = this.#clock.monotonicMs()
    if (nowMs - this.#reportedMs < PROGRESS_MS) return
    this.#reportedMs = nowMs
    this.#options.onProgress?.(this.#progress())
  }

  #progress(): RestoreProgress {
    const { partitions, rawBytes } = this.#reader.manifest
    const done = this.#counts.rawBytes
    const elapsedMs = this.#clock.monotonicMs() - this.#begunMs
    const etaMs = done === 0 ? undefined : Math.round((elapsedMs / done) * Math.max(0, rawBytes - done))
    return { partitionsDone: this.#partitionsDone, partitions, ...this.#counts, etaMs }
  }
}

interface RegionTally {
  readonly name: string
  readonly wanted: boolean
  readonly created: boolean
  written: number
  kept: number
}

/** What is wrong with one entry is no reason to leave out the others. */
const REFUSED: readonly string[] = ['KEY_TOO_LARGE', 'VALUE_TOO_LARGE', 'INVALID_ARGUMENT', 'UNSUPPORTED']

/** What is said of the entry, but its value. */
function ownCopy({ bytes, set }: StoredEntry): Omit<RestoredEntry, 'value'> {
  const { keyStart, keyEnd, codec, createdAtMs, expiresAtMs, tagCount, tagsStart, tagsEnd } = set
  const tags: string[] = []
  if (tagCount > 0) {
    const reader = new ByteReader(bytes).reset(bytes, tagsStart, tagsEnd)
    for (let i = 0; i < tagCount; i++) tags.push(reader.text(TAG_BYTES_MAX))
  }
  return { key: bytes.slice(keyStart, keyEnd), codec, createdAtMs, expiresAtMs, tags }
}
