/**
 * What applications pass to `connect` and to calls, and how it is checked.
 *
 * Durations: a number is milliseconds, a string carries its unit (`'250ms' '30s' '1h' '7d'`). A time to live must be at
 * least 1 ms; `'never'` stores an entry that does not expire, whatever its region says.
 */

import { CacheError } from '../kernel/errors.ts'
import type { Version } from '../kernel/ids.ts'
import { type Bytes, type Duration, parseBytes, parseDurationMs } from '../kernel/units.ts'
import type { Durability, ReadKind } from '../topology/topology.ts'
import { DurabilityCode, ReadCode, TTL_MS_MAX } from '../wire/operations.ts'
import type { Serializer } from './codecs/value-codec.ts'
import type { RetryPolicy } from './retry.ts'

const TIMEOUT_DEFAULT_MS = 2_000
const CONNECT_TIMEOUT_DEFAULT_MS = 5_000
const PENDING_DEFAULT = 65_536
const PENDING_LIMIT = 1 << 20
const COMPRESSION_THRESHOLD_BYTES = 1024
/** Longest timeout of a call, in milliseconds: nodes keep the outcome of a write twice as long. */
const TIMEOUT_MAX_MS = 30_000

/** What every call takes. */
export interface CallOptions {
  /** How long the call may take, retries included. Default: the client's, 2 s. At most 30 s. */
  readonly timeout?: Duration
  /** Gives the call up. A write that was already sent then ends OUTCOME_UNKNOWN, all else ABORTED. */
  readonly signal?: AbortSignal
}

export interface ReadOptions extends CallOptions {
  /** Who answers. Default: the client's choice, else the region's, else the primary. */
  readonly read?: ReadKind
  /** Accept an entry past its freshness, or the answer of a node that has lost contact with the others. */
  readonly allowStale?: boolean
}

export interface GetOptions<V> extends ReadOptions {
  /** Returned when there is no entry or the call fails; never stored. */
  readonly fallback?: V | (() => V | Promise<V>)
}

export interface WriteOptions extends CallOptions {
  /** How many replicas must hold the write before the call returns. Default: the client's choice, else the region's. */
  readonly durability?: Durability
}

export interface SetOptions extends WriteOptions {
  /** Milliseconds, or text with a unit, or 'never'. Default: the client's, else the region's. */
  readonly ttl?: Duration
  /** At most 64 texts of at most 256 bytes. */
  readonly tags?: readonly string[]
  /** Store only if there is no entry, there is one, or there is this version of it. */
  readonly when?: 'absent' | 'present' | { readonly version: Version }
}

export interface DeleteOptions extends WriteOptions {
  readonly when?: { readonly version: Version }
}

export interface IncrementOptions extends WriteOptions {
  /** What a counter that does not exist starts from. Default 0. */
  readonly initial?: number
  /** Applies when the counter is created; an existing one keeps its expiry. */
  readonly ttl?: Duration
}

export interface ScanOptions extends CallOptions {
  /** Keys per request, about. Default 500. */
  readonly batchSize?: number
  /** Where an earlier scan stood. */
  readonly cursor?: string
}

export interface ConnectOptions {
  /** Addresses of nodes, `host:port`. Any live one is enough; the others are discovered. */
  readonly nodes?: readonly string[]
  /** Default `default`. */
  readonly region?: string
  /** Put in front of every key. */
  readonly keyPrefix?: string
  readonly ttl?: Duration
  readonly durability?: Durability
  readonly read?: ReadKind
  /** Per call, default 2 s. */
  readonly timeout?: Duration
  /** How long `connect` may take. Default 5 s. */
  readonly connectTimeout?: Duration
  /** Overrides when failed operations are tried again; asked only about those that can be repeated without harm. */
  readonly retry?: RetryPolicy
  /** Operations that may be pending at one time; more are refused with OVERLOADED. Default 65,536. */
  readonly maxPending?: number
  /** How values become bytes. Default 'msgpack'. */
  readonly serializer?: 'msgpack' | 'json' | Serializer
  /** Values of at least `threshold` (default 1 KiB) are stored compressed where that makes them smaller. */
  readonly compression?: false | { readonly algorithm: 'lz4'; readonly threshold?: Bytes }
  /** Shown to operators. At most 128 bytes. */
  readonly name?: string
}

/** ConnectOptions, checked and complete. */
export interface ClientSettings {
  readonly nodes: readonly string[]
  readonly region: string
  readonly keyPrefix: string
  /** −1: none given, 0: without expiry. */
  readonly ttlMs: number
  readonly durability: number
  readonly readKind: number
  readonly timeoutMs: number
  readonly connectTimeoutMs: number
  readonly retry: RetryPolicy | undefined
  readonly maxPending: number
  readonly serializer: 'msgpack' | 'json' | Serializer
  readonly compressFromBytes: number
  readonly name: string
}

const CONNECT_OPTIONS: readonly (keyof ConnectOptions)[] = [
  'nodes',
  'region',
  'keyPrefix',
  'ttl',
  'durability',
  'read',
  'timeout',
  'connectTimeout',
  'retry',
  'maxPending',
  'serializer',
  'compression',
  'name',
]

/** @throws CacheError INVALID_ARGUMENT naming the option. */
export function resolveSettings(options: ConnectOptions): ClientSettings {
  refuseUnknown(options, CONNECT_OPTIONS, 'connect')
  const nodes = options.nodes ?? []
  if (!Array.isArray(nodes)) throw invalid("nodes must be an array of addresses, such as ['127.0.0.1:7401']")
  for (const option of ['region', 'keyPrefix', 'name'] as const) {
    const value: unknown = options[option]
    if (value !== undefined && typeof value !== 'string') throw invalid(`${option} must be a text`)
  }
  if (options.retry !== undefined && typeof options.retry !== 'function')
    throw invalid('retry must be a function (attempt, error) => delay in milliseconds, or false')
  checkSerializer(options.serializer)
  for (const address of nodes) {
    if (typeof address !== 'string' || !/^.+:\d{1,5}$/.test(address)) {
      throw invalid(`nodes holds ${JSON.stringify(address)}; give addresses as 'host:port'`)
    }
  }
  const maxPending = options.maxPending ?? PENDING_DEFAULT
  if (!Number.isInteger(maxPending) || maxPending < 1 || maxPending > PENDING_LIMIT) {
    throw invalid(`maxPending is ${maxPending}; give an integer from 1 to ${PENDING_LIMIT}`)
  }
  return {
    nodes,
    region: options.region ?? 'default',
    keyPrefix: options.keyPrefix ?? '',
    ttlMs: options.ttl === undefined ? -1 : parseTtlMs(options.ttl),
    durability: durabilityCode(options.durability),
    readKind: readCode(options.read),
    timeoutMs: options.timeout === undefined ? TIMEOUT_DEFAULT_MS : parseTimeoutMs(options.timeout),
    connectTimeoutMs: positive(options.connectTimeout ?? CONNECT_TIMEOUT_DEFAULT_MS, 'connectTimeout'),
    retry: options.retry,
    maxPending,
    serializer: options.serializer ?? 'msgpack',
    compressFromBytes: compressionThreshold(options.compression),
    name: (options.name ?? '').slice(0, 32),
  }
}

/**
 * What is not known is refused: an option that another release has, or that is misspelled, must not be passed over.
 * @throws CacheError INVALID_ARGUMENT naming it.
 */
export function refuseUnknown(options: object, known: readonly string[], what: string): void {
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined && !known.includes(name))
      throw invalid(`${what} has no option ${JSON.stringify(name)}; there are: ${known.join(', ')}`)
  }
}

/** A time to live in milliseconds; 0: without expiry. @throws CacheError INVALID_ARGUMENT. */
export function parseTtlMs(ttl: Duration): number {
  if (ttl === 'never') return 0
  const ms = parseDurationMs(ttl, 'ttl')
  if (ms < 1) throw invalid(`ttl is ${JSON.stringify(ttl)}; give at least 1 millisecond, or 'never'`)
  if (ms > TTL_MS_MAX) throw invalid(`ttl is ${JSON.stringify(ttl)}; give at most 100 years, or 'never'`)
  return Math.round(ms)
}

/** @throws CacheError INVALID_ARGUMENT. */
export function parseTimeoutMs(timeout: Duration): number {
  const ms = positive(timeout, 'timeout')
  if (ms > TIMEOUT_MAX_MS) throw invalid(`timeout is ${JSON.stringify(timeout)}; give at most 30 seconds`)
  return ms
}

export function durabilityCode(durability: Durability | undefined): number {
  if (durability === undefined) return DurabilityCode.region
  const code = Object.hasOwn(DurabilityCode, durability) ? DurabilityCode[durability] : undefined
  if (code === undefined)
    throw invalid(`durability is ${JSON.stringify(durability)}; give 'one', 'quorum' or 'all'`)
  return code
}

export function readCode(read: ReadKind | undefined): number {
  if (read === undefined) return ReadCode.region
  const code = Object.hasOwn(ReadCode, read) ? ReadCode[read] : undefined
  if (code === undefined) {
    throw invalid(`read is ${JSON.stringify(read)}; give 'primary', 'replica' or 'nearest'`)
  }
  return code
}

function checkSerializer(serializer: ConnectOptions['serializer']): void {
  if (serializer === undefined || serializer === 'msgpack' || serializer === 'json') return
  if (
    typeof serializer === 'object' &&
    serializer !== null &&
    typeof serializer.encode === 'function' &&
    typeof serializer.decode === 'function'
  )
    return
  throw invalid("serializer must be 'msgpack', 'json', or an object with encode(value) and decode(bytes)")
}

function compressionThreshold(compression: ConnectOptions['compression']): number {
  if (compression === false) return Number.POSITIVE_INFINITY
  if (compression === undefined) return COMPRESSION_THRESHOLD_BYTES
  if (typeof compression !== 'object' || compression === null)
    throw invalid("compression must be false or { algorithm: 'lz4', threshold }")
  if (compression.algorithm !== 'lz4') {
    throw invalid(
      `compression.algorithm is ${JSON.stringify(compression.algorithm)}; 'lz4' is the one there is`,
    )
  }
  return parseBytes(compression.threshold ?? COMPRESSION_THRESHOLD_BYTES, 'compression.threshold')
}

function positive(value: Duration, what: string): number {
  const ms = parseDurationMs(value, what)
  if (ms < 1) throw invalid(`${what} is ${JSON.stringify(value)}; give at least 1 millisecond`)
  return ms
}

function invalid(message: string): CacheError {
  return new CacheError('INVALID_ARGUMENT', message)
}
