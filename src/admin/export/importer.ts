/**
 * Stores the entries of lines. Each line stands for itself; a key that comes twice has the value of its last line.
 *
 * At most WRITES_MAX writes and WRITE_BYTES_MAX of values are under way; reading waits for them, so the source is never read
 * faster than the cluster takes it. When a line can't be used the writes before it are still completed.
 */

import type { Cache } from '../../client/cache.ts'
import type { RawValue } from '../../client/codecs/raw-value.ts'
import { CacheError, type ErrorCode, toCacheError } from '../../kernel/errors.ts'
import type { RegionMessage } from '../../wire/admin.ts'
import { type EntryLine, EntryLines, type HeadLine } from './entry-line.ts'
import { readLines, type TextLine } from './line-reader.ts'
import { checkAborted, Pace, type TimePorts } from './pace.ts'

const WRITES_MAX = 256
const WRITE_BYTES_MAX = 32 * 1024 * 1024
/** A write whose outcome is unknown is made again: it stores the same. */
const ATTEMPTS_MAX = 3
const REGION_DEFAULT = 'default'

/** What is wrong with the line, and not with the cluster. */
const LINE_FAULTS: readonly ErrorCode[] = [
  'SERIALIZATION',
  'INVALID_ARGUMENT',
  'KEY_TOO_LARGE',
  'VALUE_TOO_LARGE',
]

export interface ImportOptions {
  /** What the lines come from, for messages. */
  readonly source: string
  /** Replaces entries that are there; otherwise they stay. */
  readonly overwrite: boolean
  /** Stores nothing; says what would be stored. */
  readonly dryRun: boolean
  /** Passes over lines that can't be used, instead of ending. */
  readonly skipBadLines: boolean
  /** Only entries of this region, as the lines name it. */
  readonly region: string | undefined
  /** Only keys that begin with it. */
  readonly prefix: string
  /** Stores in this region, whatever the lines say. */
  readonly into: string | undefined
  readonly perSecond: number | undefined
  readonly signal: AbortSignal
}

/** Counts while it runs, too. */
export interface ImportCounts {
  /** Lines read, empty ones left out. */
  lines: number
  /** Entries stored; with `dryRun` those that would be. */
  stored: number
  /** Entries that were there and stayed. */
  kept: number
  /** Entries whose time was over. */
  expired: number
  /** Entries of other regions or prefixes than asked for. */
  filtered: number
  badLines: number
  /** Whether an export's first line came without its last one: lines are missing. */
  isCutOff: boolean
  /** The first bad lines, with what is wrong with them. */
  readonly problems: string[]
}

const PROBLEMS_MAX = 20

/**
 * Makes sure that the region exists; false: it would be created, were this no dry run.
 * @throws CacheError UNKNOWN_REGION saying what to do
 */
export type RequireRegion = (name: string, exported: RegionMessage | undefined) => Promise<boolean>

export class Importer {
  readonly counts: ImportCounts = {
    lines: 0,
    stored: 0,
    kept: 0,
    expired: 0,
    filtered: 0,
    badLines: 0,
    isCutOff: false,
    problems: [],
  }
  readonly #client: Cache<RawValue>
  readonly #ports: TimePorts
  readonly #options: ImportOptions
  readonly #requireRegion: RequireRegion
  readonly #pace: Pace
  readonly #lines = new EntryLines()
  /** Undefined: it is not there yet, in a dry run. */
  readonly #regions = new Map<string, Cache<RawValue> | undefined>()
  readonly #exported = new Map<string, RegionMessage>()
  /** Writes under way, by region and key. */
  readonly #writes = new Map<string, Promise<void>>()
  #writeBytes = 0
  /** The first failure of a write. */
  #failure: CacheError | undefined
  #wake: (() => void) | undefined

  constructor(
    client: Cache<RawValue>,
    ports: TimePorts,
    options: ImportOptions,
    requireRegion: RequireRegion,
  ) {
    this.#client = client
    this.#ports = ports
    this.#options = options
    this.#requireRegion = requireRegion
    this.#pace = new Pace(ports, options.perSecond, options.signal)
  }

  /** @throws CacheError naming source and line; ABORTED when the signal fires. What was begun before is complete then. */
  async run(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    try {
      for await (const line of readLines(chunks)) {
        checkAborted(this.#options.signal)
        if (this.#failure !== undefined) throw this.#failure
        this.counts.lines++
        await this.#take(line)
      }
    } finally {
      await Promise.all(this.#writes.values())
    }
    if (this.#failure !== undefined) throw this.#failure
  }

  async #take(line: TextLine): Promise<void> {
    if (line.text === undefined) return this.#bad(line, line.problem)
    let read: ReturnType<EntryLines['read']>
    try {
      read = this.#lines.read(line.text, this.#ports.clock.wallMs())
    } catch (error) {
      const { code, message } = toCacheError(error)
      if (code === 'UNSUPPORTED') throw new CacheError(code, `${this.#where(line)}: ${message}`)
      return this.#bad(line, message)
    }
    if (read.kind === 'head') this.#begin(read)
    else if (read.kind === 'end') this.counts.isCutOff = false
    else await this.#store(line, read)
  }

  #begin({ regions }: HeadLine): void {
    this.counts.isCutOff = true
    for (const region of regions) this.#exported.set(region.name, region)
  }

  async #store(line: TextLine, entry: EntryLine): Promise<void> {
    const { into, region, prefix } = this.#options
    const named = entry.region ?? REGION_DEFAULT
    if ((region !== undefined && named !== region) || !entry.key.startsWith(prefix)) {
      this.counts.filtered++
      return
    }
    if (this.#isExpired(entry)) {
      this.counts.expired++
      return
    }
    const target = into ?? named
    const cache = await this.#region(target, named)
    await this.#pace.admit(1)
    const id = `${target}\0${entry.key}`
    // The last line of a key wins.
    await this.#writes.get(id)
    const bytes = entry.value.bytes.length
    while (
      this.#writes.size >= WRITES_MAX ||
      (this.#writeBytes > 0 && this.#writeBytes + bytes > WRITE_BYTES_MAX)
    )
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    this.#writeBytes += bytes
    const write = this.#write(cache, entry)
      .catch((error: unknown) => this.#failed(line, toCacheError(error)))
      .finally(() => {
        this.#writes.delete(id)
        this.#writeBytes -= bytes
        this.#wake?.()
      })
    this.#writes.set(id, write)
  }

  async #write(cache: Cache<RawValue> | undefined, entry: EntryLine): Promise<void> {
    const { overwrite, dryRun, signal } = this.#options
    const { key, value, tags, expiresAtMs } = entry
    if (cache === undefined || dryRun) {
      if (!overwrite && (await cache?.has(key, { signal })) === true) this.counts.kept++
      else this.counts.stored++
      return
    }
    for (let attempt = 1; ; attempt++) {
      // It may have run out while others were written.
      const nowMs = this.#ports.clock.wallMs()
      if (this.#isExpired(entry)) {
        this.counts.expired++
        return
      }
      const ttl = expiresAtMs === undefined ? 'never' : Math.max(1, expiresAtMs - nowMs)
      try {
        if (overwrite) {
          await cache.set(key, value, { ttl, tags, signal })
          this.counts.stored++
        } else {
          const { ok } = await cache.set(key, value, { ttl, tags, signal, when: 'absent' })
          if (ok) this.counts.stored++
          else this.counts.kept++
        }
        return
      } catch (error) {
        const { code, retryable } = toCacheError(error)
        const mayRepeat = (retryable || code === 'OUTCOME_UNKNOWN') && !signal.aborted
        if (attempt === ATTEMPTS_MAX || !mayRepeat) throw error
      }
    }
  }

  #isExpired({ expiresAtMs }: EntryLine): boolean {
    return expiresAtMs !== undefined && expiresAtMs <= this.#ports.clock.wallMs()
  }

  async #region(name: string, exportedAs: string): Promise<Cache<RawValue> | undefined> {
    if (!this.#regions.has(name)) {
      const exists = await this.#requireRegion(name, this.#exported.get(exportedAs))
      this.#regions.set(name, exists ? this.#client.region<RawValue>(name) : undefined)
    }
    return this.#regions.get(name)
  }

  #failed(line: TextLine, error: CacheError): void {
    if (LINE_FAULTS.includes(error.code)) {
      try {
        this.#bad(line, error.message)
        return
      } catch (bad) {
        this.#failure ??= toCacheError(bad)
        return
      }
    }
    const message = `${this.#where(line)}: ${error.message}`
    this.#failure ??= new CacheError(error.code, message, { cause: error })
  }

  /** @throws CacheError unless bad lines are passed over */
  #bad(line: TextLine, problem: string): void {
    const message = `${this.#where(line)}: ${problem}`
    if (!this.#options.skipBadLines) {
      throw new CacheError('SERIALIZATION', `${message}; --skip-bad-lines passes over such lines`)
    }
    this.counts.badLines++
    if (this.counts.problems.length < PROBLEMS_MAX) this.counts.problems.push(message)
  }

  #where({ number }: TextLine): string {
    return `${this.#options.source}:${number}`
  }
}
