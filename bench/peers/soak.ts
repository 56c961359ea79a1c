/**
 * Full load for a minute while a region is kept at its budget: every write evicts something. The memory of client and nodes
 * is sampled once a second; what it grows between the middle and the end is what leaks.
 *
 * First the region is filled to its budget, which is not part of the minute, and its nodes have then done what they do once.
 * Keys are drawn evenly from many more than the region can hold, so that about half of the calls write a new entry.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { integerBetween, SeededRandom } from '../../src/kernel/random.ts'
import type { Entry, PeerClient } from './peer.ts'
import { rssBytesOf } from './process-usage.ts'
import type { DataSet, UserRecord } from './records.ts'
import { BATCH_KEYS } from './workload.ts'

/** What the region holds; the keys drawn from need several times as much. */
export const SOAK_REGION_BYTES: number = 64 * 1024 * 1024
const SOAK_KEYS = 1_000_000
/** Written before the clock starts: more than the region holds. */
const FILL_KEYS = 500_000
const FILL_BATCHES_AT_ONCE = 8
export const SOAK_CONCURRENCY = 256
/** Records are shared by keys: the bytes stored matter here, not what they say. */
export const SOAK_RECORDS = 4_096
/** Mean of this many seconds at each end, so that one collection of garbage more or less does not count. */
const WINDOW_SECONDS = 5

export interface SoakOptions {
  readonly seconds: number
  readonly concurrency: number
  readonly serverPids: readonly number[]
}

export interface SoakResult {
  readonly calls: number
  readonly hits: number
  readonly seconds: number
  /** The client first, then the nodes. */
  readonly processes: readonly SoakProcess[]
}

export interface SoakProcess {
  readonly name: string
  /** One sample per second. */
  readonly rssBytes: readonly number[]
  /** Mean of the seconds around the middle, and of the last ones. */
  readonly middleBytes: number
  readonly endBytes: number
  /** endBytes / middleBytes − 1. */
  readonly growth: number
}

export async function soak(client: PeerClient, data: DataSet, options: SoakOptions): Promise<SoakResult> {
  await fill(client, data)
  const random = new SeededRandom(11)
  let calls = 0
  let hits = 0
  let stopped = false
  const worker = async (): Promise<void> => {
    try {
      while (!stopped) {
        const key = `soak:${integerBetween(random, 0, SOAK_KEYS - 1)}`
        const record = data.records[calls % data.records.length] as UserRecord
        if ((await client.get(key)) === undefined) await client.set(key, record)
        else hits++
        calls++
      }
    } finally {
      stopped = true
    }
  }
  const workers = Promise.all(Array.from({ length: options.concurrency }, worker))
  const pids = [process.pid, ...options.serverPids]
  const samples: number[][] = pids.map(() => [])
  for (let second = 0; second < options.seconds; second++) {
    await Promise.race([sleep(1000), workers])
    for (const [at, pid] of pids.entries()) samples[at]?.push(rssBytesOf(pid))
  }
  stopped = true
  await workers
  const processes = samples.map((rss, at) => summary(at === 0 ? 'client' : `node ${at}`, rss))
  return { calls, hits, seconds: options.seconds, processes }
}

async function fill(client: PeerClient, data: DataSet): Promise<void> {
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < FILL_KEYS) {
      const batch: Entry[] = []
      for (; batch.length < BATCH_KEYS && next < FILL_KEYS; next++) {
        batch.push([`soak:${next}`, data.records[next % data.records.length] as UserRecord])
      }
      await client.mset(batch)
    }
  }
  await Promise.all(Array.from({ length: FILL_BATCHES_AT_ONCE }, worker))
}

function summary(name: string, rssBytes: readonly number[]): SoakProcess {
  const window = Math.min(WINDOW_SECONDS, Math.max(1, Math.floor(rssBytes.length / 4)))
  const middle = Math.floor(rssBytes.length / 2)
  const middleBytes = mean(
    rssBytes.slice(Math.max(0, middle - Math.ceil(window / 2)), middle + Math.floor(window / 2)),
  )
  const endBytes = mean(rssBytes.slice(-window))
  return { name, rssBytes, middleBytes, endBytes, growth: endBytes / middleBytes - 1 }
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length)
}
