/**
 * Latencies in log-linear buckets (as HdrHistogram's): 64 buckets per doubling, so that a percentile is off by at most 1.6 %,
 * in 12 KiB, at a few nanoseconds per value. The unit is 0.1 µs; everything from 3.5 minutes on is counted in the last bucket.
 */

const LINEAR = 128
const STEPS = 64
const BUCKETS = LINEAR + (31 - 7) * STEPS
const UNITS_MAX = 2 ** 31 - 1

/** Bucket and count pairs, only of buckets in use: what travels between processes. */
export type SparseHistogram = readonly (readonly [bucket: number, count: number])[]

export class LatencyHistogram {
  readonly #counts: Float64Array = new Float64Array(BUCKETS)
  #total = 0

  get total(): number {
    return this.#total
  }

  /** @param ms as performance.now() gives it. */
  record(ms: number): void {
    const units = Math.min(UNITS_MAX, Math.max(0, ms * 10_000)) | 0
    const bucket = bucketOf(units)
    this.#counts[bucket] = (this.#counts[bucket] as number) + 1
    this.#total++
  }

  /** The latency in µs that `share` (0..1) of all values do not exceed; 0 when there are none. */
  percentileUs(share: number): number {
    const rank = Math.max(1, Math.ceil(share * this.#total))
    let seen = 0
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      seen += this.#counts[bucket] as number
      if (seen >= rank) return middleOf(bucket) / 10
    }
    return 0
  }

  reset(): void {
    this.#counts.fill(0)
    this.#total = 0
  }

  toSparse(): SparseHistogram {
    const pairs: [number, number][] = []
    for (const [bucket, count] of this.#counts.entries()) if (count > 0) pairs.push([bucket, count])
    return pairs
  }

  add(other: SparseHistogram): void {
    for (const [bucket, count] of other) {
      this.#counts[bucket] = (this.#counts[bucket] as number) + count
      this.#total += count
    }
  }
}

function bucketOf(units: number): number {
  if (units < LINEAR) return units
  const shift = 25 - Math.clz32(units) // 1 for 128..255, 2 for 256..511, …
  return LINEAR + (shift - 1) * STEPS + (units >>> shift) - STEPS
}

function middleOf(bucket: number): number {
  if (bucket < LINEAR) return bucket
  const shift = Math.floor((bucket - LINEAR) / STEPS) + 1
  const step = ((bucket - LINEAR) % STEPS) + STEPS
  return (step + 0.5) * 2 ** shift
}
