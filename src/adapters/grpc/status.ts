/** gRPC statuses and the errors of ringcache, in both directions. */

import { status as Status, type StatusObject } from '@grpc/grpc-js'
import { CacheError, type ErrorCode } from '../../kernel/errors.ts'

/** What a status that ended a stream means to whoever opened it. Everything not listed: the stream broke. */
const CODE_OF_STATUS: Readonly<Partial<Record<number, ErrorCode>>> = {
  [Status.RESOURCE_EXHAUSTED]: 'OVERLOADED',
  [Status.UNIMPLEMENTED]: 'UNSUPPORTED',
  [Status.UNAUTHENTICATED]: 'UNAUTHENTICATED',
  [Status.PERMISSION_DENIED]: 'PERMISSION_DENIED',
}

/** The error that reports a stream to `address` which ended with a status other than OK. */
export function errorOfStatus(status: Pick<StatusObject, 'code' | 'details'>, address: string): CacheError {
  const code = CODE_OF_STATUS[status.code] ?? 'UNAVAILABLE'
  if (code === 'UNSUPPORTED') {
    return new CacheError(code, `${address} answers gRPC but is no ringcache node: ${status.details}`, {
      node: address,
    })
  }
  return new CacheError(code, `the stream to ${address} ended: ${status.details}`, { node: address })
}
