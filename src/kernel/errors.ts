/**
 * One error class for everything ringcache reports. The code says what happened, `retryable` whether the same
 * call can be made again without harm, the message what to do next. docs/errors.md lists every code.
 *
 * `outcome` is the promise behind it: a definite rejection changed nothing; `unknown` may have.
 */

export interface ErrorKind {
  /** Number on the wire, 1..255; never reused. */
  readonly wire: number
  /** gRPC status code reported for unary calls (https://grpc.io/docs/guides/status-codes/). */
  readonly grpcStatus: number
  /** Whether the same call may succeed when made again unchanged. */
  readonly retryable: boolean
}

export type ErrorCode =
  | 'INVALID_ARGUMENT'
  | 'KEY_TOO_LARGE'
  | 'VALUE_TOO_LARGE'
  | 'UNKNOWN_REGION'
  | 'WRONG_TYPE'
  | 'UNSUPPORTED'
  | 'PROTOCOL_ERROR'
  | 'VERSION_MISMATCH'
  | 'WRONG_CLUSTER'
  | 'NOT_PRIMARY'
  | 'NO_ROLE'
  | 'STALE_EPOCH'
  | 'NOT_READY'
  | 'OVERLOADED'
  | 'NOT_ENOUGH_REPLICAS'
  | 'UNAVAILABLE'
  | 'TIMEOUT'
  | 'OUTCOME_UNKNOWN'
  | 'ABORTED'
  | 'CLOSED'
  | 'STALE_OPERATION'
  | 'SERIALIZATION'
  | 'UNAUTHENTICATED'
  | 'PERMISSION_DENIED'
  | 'CONFIGURATION'
  | 'INTERNAL'
  | 'CONDITION_FAILED'
  | 'DATA_LOSS'
  | 'STORAGE_FAILED'

/** What each code stands for; docs/errors.md says what to do about it. */
export const ERROR_KINDS: Readonly<Record<ErrorCode, ErrorKind>> = {
  /** The request itself is wrong; making it again will fail again. */
  INVALID_ARGUMENT: { wire: 1, grpcStatus: 3, retryable: false },
  KEY_TOO_LARGE: { wire: 2, grpcStatus: 3, retryable: false },
  VALUE_TOO_LARGE: { wire: 3, grpcStatus: 3, retryable: false },
  UNKNOWN_REGION: { wire: 4, grpcStatus: 5, retryable: false },
  /** The stored value is not what the operation works on (increment of a value that is no counter). */
  WRONG_TYPE: { wire: 5, grpcStatus: 9, retryable: false },
  UNSUPPORTED: { wire: 6, grpcStatus: 12, retryable: false },
  /** The bytes received are not a valid frame; the connection is closed. */
  PROTOCOL_ERROR: { wire: 7, grpcStatus: 3, retryable: false },
  /** The two ends have no protocol version in common. */
  VERSION_MISMATCH: { wire: 8, grpcStatus: 9, retryable: false },
  /** The node belongs to another cluster than the one this client first met. */
  WRONG_CLUSTER: { wire: 9, grpcStatus: 9, retryable: false },
  /** The node is not this partition's primary; ask the one the topology names. */
  NOT_PRIMARY: { wire: 10, grpcStatus: 9, retryable: true },
  /** The node holds no replica of this partition (it restarted and was not taken back, or never had one). */
  NO_ROLE: { wire: 11, grpcStatus: 14, retryable: true },
  /** The request was made under another epoch of the partition. */
  STALE_EPOCH: { wire: 12, grpcStatus: 9, retryable: true },
  /** No topology is committed yet: the cluster is still starting. */
  NOT_READY: { wire: 13, grpcStatus: 14, retryable: true },
  /** A queue, table or the memory is full. Nothing happened; wait and try again. */
  OVERLOADED: { wire: 14, grpcStatus: 8, retryable: true },
  /** Fewer in-sync replicas are left than the write asks for. Nothing happened. */
  NOT_ENOUGH_REPLICAS: { wire: 15, grpcStatus: 14, retryable: true },
  /** The node can't be reached. The call did not reach it. */
  UNAVAILABLE: { wire: 16, grpcStatus: 14, retryable: true },
  /** The deadline passed before the call took effect; it will not take effect any more. */
  TIMEOUT: { wire: 17, grpcStatus: 4, retryable: true },
  /** The write may or may not have taken effect; read to find out. */
  OUTCOME_UNKNOWN: { wire: 18, grpcStatus: 2, retryable: false },
  /** The caller's AbortSignal fired before the call took effect. */
  ABORTED: { wire: 19, grpcStatus: 1, retryable: false },
  /** The client, node or stream was closed. */
  CLOSED: { wire: 20, grpcStatus: 14, retryable: false },
  /** The operation id lies below the session's watermark: its outcome is no longer kept. */
  STALE_OPERATION: { wire: 21, grpcStatus: 9, retryable: false },
  /** A value could not be encoded or decoded. */
  SERIALIZATION: { wire: 22, grpcStatus: 3, retryable: false },
  UNAUTHENTICATED: { wire: 23, grpcStatus: 16, retryable: false },
  PERMISSION_DENIED: { wire: 24, grpcStatus: 7, retryable: false },
  CONFIGURATION: { wire: 25, grpcStatus: 3, retryable: false },
  /** A bug in ringcache: please report it. */
  INTERNAL: { wire: 26, grpcStatus: 13, retryable: false },
  /** The condition of a write among others did not hold (`when` of an entry of `mset`). Nothing happened. */
  CONDITION_FAILED: { wire: 27, grpcStatus: 9, retryable: false },
  /** What was stored is not what was written: damaged, cut off, or in part missing. */
  DATA_LOSS: { wire: 28, grpcStatus: 15, retryable: false },
  /** A disk or other storage is full, read-only, or fails. */
  STORAGE_FAILED: { wire: 29, grpcStatus: 14, retryable: true },
}

const codeByWire: readonly (ErrorCode | undefined)[] = (() => {
  const table: (ErrorCode | undefined)[] = []
  for (const [code, kind] of Object.entries(ERROR_KINDS)) table[kind.wire] = code as ErrorCode
  return table
})()

/** The code with this number on the wire; `INTERNAL` for one this release does not know. */
export function errorCodeFromWire(wire: number): ErrorCode {
  return codeByWire[wire] ?? 'INTERNAL'
}

/**
 * How a connection failed. `refused`: the machine answered that nothing listens there. `reset`: an established stream
 * broke off, or the other side went away without ending it. `timeout`: silence, which may be a cut, a hang or a slow peer.
 */
export type ConnectionFailure = 'refused' | 'reset' | 'timeout'

export interface ErrorDetails {
  readonly cause?: unknown
  /** Set where a connection failed and it is known how. */
  readonly failure?: ConnectionFailure
  /** The node that answered, or could not be reached. */
  readonly node?: string
  readonly key?: string
}

export class CacheError extends Error {
  override readonly name: string = 'CacheError'
  readonly code: ErrorCode
  readonly node: string | undefined
  readonly key: string | undefined
  readonly failure: ConnectionFailure | undefined

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.code = code
    this.node = details.node
    this.key = details.key
    this.failure = details.failure
  }

  /** Whether the same call may succeed when made again. Never true when the outcome is unknown. */
  get retryable(): boolean {
    return ERROR_KINDS[this.code].retryable
  }

  /** `none`: the call certainly had no effect. `unknown`: it may have had. */
  get outcome(): 'none' | 'unknown' {
    return this.code === 'OUTCOME_UNKNOWN' || this.code === 'INTERNAL' ? 'unknown' : 'none'
  }
}

/** `error` itself when it is a CacheError, otherwise INTERNAL with it as the cause. */
export function toCacheError(error: unknown): CacheError {
  if (error instanceof CacheError) return error
  const text = error instanceof Error ? error.message : String(error)
  return new CacheError('INTERNAL', `unexpected failure: ${text}`, { cause: error })
}

/** @throws CacheError ABORTED */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted !== true) return
  throw new CacheError('ABORTED', 'the call was given up before it was done', { cause: signal.reason })
}
