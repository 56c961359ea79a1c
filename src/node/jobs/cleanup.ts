/**
 * Removes entries that were not written for long, whatever their time to live says. Each node looks through the partitions it is
 * primary of and orders the removals as it orders expiries; a partition that changes hands meanwhile is left for the next run.
 */

import type { JobContext, JobKind, JobSpec } from '../../jobs/job-kind.ts'
import type { Clock } from '../../kernel/clock.ts'
import { CacheError } from '../../kernel/errors.ts'
import type { Scheduler } from '../../kernel/scheduler.ts'
import type { DataPlane } from '../data-plane.ts'
import type { CallHandler } from './node-calls.ts'
import { SHARE_MS, type Share, type SharedWorkPorts, shareOut } from './share.ts'

export const CLEANUP = 'cleanup'

interface CleanupSpec {
  readonly olderThanMs: number
  /** Names; empty: all regions. */
  readonly regions: readonly string[]
}

interface CleanupPorts {
  readonly clock: Clock
  readonly scheduler: Scheduler
  plane(): DataPlane | undefined
}

interface Request {
  readonly beforeMs: number
  readonly regions: readonly string[]
  readonly isDryRun: boolean
  readonly state?: State
}

interface State {
  /** Where to go on. */
  readonly partition: number
  readonly hash: number
  readonly seen: number
  readonly removed: number
  readonly skipped: number
}

const START: State = { partition: 0, hash: 0, seen: 0, removed: 0, skipped: 0 }
const HASH_END = 2 ** 32
/** In one turn of the event loop: some tenths of a millisecond. */
const PER_TURN = 256
/** Removals travel to the other copies: no more than some ten thousand in a second. */
const PAUSE_MS = 5

export function cleanupJob(ports: SharedWorkPorts, clock: Clock): JobKind {
  return {
    kind: CLEANUP,
    async run(context: JobContext): Promise<string> {
      const { olderThanMs, regions } = cleanupSpec(context.spec)
      const { isDryRun } = context
      const beforeMs = clock.wallMs() - olderThanMs
      const known = ports.topology()?.regions.map(({ name }) => name) ?? []
      const unknown = regions.find((name) => !known.includes(name))
      if (unknown !== undefined)
        throw new CacheError('UNKNOWN_REGION', `there is no region ${unknown}; there are ${known.join(', ')}`)
      const shares = await shareOut<State>(ports, context, CLEANUP, { beforeMs, regions, isDryRun })
      const sum = { seen: 0, removed: 0, skipped: 0 }
      for (const { seen, removed, skipped } of shares.values()) {
        sum.seen += seen
        sum.removed += removed
        sum.skipped += skipped
      }
      const verb = isDryRun ? 'would remove' : 'removed'
      const left =
        sum.skipped === 0 ? '' : `; ${sum.skipped} partitions were moving and wait for the next run`
      return `${verb} ${sum.removed} of ${sum.seen} entries on ${shares.size} nodes${left}`
    },
  }
}

/** A node's share. */
export function cleanupShare({ clock, scheduler, plane }: CleanupPorts): CallHandler {
  return async (asked, signal): Promise<Share<State>> => {
    const { beforeMs, regions, isDryRun, state = START } = asked as Request
    const { engine, replicator, topology } = plane() ?? notReady()
    const ids = new Set(
      topology.regions
        .filter(({ name }) => regions.length === 0 || regions.includes(name))
        .map(({ regionId }) => regionId as number),
    )
    const partitions = engine.partitions().filter((p) => p >= state.partition && engine.isPrimary(p))
    const untilMs = clock.monotonicMs() + SHARE_MS
    let { seen, removed, skipped } = state
    for (const partition of partitions) {
      let hash = partition === state.partition ? state.hash : 0
      while (hash < HASH_END) {
        if (clock.monotonicMs() >= untilMs || signal.aborted)
          return { isDone: false, state: { partition, hash, seen, removed, skipped } }
        let work = 0
        let removals = 0
        while (work < PER_TURN && hash < HASH_END) {
          const page = replicator.removals.removeOlder(
            partition,
            hash,
            beforeMs,
            (id) => ids.has(id),
            isDryRun,
          )
          if (page === undefined) {
            skipped++
            hash = HASH_END
            break
          }
          hash = page.nextHash
          work += 1 + page.seen
          seen += page.seen
          removals += page.removed
        }
        removed += removals
        await new Promise<void>((resolve) => {
          if (removals > 0 && !isDryRun) scheduler.after(PAUSE_MS, resolve)
          else scheduler.nextTurn(resolve)
        })
        // The engine may have let go of the partition.
        if (!engine.hasPartition(partition)) break
      }
    }
    return { isDone: true, state: { partition: 0, hash: 0, seen, removed, skipped } }
  }
}

function cleanupSpec(spec: JobSpec): CleanupSpec {
  const { olderThanMs, regions } = spec
  if (typeof olderThanMs !== 'number' || !(olderThanMs > 0))
    throw new CacheError('CONFIGURATION', 'a cleanup needs olderThan, such as 7d')
  const names = Array.isArray(regions) ? regions.filter((name) => typeof name === 'string') : []
  return { olderThanMs, regions: names }
}

function notReady(): never {
  throw new CacheError('NOT_READY', 'the node is still starting')
}
