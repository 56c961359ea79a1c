/** What the bench and its driver process tell each other. */

import type { SparseHistogram } from '../peers/latency-histogram.ts'

export interface DriverSettings {
  readonly addresses: readonly string[]
  /** Holds dist. */
  readonly build: string
  readonly entries: number
  readonly valueBytes: number
  /** Of the calls of the open and the closed loop. */
  readonly updateShare: number
}

export interface PhaseSamples {
  readonly name: string
  readonly seconds: number
  readonly reads: SparseHistogram
  readonly readMaxMs: number
  readonly writes: SparseHistogram
  readonly writeMaxMs: number
  /** How late the driver itself issued calls. */
  readonly late: SparseHistogram
  /** Calls that failed, and reads that found nothing though everything was stored. */
  readonly errors: number
  /** The latter alone. */
  readonly misses: number
}

/** One second of the run. */
export interface SecondSample {
  readonly phase: string
  readonly reads: number
  readonly p50Us: number
  readonly p99Us: number
  readonly maxMs: number
}

export interface LoadSamples {
  readonly phases: readonly PhaseSamples[]
  readonly timeline: readonly SecondSample[]
  /** By code, of all phases. */
  readonly errors: Readonly<Record<string, number>>
}

export interface DriverMethods {
  connect: { params: DriverSettings; result: null }
  /** Stores every entry. @returns how long it took */
  fill: { params: null; result: { seconds: number } }
  /** Stores every n-th entry anew. */
  change: { params: { every: number }; result: null }
  /** A closed loop. */
  saturate: {
    params: { seconds: number; concurrency: number }
    result: { callsPerSecond: number; errors: number }
  }
  /** Begins the open loop, in a first phase of this name. */
  open: { params: { perSecond: number; phase: string }; result: null }
  /** What is due from now on belongs to this phase. */
  phase: { params: { name: string }; result: null }
  stop: { params: null; result: LoadSamples }
}

/** What is said of a read that found nothing. */
export const NOT_FOUND = 'a stored value was not found'

/** The key of an entry. */
export function keyOf(index: number): string {
  return `entry:${index.toString(36)}`
}
