/**
 * The unary calls of proto/cache.proto as plain objects and functions, without gRPC: the gateway implements them, an
 * adapter serves them. Field names are those of the proto file in camel case; enum values are their names.
 */

export type EncodingName = 'BYTES' | 'MSGPACK' | 'JSON' | 'TEXT' | 'COUNTER' | 'CUSTOM'
export type ReadName = 'READ_DEFAULT' | 'READ_PRIMARY' | 'READ_REPLICA' | 'READ_NEAREST'
export type DurabilityName = 'DURABILITY_DEFAULT' | 'DURABILITY_ONE' | 'DURABILITY_QUORUM' | 'DURABILITY_ALL'

export interface ValueMessage {
  readonly data: Uint8Array
  readonly encoding: EncodingName
  readonly lz4: boolean
}

export interface VersionMessage {
  readonly partitionEpoch: number
  readonly sequence: number
}

export interface EntryMessage {
  readonly value: ValueMessage
  readonly version: VersionMessage
  readonly createdAtMs: number
  readonly expiresAtMs: number
  readonly tags: readonly string[]
}

/** `when` names the member that is set. */
export interface ConditionMessage {
  readonly when?: 'absent' | 'present' | 'version'
  readonly version?: VersionMessage | null
}

interface Target {
  readonly region: string
  readonly key: string
}

export interface GetRequest extends Target {
  readonly read: ReadName
  readonly allowStale: boolean
  readonly acceptLz4: boolean
}
export interface GetReply {
  readonly found: boolean
  readonly entry?: EntryMessage
}

export interface SetRequest extends Target {
  readonly value: ValueMessage | null
  readonly ttlMs?: number
  readonly durability: DurabilityName
  readonly condition: ConditionMessage | null
  readonly tags: readonly string[]
}
export interface SetReply {
  readonly applied: boolean
  readonly version?: VersionMessage
  readonly current?: EntryMessage
}

export interface DeleteRequest extends Target {
  readonly durability: DurabilityName
}
export interface DeleteReply {
  readonly deleted: boolean
}

export interface HasRequest extends Target {
  readonly read: ReadName
}
export interface HasReply {
  readonly found: boolean
}

export interface ExpireRequest extends Target {
  readonly ttlMs: number
  readonly durability: DurabilityName
}
export interface ExpireReply {
  readonly found: boolean
}

export interface IncrementRequest extends Target {
  readonly by?: number
  readonly initial?: number
  readonly ttlMs?: number
  readonly durability: DurabilityName
}
export interface IncrementReply {
  readonly value: number
}

/** `operation` names the member that is set. */
export interface BatchOperation {
  readonly operation?: keyof BatchMembers
  readonly get?: GetRequest
  readonly set?: SetRequest
  readonly delete?: DeleteRequest
  readonly has?: HasRequest
  readonly expire?: ExpireRequest
  readonly increment?: IncrementRequest
}
export interface BatchMembers {
  get: GetReply
  set: SetReply
  delete: DeleteReply
  has: HasReply
  expire: ExpireReply
  increment: IncrementReply
}
export interface BatchRequest {
  readonly operations: readonly BatchOperation[]
  readonly region: string
}
export interface ErrorMessage {
  readonly code: string
  readonly message: string
  readonly retryable: boolean
}
export type BatchResult = Partial<BatchMembers> & { readonly error?: ErrorMessage }
export interface BatchReply {
  readonly results: readonly BatchResult[]
}

export interface ScanRequest {
  readonly region: string
  readonly pattern: string
  readonly cursor: string
  readonly limit: number
}
export interface ScanReply {
  readonly keys: readonly string[]
  readonly cursor: string
}

export interface ClearRequest {
  readonly region: string
  readonly prefix: string
}
export interface ClearReply {
  readonly removed: number
}

export interface StatsRequest {
  readonly region: string
}
export interface StatsReply {
  readonly json: string
}

/** What the caller gave with a call. */
export interface CallContext {
  /** Milliseconds left; undefined: the default. */
  readonly timeoutMs: number | undefined
  /** Fires when the caller gives up. */
  readonly signal: AbortSignal
}

/** Each throws a CacheError when it fails. */
export interface CacheService {
  get(request: GetRequest, call: CallContext): Promise<GetReply>
  set(request: SetRequest, call: CallContext): Promise<SetReply>
  delete(request: DeleteRequest, call: CallContext): Promise<DeleteReply>
  has(request: HasRequest, call: CallContext): Promise<HasReply>
  expire(request: ExpireRequest, call: CallContext): Promise<ExpireReply>
  increment(request: IncrementRequest, call: CallContext): Promise<IncrementReply>
  batch(request: BatchRequest, call: CallContext): Promise<BatchReply>
  scan(request: ScanRequest, call: CallContext): Promise<ScanReply>
  clear(request: ClearRequest, call: CallContext): Promise<ClearReply>
  stats(request: StatsRequest, call: CallContext): Promise<StatsReply>
}
