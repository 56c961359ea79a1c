/** What is kept of what happened, and what counts as the same thing happening again. */

import { describe, expect, it } from 'vitest'
import { EVENTS_MAX, EventLog, isOfKind } from '../../../src/observability/event-log.ts'
import { VirtualTime } from '../../../src/testing/virtual-time.ts'

function logOn(time = new VirtualTime()): EventLog {
  return new EventLog('node1', time)
}

const full = (mebibytes: number) => ({ message: `the disk has only ${mebibytes} MiB left: free some space` })
const said = (log: EventLog) => log.list().map(({ message, count }) => [message, count])

describe('an event', () => {
  it('says what happened, when, where and how bad that is', () => {
    const time = new VirtualTime()
    const log = logOn(time)
    log.raise('job.missed', { message: 'too late', subject: 'backup', details: { job: 'backup', times: 3 } })
    const nowMs = time.wallMs()
    expect(log.list()).toEqual([
      {
        id: 1,
        timeMs: nowMs,
        nodeId: 'node1',
        kind: 'job.missed',
        severity: 'warning',
        message: 'too late',
        details: { job: 'backup', times: 3 },
        count: 1,
        lastMs: nowMs,
      },
    ])
  })

  it('that repeats for the same reason is one, with its count and last time, whatever the figures in it', async () => {
    const time = new VirtualTime()
    const log = logOn(time)
    for (let i = 0; i < 5; i++) {
      log.raise('snapshot.failed', { ...full(20 - i), details: { round: i } })
      await time.advance(1000)
    }
    const [event, ...others] = log.list()
    expect(others).toEqual([])
    expect(event).toMatchObject({ id: 1, message: full(20).message, count: 5, details: { round: 4 } })
    expect((event?.lastMs ?? 0) - (event?.timeMs ?? 0)).toBe(4000)
  })

  it('of another reason, subject or kind is another one', () => {
    const log = logOn()
    log.raise('snapshot.failed', full(1))
    log.raise('snapshot.failed', { message: 'the disk hangs' })
    log.raise('job.failed', { message: 'failed on node1: no room', subject: 'a' })
    log.raise('job.failed', { message: 'failed on node1: no room', subject: 'b' })
    // The number is part of a name.
    log.raise('job.failed', { message: 'failed on node2: no room', subject: 'b' })
    log.raise('backup.failed', full(1))
    // Two reasons in turn are no news either.
    log.raise('snapshot.failed', full(1))
    log.raise('snapshot.failed', { message: 'the disk hangs' })
    expect(log.list().map(({ kind, count }) => `${kind} ${count}`)).toEqual([
      'snapshot.failed 2',
      'snapshot.failed 2',
      'job.failed 1',
      'job.failed 1',
      'job.failed 1',
      'backup.failed 1',
    ])
  })

  it('is news again once what was wrong is over, for that subject', () => {
    const log = logOn()
    const fail = (subject: string) => log.raise('job.failed', { message: 'no room', subject })
    fail('a')
    fail('b')
    log.settle('job.failed', 'a')
    fail('a')
    fail('b')
    expect(log.list().map(({ id, count }) => [id, count])).toEqual([
      [1, 1],
      [2, 2],
      [3, 1],
    ])
  })

  it('that is no trouble is told each time', () => {
    const log = logOn()
    log.raise('snapshot.recovered', { message: 'again' })
    log.raise('snapshot.recovered', { message: 'again' })
    expect(said(log)).toEqual([
      ['again', 1],
      ['again', 1],
    ])
  })
})

describe('the ring', () => {
  it('keeps the newest, and a trouble that fell out of it is news again', () => {
    const log = logOn()
    log.raise('snapshot.failed', full(1))
    for (let i = 0; i < EVENTS_MAX; i++) log.raise('job.failed', { message: 'no room', subject: `job ${i}` })
    expect(log.list()).toHaveLength(EVENTS_MAX)
    expect(log.list()[0]).toMatchObject({ id: 2, kind: 'job.failed' })
    log.raise('snapshot.failed', full(1))
    expect(log.list().at(-1)).toMatchObject({ id: EVENTS_MAX + 2, kind: 'snapshot.failed', count: 1 })
    expect(log.list()).toHaveLength(EVENTS_MAX)
    log.raise('snapshot.failed', full(2))
    expect(log.list().at(-1)?.count).toBe(2)
  })

  it('cuts long messages', () => {
    const log = logOn()
    log.raise('job.failed', { message: 'x'.repeat(100_000) })
    expect(log.list()[0]?.message).toHaveLength(1000)
  })
})

describe('a question', () => {
  it('is answered from an id on, since a time, and for kinds', async () => {
    const time = new VirtualTime()
    const log = logOn(time)
    log.raise('node.started', { message: 'began' })
    log.raise('snapshot.failed', full(1))
    await time.advance(1000)
    const sinceMs = time.wallMs()
    log.raise('job.failed', { message: 'no room' })
    const ids = (query: Parameters<EventLog['list']>[0]) => log.list(query).map(({ id }) => id)
    expect(ids({ afterId: 1 })).toEqual([2, 3])
    expect(ids({ sinceMs })).toEqual([3])
    // What happens again has happened since.
    log.raise('snapshot.failed', full(1))
    expect(ids({ sinceMs })).toEqual([2, 3])
    expect(ids({ kinds: ['snapshot', 'node.started'] })).toEqual([1, 2])
    expect(ids({ kinds: ['snap'] })).toEqual([])
  })

  it.each([
    ['snapshot.failed', 'snapshot.failed', true],
    ['snapshot.failed', 'snapshot', true],
    ['snapshot.failed', 'snapshot.', false],
    ['snapshot.failed', 'snap', false],
    ['snapshot.failed', 'snapshot.failed.x', false],
  ])('%s is of the kind %s: %s', (kind, asked, is) => {
    expect(isOfKind(kind, asked)).toBe(is)
  })
})
