/**
 * What one child process measures, with nothing else in it. Between batches of 64 operations the event loop turns, as it
 * does in a node between frames; eviction, expiry and compaction run in the slices a node runs them in. The longest time
 * from turn to turn is the pause.
 */

import {
  COMPACTION_BYTES_PER_SLICE,
  EVICTIONS_PER_SLICE,
  EXPIRIES_PER_SLICE,
} from '../../src/node/data-plane.ts'
import { createSubject, EngineSubject, type SubjectName } from './subjects.ts'

export type Job =
  | { readonly kind: 'speed'; readonly subject: SubjectName; readonly entries: number }
  | {
      readonly kind: 'memory'
      readonly subject: SubjectName
      readonly entries: number
      readonly valueBytes: number
      readonly overwrites: number
    }
  | { readonly kind: 'pauses'; readonly entries: number }

export type JobResult = Readonly<Record<string, number>>

const BATCH = 64
const TTL_MS = 3_600_000
const NOW_MS = 1_800_000_000_000

export async function runJob(job: Job): Promise<JobResult> {
  if (job.kind === 'speed') return measureSpeed(job.subject, job.entries)
  if (job.kind === 'memory') return measureMemory(job)
  return measurePauses(job.entries)
}

/** Nanoseconds per operation, keys in random order over all entries. */
async function measureSpeed(name: SubjectName, entries: number): Promise<JobResult> {
  const subject = createSubject(name)
  const random = randomBelow(entries)
  for (let i = 0; i < entries; i++) subject.set(i, 100)
  const setNs = nsPer(entries, () => subject.set(random(), 100))
  let hits = 0
  const getHitNs = nsPer(entries, () => {
    if (subject.get(random())) hits++
  })
  const getMissNs = nsPer(entries, () => {
    if (subject.get(entries + random())) hits--
  })
  if (hits !== entries) throw new Error(`${name}: ${hits} hits of ${entries}`)
  let next = 0
  const deleteNs = nsPer(entries, () => {
    next = (next + 7919) % entries
    subject.delete(next)
  })
  return { setNs, getHitNs, getMissNs, deleteNs }
}

/** Bytes of RSS per entry: freshly filled, then after overwrites of random sizes from half to one and a half. */
async function measureMemory(job: Extract<Job, { kind: 'memory' }>): Promise<JobResult> {
  const { entries, valueBytes, overwrites } = job
  const random = randomBelow(entries)
  const randomBytes = randomBelow(valueBytes + 1)
  gc?.()
  const before = process.memoryUsage.rss()
  const subject = createSubject(job.subject)
  const perEntry = (): number => (process.memoryUsage.rss() - before) / entries
  const fillPause = await longestPause(entries, (i) => subject.set(i, valueBytes))
  const freshBytes = perEntry()
  gc?.()
  const start = performance.now()
  gc?.()
  const fullGcMs = performance.now() - start
  const overwritePause = await longestPause(overwrites, () =>
    subject.set(random(), (valueBytes >>> 1) + randomBytes()),
  )
  return {
    freshBytes,
    overwrittenBytes: perEntry(),
    fullGcMs,
    fillPauseMs: fillPause.wallMs,
    overwritePauseMs: overwritePause.wallMs,
  }
}

/** The longest pause in milliseconds while a node does each kind of work in slices; last, of an idle loop that spins. */
async function measurePauses(entries: number): Promise<JobResult> {
  const subject = new EngineSubject()
  const { engine } = subject
  const random = randomBelow(entries)
  const endless = Number.POSITIVE_INFINITY
  const pauses = new Map<string, Pause>()
  pauses.set('fill', await longestPause(entries, (i) => subject.set(i, 100)))
  pauses.set('overwrite', await longestPause(entries, () => subject.set(random(), 50 + (random() % 101))))
  pauses.set('evict', await longestPause(endless, () => subject.evict(entries / 2, EVICTIONS_PER_SLICE), 1))
  pauses.set('compact', await longestPause(endless, () => engine.maintain(COMPACTION_BYTES_PER_SLICE), 1))
  subject.evict(0, 0)
  subject.expiresAtMs = NOW_MS + TTL_MS
  pauses.set('fillExpiring', await longestPause(entries, (i) => subject.set(i, 100)))
  pauses.set(
    'expire',
    await longestPause(endless, () => subject.expire(NOW_MS + 2 * TTL_MS, EXPIRIES_PER_SLICE), 1),
  )
  if (engine.stats.entries !== 0) throw new Error(`${engine.stats.entries} entries did not expire`)
  pauses.set('idle', await longestPause(2 * entries, () => random()))
  const result: Record<string, number> = {}
  for (const [phase, { wallMs, cpuMs }] of pauses) {
    result[`${phase}Ms`] = wallMs
    result[`${phase}CpuMs`] = cpuMs
  }
  return result
}

interface Pause {
  readonly wallMs: number
  /** As far as this process was running: without the time in which another one had the core. */
  readonly cpuMs: number
}

/** Runs `step` `count` times, or until it returns false, `batch` steps in a turn. @returns the longest time between two turns. */
function longestPause(count: number, step: (i: number) => unknown, batch: number = BATCH): Promise<Pause> {
  return new Promise((resolve) => {
    let i = 0
    let wallMs = 0
    let cpuMs = 0
    let lastMs = performance.now()
    let lastCpuMs = processCpuMs()
    const turn = (): void => {
      const end = Math.min(count, i + batch)
      let going = true
      while (i < end && going) going = step(i++) !== false
      const nowMs = performance.now()
      const nowCpuMs = processCpuMs()
      wallMs = Math.max(wallMs, nowMs - lastMs)
      // The threads of the compiler and collector count too, so the time that passed is a bound as well.
      cpuMs = Math.max(cpuMs, Math.min(nowMs - lastMs, nowCpuMs - lastCpuMs))
      lastMs = nowMs
      lastCpuMs = nowCpuMs
      if (going && i < count) setImmediate(turn)
      else resolve({ wallMs, cpuMs })
    }
    turn()
  })
}

function processCpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

function nsPer(count: number, operation: () => void): number {
  const start = performance.now()
  for (let i = 0; i < count; i++) operation()
  return ((performance.now() - start) * 1e6) / count
}

/** A cheap generator (xorshift32): the drawing must not be what is measured. */
function randomBelow(limit: number): () => number {
  let x = 0x2545f491
  return () => {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    return Math.floor(((x >>> 0) / 0x1_0000_0000) * limit)
  }
}
