/**
 * The calls for operators, to whichever of several nodes answers first in the order given. A call that reached nobody goes on
 * to the next node; any other answer is final.
 */

import { CacheError, toCacheError } from '../kernel/errors.ts'
import { ADMIN_METHODS, type AdminApi } from '../wire/admin.ts'

/** A connection to one node. */
export interface AdminChannelPort {
  readonly address: string
  /** @throws CacheError UNAVAILABLE when nobody answers there, TIMEOUT, or what the node says */
  call(method: keyof AdminApi, request: object, timeoutMs: number): Promise<object>
  close(): void
}

/** @param timeoutMs how long each node may take for an answer */
export function adminClient(channels: readonly AdminChannelPort[], timeoutMs: number): AdminApi {
  let answering: AdminChannelPort | undefined
  const call = async (method: keyof AdminApi, request: object): Promise<object> => {
    const order =
      answering === undefined ? channels : [answering, ...channels.filter((one) => one !== answering)]
    const failures: string[] = []
    for (const channel of order) {
      try {
        const reply = await channel.call(method, request, timeoutMs)
        answering = channel
        return reply
      } catch (error) {
        const failure = toCacheError(error)
        // What a node said itself names it no less; only silence and a node that is not ready lead to the next.
        if (failure.code !== 'UNAVAILABLE' && failure.code !== 'NOT_READY') throw failure
        failures.push(failure.message)
      }
    }
    if (failures.length === 0)
      throw new CacheError('CONFIGURATION', 'no address of a node is known: give --address')
    throw new CacheError('UNAVAILABLE', failures.join('\n'))
  }
  return Object.fromEntries(
    ADMIN_METHODS.map((method) => [method, (request: object) => call(method, request)]),
    // Each method takes and returns what AdminApi says of it: both ends are made from the same proto file.
  ) as unknown as AdminApi
}
