/** Which times of a schedule are run and which are missed. Each is dealt with once, whatever the clock does. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { COUNT_MAX, NOBODY_UP, nextDue, STILL_RUNNING } from '../../../src/jobs/due.ts'
import { parseSchedule } from '../../../src/jobs/schedule.ts'
import type { JobRecord } from '../../../src/topology/jobs.ts'

const START = Date.parse('2026-03-01T00:00:00Z')
const MINUTE = 60_000
const schedule = parseSchedule('* * * * *')
const job = (accountedMs: number, busyUntilMs = 0, startWithinMs = 10 * MINUTE): JobRecord => ({
  name: 'backup',
  kind: 'backup',
  schedule: '* * * * *',
  timeZone: 'UTC',
  timeLimitMs: 1000,
  startWithinMs,
  spec: '{}',
  accountedMs,
  busyUntilMs,
  doneCount: 0,
  failedCount: 0,
  missedCount: 0,
})

describe('what is due', () => {
  it('waits for the next time', () => {
    expect(nextDue(job(START), schedule, START + 59_999)).toEqual({ kind: 'wait', untilMs: START + MINUTE })
  })

  it('runs a time that has come, late as well', () => {
    const run = { kind: 'run', atMs: START + MINUTE }
    expect(nextDue(job(START), schedule, START + MINUTE)).toEqual(run)
    expect(nextDue(job(START), schedule, START + 2 * MINUTE - 1)).toEqual(run)
  })

  it('misses all but the newest when nobody was there', () => {
    const due = nextDue(job(START), schedule, START + 5 * MINUTE + 1)
    expect(due).toEqual({
      kind: 'missed',
      fromMs: START + MINUTE,
      toMs: START + 4 * MINUTE,
      count: 4,
      reason: NOBODY_UP,
    })
  })

  it('misses the newest too when it is too late for it', () => {
    const due = nextDue(job(START, 0, 1000), schedule, START + 5 * MINUTE + 2000)
    expect(due).toMatchObject({ kind: 'missed', toMs: START + 5 * MINUTE, count: 5 })
  })

  it('misses what came while the last run went on', () => {
    const due = nextDue(job(START + MINUTE, START + 3 * MINUTE + 5), schedule, START + 3 * MINUTE + 10)
    expect(due).toEqual({
      kind: 'missed',
      fromMs: START + 2 * MINUTE,
      toMs: START + 3 * MINUTE,
      count: 2,
      reason: STILL_RUNNING,
    })
  })

  it('counts no more than it can in a moment', () => {
    const due = nextDue(job(START), schedule, START + 1_000_000 * MINUTE)
    expect(due).toMatchObject({ kind: 'missed', count: COUNT_MAX, toMs: START + 999_999 * MINUTE })
  })

  it('deals with each time once, in order, whenever it is asked', () => {
    const steps = fc.array(
      fc.record({
        waitMs: fc.integer({ min: 0, max: 20 * MINUTE }),
        runMs: fc.integer({ min: 0, max: 5 * MINUTE }),
      }),
      { maxLength: 30 },
    )
    fc.assert(
      fc.property(steps, fc.integer({ min: 0, max: 20 * MINUTE }), (list, startWithinMs) => {
        let record = job(START, 0, startWithinMs)
        let nowMs = START
        const dealt: number[] = []
        for (const { waitMs, runMs } of list) {
          nowMs += waitMs
          for (;;) {
            const due = nextDue(record, schedule, nowMs)
            if (due.kind === 'wait') break
            if (due.kind === 'run') {
              expect(nowMs - due.atMs).toBeLessThanOrEqual(startWithinMs)
              dealt.push(due.atMs)
              nowMs += runMs
              record = { ...record, accountedMs: due.atMs, busyUntilMs: nowMs }
              continue
            }
            expect(due.toMs).toBeLessThanOrEqual(nowMs)
            for (let at = due.fromMs; at <= due.toMs; at += MINUTE) dealt.push(at)
            record = { ...record, accountedMs: due.toMs }
          }
        }
        const expected: number[] = []
        for (let at = START + MINUTE; at <= nowMs; at += MINUTE) expected.push(at)
        expect(dealt).toEqual(expected)
      }),
    )
  })
})
