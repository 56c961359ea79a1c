/**
 * Durable storage in a folder, by LevelDB (https://github.com/google/leveldb): a log with checksums whose batches are atomic, and
 * whose order is that of writing.
 *
 * Every operation has a deadline, so that a disk that hangs holds up nobody: what is not done by then is reported, and may still happen.
 */

import { access, constants, mkdir } from 'node:fs/promises'
import { Level } from 'level'
import type { DurableChange, DurableStore } from '../../kernel/durable-store.ts'
import { CacheError } from '../../kernel/errors.ts'
import { diskError, openError } from './level-errors.ts'

export interface LevelStoreOptions {
  /** For opening, and for one write or read, in milliseconds. Default 10,000. */
  readonly timeoutMs?: number
}

const TIMEOUT_MS = 10_000
const IF_DAMAGED = 'move it away, and the node joins its cluster as a new one'

export class LevelStore implements DurableStore {
  readonly #db: Level<string, Uint8Array>
  readonly #folder: string
  readonly #timeoutMs: number

  private constructor(db: Level<string, Uint8Array>, folder: string, timeoutMs: number) {
    this.#db = db
    this.#folder = folder
    this.#timeoutMs = timeoutMs
  }

  /**
   * Opens the store in `folder`, which is made if need be.
   * @throws CacheError CONFIGURATION when another process uses it, it can't be written, or what is there is damaged.
   */
  static async open(folder: string, { timeoutMs = TIMEOUT_MS }: LevelStoreOptions = {}): Promise<LevelStore> {
    const db = new Level<string, Uint8Array>(folder, { keyEncoding: 'utf8', valueEncoding: 'view' })
    const store = new LevelStore(db, folder, timeoutMs)
    try {
      await store.#within('opening', async () => {
        await mkdir(folder, { recursive: true })
        await access(folder, constants.W_OK)
        await db.open()
      })
    } catch (error) {
      // What was half open is let go of, so that a later attempt is not refused for it.
      db.close().catch(() => {})
      throw openError(error, { what: 'data directory', folder, option: 'dataDir', ifDamaged: IF_DAMAGED })
    }
    return store
  }

  get(key: string): Promise<Uint8Array | undefined> {
    return this.#within('reading', async () => {
      const value = await this.#db.get(key)
      return value === undefined ? undefined : new Uint8Array(value)
    })
  }

  entries(prefix: string): Promise<readonly (readonly [string, Uint8Array])[]> {
    return this.#within('reading', async () => {
      const found: (readonly [string, Uint8Array])[] = []
      for await (const [key, value] of this.#db.iterator({ gte: prefix })) {
        if (!key.startsWith(prefix)) break
        found.push([key, new Uint8Array(value)])
      }
      return found
    })
  }

  write(changes: readonly DurableChange[], { sync }: { readonly sync: boolean }): Promise<void> {
    const batch = changes.map(({ key, value }) =>
      value === undefined ? { type: 'del' as const, key } : { type: 'put' as const, key, value },
    )
    return this.#within('writing', () => this.#db.batch(batch, { sync }))
  }

  async close(): Promise<void> {
    await this.#within('closing', () => this.#db.close())
  }

  /** @throws CacheError for whatever goes wrong, or takes too long. */
  #within<T>(what: string, work: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(
          new CacheError(
            'INTERNAL',
            `${what} the data directory ${this.#folder} took over ${this.#timeoutMs} ms: is its disk healthy?`,
          ),
        )
      }, this.#timeoutMs)
      work()
        .then(resolve, (error: unknown) =>
          reject(diskError('INTERNAL', error, `${what} the data directory ${this.#folder}`)),
        )
        .finally(() => clearTimeout(timer))
    })
  }
}
