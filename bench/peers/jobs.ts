/**
 * What the bench asks of a driver process, and what it answers. A driver is a fresh Node.js process for each job, so that no
 * peer's garbage, caches or optimised code are there when the next one is measured.
 */

import { fork } from 'node:child_process'
import { createRequire } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { LargeDirection, LargeOptions, SmallLatencies } from './large.ts'
import type { Measurement, MeasureOptions } from './measure.ts'
import type { PeerName, WorkloadName } from './peer.ts'
import type { SoakOptions, SoakResult } from './soak.ts'

interface Target {
  readonly peer: PeerName
  readonly addresses: readonly string[]
}

/** Stores every record. */
export interface LoadJob extends Target {
  readonly kind: 'load'
  readonly keys: number
}

export interface MeasureJob extends Target, MeasureOptions {
  readonly kind: 'measure'
  readonly keys: number
  readonly workload: WorkloadName
  /** Where to write a CPU profile of the warm-up and the measurement. */
  readonly profileFile: string | undefined
}

/** Reads or writes values of one size (ringcache only, as all that follow). */
export interface LargeJob extends LargeOptions {
  readonly kind: 'large'
  readonly addresses: readonly string[]
  readonly direction: LargeDirection
  readonly bytes: number
}

/** Writes values of the largest size for a while. */
export interface WriteLargestJob {
  readonly kind: 'write-largest'
  readonly addresses: readonly string[]
  readonly seconds: number
}

/** Small calls; `alsoLarge`: beside the largest values written by the same client. */
export interface SmallJob extends LargeOptions {
  readonly kind: 'small'
  readonly addresses: readonly string[]
  readonly alsoLarge: boolean
}

export interface SoakJob extends SoakOptions {
  readonly kind: 'soak'
  readonly addresses: readonly string[]
}

export type Job = LoadJob | MeasureJob | LargeJob | WriteLargestJob | SmallJob | SoakJob

export interface JobResults {
  load: { readonly keys: number }
  measure: Measurement
  large: Measurement
  'write-largest': { readonly written: number }
  small: SmallLatencies
  soak: SoakResult
}

export type Answer = { readonly result: unknown } | { readonly error: string }

const driver = fileURLToPath(new URL('./driver.ts', import.meta.url))
const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href

export interface JobOptions {
  readonly timeoutMs: number
}

/** @throws with the driver's own message when the job failed. */
export function runJob<J extends Job>(job: J, options: JobOptions): Promise<JobResults[J['kind']]> {
  const child = fork(driver, [], { execArgv: ['--import', tsx] })
  return new Promise((resolve, reject) => {
    let answer: Answer = { error: 'the driver ended without an answer' }
    const timer = setTimeout(() => {
      answer = { error: `no answer within ${options.timeoutMs / 1000} s` }
      child.kill('SIGKILL')
    }, options.timeoutMs)
    const abandon = (): void => void child.kill('SIGKILL')
    process.once('exit', abandon)
    child.on('message', (message: Answer) => {
      answer = message
    })
    child.once('error', reject)
    child.once('exit', () => {
      clearTimeout(timer)
      process.off('exit', abandon)
      if ('error' in answer) reject(new Error(answer.error))
      // The driver answers a job of kind K with JobResults[K]; the channel itself knows no types.
      else resolve(answer.result as JobResults[J['kind']])
    })
    child.send(job)
  })
}
