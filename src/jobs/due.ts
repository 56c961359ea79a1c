/**
 * What is to become of a job's scheduled times, as they come: the newest that is due is run, unless it is too late for that; those
 * before it are missed. Times that came while the last run went on are missed, too: a job does not run twice at once, nor does it
 * make up for what it could not do.
 */

import type { JobRecord } from '../topology/jobs.ts'
import type { Schedule } from './schedule.ts'

export type Due =
  | { readonly kind: 'wait'; readonly untilMs: number | undefined }
  | { readonly kind: 'run'; readonly atMs: number }
  | {
      readonly kind: 'missed'
      readonly fromMs: number
      readonly toMs: number
      /** Of more than `COUNT_MAX` times, so many. */
      readonly count: number
      readonly reason: string
    }

/** Times that are counted one by one: each costs some ten microseconds. */
export const COUNT_MAX: number = 60

export const STILL_RUNNING: string = 'the run before it was still going on'
export const NOBODY_UP: string = 'no node was there to run it in time'

/** @param job of no open run */
export function nextDue(job: JobRecord, schedule: Schedule, nowMs: number): Due {
  const { accountedMs, busyUntilMs, startWithinMs } = job
  const first = schedule.next(accountedMs)
  if (first === undefined || first > nowMs) return { kind: 'wait', untilMs: first }
  if (first <= busyUntilMs) return missedUpTo(schedule, first, Math.min(busyUntilMs, nowMs), STILL_RUNNING)
  const latest = schedule.latest(nowMs) ?? first
  if (latest > first && nowMs - latest <= startWithinMs)
    return missedUpTo(schedule, first, latest - 1, NOBODY_UP)
  if (nowMs - latest > startWithinMs) return missedUpTo(schedule, first, latest, NOBODY_UP)
  return { kind: 'run', atMs: first }
}

function missedUpTo(schedule: Schedule, first: number, untilMs: number, reason: string): Due {
  let count = 0
  let toMs = first
  for (let at: number | undefined = first; at !== undefined && at <= untilMs; at = schedule.next(at)) {
    toMs = at
    if (++count < COUNT_MAX) continue
    toMs = Math.max(toMs, schedule.latest(untilMs) ?? toMs)
    break
  }
  return { kind: 'missed', fromMs: first, toMs, count, reason }
}
