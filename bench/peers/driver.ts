/** The process that does one job (jobs.ts): connects one peer, does the work, answers and ends. */

import { connectRingcache, type RingcacheClient } from './clients/ringcache.ts'
import type { Answer, Job, JobResults, LoadJob, MeasureJob, SmallJob, SoakJob } from './jobs.ts'
import { measureLarge, measureSmall, type SmallLatencies, writeLargest } from './large.ts'
import { measure } from './measure.ts'
import type { Entry, PeerClient } from './peer.ts'
import { startProfile } from './profile.ts'
import { makeDataSet } from './records.ts'
import { PEERS } from './registry.ts'
import { SOAK_RECORDS, soak } from './soak.ts'
import { BATCH_KEYS, makeOperations } from './workload.ts'

const LOAD_BATCHES_AT_ONCE = 8

process.once('message', (job: Job) => void answer(job))

async function answer(job: Job): Promise<void> {
  let message: Answer
  try {
    message = { result: await perform(job) }
  } catch (error) {
    message = { error: error instanceof Error ? (error.stack ?? error.message) : String(error) }
  }
  process.send?.(message, () => process.exit())
}

async function perform(job: Job): Promise<JobResults[Job['kind']]> {
  switch (job.kind) {
    case 'load':
      return load(job)
    case 'measure':
      return measureCell(job)
    case 'large':
      return withRingcache(job.addresses, (cache) => measureLarge(cache, job.direction, job.bytes, job))
    case 'write-largest':
      return withRingcache(job.addresses, async (cache) => ({
        written: await writeLargest(cache, job.seconds),
      }))
    case 'small':
      return withRingcache(job.addresses, (cache) => smallCalls(cache, job))
    case 'soak':
      return soakCell(job)
  }
}

async function load(job: LoadJob): Promise<JobResults['load']> {
  const { keys, records } = makeDataSet(job.keys)
  const client = await PEERS[job.peer].connect(job.addresses)
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < keys.length) {
      const batch: Entry[] = []
      for (; batch.length < BATCH_KEYS && next < keys.length; next++) {
        batch.push([keys[next] as string, records[next] as Entry[1]])
      }
      await client.mset(batch)
    }
  }
  await Promise.all(Array.from({ length: LOAD_BATCHES_AT_ONCE }, worker))
  await client.close()
  return { keys: keys.length }
}

async function measureCell(job: MeasureJob): Promise<JobResults['measure']> {
  const data = makeDataSet(job.keys)
  const operations = makeOperations(job.workload, data)
  const client: PeerClient = await PEERS[job.peer].connect(job.addresses)
  const finishProfile = job.profileFile === undefined ? undefined : await startProfile(job.profileFile)
  const measurement = await measure(client, operations, data, job)
  await finishProfile?.()
  await client.close()
  return measurement
}

async function withRingcache<T>(
  addresses: readonly string[],
  work: (cache: RingcacheClient<Buffer>) => Promise<T>,
): Promise<T> {
  const cache = await connectRingcache<Buffer>(addresses)
  const result = await work(cache)
  await cache.close()
  return result
}

async function smallCalls(cache: RingcacheClient<Buffer>, job: SmallJob): Promise<SmallLatencies> {
  if (!job.alsoLarge) return measureSmall(cache, job)
  const writing = writeLargest(cache, job.warmupSeconds + job.seconds)
  const [latencies, written] = await Promise.all([measureSmall(cache, job), writing])
  if (written === 0) throw new Error('no large value was written while the small calls were measured')
  return latencies
}

async function soakCell(job: SoakJob): Promise<JobResults['soak']> {
  const client = await PEERS.ringcache.connect(job.addresses)
  const result = await soak(client, makeDataSet(SOAK_RECORDS), job)
  await client.close()
  return result
}
