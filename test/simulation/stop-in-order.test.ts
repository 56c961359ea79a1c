import { afterEach, describe, expect, it } from 'vitest'
import type { Cache } from '../../src/client/cache.ts'
import { compareVersions, type Version } from '../../src/kernel/ids.ts'
import { createTestCluster, type TestCluster, type TestNode } from '../../src/testing/test-cluster.ts'

let cluster: TestCluster

afterEach(() => cluster.close())

const WORKERS = 8
const LARGE = new Uint8Array(300_000).fill(7)

/** Calls of every kind, one after another per worker, until `stop`. */
class Load {
  readonly failures: string[] = []
  readonly newest = new Map<string, { readonly version: Version; readonly value: string }>()
  increments = 0
  calls = 0
  worstMs = 0
  readonly #cache: Cache
  readonly #workers: Promise<void>[]
  #over = false

  constructor(cache: Cache) {
    this.#cache = cache
    this.#workers = Array.from({ length: WORKERS }, (_, worker) => this.#work(worker))
  }

  async stop(): Promise<void> {
    this.#over = true
    await Promise.all(this.#workers)
  }

  async #work(worker: number): Promise<void> {
    for (let i = 0; !this.#over; i++) {
      const begunMs = cluster.time.monotonicMs()
      try {
        await this.#one(worker, i)
      } catch (error) {
        this.failures.push(`call ${i % 7} of worker ${worker}: ${String(error)}`)
      }
      this.calls++
      this.worstMs = Math.max(this.worstMs, cluster.time.monotonicMs() - begunMs)
    }
  }

  async #one(worker: number, i: number): Promise<void> {
    const cache = this.#cache
    const key = `key-${worker}-${i % 20}`
    switch (i % 7) {
      case 0:
        await cache.increment('counter')
        this.increments++
        return
      case 1:
        if (worker === 0) await cache.set('large', LARGE)
        return
      case 2:
        if (worker === 1) await cache.get('large')
        return
      case 3: {
        const value = `${worker}/${i}`
        const result = await cache.mset([[key, value]])
        const version = result.get(key)
        if (version === undefined || version instanceof Error) throw version ?? new Error('no result')
        this.newest.set(key, { version, value })
        return
      }
      case 4:
        await cache.get(key, { read: 'linearizable' })
        return
      default: {
        const value = `${worker}/${i}`
        this.newest.set(key, { version: await cache.set(key, value), value })
      }
    }
  }
}

async function expectNothingLost(cache: Cache, load: Load): Promise<void> {
  expect(load.failures).toEqual([])
  expect(await cluster.run(cache.get('counter'))).toBe(load.increments)
  for (const [key, { version, value }] of load.newest) {
    const entry = await cluster.run(cache.getEntry(key))
    expect(entry?.value).toBe(value)
    expect(compareVersions(entry?.version ?? version, version)).toBe(0)
  }
}

describe('an orderly stop of a node', () => {
  it.each([1, 2, 3, 4])('shows nothing to clients but a moment, node after node (seed %i)', async (seed) => {
    cluster = await createTestCluster({ nodes: 3, seed })
    const cache = await cluster.connect({ timeout: 5000 })
    const load = new Load(cache)
    await cluster.time.advance(300)
    for (const node of cluster.nodes) {
      await cluster.run(cluster.stopNode(node))
      // It went only once the others lead what it led.
      expect(cluster.nodes.flatMap((other) => led(other, node.nodeId))).toEqual([])
      await cluster.time.advance(300)
      cluster.startNode(node)
      await cluster.waitFor(() => cluster.isServing(), 20_000)
      await cluster.waitFor(() => isWhole(), 20_000)
    }
    await cluster.run(load.stop())
    expect(load.calls).toBeGreaterThan(1000)
    expect(load.worstMs).toBeLessThan(400)
    await expectNothingLost(cache, load)
  })

  it('answers writes that reach their replicas late', async () => {
    cluster = await createTestCluster({ nodes: 3, seed: 5, node: { replicaTimeoutMs: 60_000 } })
    const cache = await cluster.connect({ timeout: 8000 })
    await cluster.run(cache.increment('counter'))
    const [first] = cluster.nodes as [TestNode]
    for (const other of cluster.nodes.slice(1)) cluster.network.cut(first.nodeId, other.nodeId)
    const writes = Array.from({ length: 40 }, (_, i) => cache.set(`key-${i}`, i))
    await cluster.time.advance(50)
    const begunMs = cluster.time.monotonicMs()
    const stopped = cluster.stopNode(first)
    await cluster.time.advance(200)
    for (const other of cluster.nodes.slice(1)) cluster.network.heal(first.nodeId, other.nodeId)
    await cluster.run(stopped)
    expect(cluster.time.monotonicMs() - begunMs).toBeLessThan(4000)
    await cluster.run(Promise.all(writes))
    for (let i = 0; i < 40; i++) expect(await cluster.run(cache.get(`key-${i}`))).toBe(i)
  })
})

/** What a node believes that `nodeId` leads. */
function led(node: TestNode, nodeId: string): number[] {
  const topology = node.core?.control.topology
  return (topology?.partitions ?? []).flatMap(({ primary }, partition) =>
    topology?.nodes[primary]?.nodeId === nodeId ? [partition] : [],
  )
}

/** Every partition has all its copies again. */
function isWhole(): boolean {
  const topology = cluster.nodes[0]?.core?.control.topology ?? cluster.nodes[1]?.core?.control.topology
  return topology?.partitions.every((partition) => partition.inSync.length === 3) === true
}
