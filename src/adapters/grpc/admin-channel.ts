/** Calls the Admin service of one node (proto/admin.proto). One connection per address, opened by the first call. */

import { Client, credentials, type Metadata, type ServiceError, status as Status } from '@grpc/grpc-js'
import type { ServiceDefinition } from '@grpc/proto-loader'
import { CacheError, ERROR_KINDS, type ErrorCode } from '../../kernel/errors.ts'
import type { AdminApi } from '../../wire/admin.ts'
import { CODE_TRAILER } from './unary-service.ts'

export class AdminChannel {
  readonly address: string
  readonly #client: Client
  readonly #definition: ServiceDefinition

  /**
   * @param address `host:port`
   * @param definition of `ringcache.v1.Admin`
   */
  constructor(address: string, definition: ServiceDefinition) {
    this.address = address
    this.#definition = definition
    this.#client = new Client(address, credentials.createInsecure(), {
      'grpc.enable_http_proxy': 0,
      'grpc.use_local_subchannel_pool': 1,
    })
  }

  /** @throws CacheError UNAVAILABLE when nobody answers there, TIMEOUT, or what the node says */
  call(method: keyof AdminApi, request: object, timeoutMs: number): Promise<object> {
    const name = `${method[0]?.toUpperCase()}${method.slice(1)}`
    const definition = this.#definition[name]
    if (definition === undefined) throw new CacheError('UNSUPPORTED', `there is no call ${name}`)
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        definition.path,
        definition.requestSerialize,
        definition.responseDeserialize,
        request,
        { deadline: Date.now() + timeoutMs },
        (error: ServiceError | null, reply?: object) => {
          if (error === null && reply !== undefined) resolve(reply)
          else reject(errorOf(error, this.address))
        },
      )
    })
  }

  close(): void {
    this.#client.close()
  }
}

function errorOf(error: ServiceError | null, address: string): CacheError {
  const named = codeIn(error?.metadata)
  const said = error?.details ?? 'no answer'
  const node = { node: address }
  if (named !== undefined) return new CacheError(named, said, node)
  switch (error?.code) {
    case Status.UNIMPLEMENTED:
      return new CacheError(
        'UNSUPPORTED',
        `${address} answers gRPC but has no such call: is it a ringcache node of this release?`,
        node,
      )
    case Status.DEADLINE_EXCEEDED:
      return new CacheError('TIMEOUT', `${address} did not answer in time`, node)
    default:
      return new CacheError('UNAVAILABLE', `no answer from ${address}: ${said}`, node)
  }
}

function codeIn(metadata: Metadata | undefined): ErrorCode | undefined {
  const [name] = metadata?.get(CODE_TRAILER) ?? []
  return typeof name === 'string' && Object.hasOwn(ERROR_KINDS, name) ? (name as ErrorCode) : undefined
}
