import { describe, expect, it } from 'vitest'
import { simulate } from './harness/simulation.ts'

/** Seeds that once showed a bug, with what it was. */
const PINNED: readonly (readonly [number, string])[] = [
  [3, 'a node heard what a peer holds before it had the topology, and never sent it its log'],
  [795_171_164, 'a replica waited for ever for a large value whose stream had broken'],
]

describe('a cluster on virtual time, under faults', () => {
  it.each(PINNED)('seed %i: %s', async (seed) => {
    const report = await simulate(seed)
    expect(report.violations).toEqual([])
  })

  it.each(Array.from({ length: 24 }, (_, i) => 1000 + i))('seed %i holds every invariant', async (seed) => {
    const report = await simulate(seed)
    expect(report.violations).toEqual([])
    expect(report.operations).toBeGreaterThanOrEqual(300)
  })

  it('replays a seed event by event', async () => {
    const [first, second] = [await simulate(42), await simulate(42)]
    expect(second).toEqual(first)
    expect((await simulate(43)).traceHash).not.toBe(first.traceHash)
  })

  it('meets what it is there for: kills, replicas left behind, retried writes', async () => {
    let killed = 0
    let lagging = 0
    let retries = 0
    for (let seed = 2000; seed < 2016; seed++) {
      const report = await simulate(seed)
      killed += report.killed
      lagging += report.lagging
      retries += report.retries
    }
    expect(killed).toBeGreaterThan(0)
    expect(lagging).toBeGreaterThan(0)
    expect(retries).toBeGreaterThan(0)
  })
})
