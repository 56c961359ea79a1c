/**
 * Stops a node so that nobody sees an error: what was begun is answered, then others take over, and only then is it gone.
 *
 * ```
 * serving ─► takes on nothing more (NOT_READY) ─► begun writes and reads answered ─► goodbye ─► others serve ─► close
 * ```
 * Where it keeps snapshots it writes one while it still serves, and what has changed since once it takes on nothing more.
 * All clients wait while it drains, so that one write without its quorum must not draw that out: after `DRAIN_MS` it is cut off,
 * and its client repeats it, with its operation id, where the partition is led then.
 */

import type { Clock } from '../kernel/clock.ts'
import type { Scheduler } from '../kernel/scheduler.ts'

export interface Stoppable {
  /** @returns whether all that was begun is answered */
  drain(): boolean
  /** Writes down what the node holds, before it drains. Resolves when that is done, or the time is over. */
  readonly save?: (() => Promise<void>) | undefined
  /** The same for what changed since, when nothing more is taken on: clients wait meanwhile. */
  readonly saveRest?: (() => Promise<void>) | undefined
  /** Resolves once others have taken over. */
  leave(): Promise<void>
}

/** Far more than a write takes, far less than clients wait. */
const DRAIN_MS = 1000
const DRAIN_CHECK_MS = 10

/** Afterwards the node can be closed. What is under way after `limitMs` is cut off. */
export async function stopInOrder(
  node: Stoppable,
  clock: Clock,
  scheduler: Scheduler,
  limitMs: number = DRAIN_MS,
): Promise<void> {
  if (node.save !== undefined) await node.save()
  const untilMs = clock.monotonicMs() + Math.min(limitMs, DRAIN_MS)
  while (!node.drain() && clock.monotonicMs() < untilMs)
    await new Promise<void>((resolve) => scheduler.after(DRAIN_CHECK_MS, resolve))
  if (node.saveRest !== undefined) await node.saveRest()
  await node.leave()
}
