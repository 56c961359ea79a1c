/**
 * One measured cell: `concurrency` asynchronous workers, each with one call in flight, walk through the same operations
 * for a warm-up and then for the measured time. Latency is taken around every call, one value in 64 is compared with what
 * belongs to its key. Calls that end after the measured time are not counted.
 *
 * The loop does as little as it can: two clock readings, one histogram increment and one comparison per call.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { LatencyHistogram, type SparseHistogram } from './latency-histogram.ts'
import type { PeerClient } from './peer.ts'
import { cpuUsOf, writesOf } from './process-usage.ts'
import { type DataSet, sameRecord, type UserRecord } from './records.ts'
import type { BatchOperations, Operations, SingleOperations } from './workload.ts'

export interface MeasureOptions {
  readonly concurrency: number
  readonly warmupSeconds: number
  readonly seconds: number
  readonly serverPids: readonly number[]
}

export interface Measurement {
  readonly calls: number
  readonly seconds: number
  readonly latencies: SparseHistogram
  readonly clientCpuUs: number
  readonly serverCpuUs: number
  /** System calls that write, where they are counted. */
  readonly clientWrites?: number
  readonly serverWrites?: number
  /** Values compared, and those that were not what they had to be. */
  readonly verified: number
  readonly mismatches: number
}

const VERIFY_MASK = 63
const FIRST_CALL_SECONDS_MAX = 30
const SECONDS_STEP = 0.05

class Run {
  readonly latencies: LatencyHistogram = new LatencyHistogram()
  next = 0
  stopped = false
  failure: unknown = undefined
  verified = 0
  mismatches = 0

  verify(actual: UserRecord | undefined, expected: UserRecord): void {
    this.verified++
    if (!sameRecord(actual, expected)) this.mismatches++
  }

  fail(error: unknown): void {
    this.failure ??= error ?? new Error('a call was rejected without a reason')
    this.stopped = true
  }
}

/** @throws what the first failing call threw. */
export async function measure(
  client: PeerClient,
  operations: Operations,
  data: DataSet,
  options: MeasureOptions,
): Promise<Measurement> {
  const run = new Run()
  const workers: Promise<void>[] = []
  for (let n = 0; n < options.concurrency; n++) {
    workers.push(
      operations.kind === 'single'
        ? singles(run, client, operations, data)
        : batches(run, client, operations, data),
    )
  }
  const failed = Promise.all(workers)
  await Promise.race([sleep(options.warmupSeconds * 1000), failed])

  const serverCpuBefore = cpuUsOf(options.serverPids)
  const clientCpuBefore = process.cpuUsage()
  const serverWritesBefore = writesOf(options.serverPids)
  const clientWritesBefore = writesOf([process.pid])
  const started = performance.now()
  run.latencies.reset()
  await Promise.race([sleepUntilCounted(options.seconds, run.latencies), failed])

  const seconds = (performance.now() - started) / 1000
  const clientCpu = process.cpuUsage(clientCpuBefore)
  const serverCpuUs = cpuUsOf(options.serverPids) - serverCpuBefore
  const serverWrites = writesOf(options.serverPids) - serverWritesBefore
  const clientWrites = writesOf([process.pid]) - clientWritesBefore
  const calls = run.latencies.total
  const latencies = run.latencies.toSparse()
  run.stopped = true
  await failed
  if (run.failure !== undefined) throw run.failure
  return {
    calls,
    seconds,
    latencies,
    clientCpuUs: clientCpu.user + clientCpu.system,
    serverCpuUs,
    clientWrites,
    serverWrites,
    verified: run.verified,
    mismatches: run.mismatches,
  }
}

/** Sleeps for `seconds`, and on a slow machine until one call is counted, so that there is something to divide by. */
export async function sleepUntilCounted(seconds: number, counted: LatencyHistogram): Promise<void> {
  await sleep(seconds * 1000)
  for (let n = 0; counted.total === 0 && n < FIRST_CALL_SECONDS_MAX / SECONDS_STEP; n++) {
    await sleep(SECONDS_STEP * 1000)
  }
}

async function singles(
  run: Run,
  client: PeerClient,
  operations: SingleOperations,
  data: DataSet,
): Promise<void> {
  const { keyIndexes, updates, mask } = operations
  const { keys, records } = data
  const { latencies } = run
  try {
    while (!run.stopped) {
      const n = run.next++ & mask
      const index = keyIndexes[n] as number
      const started = performance.now()
      if (updates[n] === 1) {
        await client.set(keys[index] as string, records[index] as UserRecord)
        latencies.record(performance.now() - started)
      } else {
        const value = await client.get(keys[index] as string)
        latencies.record(performance.now() - started)
        if ((n & VERIFY_MASK) === 0) run.verify(value, records[index] as UserRecord)
        else if (value === undefined) run.mismatches++
      }
    }
  } catch (error) {
    run.fail(error)
  }
}

async function batches(
  run: Run,
  client: PeerClient,
  operations: BatchOperations,
  data: DataSet,
): Promise<void> {
  const { keyIndexes, keys, entries, mask } = operations
  const { records } = data
  try {
    while (!run.stopped) {
      const n = run.next++ & mask
      const started = performance.now()
      if (operations.update) {
        await client.mset(entries[n] as BatchOperations['entries'][number])
        run.latencies.record(performance.now() - started)
        continue
      }
      const values = await client.mget(keys[n] as readonly string[])
      run.latencies.record(performance.now() - started)
      const indexes = keyIndexes[n] as readonly number[]
      if (values.length !== indexes.length) run.mismatches++
      // One or two values of each batch, at changing places.
      for (let at = n & VERIFY_MASK; at < indexes.length; at += VERIFY_MASK + 1) {
        run.verify(values[at], records[indexes[at] as number] as UserRecord)
      }
    }
  } catch (error) {
    run.fail(error)
  }
}
