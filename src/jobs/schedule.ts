/**
 * When a job is due: a cron expression in a time zone, computed by croner. Nothing here looks at a clock: who asks says from when on,
 * so that schedules run on virtual time too.
 *
 * Five fields (minute, hour, day of month, month, day of week) or six, with seconds in front; `@hourly`, `@daily`, `@weekly`,
 * `@monthly` and `@yearly` stand for the usual ones. In a time zone with summer time a daily job whose hour is skipped runs right after
 * the gap, and one whose hour comes twice runs once.
 */

import { Cron } from 'croner'
import { CacheError } from '../kernel/errors.ts'

export interface Schedule {
  /** The first time after this one, in milliseconds since the Unix epoch; undefined: there is none within nine years. */
  next(afterMs: number): number | undefined
  /** The last time up to this one. */
  latest(untilMs: number): number | undefined
}

export const SCHEDULE_ALLOWED: string =
  'a cron expression of five fields (minute hour day month weekday) or six (seconds first), such as "0 3 * * *" for each day at three, or @hourly, @daily, @weekly, @monthly, @yearly'
export const TIME_ZONE_ALLOWED: string = 'UTC, or a name of the IANA database such as Europe/Berlin'

const EXPRESSION_LENGTH_MAX = 200
/** Leap days come at least as often. Without an end, a date that never comes would be looked for for seconds. */
const HORIZON_MS = 9 * 366 * 86_400_000
const NICKNAMES = /^@(yearly|annually|monthly|weekly|daily|midnight|hourly)$/i

/** @throws CacheError INVALID_ARGUMENT when the expression is none, comes at no time, or there is no such time zone. */
export function parseSchedule(expression: string, timeZone = 'UTC'): Schedule {
  const text = expression.trim()
  if (!isTimeZone(timeZone))
    throw new CacheError('INVALID_ARGUMENT', `"${timeZone}" is no time zone; use ${TIME_ZONE_ALLOWED}`)
  if (text.length > EXPRESSION_LENGTH_MAX) throw wrong(text, 'it is too long')
  // What croner would read besides: a date, a year, "?" for the moment in which it is read.
  if (!NICKNAMES.test(text) && ![5, 6].includes(text.split(/\s+/).length))
    throw wrong(text, 'it has not five or six fields')
  if (text.includes('?')) throw wrong(text, '"?" stands for nothing here')
  const options = { paused: true, mode: '5-or-6-parts', timezone: timeZone } as const
  const compute = (afterMs: number): number | undefined =>
    new Cron(text, { ...options, stopAt: new Date(afterMs + HORIZON_MS) })
      .nextRun(new Date(afterMs))
      ?.getTime()
  // The same is asked again at every change of the record.
  let known: { readonly afterMs: number; readonly next: number | undefined } | undefined
  const schedule: Schedule = {
    next(afterMs) {
      if (known?.afterMs !== afterMs) known = { afterMs, next: compute(afterMs) }
      return known.next
    },
    latest: (untilMs) => new Cron(text, options).previousRuns(1, new Date(untilMs + 1))[0]?.getTime(),
  }
  try {
    if (schedule.next(SOME_TIME_MS) !== undefined) return schedule
  } catch (error) {
    throw wrong(text, error instanceof Error ? error.message : String(error))
  }
  throw wrong(text, 'it comes at no time within nine years')
}

/** Whether an expression is any good must not depend on when it is read. */
const SOME_TIME_MS = 1_767_225_600_000

export function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name })
    return true
  } catch {
    return false
  }
}

function wrong(text: string, reason: string): CacheError {
  return new CacheError('INVALID_ARGUMENT', `"${text}" is no schedule (${reason}); use ${SCHEDULE_ALLOWED}`)
}
