/** ringcache: what applications import. */

export type { Atomic, AtomicExpectation, AtomicResult } from './client/atomic.ts'
export type { Batch, BatchResult } from './client/batch.ts'
export type { Cache } from './client/cache.ts'
export type { Serializer } from './client/codecs/value-codec.ts'
export { connect } from './client/connect.ts'
export type { EmbeddedOptions, EmbeddedRegion } from './client/embedded.ts'
export type { Entry } from './client/entry.ts'
export type {
  CallOptions,
  ConnectOptions,
  DeleteOptions,
  GetOptions,
  IncrementOptions,
  ReadOptions,
  ScanOptions,
  SetOptions,
  WriteOptions,
} from './client/options.ts'
export type { RetryPolicy } from './client/retry.ts'
export type { Scan } from './client/scan.ts'
export type { NodeStats, Stats } from './client/stats.ts'
export type { SetResult } from './client/write-call.ts'
export { CacheError, type ErrorCode } from './kernel/errors.ts'
export { compareVersions, type Version } from './kernel/ids.ts'
export type { Bytes, Duration } from './kernel/units.ts'
export { ConsistentHashRing, type RingHash, type RingMember, type RingOptions } from './topology/hash-ring.ts'
export type { Durability, ReadKind } from './topology/topology.ts'
