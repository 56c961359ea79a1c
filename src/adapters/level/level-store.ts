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

export interface LevelStoreOptions {
  /** For opening, and for one write or read, in milliseconds. Default 10,000. */
  readonly timeoutMs?: number
}

const TIMEOUT_MS = 10_000

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
      throw openError(error, folder)
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
        .then(resolve, (error: unknown) => reject(diskError(error, what, this.#folder)))
        .finally(() => clearTimeout(timer))
    })
  }
}

function openError(error: unknown, folder: string): CacheError {
  const codes = codesOf(error)
  const invalid = (message: string): CacheError => new CacheError('CONFIGURATION', message, { cause: error })
  if (codes.includes('LEVEL_LOCKED'))
    return invalid(
      `the data directory ${folder} is used by another process: stop that node, or give this one a directory of its own (dataDir)`,
    )
  if (codes.some((code) => ['EACCES', 'EPERM', 'EROFS'].includes(code)))
    return invalid(
      `the data directory ${folder} can't be written: give its user the right to, or name another (dataDir)`,
    )
  if (codes.some((code) => ['ENOTDIR', 'EEXIST'].includes(code)))
    return invalid(`the data directory ${folder} is no folder: name another (dataDir)`)
  if (codes.includes('ENOSPC'))
    return invalid(`the disk of the data directory ${folder} is full: free some space`)
  if (codes.includes('LEVEL_CORRUPTION'))
    return invalid(
      `the data directory ${folder} is damaged: move it away, and the node joins its cluster as a new one`,
    )
  return invalid(`the data directory ${folder} can't be opened: ${reasonOf(error)}`)
}

function diskError(error: unknown, what: string, folder: string): CacheError {
  const codes = codesOf(error)
  const full = codes.includes('ENOSPC') || /no space left/i.test(reasonOf(error))
  const advice = full ? 'the disk is full, free some space' : reasonOf(error)
  return new CacheError('INTERNAL', `${what} the data directory ${folder} failed: ${advice}`, {
    cause: error,
  })
}

/** Of the error and of what caused it. */
function codesOf(error: unknown): string[] {
  const codes: string[] = []
  for (let at = error; at instanceof Error; at = at.cause) {
    const { code } = at as NodeJS.ErrnoException
    if (code !== undefined) codes.push(code)
    if (/corruption|checksum|bad record|CURRENT/i.test(at.message) && code !== 'LEVEL_LOCKED')
      codes.push('LEVEL_CORRUPTION')
    if (/permission denied|read-only/i.test(at.message)) codes.push('EACCES')
    if (/no space left/i.test(at.message)) codes.push('ENOSPC')
  }
  return codes
}

/** The innermost reason: what LevelDB itself said. */
function reasonOf(error: unknown): string {
  let text = String(error)
  for (let at = error; at instanceof Error; at = at.cause) text = at.message
  return text
}
