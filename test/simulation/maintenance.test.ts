/** The work of maintenance jobs, on whole nodes. */

import { afterEach, describe, expect, it } from 'vitest'
import { SeededRandom } from '../../src/kernel/random.ts'
import { createTestCluster, type TestCluster, type TestNode } from '../../src/testing/test-cluster.ts'
import type { EndedRun } from '../../src/topology/jobs.ts'

const DAY = 86_400_000
let cluster: TestCluster

afterEach(() => cluster.close())

function first(): TestNode['core'] & object {
  const core = cluster.nodes[0]?.core
  if (core === undefined) throw new Error('no node')
  return core
}

async function run(kind: string, spec: object, isDryRun = false): Promise<EndedRun> {
  const { jobs } = first()
  const work = { kind, spec, timeLimitMs: 60_000 }
  const name = await cluster.run(jobs.run({ job: kind, work, isDryRun }))
  return cluster.run(jobs.ended(name))
}

describe('cleanup', () => {
  it('removes what was not written for long, in the regions it is told of, on all copies', async () => {
    cluster = await createTestCluster({ nodes: 3, seed: 1, regions: [{}, { name: 'kept' }] })
    const cache = await cluster.connect()
    const kept = cache.region('kept')
    const keys = Array.from({ length: 300 }, (_, i) => `k${i}`)
    await cluster.run(cache.mset(keys.map((key) => [key, key] as const)))
    await cluster.run(kept.mset(keys.map((key) => [key, key] as const)))
    await cluster.time.advance(10_000)
    await cluster.run(cache.mset(keys.slice(0, 100).map((key) => [key, 'new'] as const)))
    const spec = { olderThanMs: 5000, regions: ['default'] }

    expect(await run('cleanup', spec, true)).toMatchObject({
      outcome: 'done',
      isDryRun: true,
      result: 'would remove 200 of 600 entries on 3 nodes',
    })
    expect(await run('cleanup', spec)).toMatchObject({ result: 'removed 200 of 600 entries on 3 nodes' })
    expect(await cluster.run(cache.mget(keys))).toEqual(keys.map((_, i) => (i < 100 ? 'new' : undefined)))
    expect((await cluster.run(kept.mget(keys))).filter((value) => value !== undefined)).toHaveLength(300)
    await cluster.time.advance(1000)
    for (const node of cluster.nodes) expect(node.core?.status().entries).toBe(400)
    expect(await run('cleanup', spec)).toMatchObject({ result: 'removed 0 of 400 entries on 3 nodes' })
  })

  it('names a region that is not there', async () => {
    cluster = await createTestCluster({ nodes: 1, seed: 2 })
    const ended = await run('cleanup', { olderThanMs: DAY, regions: ['nowhere'] })
    expect(ended).toMatchObject({
      outcome: 'failed',
      result: 'there is no region nowhere; there are default',
    })
  })

  it('is done again from the start when its owner dies', async () => {
    cluster = await createTestCluster({ nodes: 3, seed: 3 })
    const cache = await cluster.connect()
    const keys = Array.from({ length: 2000 }, (_, i) => `k${i}`)
    await cluster.run(cache.mset(keys.map((key) => [key, key] as const)))
    await cluster.time.advance(10_000)
    const owner = cluster.nodes[2]
    const { jobs } = owner?.core ?? {}
    if (owner === undefined || jobs === undefined) throw new Error('no node')
    const work = { kind: 'cleanup', spec: { olderThanMs: 5000, regions: [] }, timeLimitMs: 60_000 }
    const name = await cluster.run(jobs.run({ job: 'cleanup', work }))
    await cluster.time.advance(20)
    cluster.killNode(owner)
    const ended = await cluster.run(first().jobs.ended(name))
    expect(ended).toMatchObject({ outcome: 'done', attempt: 2 })
    expect((await cluster.run(cache.mget(keys))).filter((value) => value !== undefined)).toEqual([])
  })
})

describe('work that all nodes share', () => {
  it('is done by those that are left when one dies in the middle of it', async () => {
    cluster = await createTestCluster({ nodes: 3, seed: 10 })
    const cache = await cluster.connect()
    const keys = Array.from({ length: 2000 }, (_, i) => `k${i}`)
    await cluster.run(cache.mset(keys.map((key) => [key, key] as const)))
    await cluster.time.advance(10_000)
    const { jobs } = first()
    const work = { kind: 'cleanup', spec: { olderThanMs: 5000, regions: [] }, timeLimitMs: 60_000 }
    const name = await cluster.run(jobs.run({ job: 'cleanup', work }))
    await cluster.time.advance(3)
    cluster.killNode(cluster.nodes[2] as TestNode)
    const ended = await cluster.run(jobs.ended(name))
    expect(ended).toMatchObject({ outcome: 'done', attempt: 1 })
    expect(ended.result).toContain('on 2 nodes')
    expect((await cluster.run(cache.mget(keys))).filter((value) => value !== undefined)).toEqual([])
  })
})

describe('compact', () => {
  it('gives back what is dead above the threshold', async () => {
    cluster = await createTestCluster({ nodes: 1, seed: 4 })
    const cache = await cluster.connect()
    const keys = Array.from({ length: 6000 }, (_, i) => `k${i}`)
    const random = new SeededRandom(9)
    // That no compression makes smaller.
    const value = Uint8Array.from({ length: 2000 }, () => random.uint32() & 0xff)
    for (let at = 0; at < keys.length; at += 500)
      await cluster.run(cache.mset(keys.slice(at, at + 500).map((key) => [key, value] as const)))
    for (let at = 0; at < keys.length; at += 500)
      await cluster.run(cache.mdelete(keys.slice(at, at + 500).filter((_, i) => i % 6 === 0)))
    await cluster.time.advance(5000)
    const engine = first().dataPlane?.engine
    const before = engine?.deadBytes ?? 0
    expect(before).toBeGreaterThan(0)
    const dry = await run('compact', { threshold: 0.01 }, true)
    expect(dry.result).toMatch(/^node-1 \d+ % dead: would compact$/)
    expect(engine?.deadBytes).toBe(before)
    expect((await run('compact', { threshold: 0.95 })).result).toMatch(/: nothing to do$/)
    const ended = await run('compact', { threshold: 0.01 })
    expect(ended.result).toMatch(/^node-1 \d+ % dead, now \d+ %$/)
    expect(engine?.deadBytes).toBeLessThan(before / 2)
  })
})

describe('rebalance', () => {
  it('is started when a node holds more than its share, and left alone else', async () => {
    cluster = await createTestCluster({ nodes: 3, seed: 5, node: { partitionCount: 32 } })
    expect((await run('rebalance', { threshold: 0.2 })).result).toMatch(/nothing to do$/)
    const node = cluster.addNode()
    cluster.startNode(node)
    await cluster.waitFor(() => first().control.topology?.nodes.length === 4, 5000)
    expect((await run('rebalance', { threshold: 0.2 })).outcome).toBe('done')
  })

  it('says what is wrong with its settings', async () => {
    cluster = await createTestCluster({ nodes: 1, seed: 6 })
    expect(await run('rebalance', {})).toMatchObject({
      outcome: 'failed',
      result: 'rebalance needs a threshold above 0, such as 0.2',
    })
  })
})

describe('a run that somebody asks for', () => {
  it('is refused while one of that name goes on, and can be ended', async () => {
    cluster = await createTestCluster({ nodes: 3, seed: 7 })
    const { jobs } = first()
    jobs.register({
      kind: 'long',
      run: ({ signal }) =>
        new Promise((_, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason as Error))
        }),
    })
    const work = { kind: 'long', spec: {}, timeLimitMs: 600_000 }
    const name = await cluster.run(jobs.run({ job: 'x', work }))
    await expect(cluster.run(jobs.run({ job: 'x', work }))).rejects.toThrow('x is running on node-1 since')
    await cluster.run(jobs.cancel('x'))
    expect(await cluster.run(jobs.ended(name))).toMatchObject({ outcome: 'cancelled', result: 'cancelled' })
    await expect(cluster.run(jobs.cancel('x'))).rejects.toThrow('x is not running')
    await expect(cluster.run(jobs.run({ job: 'y' }))).rejects.toThrow('there is no job y')
  })

  it('is ended at its time limit', async () => {
    cluster = await createTestCluster({ nodes: 1, seed: 8 })
    const { jobs } = first()
    jobs.register({
      kind: 'long',
      run: ({ signal }) =>
        new Promise((_, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason as Error))
        }),
    })
    const name = await cluster.run(
      jobs.run({ job: 'x', work: { kind: 'long', spec: {}, timeLimitMs: 3000 } }),
    )
    const ended = await cluster.run(jobs.ended(name))
    expect(ended.outcome).toBe('failed')
    expect(ended.result).toContain('it took longer than its time limit of 3000 ms')
  })
})
