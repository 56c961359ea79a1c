/**
 * Where lines of an export go and come from: a file, or stdout and stdin (`-`).
 *
 * A file appears under its name when it is complete; until then it is `<name>.partial`, which is removed when the export ends
 * early.
 */

import { constants } from 'node:fs'
import { access, type FileHandle, open, rename, rm, stat } from 'node:fs/promises'
import { CacheError } from '../kernel/errors.ts'

const READ_BYTES = 256 * 1024

export interface TextTarget {
  /** Resolves when more may come. @throws CacheError STORAGE_FAILED, or ABORTED when nobody reads any more. */
  write(text: string): Promise<void>
  /** All was written. */
  finish(): Promise<void>
  /** Leaves nothing behind. Of a pipe what was written stays. */
  abandon(): Promise<void>
}

export interface TextSource {
  /** For messages. */
  readonly name: string
  /** Undefined: not known. */
  readonly totalBytes: number | undefined
  readonly readBytes: number
  readonly chunks: AsyncIterable<Uint8Array>
}

/** @throws CacheError CONFIGURATION when it exists and may not be replaced */
export async function openTarget(file: string, replace: boolean): Promise<TextTarget> {
  if (file === '-') return new StandardOutput()
  const existing = await stat(file).catch(() => undefined)
  if (existing?.isDirectory() === true) throw configuration(`${file} is a folder; give the name of a file`)
  if (existing?.isFile() === true && !replace)
    throw configuration(`${file} exists; give another name, or --replace`)
  // A device or a pipe has no name to be given afterwards.
  const isOrdinary = existing === undefined || existing.isFile()
  if (existing?.isFile() === true) await access(file, constants.W_OK).catch((cause) => fail(file, cause))
  const path = isOrdinary ? `${file}.partial` : file
  const handle = await open(path, 'w', 0o600).catch((cause) => fail(path, cause))
  return new FileTarget(handle, path, file)
}

/** @throws CacheError CONFIGURATION when it can't be read */
export async function openSource(file: string, signal: AbortSignal): Promise<TextSource> {
  if (file === '-') return new StreamSource('stdin', undefined, process.stdin, signal)
  const handle = await open(file, 'r').catch((cause: NodeJS.ErrnoException) => {
    throw configuration(`${file} can't be read: ${cause.message}`, cause)
  })
  const size = await handle.stat()
  if (size.isDirectory()) {
    await handle.close()
    throw configuration(`${file} is a folder; give the name of a file`)
  }
  const stream = handle.createReadStream({ highWaterMark: READ_BYTES })
  return new StreamSource(file, size.isFile() ? size.size : undefined, stream, signal)
}

class FileTarget implements TextTarget {
  readonly #handle: FileHandle
  readonly #path: string
  readonly #file: string

  constructor(handle: FileHandle, path: string, file: string) {
    this.#handle = handle
    this.#path = path
    this.#file = file
  }

  async write(text: string): Promise<void> {
    // writeFile goes on from where the handle stands, until all of it is written.
    await this.#handle.writeFile(text).catch((cause) => fail(this.#path, cause))
  }

  async finish(): Promise<void> {
    try {
      if (this.#path !== this.#file) await this.#handle.sync()
      await this.#handle.close()
      if (this.#path !== this.#file) await rename(this.#path, this.#file)
    } catch (cause) {
      fail(this.#file, cause)
    }
  }

  async abandon(): Promise<void> {
    await this.#handle.close().catch(() => {})
    if (this.#path !== this.#file) await rm(this.#path, { force: true }).catch(() => {})
  }
}

class StandardOutput implements TextTarget {
  #failure: CacheError | undefined
  readonly #onError = (error: NodeJS.ErrnoException): void => {
    this.#failure = isGone(error)
      ? new CacheError('ABORTED', 'stopped: nobody reads the output any more', { cause: error })
      : new CacheError('STORAGE_FAILED', `stdout can't be written: ${error.message}`, { cause: error })
  }

  constructor() {
    process.stdout.on('error', this.#onError)
  }

  async write(text: string): Promise<void> {
    await new Promise<void>((resolve) => process.stdout.write(text, () => resolve()))
    if (this.#failure !== undefined) throw this.#failure
  }

  async finish(): Promise<void> {}

  async abandon(): Promise<void> {}
}

class StreamSource implements TextSource {
  readonly name: string
  readonly totalBytes: number | undefined
  readBytes = 0
  readonly #stream: NodeJS.ReadableStream & { destroy(error?: Error): unknown }
  readonly #signal: AbortSignal

  constructor(
    name: string,
    totalBytes: number | undefined,
    stream: NodeJS.ReadableStream & { destroy(error?: Error): unknown },
    signal: AbortSignal,
  ) {
    this.name = name
    this.totalBytes = totalBytes
    this.#stream = stream
    this.#signal = signal
  }

  get chunks(): AsyncIterable<Uint8Array> {
    return this.#read()
  }

  async *#read(): AsyncGenerator<Uint8Array> {
    // Nothing may come for a long time.
    const stop = (): void => void this.#stream.destroy(new CacheError('ABORTED', 'stopped'))
    this.#signal.addEventListener('abort', stop, { once: true })
    try {
      for await (const chunk of this.#stream) {
        const bytes = chunk as Buffer
        this.readBytes += bytes.length
        yield bytes
      }
    } catch (cause) {
      if (cause instanceof CacheError) throw cause
      fail(this.name, cause)
    } finally {
      this.#signal.removeEventListener('abort', stop)
    }
  }
}

function isGone({ code }: NodeJS.ErrnoException): boolean {
  return code === 'EPIPE' || code === 'ERR_STREAM_DESTROYED'
}

function fail(file: string, cause: unknown): never {
  const reason = cause instanceof Error ? cause.message : String(cause)
  throw new CacheError('STORAGE_FAILED', `${file}: ${reason}`, { cause })
}

function configuration(message: string, cause?: unknown): CacheError {
  return new CacheError('CONFIGURATION', message, { cause })
}
