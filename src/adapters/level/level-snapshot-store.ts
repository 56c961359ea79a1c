/**
 * Snapshots in a folder, by LevelDB, in a database of their own: their bulk must not delay the register's synced writes.
 *
 * - LevelDB's sync reaches only the log file in use. What was written before that, into earlier log files, is brought to the
 *   medium by having it write out its memory: a compaction of a range that holds nothing.
 * - After a write that failed (a full disk) the log may hold half of it, and LevelDB drops what is behind such a place when it reads
 *   the log again. So the database is opened anew before the next write.
 * - Every operation has a deadline; compaction and clearing, which take as long as there is to do, a long one.
 * - The last of a disk is left alone: the register lies on it, too, and LevelDB needs room to remove anything.
 */

import { access, constants, mkdir, statfs } from 'node:fs/promises'
import { Level } from 'level'
import type { DurableChange } from '../../kernel/durable-store.ts'
import { CacheError } from '../../kernel/errors.ts'
import type { SnapshotStore } from '../../snapshot/snapshot-store.ts'
import { codesOf, diskError, openError } from './level-errors.ts'

export interface LevelSnapshotStoreOptions {
  /** For opening, and for one write or read, in milliseconds. Default 30,000. */
  readonly timeoutMs?: number
  /** What is left of the disk, in bytes. Default 256 MiB. */
  readonly reservedBytes?: number
}

const TIMEOUT_MS = 30_000
/** For compaction and clearing. */
const UNHURRIED_MS = 600_000
const MIB = 1024 * 1024
const RESERVED_BYTES = 256 * MIB
/** Of a smaller disk a tenth is left, and room for what LevelDB has in memory; of a tiny one a share. */
const RESERVED_SHARE = 0.1
const MEMORY_BYTES = 32 * MIB
const RESERVED_SHARE_MAX = 0.4
const READ_AHEAD_BYTES = 1024 * 1024
/** Larger than the records of a few batches, so that LevelDB writes files of a useful size. */
const WRITE_BUFFER_BYTES = 16 * 1024 * 1024
/** Records are read once, in order: nothing is gained by keeping them. */
const CACHE_BYTES = 1024 * 1024
/** Below the size of a summary: so that none lies in one block with the large records of the next partition. */
const BLOCK_BYTES = 1024
const FILE_BYTES = 32 * 1024 * 1024
const IF_DAMAGED = 'move it away: the snapshots in it are lost, the node takes its data from its peers'
/** Behind all keys. */
const NOWHERE = '\u{7f}'

export class LevelSnapshotStore implements SnapshotStore {
  readonly #folder: string
  readonly #timeoutMs: number
  readonly #reservedBytes: number
  #db: Database
  /** A write failed since the database was opened. */
  #suspect = false

  private constructor(folder: string, timeoutMs: number, reservedBytes: number) {
    this.#folder = folder
    this.#timeoutMs = timeoutMs
    this.#reservedBytes = reservedBytes
    this.#db = database(folder)
  }

  /**
   * Opens the store in `folder`, which is made if need be.
   * @throws CacheError CONFIGURATION when another process uses it, it can't be written, or what is there is damaged.
   */
  static async open(
    folder: string,
    { timeoutMs = TIMEOUT_MS, reservedBytes = RESERVED_BYTES }: LevelSnapshotStoreOptions = {},
  ): Promise<LevelSnapshotStore> {
    const store = new LevelSnapshotStore(folder, timeoutMs, reservedBytes)
    await store.#open()
    return store
  }

  get(key: string): Promise<Uint8Array | undefined> {
    return this.#within('reading', async () => {
      const value = await this.#db.get(key, { fillCache: false })
      return value === undefined ? undefined : ownBytes(value)
    })
  }

  firstKey(from: string, to: string): Promise<string | undefined> {
    return this.#within('reading', async () => {
      for await (const key of this.#db.keys({ gte: from, lt: to, limit: 1 })) return key
      return undefined
    })
  }

  async *read(from: string, to: string): AsyncGenerator<readonly [string, Uint8Array]> {
    // From its own bytes on it hands out what it has, so that this is the most that it reads ahead.
    const iterator = this.#db.iterator({
      gte: from,
      lt: to,
      fillCache: false,
      highWaterMarkBytes: READ_AHEAD_BYTES,
    })
    try {
      for (;;) {
        const entries = await this.#within('reading', () => iterator.nextv(ENTRIES_PER_READ))
        if (entries.length === 0) return
        for (const [key, value] of entries) yield [key, ownBytes(value)]
      }
    } finally {
      await iterator.close().catch(() => {})
    }
  }

  async write(changes: readonly DurableChange[], { sync }: { readonly sync: boolean }): Promise<void> {
    if (this.#suspect) await this.#openAnew()
    const batch = changes.map(({ key, value }) =>
      value === undefined ? { type: 'del' as const, key } : { type: 'put' as const, key, value },
    )
    // Of one database: a write that took too long must not end in the one that was opened after it.
    const db = this.#db
    await this.#changing(() =>
      this.#within('writing', async () => {
        if (sync) await db.compactRange(NOWHERE, NOWHERE)
        await db.batch(batch, { sync })
      }),
    )
  }

  async checkRoom(): Promise<void> {
    const { bavail, blocks, bsize } = await this.#within('asking for room in', () => statfs(this.#folder))
    const total = blocks * bsize
    const reserved = Math.min(
      this.#reservedBytes,
      RESERVED_SHARE * total + MEMORY_BYTES,
      RESERVED_SHARE_MAX * total,
    )
    const free = bavail * bsize
    if (free >= reserved) return
    const [left, least] = [free, reserved].map((bytes) => (bytes / MIB).toFixed(0))
    throw new CacheError(
      'STORAGE_FAILED',
      `the disk of the snapshot directory ${this.#folder} has only ${left} MiB left, and snapshots leave the last ${least} MiB alone: free some space`,
    )
  }

  async clear(from: string, to: string): Promise<void> {
    if (this.#suspect) await this.#openAnew()
    await this.#changing(() =>
      this.#within('clearing', () => this.#db.clear({ gte: from, lt: to }), UNHURRIED_MS),
    )
  }

  compact(from: string, to: string): Promise<void> {
    return this.#within('compacting', () => this.#db.compactRange(from, to), UNHURRIED_MS)
  }

  sizeBytes(from: string, to: string): Promise<number> {
    return this.#within('reading', () => this.#db.approximateSize(from, to))
  }

  async close(): Promise<void> {
    await this.#within('closing', () => this.#db.close())
  }

  async #open(): Promise<void> {
    const db = this.#db
    try {
      await this.#within('opening', async () => {
        await mkdir(this.#folder, { recursive: true })
        await access(this.#folder, constants.W_OK)
        await db.open()
      })
    } catch (error) {
      // What was half open is let go of, so that a later attempt is not refused for it.
      db.close().catch(() => {})
      throw openError(error, {
        what: 'snapshot directory',
        folder: this.#folder,
        option: 'dataDir',
        ifDamaged: IF_DAMAGED,
      })
    }
  }

  async #openAnew(): Promise<void> {
    try {
      // What it says is of no interest: it has failed before.
      await this.#within('closing', () => this.#db.close().catch(() => {}))
      this.#db = database(this.#folder)
      await this.#open()
    } catch (error) {
      const doing = `opening the snapshot directory ${this.#folder} again`
      throw diskError('STORAGE_FAILED', error, doing, IF_DAMAGED)
    }
    this.#suspect = false
  }

  async #changing(work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      this.#suspect = true
      throw error
    }
  }

  /** @throws CacheError for whatever goes wrong, or takes too long. */
  #within<T>(what: string, work: () => Promise<T>, timeoutMs: number = this.#timeoutMs): Promise<T> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(
          new CacheError(
            'STORAGE_FAILED',
            `${what} the snapshot directory ${this.#folder} took over ${timeoutMs} ms: is its disk healthy?`,
          ),
        )
      }, timeoutMs)
      work()
        .then(resolve, (error: unknown) => reject(this.#failed(what, error)))
        .finally(() => clearTimeout(timer))
    })
  }

  #failed(what: string, error: unknown): CacheError {
    const damaged = codesOf(error).includes('LEVEL_CORRUPTION')
    return diskError(
      damaged ? 'DATA_LOSS' : 'STORAGE_FAILED',
      error,
      `${what} the snapshot directory ${this.#folder}`,
      IF_DAMAGED,
    )
  }
}

/** On Node.js `level` is classic-level, which has these beside what it has everywhere. */
type Database = Level<string, Uint8Array> & {
  compactRange(from: string, to: string): Promise<void>
  approximateSize(from: string, to: string): Promise<number>
}

/** More than fit into READ_AHEAD_BYTES of records of usual sizes. */
const ENTRIES_PER_READ = 64

function database(folder: string): Database {
  return new Level<string, Uint8Array>(folder, {
    keyEncoding: 'utf8',
    valueEncoding: 'view',
    // Records are packed already.
    compression: false,
    writeBufferSize: WRITE_BUFFER_BYTES,
    cacheSize: CACHE_BYTES,
    blockSize: BLOCK_BYTES,
    maxFileSize: FILE_BYTES,
  }) as Database
}

function ownBytes(value: Uint8Array): Uint8Array {
  return new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
}
