/** What applications call. One object per region; all regions of a client share its connections. */

import type { CacheError } from '../kernel/errors.ts'
import type { Version } from '../kernel/ids.ts'
import type { Duration } from '../kernel/units.ts'
import type { Atomic } from './atomic.ts'
import type { Batch } from './batch.ts'
import type { Entry } from './entry.ts'
import type {
  CallOptions,
  DeleteOptions,
  GetOptions,
  IncrementOptions,
  ReadOptions,
  ScanOptions,
  SetOptions,
  WriteOptions,
} from './options.ts'
import type { Scan } from './scan.ts'
import type { Stats } from './stats.ts'
import type { SetResult } from './write-call.ts'

/**
 * A region of a cluster. A miss is `undefined`; `null` is a value. Every method rejects with a CacheError, whose `code` says
 * what happened and whose `outcome` says whether anything may have changed.
 */
export interface Cache<V = unknown> extends AsyncDisposable {
  /** The value, or `undefined` when there is none. */
  get(key: string, options?: GetOptions<V>): Promise<V | undefined>
  /** The value with its version, times and tags. */
  getEntry(key: string, options?: ReadOptions): Promise<Entry<V> | undefined>
  has(key: string, options?: ReadOptions): Promise<boolean>
  /** Milliseconds left; Infinity when the entry does not expire; undefined when there is none. */
  ttl(key: string, options?: ReadOptions): Promise<number | undefined>

  /** Stores a value and returns its version. */
  set(key: string, value: V, options?: SetOptions & { readonly when?: never }): Promise<Version>
  /** Stores a value if the condition holds; says what was found if it does not. */
  set(key: string, value: V, options: SetOptions): Promise<SetResult<V>>
  /** Whether there was an entry, and with `when`: of that version. */
  delete(key: string, options?: DeleteOptions): Promise<boolean>
  /** Sets the time an entry has left, from now. Whether there was one. */
  expire(key: string, ttl: Duration, options?: WriteOptions): Promise<boolean>
  /** Starts the entry's time to live anew. Whether there was one. */
  touch(key: string, options?: WriteOptions): Promise<boolean>
  /** Adds to a counter (default 1) and returns its new value. */
  increment(key: string, by?: number, options?: IncrementOptions): Promise<number>
  decrement(key: string, by?: number, options?: IncrementOptions): Promise<number>

  /** Values in the order of the keys, wherever they live. Rejects when any of them can't be read. */
  mget(keys: Iterable<string>, options?: ReadOptions): Promise<(V | undefined)[]>
  /** Each key with its version, or with the error that kept it from being stored. */
  mset(
    entries: Readonly<Record<string, V>> | Iterable<readonly [string, V, SetOptions?]>,
    options?: SetOptions & { readonly when?: never },
  ): Promise<Map<string, Version | CacheError>>
  /** How many entries there were. Rejects when any of the keys could not be deleted. */
  mdelete(keys: Iterable<string>, options?: WriteOptions): Promise<number>

  /** Mixed operations with one result each; not atomic. */
  batch(): Batch<V>
  /** Checks and writes of keys in one partition (`{group}` in the key), all or nothing. */
  atomic(): Atomic<V>

  /** The keys that match a glob pattern (`* ? [abc] \`), in no particular order. */
  scan(pattern?: string, options?: ScanOptions): Scan
  keys(pattern?: string, options?: CallOptions): Promise<string[]>
  /** Removes every entry of this region, or of the client's `keyPrefix` in it. Returns how many. */
  clear(options?: WriteOptions): Promise<number>

  /** Another region, through the same connections. */
  region<T = V>(name: string): Cache<T>
  stats(options?: CallOptions): Promise<Stats>
  /** Ends the client, with all its regions. What is pending rejects with CLOSED, or OUTCOME_UNKNOWN. */
  close(): Promise<void>
}
