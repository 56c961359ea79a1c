/** The process that does one job (jobs.ts): connects one peer, does the work, answers and ends. */

import type { Answer, Job, JobResults, LoadJob, MeasureJob } from './jobs.ts'
import { measure } from './measure.ts'
import type { Entry, PeerClient } from './peer.ts'
import { startProfile } from './profile.ts'
import { makeDataSet } from './records.ts'
import { PEERS } from './registry.ts'
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
