/**
 * Serves the unary calls of proto/cache.proto and proto/admin.proto: deadlines and cancellation go in, errors come out as a gRPC status with the
 * error's code in the trailer `ringcache-code`.
 */

import { setMaxListeners } from 'node:events'
import {
  Metadata,
  type ServerUnaryCall,
  type sendUnaryData,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'
import type { ServiceDefinition } from '@grpc/proto-loader'
import { CacheError, ERROR_KINDS, toCacheError } from '../../kernel/errors.ts'
import type { CacheService, CallContext } from '../../node/gateway/cache-service.ts'
import { ADMIN_METHODS, type AdminApi } from '../../wire/admin.ts'
import type { GrpcService } from './server.ts'

/** Names the error in the trailers of a failed call. */
export const CODE_TRAILER = 'ringcache-code'
/** Unary calls under way at one time. */
const CALLS_MAX = 1024

const CACHE_METHODS = [
  'get',
  'set',
  'delete',
  'has',
  'expire',
  'increment',
  'batch',
  'scan',
  'clear',
  'stats',
] as const satisfies readonly (keyof CacheService)[]

type UnaryCall = ServerUnaryCall<object, object>

/** @param definition of `ringcache.v1.Cache`; its Exchange method is served by GrpcServer itself. */
export function unaryService(definition: ServiceDefinition, service: CacheService): GrpcService {
  const { Exchange: _, ...methods } = definition
  return serveMethods(methods, CACHE_METHODS, (method, request, context) => {
    const handler = service[method] as (request: object, context: CallContext) => Promise<object>
    return handler.call(service, request, context)
  })
}

/** @param definition of `ringcache.v1.Admin` */
export function adminService(definition: ServiceDefinition, service: AdminApi): GrpcService {
  return serveMethods(definition, ADMIN_METHODS, (method, request) => {
    const handler = service[method] as (request: object) => Promise<object>
    return handler.call(service, request)
  })
}

function serveMethods<Method extends string>(
  definition: ServiceDefinition,
  names: readonly Method[],
  handle: (method: Method, request: object, context: CallContext) => Promise<object>,
): GrpcService {
  let calls = 0

  const serve =
    (method: Method) =>
    (call: UnaryCall, reply: sendUnaryData<object>): void => {
      if (calls >= CALLS_MAX) {
        reply(
          statusOf(
            new CacheError(
              'OVERLOADED',
              `this node has ${calls} unary calls under way, as many as are allowed`,
            ),
          ),
        )
        return
      }
      calls++
      handle(method, call.request, contextOf(call)).then(
        (message) => {
          calls--
          reply(null, message)
        },
        (error: unknown) => {
          calls--
          reply(statusOf(toCacheError(error)))
        },
      )
    }

  return (server) => {
    const implementation: UntypedServiceImplementation = {}
    for (const method of names) implementation[method] = serve(method)
    server.addService(definition, implementation)
  }
}

function contextOf(call: UnaryCall): CallContext {
  const controller = new AbortController()
  // Each operation of a batch listens.
  setMaxListeners(0, controller.signal)
  call.on('cancelled', () => controller.abort())
  const deadline = call.getDeadline()
  const atMs = deadline instanceof Date ? deadline.getTime() : deadline
  const timeoutMs = Number.isFinite(atMs) ? Math.max(1, atMs - Date.now()) : undefined
  return { timeoutMs, signal: controller.signal }
}

function statusOf(error: CacheError): { code: number; details: string; metadata: Metadata } {
  const metadata = new Metadata()
  metadata.set(CODE_TRAILER, error.code)
  return { code: ERROR_KINDS[error.code].grpcStatus, details: error.message, metadata }
}
