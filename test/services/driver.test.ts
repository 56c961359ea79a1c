/** The parts of the bench that figures depend on: percentiles, the distribution of keys, the check of values. */

import { describe, expect, it } from 'vitest'
import { LatencyHistogram } from '../../bench/peers/latency-histogram.ts'
import { measure } from '../../bench/peers/measure.ts'
import type { PeerClient } from '../../bench/peers/peer.ts'
import { makeDataSet, sameRecord, type UserRecord } from '../../bench/peers/records.ts'
import { joinPasses, ratiosOf } from '../../bench/peers/report.ts'
import { makeOperations, zipf } from '../../bench/peers/workload.ts'
import { SeededRandom } from '../../src/kernel/random.ts'

const data = makeDataSet(1_000)

function clientThat(get: (key: string) => Promise<UserRecord | undefined>): PeerClient {
  return {
    get,
    set: async () => undefined,
    mget: (keys) => Promise.all(keys.map(get)),
    mset: async () => undefined,
    close: async () => {},
  }
}

const options = { concurrency: 2, warmupSeconds: 0.01, seconds: 0.03, serverPids: [] }

/** A turn of the event loop per call, as every real client takes. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

describe('latency histogram', () => {
  it('gives percentiles within 1.6 %, also after being sent and merged', () => {
    const random = new SeededRandom(7)
    const values = Array.from({ length: 10_000 }, () => 0.01 * 1.0005 ** (random.uint32() % 20_000))
    const halves = [new LatencyHistogram(), new LatencyHistogram()]
    for (const [at, ms] of values.entries()) halves[at % 2]?.record(ms)
    const merged = new LatencyHistogram()
    for (const half of halves) merged.add(half.toSparse())
    values.sort((a, b) => a - b)
    expect(merged.total).toBe(10_000)
    for (const share of [0.01, 0.5, 0.99, 0.999]) {
      const exactUs = (values[Math.ceil(share * 10_000) - 1] as number) * 1000
      expect(Math.abs(merged.percentileUs(share) / exactUs - 1)).toBeLessThan(0.016)
    }
  })

  it('counts what is out of range at its ends', () => {
    const histogram = new LatencyHistogram()
    histogram.record(-1)
    histogram.record(1e9)
    expect(histogram.percentileUs(0.5)).toBe(0)
    expect(histogram.percentileUs(1)).toBeGreaterThan(200e6)
  })
})

describe('workloads', () => {
  it('draw keys by the Zipf distribution', () => {
    const draw = zipf(1_000, new SeededRandom(3))
    const counts = new Map<number, number>()
    for (let n = 0; n < 100_000; n++) {
      const key = draw()
      counts.set(key, (counts.get(key) ?? 0) + 1)
    }
    const sorted = [...counts.values()].sort((a, b) => b - a)
    let harmonic = 0
    for (let rank = 1; rank <= 1_000; rank++) harmonic += rank ** -0.99
    for (const rank of [1, 2, 10]) {
      const expected = (100_000 * rank ** -0.99) / harmonic
      expect(Math.abs((sorted[rank - 1] as number) / expected - 1)).toBeLessThan(0.1)
    }
  })

  it('have the shares of updates that YCSB gives A, B and C', () => {
    for (const [workload, share] of [
      ['A', 0.5],
      ['B', 0.05],
      ['C', 0],
    ] as const) {
      const operations = makeOperations(workload, data)
      if (operations.kind !== 'single') throw new Error('expected single operations')
      const updates = operations.updates.reduce((sum, update) => sum + update, 0)
      expect(updates / operations.updates.length).toBeCloseTo(share, 2)
    }
  })

  it('ask for 100 distinct keys in a batch', () => {
    const operations = makeOperations('mget100', data)
    if (operations.kind !== 'batch') throw new Error('expected batches')
    for (const keys of operations.keys.slice(0, 50)) expect(new Set(keys).size).toBe(100)
  })
})

describe('records', () => {
  it('are about 200 bytes of text and numbers, the same in every run', () => {
    expect(makeDataSet(1_000).records).toEqual(data.records)
    const bytes = data.records.reduce((sum, record) => sum + JSON.stringify(record).length, 0) / 1_000
    expect(bytes).toBeGreaterThan(180)
    expect(bytes).toBeLessThan(280)
  })

  it('differ when one member differs', () => {
    const record = data.records[5] as UserRecord
    expect(sameRecord(structuredClone(record), record)).toBe(true)
    for (const name of Object.keys(record)) {
      const changed = { ...record, [name]: name === 'address' ? { city: '', zip: '' } : [] }
      expect(sameRecord(changed as UserRecord, record), name).toBe(false)
    }
  })
})

describe('a measurement', () => {
  const byKey = new Map(data.keys.map((key, at) => [key, data.records[at]]))

  it('counts no mismatch for the right values', async () => {
    const right = clientThat((key) => turn().then(() => byKey.get(key)))
    for (const workload of ['C', 'mget100'] as const) {
      const result = await measure(right, makeOperations(workload, data), data, options)
      expect(result.mismatches).toBe(0)
      expect(result.verified).toBeGreaterThan(0)
    }
  })

  it('notices the values of other keys, and absent ones', async () => {
    const wrong = clientThat((key) => turn().then(() => ({ ...(byKey.get(key) as UserRecord), age: -1 })))
    const empty = clientThat(() => turn().then(() => undefined))
    for (const client of [wrong, empty]) {
      for (const workload of ['C', 'mget100'] as const) {
        const result = await measure(client, makeOperations(workload, data), data, options)
        expect(result.mismatches).toBeGreaterThan(0)
      }
    }
  })

  it('fails with the error of a failing call', async () => {
    const failing = clientThat(() => turn().then(() => Promise.reject(new Error('the server went away'))))
    await expect(measure(failing, makeOperations('C', data), data, options)).rejects.toThrow('went away')
  })

  it('joins passes, and divides ringcache by the peer', () => {
    const histogram = new LatencyHistogram()
    histogram.record(1)
    const pass = {
      seconds: 1,
      latencies: histogram.toSparse(),
      clientCpuUs: 100,
      serverCpuUs: 50,
      clientWrites: 20,
      serverWrites: 10,
      verified: 1,
      mismatches: 0,
    }
    const ours = joinPasses('ringcache', 'C', 32, [
      { ...pass, calls: 300 },
      { ...pass, calls: 100 },
    ])
    const theirs = joinPasses('memjs', 'C', 32, [{ ...pass, calls: 100 }])
    expect(ours).toMatchObject({
      opsPerSecond: 200,
      clientCpuUsPerOp: 0.5,
      serverCpuUsPerOp: 0.25,
      clientWritesPerOp: 0.1,
      serverWritesPerOp: 0.05,
      passes: [300, 100],
    })
    expect(ratiosOf([ours, theirs])).toEqual([
      { workload: 'C', concurrency: 32, against: 'memjs', throughput: 2, p50: 1 },
    ])
  })
})
