/**
 * The unary calls, as a client inside the node: each becomes an operation of that client, which routes it to the node that
 * owns the key (often this one, reached without a socket). So there is one way to read and to write, whoever asks.
 *
 * Calls of one turn travel together like those of any client. Values pass through as they are stored.
 */

import type { CacheClient } from '../../client/cache-client.ts'
import type { RawValue } from '../../client/codecs/raw-value.ts'
import type { Entry } from '../../client/entry.ts'
import type { SetOptions, WriteOptions } from '../../client/options.ts'
import { CacheError, toCacheError } from '../../kernel/errors.ts'
import type { Durability, ReadKind } from '../../topology/topology.ts'
import type * as api from './cache-service.ts'
import { rawValueOf, valueMessage } from './value-message.ts'

/** The client of a region, limited to keys that begin with `prefix`. '' is the default region. */
export type RegionClients = (region: string, prefix?: string) => Promise<CacheClient<RawValue>>

const OPERATIONS_MAX = 10_000
/** A caller may be willing to wait longer than an operation is allowed to take. */
const TIMEOUT_MAX_MS = 30_000
const SCAN_LIMIT_DEFAULT = 1_000
const SCAN_LIMIT_MAX = 10_000

const READS: Readonly<Record<api.ReadName, ReadKind | undefined>> = {
  READ_DEFAULT: undefined,
  READ_PRIMARY: 'primary',
  READ_REPLICA: 'replica',
  READ_NEAREST: 'nearest',
}
const DURABILITIES: Readonly<Record<api.DurabilityName, Durability | undefined>> = {
  DURABILITY_DEFAULT: undefined,
  DURABILITY_ONE: 'one',
  DURABILITY_QUORUM: 'quorum',
  DURABILITY_ALL: 'all',
}

export class Gateway implements api.CacheService {
  readonly #clients: RegionClients
  readonly #valueBytesMax: number

  constructor(clients: RegionClients, valueBytesMax: number) {
    this.#clients = clients
    this.#valueBytesMax = valueBytesMax
  }

  async get(request: api.GetRequest, call: api.CallContext): Promise<api.GetReply> {
    const client = await this.#clients(request.region)
    const entry = await client.getEntry(request.key, {
      ...callOptions(call),
      ...read(request.read),
      allowStale: request.allowStale,
    })
    if (entry === undefined) return { found: false }
    return { found: true, entry: this.#entry(entry, request.acceptLz4) }
  }

  async set(request: api.SetRequest, call: api.CallContext): Promise<api.SetReply> {
    const value = rawValueOf(request.value)
    const when = conditionOf(request.condition)
    const client = await this.#clients(request.region)
    const options: SetOptions = {
      ...writeOptions(request, call),
      ...(request.ttlMs === undefined ? {} : { ttl: request.ttlMs }),
      ...(request.tags.length === 0 ? {} : { tags: request.tags }),
    }
    if (when === undefined) {
      const version = await client.set(request.key, value, options as SetOptions & { when?: never })
      return { applied: true, version }
    }
    const result = await client.set(request.key, value, { ...options, when })
    if (result.ok) return { applied: true, version: result.version }
    return result.current === undefined
      ? { applied: false }
      : { applied: false, current: this.#entry(result.current, false) }
  }

  async delete(request: api.DeleteRequest, call: api.CallContext): Promise<api.DeleteReply> {
    const client = await this.#clients(request.region)
    return { deleted: await client.delete(request.key, writeOptions(request, call)) }
  }

  async has(request: api.HasRequest, call: api.CallContext): Promise<api.HasReply> {
    const client = await this.#clients(request.region)
    return { found: await client.has(request.key, { ...callOptions(call), ...read(request.read) }) }
  }

  async expire(request: api.ExpireRequest, call: api.CallContext): Promise<api.ExpireReply> {
    const client = await this.#clients(request.region)
    return { found: await client.expire(request.key, request.ttlMs, writeOptions(request, call)) }
  }

  async increment(request: api.IncrementRequest, call: api.CallContext): Promise<api.IncrementReply> {
    const client = await this.#clients(request.region)
    const options = {
      ...writeOptions(request, call),
      ...(request.initial === undefined ? {} : { initial: request.initial }),
      ...(request.ttlMs === undefined ? {} : { ttl: request.ttlMs }),
    }
    return { value: await client.increment(request.key, request.by ?? 1, options) }
  }

  async batch(request: api.BatchRequest, call: api.CallContext): Promise<api.BatchReply> {
    const { operations, region } = request
    if (operations.length > OPERATIONS_MAX) {
      throw new CacheError(
        'INVALID_ARGUMENT',
        `a batch of ${operations.length} operations; at most ${OPERATIONS_MAX} are allowed`,
      )
    }
    const results = await Promise.all(
      operations.map(async (operation): Promise<api.BatchResult> => {
        try {
          return await this.#one(operation, region, call)
        } catch (error) {
          const { code, message, retryable } = toCacheError(error)
          return { error: { code, message, retryable } }
        }
      }),
    )
    return { results }
  }

  async scan(request: api.ScanRequest, call: api.CallContext): Promise<api.ScanReply> {
    const { pattern, cursor } = request
    const limit = request.limit === 0 ? SCAN_LIMIT_DEFAULT : Math.min(request.limit, SCAN_LIMIT_MAX)
    const client = await this.#clients(request.region)
    const keys: string[] = []
    const scan = client.scan(pattern === '' ? undefined : pattern, {
      ...callOptions(call),
      batchSize: limit,
      ...(cursor === '' ? {} : { cursor }),
    })
    let page = scan.cursor
    for await (const key of scan) {
      // The cursor moves with the first key of a page: only between two pages can a later call go on.
      if (keys.length >= limit && scan.cursor !== page) return { keys, cursor: scan.cursor }
      page = scan.cursor
      keys.push(key)
    }
    return { keys, cursor: '' }
  }

  async clear(request: api.ClearRequest, call: api.CallContext): Promise<api.ClearReply> {
    const client = await this.#clients(request.region, request.prefix)
    return { removed: await client.clear(callOptions(call)) }
  }

  async stats(request: api.StatsRequest): Promise<api.StatsReply> {
    const client = await this.#clients(request.region)
    return { json: JSON.stringify(await client.stats()) }
  }

  async #one(operation: api.BatchOperation, region: string, call: api.CallContext): Promise<api.BatchResult> {
    const within = <T extends { readonly region: string }>(request: T): T =>
      request.region === '' ? { ...request, region } : request
    if (operation.get) return { get: await this.get(within(operation.get), call) }
    if (operation.set) return { set: await this.set(within(operation.set), call) }
    if (operation.delete) return { delete: await this.delete(within(operation.delete), call) }
    if (operation.has) return { has: await this.has(within(operation.has), call) }
    if (operation.expire) return { expire: await this.expire(within(operation.expire), call) }
    if (operation.increment) return { increment: await this.increment(within(operation.increment), call) }
    throw new CacheError('INVALID_ARGUMENT', 'an operation of the batch is empty, or unknown to this release')
  }

  #entry(entry: Entry<RawValue>, acceptLz4: boolean): api.EntryMessage {
    return {
      value: valueMessage(entry.value, acceptLz4, this.#valueBytesMax),
      version: entry.version,
      createdAtMs: entry.createdAt,
      expiresAtMs: entry.expiresAt ?? 0,
      tags: entry.tags,
    }
  }
}

function callOptions(call: api.CallContext): { timeout?: number; signal: AbortSignal } {
  const { timeoutMs, signal } = call
  return timeoutMs === undefined ? { signal } : { signal, timeout: Math.min(timeoutMs, TIMEOUT_MAX_MS) }
}

function writeOptions(
  request: { readonly durability: api.DurabilityName },
  call: api.CallContext,
): WriteOptions {
  const durability = DURABILITIES[request.durability]
  return durability === undefined ? callOptions(call) : { ...callOptions(call), durability }
}

function read(name: api.ReadName): { read?: ReadKind } {
  const kind = READS[name]
  return kind === undefined ? {} : { read: kind }
}

function conditionOf(condition: api.ConditionMessage | null): SetOptions['when'] {
  if (condition?.when === undefined) return undefined
  if (condition.when !== 'version') return condition.when
  return { version: condition.version ?? { partitionEpoch: 0, sequence: 0 } }
}
