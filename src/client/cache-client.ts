/** The Cache of a remote or embedded cluster: checks arguments, makes the call, hands it to the router. */

import { CacheError, toCacheError } from '../kernel/errors.ts'
import type { Version } from '../kernel/ids.ts'
import type { Duration } from '../kernel/units.ts'
import { Flag, Opcode } from '../wire/operations.ts'
import { Atomic, AtomicCall } from './atomic.ts'
import { Batch } from './batch.ts'
import type { Cache } from './cache.ts'
import { watchSignal } from './call.ts'
import { ClientCore, type ClientPorts } from './client-core.ts'
import type { Entry } from './entry.ts'
import { ManyReads } from './many-reads.ts'
import { ManyWrites, ManyWritesItem } from './many-writes.ts'
import { Mutation, setMutation, type WriteDefaults, type WriteOpcode } from './mutation.ts'
import {
  type CallOptions,
  type ClientSettings,
  type DeleteOptions,
  durabilityCode,
  type GetOptions,
  type IncrementOptions,
  parseTtlMs,
  type ReadOptions,
  readCode,
  type ScanOptions,
  type SetOptions,
  type WriteOptions,
} from './options.ts'
import { ClearCall, ScanCall, type ScanPage, StatsCall } from './partition-calls.ts'
import type { Call, Link } from './pending.ts'
import { ReadCall, type ReadOpcode } from './read-call.ts'
import { Scan } from './scan.ts'
import { checkSignal } from './signals.ts'
import { type NodeStats, parseNodeStats, type Stats, sumStats } from './stats.ts'
import { RegionHandle } from './target.ts'
import { type SetResult, WriteCall, type WriteOutcome } from './write-call.ts'

/** Partitions cleared at one time. */
const CLEAR_AHEAD = 128

/** Stands in a result until the outcome is known. */
const NO_OUTCOME: Version = { partitionEpoch: 0, sequence: 0 }

/** A call with what sending it needs. */
interface Runnable<T> extends Call {
  readonly promise: Promise<T>
  readonly slots: number
  onSettled: (() => void) | undefined
}

export class CacheClient<V = unknown> implements Cache<V> {
  readonly #core: ClientCore
  readonly #region: RegionHandle
  readonly #defaults: WriteDefaults
  readonly #readKind: number

  /** Use `openClient`. */
  constructor(core: ClientCore, region: RegionHandle) {
    this.#core = core
    this.#region = region
    const { ttlMs, durability, readKind } = core.settings
    this.#defaults = { ttlMs, durability }
    this.#readKind = readKind
  }

  get(key: string, options?: GetOptions<V>): Promise<V | undefined> {
    if (options === undefined || options === null) {
      const core = this.#core
      const call = new ReadCall(
        core,
        this.#region,
        key,
        Opcode.get,
        this.#readKind,
        0,
        core.budget(undefined),
        undefined,
      )
      core.router.submit(call, 0)
      return call.promise as Promise<V | undefined>
    }
    const value = this.#read(key, Opcode.get, options) as Promise<V | undefined>
    return 'fallback' in options ? withFallback(value, options.fallback) : value
  }

  getEntry(key: string, options?: ReadOptions): Promise<Entry<V> | undefined> {
    return this.#read(key, Opcode.getEntry, options) as Promise<Entry<V> | undefined>
  }

  has(key: string, options?: ReadOptions): Promise<boolean> {
    return this.#read(key, Opcode.has, options) as Promise<boolean>
  }

  ttl(key: string, options?: ReadOptions): Promise<number | undefined> {
    return this.#read(key, Opcode.ttl, options) as Promise<number | undefined>
  }

  set(key: string, value: V, options?: SetOptions & { readonly when?: never }): Promise<Version>
  set(key: string, value: V, options: SetOptions): Promise<SetResult<V>>
  set(key: string, value: V, options?: SetOptions): Promise<Version | SetResult<V>> {
    return this.#attempt(options, () => {
      const { values, valueBytesMax, copies } = this.#core
      const mutation = setMutation(values, value, options, this.#defaults, valueBytesMax, copies)
      return this.#writeCall(key, mutation, options)
    }) as Promise<Version | SetResult<V>>
  }

  delete(key: string, options?: DeleteOptions): Promise<boolean> {
    return this.#write(key, Opcode.delete, options, (mutation) =>
      mutation.setCondition(options?.when),
    ) as Promise<boolean>
  }

  expire(key: string, ttl: Duration, options?: WriteOptions): Promise<boolean> {
    return this.#write(key, Opcode.expire, options, (mutation) =>
      mutation.setTtl(parseTtlMs(ttl)),
    ) as Promise<boolean>
  }

  touch(key: string, options?: WriteOptions): Promise<boolean> {
    return this.#write(key, Opcode.touch, options, () => {}) as Promise<boolean>
  }

  increment(key: string, by = 1, options?: IncrementOptions): Promise<number> {
    return this.#write(key, Opcode.increment, options, (mutation) => {
      mutation.by = by
      mutation.initial = options?.initial ?? 0
      if (!Number.isFinite(mutation.by) || !Number.isFinite(mutation.initial)) {
        throw new CacheError('INVALID_ARGUMENT', 'a counter starts from and changes by finite numbers only')
      }
      mutation.setTtl(options?.ttl === undefined ? this.#defaults.ttlMs : parseTtlMs(options.ttl))
    }) as Promise<number>
  }

  decrement(key: string, by = 1, options?: IncrementOptions): Promise<number> {
    return this.increment(key, -by, options)
  }

  mget(keys: Iterable<string>, options?: ReadOptions): Promise<(V | undefined)[]> {
    return this.#attemptMany(options, () => {
      const list = listOf(keys)
      const flags = options?.allowStale === true ? Flag.allowStale : 0
      return new ManyReads(
        this.#core,
        this.#region,
        list,
        this.#readKindOf(options),
        flags,
        this.#core.budget(options),
      )
    }) as Promise<(V | undefined)[]>
  }

  async mset(
    entries: Readonly<Record<string, V>> | Iterable<readonly [string, V, SetOptions?]>,
    options?: SetOptions & { readonly when?: never },
  ): Promise<Map<string, Version | CacheError>> {
    const { values, valueBytesMax, copies } = this.#core
    const outcomes = new Map<string, Version | CacheError>()
    const items: ManyWritesItem[] = []
    const large: Promise<void>[] = []
    for (const [key, value, own] of pairsOf(entries)) {
      // Keeps the order of the entries, whatever ends first.
      outcomes.set(key, NO_OUTCOME)
      try {
        const merged = own === undefined ? options : { ...options, ...own }
        const mutation = setMutation(values, value, merged, this.#defaults, valueBytesMax, copies)
        if (mutation.copy === undefined) {
          items.push(new ManyWritesItem(key, mutation))
        } else {
          const write = this.#attempt(options, () => this.#writeCall(key, mutation, options, false))
          large.push(
            write.then(
              (outcome) => void outcomes.set(key, versionOf(outcome)),
              (error: unknown) => void outcomes.set(key, toCacheError(error)),
            ),
          )
        }
      } catch (error) {
        outcomes.set(key, toCacheError(error))
      }
    }
    await this.#writeMany(items, options)
    await Promise.all(large)
    for (const { key, outcome } of items) {
      outcomes.set(key, outcome instanceof CacheError ? outcome : versionOf(outcome as WriteOutcome))
    }
    return outcomes
  }

  async mdelete(keys: Iterable<string>, options?: WriteOptions): Promise<number> {
    const items = listOf(keys).map(
      (key) => new ManyWritesItem(key, new Mutation(Opcode.delete, options, this.#defaults)),
    )
    await this.#writeMany(items, options)
    let deleted = 0
    for (const { outcome } of items) {
      if (outcome instanceof CacheError) throw outcome
      if (outcome === true) deleted++
    }
    return deleted
  }

  batch(): Batch<V> {
    return new Batch(this)
  }

  atomic(): Atomic<V> {
    return new Atomic(this.#core, this.#defaults, (checks, writes, options) =>
      this.#attempt(
        options,
        () =>
          new AtomicCall(
            this.#core,
            this.#region,
            checks,
            writes,
            options,
            this.#defaults,
            this.#core.budget(options),
          ),
      ),
    )
  }

  scan(pattern = '*', options: ScanOptions = {}): Scan {
    const readKind = this.#readKind
    const fetch = (
      partition: number,
      bucket: number,
      bytes: Uint8Array,
      bytesMax: number,
    ): Promise<ScanPage> =>
      this.#attempt(
        options,
        () =>
          new ScanCall(
            this.#region,
            partition,
            bucket,
            bytesMax,
            bytes,
            readKind,
            this.#core.budget(options),
          ),
      )
    return new Scan(
      this.#region,
      () => this.#region.group(this.#core.router.topology),
      fetch,
      pattern,
      options,
    )
  }

  async keys(pattern = '*', options: CallOptions = {}): Promise<string[]> {
    const keys: string[] = []
    for await (const key of this.scan(pattern, options)) keys.push(key)
    return keys
  }

  async clear(options?: WriteOptions): Promise<number> {
    const { firstPartition, partitionCount } = this.#region.group(this.#core.router.topology)
    const durability =
      options?.durability === undefined ? this.#defaults.durability : durabilityCode(options.durability)
    const end = firstPartition + partitionCount
    let removed = 0
    for (let from = firstPartition; from < end; from += CLEAR_AHEAD) {
      const calls: Promise<number>[] = []
      for (let partition = from; partition < Math.min(end, from + CLEAR_AHEAD); partition++) {
        const make = (): ClearCall =>
          new ClearCall(this.#region, partition, durability, this.#core.budget(options))
        calls.push(this.#attempt(options, make))
      }
      for (const count of await Promise.all(calls)) removed += count
    }
    return removed
  }

  region<T = V>(name: string): Cache<T> {
    return new CacheClient<T>(this.#core, new RegionHandle(name, this.#region.prefix))
  }

  async stats(options?: CallOptions): Promise<Stats> {
    const links = this.#core.router.nodes
    const answers = await Promise.allSettled(
      links.map(async (link): Promise<NodeStats> => {
        const make = (): StatsCall => new StatsCall(this.#region, link, this.#core.budget(options))
        return parseNodeStats(link.name, await this.#attempt(options, make))
      }),
    )
    const nodes: NodeStats[] = []
    const missing: string[] = []
    answers.forEach((answer, index) => {
      if (answer.status === 'fulfilled') nodes.push(answer.value)
      else missing.push((links[index] as Link).name)
    })
    const failure = answers.find((answer) => answer.status === 'rejected')
    if (nodes.length === 0 && failure !== undefined) throw failure.reason
    return sumStats(nodes, missing)
  }

  close(): Promise<void> {
    return this.#core.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** For tests and tools: asks one named node, primary or not, for what it holds. */
  inspect(nodeId: string): NodeInspector<V> {
    const link = this.#core.router.link(nodeId)
    if (link === undefined)
      throw new CacheError('INVALID_ARGUMENT', `there is no node ${JSON.stringify(nodeId)}`)
    return {
      get: (key, options) =>
        this.#read(key, Opcode.get, { read: 'replica', ...options }, link) as Promise<V | undefined>,
      getEntry: (key, options) =>
        this.#read(key, Opcode.getEntry, { read: 'replica', ...options }, link) as Promise<
          Entry<V> | undefined
        >,
    }
  }

  #read(key: string, opcode: ReadOpcode, options: ReadOptions | undefined, link?: Link): Promise<unknown> {
    return this.#attempt(options, () => {
      const flags = options?.allowStale === true ? Flag.allowStale : 0
      const readKind = this.#readKindOf(options)
      return new ReadCall(
        this.#core,
        this.#region,
        key,
        opcode,
        readKind,
        flags,
        this.#core.budget(options),
        link,
      )
    })
  }

  #write(
    key: string,
    opcode: WriteOpcode,
    options: WriteOptions | undefined,
    fill: (mutation: Mutation) => void,
  ): Promise<WriteOutcome> {
    return this.#attempt(options, () => {
      const mutation = new Mutation(opcode, options, this.#defaults)
      fill(mutation)
      return this.#writeCall(key, mutation, options)
    })
  }

  #writeCall(
    key: string,
    mutation: Mutation,
    options: CallOptions | undefined,
    showsCurrent = true,
  ): WriteCall {
    return new WriteCall(this.#core, this.#region, key, mutation, this.#core.budget(options), showsCurrent)
  }

  async #writeMany(items: readonly ManyWritesItem[], options: CallOptions | undefined): Promise<void> {
    await this.#attemptMany(
      options,
      () => new ManyWrites(this.#core, this.#region, items, this.#core.budget(options)),
    )
  }

  /** Makes a call of one operation and sends it. Errors in the arguments reject, as all others do. */
  #attempt<T>(options: CallOptions | undefined, make: () => Runnable<T>): Promise<T> {
    const signal = options?.signal
    let call: Runnable<T>
    try {
      checkSignal(signal)
      call = make()
    } catch (error) {
      return Promise.reject(toCacheError(error))
    }
    if (signal !== undefined) watchSignal(call, signal, this.#core)
    if (!call.isSettled(0)) this.#core.router.submit(call, 0)
    return call.promise
  }

  #attemptMany<T>(
    options: CallOptions | undefined,
    make: () => Runnable<T> & { submit(): void },
  ): Promise<T> {
    const signal = options?.signal
    let call: Runnable<T> & { submit(): void }
    try {
      checkSignal(signal)
      call = make()
    } catch (error) {
      return Promise.reject(toCacheError(error))
    }
    if (signal !== undefined) watchSignal(call, signal, this.#core)
    call.submit()
    return call.promise
  }

  #readKindOf(options: ReadOptions | undefined): number {
    return options?.read === undefined ? this.#readKind : readCode(options.read)
  }
}

/** What one node holds, asked directly. */
export interface NodeInspector<V> {
  get(key: string, options?: ReadOptions): Promise<V | undefined>
  getEntry(key: string, options?: ReadOptions): Promise<Entry<V> | undefined>
}

/** A client over the given ports, connected. @throws CacheError UNAVAILABLE, NOT_READY, UNKNOWN_REGION. */
export async function openClient<V>(
  ports: ClientPorts,
  settings: ClientSettings,
  onClose: () => Promise<void> = async () => {},
): Promise<CacheClient<V>> {
  const region = new RegionHandle(settings.region, settings.keyPrefix)
  const core = new ClientCore(ports, settings, onClose)
  try {
    await core.contact()
    region.record(core.router.topology)
  } catch (error) {
    await core.close()
    throw error
  }
  return new CacheClient<V>(core, region)
}

const CALLERS_FAULT: ReadonlySet<string> = new Set([
  'INVALID_ARGUMENT',
  'KEY_TOO_LARGE',
  'UNKNOWN_REGION',
  'ABORTED',
])

/** A fallback stands in for what is missing or failed, not for a call that is wrong or was given up. */
async function withFallback<V>(
  value: Promise<V | undefined>,
  fallback: V | (() => V | Promise<V>) | undefined,
): Promise<V | undefined> {
  try {
    const found = await value
    if (found !== undefined) return found
  } catch (error) {
    if (error instanceof CacheError && CALLERS_FAULT.has(error.code)) throw error
  }
  return typeof fallback === 'function' ? (fallback as () => V | Promise<V>)() : fallback
}

function pairsOf<V>(
  entries: Readonly<Record<string, V>> | Iterable<readonly [string, V, SetOptions?]>,
): Iterable<readonly [string, V, SetOptions?]> {
  if (typeof entries !== 'object' || entries === null)
    throw new CacheError('INVALID_ARGUMENT', 'mset takes { key: value } or [[key, value, options], …]')
  if (!(Symbol.iterator in entries)) return Object.entries(entries as Readonly<Record<string, V>>)
  const pairs = [...(entries as Iterable<readonly [string, V, SetOptions?]>)]
  if (!pairs.every(Array.isArray))
    throw new CacheError(
      'INVALID_ARGUMENT',
      'each entry of mset must be [key, value] or [key, value, options]',
    )
  return pairs
}

/** A text is no list of keys, though it can be iterated. */
function listOf(keys: Iterable<string>): readonly string[] {
  if (Array.isArray(keys)) return keys
  if (typeof keys !== 'object' || keys === null || !(Symbol.iterator in keys))
    throw new CacheError('INVALID_ARGUMENT', 'keys must be an array or another iterable of texts')
  return [...keys]
}

/** Of a set's outcome; an unmet condition of a single entry is an error here. */
function versionOf(outcome: WriteOutcome): Version | CacheError {
  if (typeof outcome === 'object' && 'ok' in outcome) {
    return outcome.ok
      ? outcome.version
      : new CacheError(
          'CONDITION_FAILED',
          'the condition of this entry (when) did not hold; it was not stored',
        )
  }
  return outcome as Version
}
