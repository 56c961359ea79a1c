/**
 * What is asked, in which order: YCSB's A (half updates), B (5 % updates) and C (reads only) with its scrambled Zipf
 * distribution (Cooper et al., SoCC 2010; θ = 0.99), and batches of 100 distinct keys from the same distribution.
 *
 * Everything is drawn before the clock starts: a worker only walks through arrays. Ranks are scattered over the keys by
 * a seeded shuffle, so that neighbours in rank are not neighbours in number.
 */

import { integerBetween, SeededRandom, uniform } from '../../src/kernel/random.ts'
import type { Entry, WorkloadName } from './peer.ts'
import type { DataSet } from './records.ts'

const ZIPF_THETA = 0.99
export const BATCH_KEYS = 100
const UPDATE_SHARE: Readonly<Record<'A' | 'B' | 'C', number>> = { A: 0.5, B: 0.05, C: 0 }
/** Powers of two: a position is masked, not divided. */
const DRAWS = 2 ** 20
const BATCHES = 2 ** 10

/** Single operations: `keyIndexes[n]` is what the n-th asks for, `updates[n]` whether it writes. Both wrap around. */
export interface SingleOperations {
  readonly kind: 'single'
  readonly keyIndexes: Uint32Array
  readonly updates: Uint8Array
  readonly mask: number
}

export interface BatchOperations {
  readonly kind: 'batch'
  readonly update: boolean
  /** Per batch the numbers of its keys, the keys, and the entries to write. */
  readonly keyIndexes: readonly (readonly number[])[]
  readonly keys: readonly (readonly string[])[]
  readonly entries: readonly (readonly Entry[])[]
  readonly mask: number
}

export type Operations = SingleOperations | BatchOperations

export function isBatch(workload: string): workload is 'mget100' | 'mset100' {
  return workload === 'mget100' || workload === 'mset100'
}

export function makeOperations(workload: WorkloadName, data: DataSet): Operations {
  const random = new SeededRandom(2)
  const draw = zipf(data.keys.length, random)
  return isBatch(workload)
    ? makeBatches(workload === 'mset100', data, draw)
    : makeSingles(UPDATE_SHARE[workload], random, draw)
}

function makeSingles(updateShare: number, random: SeededRandom, draw: () => number): SingleOperations {
  const keyIndexes = new Uint32Array(DRAWS)
  const updates = new Uint8Array(DRAWS)
  for (let n = 0; n < DRAWS; n++) {
    keyIndexes[n] = draw()
    updates[n] = uniform(random) < updateShare ? 1 : 0
  }
  return { kind: 'single', keyIndexes, updates, mask: DRAWS - 1 }
}

function makeBatches(update: boolean, data: DataSet, draw: () => number): BatchOperations {
  const size = Math.min(BATCH_KEYS, data.keys.length)
  const keyIndexes: number[][] = []
  for (let n = 0; n < BATCHES; n++) {
    const chosen = new Set<number>()
    while (chosen.size < size) chosen.add(draw())
    keyIndexes.push([...chosen])
  }
  return {
    kind: 'batch',
    update,
    keyIndexes,
    keys: keyIndexes.map((batch) => batch.map((index) => data.keys[index] as string)),
    entries: keyIndexes.map((batch) =>
      batch.map((index): Entry => [data.keys[index] as string, data.records[index] as Entry[1]]),
    ),
    mask: BATCHES - 1,
  }
}

/** A source of key numbers: rank r has weight 1 / r^θ, found in the cumulated weights by bisection. */
export function zipf(keyCount: number, random: SeededRandom): () => number {
  const cumulated = new Float64Array(keyCount)
  let sum = 0
  for (let rank = 0; rank < keyCount; rank++) {
    sum += 1 / (rank + 1) ** ZIPF_THETA
    cumulated[rank] = sum
  }
  const keyOfRank = Uint32Array.from({ length: keyCount }, (_, index) => index)
  for (let at = keyCount - 1; at > 0; at--) {
    const other = integerBetween(random, 0, at)
    const moved = keyOfRank[at] as number
    keyOfRank[at] = keyOfRank[other] as number
    keyOfRank[other] = moved
  }
  return () => {
    const wanted = uniform(random) * sum
    let low = 0
    let high = keyCount - 1
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((cumulated[middle] as number) <= wanted) low = middle + 1
      else high = middle
    }
    return keyOfRank[low] as number
  }
}
