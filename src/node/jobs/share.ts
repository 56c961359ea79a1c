/**
 * Work that each node does for a part of the cluster's data, as one owner has it done: nodes are asked one after the other, each works
 * for a moment and says where it stands, and is asked again. Nothing is remembered between two calls but what the caller holds, so a
 * node or an owner that dies leaves nothing behind, and another owner begins anew without harm.
 *
 * A node that can't be reached is left out, and named at the end: the others' share is done all the same.
 */

import type { JobContext } from '../../jobs/job-kind.ts'
import { CacheError, toCacheError } from '../../kernel/errors.ts'
import { isUp, type Topology } from '../../topology/topology.ts'
import type { NodeCalls } from './node-calls.ts'

/** What a node answers. */
export interface Share<State> {
  /** Its share is done. */
  readonly isDone: boolean
  readonly state: State
}

export interface SharedWorkPorts {
  readonly calls: NodeCalls
  topology(): Topology | undefined
}

/** A node works so long before it answers. */
export const SHARE_MS: number = 200
const CALL_TIMEOUT_MS = 10_000
const TRIES = 3

/**
 * Has each node that is up do its share.
 * @returns what each came to
 * @throws CacheError of the first node that could not, after all others have; ABORTED
 */
export async function shareOut<State extends object>(
  { calls, topology }: SharedWorkPorts,
  { signal, check, report }: JobContext,
  topic: string,
  request: object,
): Promise<ReadonlyMap<string, State>> {
  const nodes = (topology()?.nodes ?? []).filter(({ state }) => isUp(state)).map(({ nodeId }) => nodeId)
  const states = new Map<string, State>()
  const failures: string[] = []
  let cause: CacheError | undefined
  for (const [done, nodeId] of nodes.entries()) {
    let state: State | undefined
    let tries = 0
    for (;;) {
      check()
      report({ done, total: nodes.length, text: nodeId })
      try {
        const asked = { ...request, state }
        const reply = (await calls.call(nodeId, topic, asked, {
          timeoutMs: CALL_TIMEOUT_MS,
          signal,
        })) as Share<State>
        state = reply.state
        states.set(nodeId, state)
        tries = 0
        if (reply.isDone) break
      } catch (error) {
        const failure = toCacheError(error)
        if (signal.aborted) throw failure
        if (failure.retryable && ++tries < TRIES) continue
        cause ??= failure
        failures.push(`${nodeId}: ${failure.message}`)
        break
      }
    }
  }
  if (cause !== undefined)
    throw new CacheError(cause.code, `done on the other nodes, but not on ${failures.join('; ')}`, { cause })
  return states
}
