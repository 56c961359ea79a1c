/**
 * A place for backups that never keeps anybody waiting for good: each step, a piece taken or given, ends with UNAVAILABLE after
 * `stallMs` in which nothing came of it, however the place itself hangs. What was asked of it may still happen.
 */

import { CacheError } from '../kernel/errors.ts'
import type { Scheduler } from '../kernel/scheduler.ts'
import type { BackupCallOptions, BackupRange, BackupStore, StoredObject } from '../snapshot/backup-store.ts'

export class WatchedStore implements BackupStore {
  readonly where: string
  readonly #store: BackupStore
  readonly #scheduler: Scheduler
  readonly #stallMs: number

  private constructor(store: BackupStore, scheduler: Scheduler, stallMs: number) {
    this.where = store.where
    this.#store = store
    this.#scheduler = scheduler
    this.#stallMs = stallMs
  }

  /** Opens a place, and has it watched. @throws CacheError as it does, and UNAVAILABLE when it takes too long */
  static async open(
    opening: Promise<BackupStore>,
    scheduler: Scheduler,
    stallMs: number,
    signal?: AbortSignal,
  ): Promise<BackupStore> {
    const watch = new Watch(scheduler, stallMs, 'opening the place of backups', signal)
    watch.begin()
    try {
      return new WatchedStore(await watch.end(opening), scheduler, stallMs)
    } catch (error) {
      // It may still be opened, for nobody.
      opening.then((store) => store.close()).catch(() => {})
      throw error
    }
  }

  async put(
    name: string,
    content: AsyncIterable<Uint8Array>,
    options: BackupCallOptions = {},
  ): Promise<number> {
    const watch = new Watch(
      this.#scheduler,
      this.#stallMs,
      `writing ${name} to ${this.where}`,
      options.signal,
    )
    const observed = async function* (): AsyncIterable<Uint8Array> {
      // The place is open: it waits for us.
      watch.pause()
      try {
        for await (const piece of content) {
          watch.begin()
          yield piece
          // The place wants more: from here on it waits for us.
          watch.pause()
        }
      } finally {
        watch.begin()
      }
    }
    watch.begin()
    return watch.end(this.#store.put(name, observed(), { signal: watch.signal }))
  }

  async *get(name: string, options: BackupRange = {}): AsyncIterable<Uint8Array> {
    const what = `reading ${name} from ${this.where}`
    yield* this.#each(what, options.signal, (signal) => this.#store.get(name, { ...options, signal }))
  }

  async *list(prefix: string, options: BackupCallOptions = {}): AsyncIterable<StoredObject> {
    const what = `listing ${this.where}`
    yield* this.#each(what, options.signal, (signal) => this.#store.list(prefix, { signal }))
  }

  delete(names: readonly string[], options: BackupCallOptions = {}): Promise<void> {
    const watch = new Watch(this.#scheduler, this.#stallMs, `removing from ${this.where}`, options.signal)
    watch.begin()
    return watch.end(this.#store.delete(names, { signal: watch.signal }))
  }

  close(): Promise<void> {
    return this.#store.close()
  }

  async *#each<T>(
    what: string,
    signal: AbortSignal | undefined,
    open: (signal: AbortSignal) => AsyncIterable<T>,
  ): AsyncIterable<T> {
    const watch = new Watch(this.#scheduler, this.#stallMs, what, signal)
    const iterator = open(watch.signal)[Symbol.asyncIterator]()
    let isDone = false
    try {
      for (;;) {
        watch.begin()
        const { done, value } = await watch.race(iterator.next())
        watch.pause()
        if (done === true) {
          isDone = true
          return
        }
        yield value
      }
    } finally {
      watch.close()
      // One that hangs would not end this either.
      if (!isDone) iterator.return?.()?.catch(() => {})
    }
  }
}

/** Ends what takes too long between two signs of life. */
class Watch {
  readonly #scheduler: Scheduler
  readonly #stallMs: number
  readonly #what: string
  readonly #abort = new AbortController()
  readonly #outer: AbortSignal | undefined
  readonly #forward = (): void => this.#fail(aborted(this.#outer))
  #timer: { cancel(): void } | undefined
  #reject: ((error: CacheError) => void) | undefined
  readonly #failed: Promise<never>

  constructor(scheduler: Scheduler, stallMs: number, what: string, outer: AbortSignal | undefined) {
    this.#scheduler = scheduler
    this.#stallMs = stallMs
    this.#what = what
    this.#outer = outer
    this.#failed = new Promise((_, reject) => {
      this.#reject = reject
    })
    this.#failed.catch(() => {})
    if (outer?.aborted === true) this.#forward()
    else outer?.addEventListener('abort', this.#forward, { once: true })
  }

  get signal(): AbortSignal {
    return this.#abort.signal
  }

  /** From now on the place is waited for. */
  begin(): void {
    this.#timer?.cancel()
    this.#timer = this.#scheduler.after(this.#stallMs, () =>
      this.#fail(
        new CacheError(
          'UNAVAILABLE',
          `${this.#what} stands still for ${this.#stallMs} ms: look whether the place of backups is healthy`,
        ),
      ),
    )
  }

  pause(): void {
    this.#timer?.cancel()
  }

  race<T>(work: Promise<T>): Promise<T> {
    return Promise.race([work, this.#failed])
  }

  async end<T>(work: Promise<T>): Promise<T> {
    work.catch(() => {})
    try {
      return await this.race(work)
    } finally {
      this.close()
    }
  }

  close(): void {
    this.#timer?.cancel()
    this.#outer?.removeEventListener('abort', this.#forward)
  }

  #fail(error: CacheError): void {
    this.#reject?.(error)
    this.#abort.abort(error)
  }
}

function aborted(signal: AbortSignal | undefined): CacheError {
  const { reason } = signal ?? {}
  if (reason instanceof CacheError) return reason
  return new CacheError('ABORTED', 'the work on a backup was ended before it was done', { cause: reason })
}
