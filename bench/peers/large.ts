/**
 * Large values, ringcache only: how many bytes per second go each way, and what small calls on the same partition notice
 * while values of 16 MiB are written.
 *
 * Values are random bytes (nothing compresses them), stored as Buffer through the default serializer. One in eight values
 * read is compared with what was written, byte by byte.
 *
 * Small calls are issued on a fixed schedule, one get and one set every 2 ms, and their latency counts from the moment they
 * were due: a process or a partition that stalls shows up in all the calls it held up, not only in one.
 */

import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { RingcacheClient } from './clients/ringcache.ts'
import { LatencyHistogram } from './latency-histogram.ts'
import { type Measurement, sleepUntilCounted } from './measure.ts'
import { cpuUsOf } from './process-usage.ts'

const KIB = 1024
export const LARGE_SIZES: readonly (readonly [name: string, bytes: number])[] = [
  ['64k', 64 * KIB],
  ['256k', 256 * KIB],
  ['1m', 1024 * KIB],
  ['4m', 4096 * KIB],
  // The largest value allowed is 16 MiB encoded; this leaves room for what the encoding adds.
  ['16m', 16_384 * KIB - 64],
]
const LARGEST_BYTES: number = LARGE_SIZES.at(-1)?.[1] as number

/** Bytes of one size that are stored at a time. */
const STORED_BYTES = 64 * 1024 * KIB
const VERIFY_MASK = 7
/** All on one partition: they share a hashtag. */
const LARGE_KEY = '{beside}:large'
const SMALL_KEY = '{beside}:small'
const SMALL_KEYS = 16
const SMALL_BYTES = 200
const TICK_MS = 2

export interface LargeOptions {
  readonly concurrency: number
  readonly warmupSeconds: number
  readonly seconds: number
  readonly serverPids: readonly number[]
}

export type LargeDirection = 'read' | 'write'

/** Reads or writes values of one size. */
export async function measureLarge(
  cache: RingcacheClient<Buffer>,
  direction: LargeDirection,
  bytes: number,
  options: LargeOptions,
): Promise<Measurement> {
  const count = Math.max(2, Math.min(64, Math.floor(STORED_BYTES / bytes)))
  const values = Array.from({ length: count }, () => randomBytes(bytes))
  const keyOf = (at: number): string => `large:${bytes}:${at}`
  for (const [at, value] of values.entries()) await cache.set(keyOf(at), value)

  let verified = 0
  let mismatches = 0
  const call = async (n: number): Promise<void> => {
    const at = n % count
    const value = values[at] as Buffer
    if (direction === 'write') {
      await cache.set(keyOf(at), value)
      return
    }
    const found = await cache.get(keyOf(at))
    if (found?.length !== bytes) mismatches++
    if ((n & VERIFY_MASK) !== 0) return
    verified++
    if (found === undefined || !value.equals(found)) mismatches++
  }
  return { ...(await repeat(call, options)), verified, mismatches }
}

/** Writes 16 MiB values to one key, one at a time, until `seconds` are over. @returns how many. */
export async function writeLargest(cache: RingcacheClient<Buffer>, seconds: number): Promise<number> {
  const value = randomBytes(LARGEST_BYTES)
  const ends = performance.now() + seconds * 1000
  let written = 0
  for (; performance.now() < ends; written++) await cache.set(LARGE_KEY, value)
  return written
}

export interface SmallLatencies {
  readonly get: Measurement
  readonly set: Measurement
}

/** Small gets and sets on the partition that `writeLargest` writes to. */
export async function measureSmall(
  cache: RingcacheClient<Buffer>,
  options: LargeOptions,
): Promise<SmallLatencies> {
  const value = randomBytes(SMALL_BYTES)
  for (let at = 0; at < SMALL_KEYS; at++) await cache.set(`${SMALL_KEY}:${at}`, value)
  const gets = new LatencyHistogram()
  const sets = new LatencyHistogram()
  const open = new Set<Promise<void>>()
  let failure: unknown
  let mismatches = 0
  const issue = (histogram: LatencyHistogram, due: number, call: Promise<boolean>): void => {
    const done = call.then(
      (right) => {
        if (!right) mismatches++
        histogram.record(performance.now() - due)
      },
      (error: unknown) => {
        failure ??= error
      },
    )
    open.add(done)
    void done.then(() => open.delete(done))
  }
  const run = async (seconds: number): Promise<void> => {
    const started = performance.now()
    for (let n = 0; n * TICK_MS < seconds * 1000; n++) {
      const due = started + n * TICK_MS
      const wait = due - performance.now()
      if (wait > 0) await sleep(wait)
      const key = `${SMALL_KEY}:${n % SMALL_KEYS}`
      const isRight = (found: Buffer | undefined): boolean => found?.length === SMALL_BYTES
      issue(gets, due, cache.get(key).then(isRight))
      issue(
        sets,
        due,
        cache.set(key, value).then(() => true),
      )
      if (failure !== undefined) throw failure
    }
    await Promise.all(open)
  }
  await run(options.warmupSeconds)
  gets.reset()
  sets.reset()
  await run(options.seconds)
  if (failure !== undefined) throw failure
  const common = {
    seconds: options.seconds,
    clientCpuUs: 0,
    serverCpuUs: 0,
    verified: gets.total,
    mismatches,
  }
  return {
    get: { ...common, calls: gets.total, latencies: gets.toSparse() },
    set: { ...common, calls: sets.total, latencies: sets.toSparse() },
  }
}

type Repeated = Omit<Measurement, 'verified' | 'mismatches'>

async function repeat(call: (n: number) => Promise<void>, options: LargeOptions): Promise<Repeated> {
  const latencies = new LatencyHistogram()
  let next = 0
  let stopped = false
  const worker = async (): Promise<void> => {
    try {
      while (!stopped) {
        const started = performance.now()
        await call(next++)
        if (!stopped) latencies.record(performance.now() - started)
      }
    } finally {
      stopped = true
    }
  }
  const workers = Promise.all(Array.from({ length: options.concurrency }, worker))
  await Promise.race([sleep(options.warmupSeconds * 1000), workers])
  latencies.reset()
  const serverCpuBefore = cpuUsOf(options.serverPids)
  const cpuBefore = process.cpuUsage()
  const started = performance.now()
  await Promise.race([sleepUntilCounted(options.seconds, latencies), workers])
  const seconds = (performance.now() - started) / 1000
  const cpu = process.cpuUsage(cpuBefore)
  const serverCpuUs = cpuUsOf(options.serverPids) - serverCpuBefore
  stopped = true
  const calls = latencies.total
  const counted = latencies.toSparse()
  await workers
  return { calls, seconds, latencies: counted, clientCpuUs: cpu.user + cpu.system, serverCpuUs }
}
