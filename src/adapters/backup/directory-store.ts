/**
 * Backups in a folder, of this machine or of a file server that all nodes mount at the same place.
 *
 * An object is written beside its place, synced, then renamed into it, and the folder synced: after a crash it is there whole or
 * not at all. What a crash left half written lies in `.partial` and goes a day later.
 *
 * A file server that hangs ends a step with an error after `timeoutMs`; what was asked of it may still happen.
 */

import { randomUUID } from 'node:crypto'
import { constants } from 'node:fs'
import { access, type FileHandle, mkdir, open, readdir, rename, rm, rmdir, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { CacheError, throwIfAborted } from '../../kernel/errors.ts'
import { checkObjectName } from '../../kernel/object-name.ts'
import type {
  BackupCallOptions,
  BackupRange,
  BackupStore,
  StoredObject,
} from '../../snapshot/backup-store.ts'

export interface DirectoryStoreOptions {
  readonly path: string
  /** For one step: opening, reading or writing a piece, in milliseconds. Default 30,000. */
  readonly timeoutMs?: number
}

const TIMEOUT_MS = 30_000
const PIECE_BYTES = 256 * 1024
const PARTIAL = '.partial'
const MOVES_MAX = 5
const PARTIAL_KEPT_MS = 24 * 3_600_000

export class DirectoryStore implements BackupStore {
  readonly where: string
  readonly #timeoutMs: number

  private constructor(path: string, timeoutMs: number) {
    this.where = path
    this.#timeoutMs = timeoutMs
  }

  /** Makes the folder if need be. @throws CacheError CONFIGURATION when it can't be written. */
  static async open({ path, timeoutMs = TIMEOUT_MS }: DirectoryStoreOptions): Promise<DirectoryStore> {
    const store = new DirectoryStore(resolve(path), timeoutMs)
    try {
      await store.#step('opening', async () => {
        await mkdir(join(store.where, PARTIAL), { recursive: true })
        await access(store.where, constants.W_OK)
      })
      await store.#step('cleaning', () => store.#sweep())
    } catch (error) {
      if (error instanceof CacheError && error.code === 'INTERNAL')
        throw new CacheError('CONFIGURATION', error.message, { cause: error })
      throw error
    }
    return store
  }

  async put(
    name: string,
    content: AsyncIterable<Uint8Array>,
    options: BackupCallOptions = {},
  ): Promise<number> {
    checkObjectName(name)
    const place = join(this.where, ...name.split('/'))
    const partial = join(this.where, PARTIAL, randomUUID())
    let file: FileHandle | undefined
    let bytes = 0
    try {
      const opened = await this.#step('writing', () => open(partial, 'wx'))
      file = opened
      for await (const piece of content) {
        throwIfAborted(options.signal)
        await this.#step('writing', () => opened.writeFile(piece))
        bytes += piece.length
      }
      throwIfAborted(options.signal)
      await this.#step('writing', async () => {
        await opened.sync()
        await opened.close()
        file = undefined
        await moveTo(place, partial)
        await syncFolder(dirname(place))
      })
    } catch (error) {
      file?.close().catch(() => {})
      rm(partial, { force: true }).catch(() => {})
      throw error
    }
    return bytes
  }

  async *get(name: string, options: BackupRange = {}): AsyncIterable<Uint8Array> {
    checkObjectName(name)
    const { from = 0, to = Number.POSITIVE_INFINITY } = options
    const place = join(this.where, ...name.split('/'))
    const file = await this.#step('reading', () => open(place, 'r'))
    try {
      for (let at = from; at < to; ) {
        throwIfAborted(options.signal)
        const length = Math.min(PIECE_BYTES, to - at)
        const { buffer, bytesRead } = await this.#step('reading', () =>
          file.read(new Uint8Array(length), 0, length, at),
        )
        if (bytesRead === 0) return
        at += bytesRead
        yield buffer.subarray(0, bytesRead)
      }
    } finally {
      file.close().catch(() => {})
    }
  }

  async *list(prefix: string, options: BackupCallOptions = {}): AsyncIterable<StoredObject> {
    const folder = prefix.slice(0, prefix.lastIndexOf('/') + 1)
    for await (const found of this.#walk(folder, options)) if (found.name.startsWith(prefix)) yield found
  }

  async delete(names: readonly string[], options: BackupCallOptions = {}): Promise<void> {
    for (const name of names) {
      checkObjectName(name)
      throwIfAborted(options.signal)
      await this.#step('removing from', () => rm(join(this.where, ...name.split('/')), { force: true }))
    }
    await this.#step('removing from', () => this.#removeEmpty(names))
  }

  async close(): Promise<void> {}

  async *#walk(folder: string, options: BackupCallOptions): AsyncIterable<StoredObject> {
    const here = join(this.where, folder)
    const entries = await this.#step('listing', async () => {
      try {
        return await readdir(here, { withFileTypes: true })
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
        throw error
      }
    })
    for (const entry of entries) {
      throwIfAborted(options.signal)
      const { name } = entry
      if (name.startsWith('.')) continue
      if (entry.isDirectory()) {
        yield* this.#walk(`${folder}${name}/`, options)
        continue
      }
      const found = await this.#step('listing', () => statOf(join(here, name)))
      if (found !== undefined)
        yield { name: `${folder}${name}`, bytes: found.size, modifiedMs: found.mtimeMs }
    }
  }

  async #sweep(): Promise<void> {
    const folder = join(this.where, PARTIAL)
    for (const name of await readdir(folder)) {
      const file = join(folder, name)
      const found = await statOf(file)
      if (found !== undefined && Date.now() - found.mtimeMs > PARTIAL_KEPT_MS) await rm(file, { force: true })
    }
  }

  /** Folders that the removed objects leave empty. */
  async #removeEmpty(names: readonly string[]): Promise<void> {
    const folders = new Set(names.map((name) => dirname(name)).filter((folder) => folder !== '.'))
    for (const folder of folders) {
      for (let at = folder; at !== '.'; at = dirname(at)) {
        // It says no to a folder in which something is, whoever has just put it there.
        const isGone = await rmdir(join(this.where, at)).then(
          () => true,
          () => false,
        )
        if (!isGone) break
      }
    }
  }

  /** @throws CacheError for whatever goes wrong, or takes too long. */
  #step<T>(what: string, work: () => Promise<T>): Promise<T> {
    return new Promise((settle, reject) => {
      const timer = setTimeout(
        () =>
          reject(
            new CacheError(
              'UNAVAILABLE',
              `${what} the backup folder ${this.where} took over ${this.#timeoutMs} ms: is its disk or file server healthy?`,
            ),
          ),
        this.#timeoutMs,
      )
      work()
        .then(settle, (error: unknown) => reject(this.#failure(what, error)))
        .finally(() => clearTimeout(timer))
    })
  }

  #failure(what: string, error: unknown): CacheError {
    const { code, path, message } = error as NodeJS.ErrnoException
    const failed = `${what} the backup folder ${this.where} failed`
    switch (code) {
      case 'ENOENT':
        return new CacheError(
          'INVALID_ARGUMENT',
          `there is no ${path ?? 'such object'} in the backup folder`,
          {
            cause: error,
          },
        )
      case 'ENOSPC':
      case 'EDQUOT':
        return new CacheError('OVERLOADED', `${failed}: its disk is full, free some space`, { cause: error })
      case 'EACCES':
      case 'EPERM':
      case 'EROFS':
        return new CacheError(
          'PERMISSION_DENIED',
          `${failed}: it can't be written or read by this user; give it the right to, or name another folder`,
          { cause: error },
        )
      case 'ENOTDIR':
      case 'EEXIST':
        return new CacheError('CONFIGURATION', `${failed}: ${path ?? 'it'} is no folder; name another`, {
          cause: error,
        })
      default:
        return new CacheError('INTERNAL', `${failed}: ${message}`, { cause: error })
    }
  }
}

/** Another process may remove the folder, for it is empty still, between its making and the renaming. */
async function moveTo(place: string, partial: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await mkdir(dirname(place), { recursive: true })
      return await rename(partial, place)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || attempt === MOVES_MAX) throw error
    }
  }
}

async function statOf(file: string): Promise<{ size: number; mtimeMs: number } | undefined> {
  try {
    return await stat(file)
  } catch (error) {
    // Removed meanwhile.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** So that the renaming itself outlives a crash. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
