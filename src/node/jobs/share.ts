/**
 * Work that each node does for a part of the cluster's data, as one owner has it done: nodes are asked one after the other, each works
 * for a moment and says where it stands, and is asked again. Nothing is remembered between two calls but what the caller holds, so a
 * node or an owner that dies leaves nothing behind, and another owner begins anew without harm.
 *
 * A node that can't do its share is named at the end: the others' is done all the same.
 */

import type { JobContext } from '../../jobs/job-kind.ts'
import { CacheError, toCacheError } from '../../kernel/errors.ts'
import type { Scheduler } from '../../kernel/scheduler.ts'
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
  readonly scheduler: Scheduler
  topology(): Topology | undefined
}

/** A node works so long before it answers. */
export const SHARE_MS: number = 200
const CALL_TIMEOUT_MS = 10_000
/** A node that hangs is held down within some seconds. */
const TRIES = 20
const PAUSE_MS = 500
const ROUNDS_MAX = 3

/**
 * Has each node that is up do its share. When one goes down meanwhile, all is asked of those that are left once more: what it led is
 * led by others now.
 * @returns what each came to
 * @throws CacheError of the first node that could not, after all others have; ABORTED
 */
export async function shareOut<State extends object>(
  ports: SharedWorkPorts,
  context: JobContext,
  topic: string,
  request: object,
): Promise<ReadonlyMap<string, State>> {
  for (let round = 1; ; round++) {
    const states = new Map<string, State>()
    const failures: string[] = []
    let isAnyLost = false
    let cause: CacheError | undefined
    const nodes = nodesUp(ports)
    for (const [done, nodeId] of nodes.entries()) {
      context.report({ done, total: nodes.length, text: nodeId })
      try {
        states.set(nodeId, await askNode<State>(ports, context, nodeId, topic, request))
      } catch (error) {
        const failure = toCacheError(error)
        if (context.signal.aborted) throw failure
        if (!nodesUp(ports).includes(nodeId)) {
          isAnyLost = true
          continue
        }
        cause ??= failure
        failures.push(`${nodeId}: ${failure.message}`)
      }
    }
    if (isAnyLost && round < ROUNDS_MAX) continue
    if (cause === undefined) return states
    throw new CacheError(cause.code, `done on the other nodes, but not on ${failures.join('; ')}`, { cause })
  }
}

/** Asks until its share is done. One that does not answer is asked again for a while, but not once it is held down. */
async function askNode<State extends object>(
  ports: SharedWorkPorts,
  { signal, check }: JobContext,
  nodeId: string,
  topic: string,
  request: object,
): Promise<State> {
  let state: State | undefined
  for (let tries = 0; ; ) {
    check()
    try {
      const asked = { ...request, state }
      const limits = { timeoutMs: CALL_TIMEOUT_MS, signal }
      const reply = (await ports.calls.call(nodeId, topic, asked, limits)) as Share<State>
      if (reply.isDone) return reply.state
      state = reply.state
      tries = 0
    } catch (error) {
      const failure = toCacheError(error)
      if (signal.aborted || !failure.retryable || ++tries >= TRIES || !nodesUp(ports).includes(nodeId))
        throw failure
      await new Promise<void>((resolve) => ports.scheduler.after(PAUSE_MS, resolve))
    }
  }
}

function nodesUp({ topology }: SharedWorkPorts): string[] {
  return (topology()?.nodes ?? []).filter(({ state }) => isUp(state)).map(({ nodeId }) => nodeId)
}
