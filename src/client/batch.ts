/**
 * Mixed operations with one `execute` and one result each. They travel as any operations issued together do; a batch is for
 * handling their results in one place, not for speed, and it is not atomic.
 */

import { type CacheError, toCacheError } from '../kernel/errors.ts'
import type { Version } from '../kernel/ids.ts'
import type { Duration } from '../kernel/units.ts'
import type {
  CallOptions,
  DeleteOptions,
  IncrementOptions,
  ReadOptions,
  SetOptions,
  WriteOptions,
} from './options.ts'
import type { SetResult } from './write-call.ts'

export type BatchResult<V> =
  | { readonly ok: true; readonly value: V | Version | SetResult<V> | boolean | number | undefined }
  | { readonly ok: false; readonly error: CacheError }

/** What a batch is made of: the part of Cache it uses. */
export interface BatchOperations<V> {
  get(key: string, options?: ReadOptions): Promise<V | undefined>
  has(key: string, options?: ReadOptions): Promise<boolean>
  set(key: string, value: V, options: SetOptions): Promise<SetResult<V> | Version>
  delete(key: string, options?: DeleteOptions): Promise<boolean>
  expire(key: string, ttl: Duration, options?: WriteOptions): Promise<boolean>
  touch(key: string, options?: WriteOptions): Promise<boolean>
  increment(key: string, by?: number, options?: IncrementOptions): Promise<number>
}

type Step<V> = (shared: CallOptions) => Promise<V | Version | SetResult<V> | boolean | number | undefined>

/** Operations run together and in any order; two of them on one key arrive in the order in which they were added. */
export class Batch<V = unknown> {
  readonly #cache: BatchOperations<V>
  #steps: Step<V>[] = []

  constructor(cache: BatchOperations<V>) {
    this.#cache = cache
  }

  get size(): number {
    return this.#steps.length
  }

  get(key: string, options?: ReadOptions): this {
    return this.#add((shared) => this.#cache.get(key, { ...shared, ...options }))
  }

  has(key: string, options?: ReadOptions): this {
    return this.#add((shared) => this.#cache.has(key, { ...shared, ...options }))
  }

  set(key: string, value: V, options?: SetOptions): this {
    return this.#add((shared) => this.#cache.set(key, value, { ...shared, ...options } as SetOptions))
  }

  delete(key: string, options?: DeleteOptions): this {
    return this.#add((shared) => this.#cache.delete(key, { ...shared, ...options }))
  }

  expire(key: string, ttl: Duration, options?: WriteOptions): this {
    return this.#add((shared) => this.#cache.expire(key, ttl, { ...shared, ...options }))
  }

  touch(key: string, options?: WriteOptions): this {
    return this.#add((shared) => this.#cache.touch(key, { ...shared, ...options }))
  }

  increment(key: string, by = 1, options?: IncrementOptions): this {
    return this.#add((shared) => this.#cache.increment(key, by, { ...shared, ...options }))
  }

  /** Sends everything added since the last `execute`. Results stand in the order of the operations. Never rejects. */
  async execute(options: CallOptions = {}): Promise<BatchResult<V>[]> {
    const steps = this.#steps
    this.#steps = []
    return Promise.all(
      steps.map(async (step): Promise<BatchResult<V>> => {
        try {
          return { ok: true, value: await step(options) }
        } catch (error) {
          return { ok: false, error: toCacheError(error) }
        }
      }),
    )
  }

  #add(step: Step<V>): this {
    this.#steps.push(step)
    return this
  }
}
