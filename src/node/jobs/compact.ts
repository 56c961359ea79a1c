/**
 * Gives back memory of records that are dead, on each node where they are more than a share of its log. A node compacts by itself while
 * it is written to, from a tenth of dead bytes on; so this is for nodes that hold much that was removed and are not written to.
 */

import type { JobContext, JobKind, JobSpec } from '../../jobs/job-kind.ts'
import type { Clock } from '../../kernel/clock.ts'
import { CacheError } from '../../kernel/errors.ts'
import type { Scheduler } from '../../kernel/scheduler.ts'
import type { DataPlane } from '../data-plane.ts'
import type { CallHandler } from './node-calls.ts'
import { SHARE_MS, type Share, type SharedWorkPorts, shareOut } from './share.ts'

export const COMPACT = 'compact'

interface Request {
  readonly threshold: number
  readonly isDryRun: boolean
  readonly state?: State
}

interface State {
  readonly deadBytesBefore: number
  readonly deadBytes: number
  readonly logBytesBefore: number
  readonly logBytes: number
  readonly isWorking: boolean
}

/** Looked at or copied in one turn of the event loop: below a millisecond. */
const BYTES_PER_TURN = 256 * 1024
/** Compaction goes on below the threshold, so that the next write does not bring it back. */
const GOAL = 0.5

export function compactJob(ports: SharedWorkPorts): JobKind {
  return {
    kind: COMPACT,
    async run(context: JobContext): Promise<string> {
      const threshold = shareOf(context.spec)
      const { isDryRun } = context
      const shares = await shareOut<State>(ports, context, COMPACT, { threshold, isDryRun })
      const texts = [...shares].map(([nodeId, state]) => `${nodeId} ${textOf(state, isDryRun)}`)
      return texts.join('; ')
    },
  }
}

/** A node's share. */
export function compactShare(
  clock: Clock,
  scheduler: Scheduler,
  plane: () => DataPlane | undefined,
): CallHandler {
  return async (asked, signal): Promise<Share<State>> => {
    const { threshold, isDryRun, state } = asked as Request
    const engine = plane()?.engine
    if (engine === undefined) throw new CacheError('NOT_READY', 'the node is still starting')
    const dead = (): number => engine.deadBytes / Math.max(1, engine.stats.logBytes)
    const before = state ?? {
      deadBytesBefore: engine.deadBytes,
      logBytesBefore: engine.stats.logBytes,
      isWorking: dead() > threshold,
    }
    const { deadBytesBefore, logBytesBefore } = before
    let isDone = isDryRun || !before.isWorking
    const untilMs = clock.monotonicMs() + SHARE_MS
    while (!isDone && clock.monotonicMs() < untilMs && !signal.aborted) {
      isDone = engine.compact(BYTES_PER_TURN) === 0 || dead() <= threshold * GOAL
      await new Promise<void>((resolve) => scheduler.nextTurn(resolve))
    }
    const { deadBytes } = engine
    const { logBytes } = engine.stats
    const now = { deadBytesBefore, logBytesBefore, deadBytes, logBytes, isWorking: before.isWorking }
    return { isDone, state: now }
  }
}

function textOf(state: State, isDryRun: boolean): string {
  const { deadBytesBefore, logBytesBefore, deadBytes, logBytes, isWorking } = state
  const before = percent(deadBytesBefore, logBytesBefore)
  if (!isWorking) return `${before} dead: nothing to do`
  if (isDryRun) return `${before} dead: would compact`
  return `${before} dead, now ${percent(deadBytes, logBytes)}`
}

function percent(part: number, whole: number): string {
  return `${whole === 0 ? 0 : Math.round((100 * part) / whole)} %`
}

function shareOf({ threshold }: JobSpec): number {
  if (typeof threshold === 'number' && threshold > 0 && threshold < 1) return threshold
  throw new CacheError('CONFIGURATION', 'compact needs a threshold between 0 and 1, such as 0.3')
}
