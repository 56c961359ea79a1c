import { afterEach, describe, expect, it } from 'vitest'
import type { Cache } from '../../src/client/cache.ts'
import { CacheError } from '../../src/kernel/errors.ts'
import { createTestCluster, type TestCluster, type TestNode } from '../../src/testing/test-cluster.ts'

let cluster: TestCluster

afterEach(() => cluster.close())

async function connected(seed: number): Promise<Cache<unknown>> {
  cluster = await createTestCluster({ nodes: 3, seed })
  return cluster.connect()
}

async function outcome(promise: Promise<unknown>): Promise<string> {
  try {
    await cluster.run(promise)
    return 'ok'
  } catch (error) {
    return error instanceof CacheError ? error.code : String(error)
  }
}

const keys = Array.from({ length: 40 }, (_, i) => `key-${i}`)

describe('the real client on a simulated cluster', () => {
  it('writes, reads, counts, scans and clears', async () => {
    const cache = await connected(1)
    const versions = await cluster.run(cache.mset(keys.map((key, i) => [key, { i }] as const)))
    expect([...versions.values()].every((version) => !(version instanceof CacheError))).toBe(true)
    expect(await cluster.run(cache.mget([...keys, 'none']))).toEqual([
      ...keys.map((_, i) => ({ i })),
      undefined,
    ])
    expect(await cluster.run(cache.increment('n', 5))).toBe(5)
    const seen: string[] = []
    const scan = (async (): Promise<void> => {
      for await (const key of cache.scan('key-*')) seen.push(key)
    })()
    await cluster.run(scan)
    expect(seen.sort()).toEqual([...keys].sort())
    await cluster.run(cache.clear())
    expect(await cluster.run(cache.get('key-1'))).toBeUndefined()
  })

  it('stores large values on every replica', async () => {
    const cache = await connected(2)
    const value = Uint8Array.from({ length: 3_000_000 }, (_, i) => (i * 7919) >>> 3)
    await cluster.run(cache.set('large', value))
    const read = (await cluster.run(cache.get('large'))) as Uint8Array
    expect(Buffer.compare(read, value)).toBe(0)
    await cluster.time.advance(1000)
    const holders = cluster.nodes.filter((node) => (node.core?.status().entries ?? 0) > 0)
    expect(holders).toHaveLength(3)
  })

  it('shows the large entry that a condition met', async () => {
    await connected(8)
    const cache = await cluster.connect({ compression: false }, 'other')
    const value = Uint8Array.from({ length: 300_000 }, (_, i) => (i * 7919) >>> 3)
    const version = await cluster.run(cache.set('large', value, { tags: ['t'] }))
    const refused = await cluster.run(cache.set('large', 1, { when: 'absent' }))
    if (refused.ok) throw new Error('the condition held')
    expect(refused.current).toMatchObject({ version, tags: ['t'] })
    expect(Buffer.compare(refused.current?.value as Uint8Array, value)).toBe(0)
    const other = { when: { version: { ...version, sequence: version.sequence + 100 } } }
    expect(await cluster.run(cache.delete('large', other))).toBe(false)
    expect(await cluster.run(cache.delete('large', { when: { version } }))).toBe(true)
  })

  it('can give up large values again and again, and still write the next', async () => {
    await connected(10)
    const cache = await cluster.connect({ compression: false }, 'other')
    const value = new Uint8Array(2_000_000).fill(5)
    await cluster.run(cache.set('large', value))
    for (let round = 0; round < 50; round++) {
      const controller = new AbortController()
      const given = outcome(cache.set('large', value, { signal: controller.signal }))
      await cluster.time.advance(round % 3)
      controller.abort()
      expect(await given).toMatch(/ABORTED|OUTCOME_UNKNOWN/)
    }
    await cluster.run(cache.set('large', value))
    await cluster.time.advance(1000)
    for (const { core } of cluster.nodes) expect(core?.dataPlane?.uploadRoom.heldBytes).toBe(0)
  })

  it('stops work on the nodes when a call is given up', async () => {
    await connected(11)
    const cache = await cluster.connect({ compression: false }, 'other')
    await cluster.run(cache.mset(keys.map((key) => [key, 1] as const)))
    // The backups do not answer: large values wait to be held by a quorum.
    const names = cluster.nodes.map((node) => node.nodeId)
    const cut = (heal: boolean): void => {
      for (const from of names)
        for (const to of names)
          if (from !== to) heal ? cluster.network.heal(from, to) : cluster.network.cut(from, to)
    }
    cut(false)
    const controller = new AbortController()
    const writes = keys
      .slice(0, 9)
      .map((key) => outcome(cache.set(key, new Uint8Array(500_000), { signal: controller.signal })))
    const reads = keys.map((key) => outcome(cache.get(key, { signal: controller.signal })))
    await cluster.time.advance(300)
    controller.abort()
    for (const ended of await Promise.all(writes)) expect(ended).toMatch(/ABORTED|OUTCOME_UNKNOWN/)
    expect(new Set(await Promise.all(reads))).toEqual(new Set(['ok']))
    await cluster.time.advance(200)
    cut(true)
    await cluster.time.advance(3000)
    // Nothing of it was done, and nothing is kept.
    expect(await cluster.run(cache.mget(keys))).toEqual(keys.map(() => 1))
    for (const { core } of cluster.nodes) {
      expect(core?.dataPlane?.uploadRoom.heldBytes).toBe(0)
      expect(core?.dataPlane?.engine.stats.largeBytes).toBe(0)
    }
  })

  it('goes on writing at quorum when a node is dead', async () => {
    const cache = await connected(3)
    cluster.killNode(cluster.nodes[2] as TestNode)
    const outcomes = await Promise.all(keys.map((key) => outcome(cache.set(key, 1))))
    expect(new Set(outcomes)).toEqual(new Set(['ok']))
    expect(await cluster.run(cache.mget(keys, { read: 'linearizable' }))).toEqual(keys.map(() => 1))
  })

  it('waits for the next primary when one dies, within the timeout of the call', async () => {
    const cache = await connected(4)
    await cluster.run(cache.mset(keys.map((key) => [key, 1] as const)))
    cluster.killNode(cluster.nodes[0] as TestNode)
    const startedMs = cluster.time.monotonicMs()
    const outcomes = await Promise.all(keys.map((key) => outcome(cache.get(key))))
    expect(new Set(outcomes)).toEqual(new Set(['ok']))
    expect(cluster.time.monotonicMs() - startedMs).toBeLessThan(1000)
    expect(await cluster.run(cache.mget(keys))).toEqual(keys.map(() => 1))
  })

  it('reads everything from a node that was killed and started again', async () => {
    const cache = await connected(9)
    await cluster.run(cache.mset(keys.map((key) => [key, 1] as const)))
    const node = cluster.nodes[0] as TestNode
    cluster.killNode(node)
    await cluster.time.advance(1000)
    cluster.startNode(node)
    await cluster.time.advance(4000)
    expect(node.core?.status().backups).toBeGreaterThan(0)
    for (const read of ['primary', 'replica', 'nearest', 'linearizable'] as const) {
      for (let round = 0; round < 3; round++)
        expect(await cluster.run(cache.mget(keys, { read }))).toEqual(keys.map(() => 1))
    }
  })

  it('takes a write once, however often its connection breaks', async () => {
    const cache = await connected(5)
    for (let round = 0; round < 30; round++) {
      const counted = cache.increment('counter', 1, { timeout: 5000 })
      for (const node of cluster.nodes)
        cluster.time.after(round % 4, () => cluster.network.reset('app', node.nodeId))
      expect(await cluster.run(counted)).toBe(round + 1)
    }
  })

  it('goes on with the same cluster, empty, after all nodes were killed at once', async () => {
    const cache = await connected(6)
    await cluster.run(cache.set('a', 1))
    for (const node of cluster.nodes) cluster.killNode(node)
    for (const node of cluster.nodes) cluster.startNode(node)
    await cluster.waitFor(() => cluster.isServing())
    await cluster.time.advance(10_000)
    expect(await cluster.run(cache.get('a'))).toBeUndefined()
    expect(await outcome(cache.set('a', 2))).toBe('ok')
  })

  it('refuses what another cluster has to say after all nodes lost their disks', async () => {
    const cache = await connected(6)
    await cluster.run(cache.set('a', 1))
    for (const node of cluster.nodes) cluster.killNode(node)
    for (const node of cluster.nodes) cluster.startNode(node, { disk: 'empty' })
    await cluster.waitFor(() => cluster.isServing())
    expect(await outcome(cache.get('a', { timeout: 3000 }))).toBe('WRONG_CLUSTER')
  })

  it('is refused a write by a replica set that has lost its majority, without doing it', async () => {
    cluster = await createTestCluster({ nodes: 3, seed: 7 })
    // Not tried again: what the nodes say is what the application hears.
    const cache = await cluster.connect({ retry: () => false })
    cluster.killNode(cluster.nodes[1] as TestNode)
    cluster.killNode(cluster.nodes[2] as TestNode)
    await cluster.time.advance(3000)
    const outcomes = await Promise.all(keys.map((key) => outcome(cache.set(key, 1))))
    for (const one of outcomes) expect(one).toMatch(/^(NOT_ENOUGH_REPLICAS|UNAVAILABLE|TIMEOUT)$/)
    expect(cluster.nodes[0]?.core?.status().entries).toBe(0)
  })

  it('gives up a write to a replica set that has lost its majority by the deadline, without doing it', async () => {
    const cache = await connected(7)
    cluster.killNode(cluster.nodes[1] as TestNode)
    cluster.killNode(cluster.nodes[2] as TestNode)
    await cluster.time.advance(3000)
    const outcomes = await Promise.all(keys.map((key) => outcome(cache.set(key, 1))))
    // Whose last try was under way when its time was up can't know.
    for (const one of outcomes)
      expect(one).toMatch(/^(NOT_ENOUGH_REPLICAS|UNAVAILABLE|TIMEOUT|OUTCOME_UNKNOWN)$/)
    expect(outcomes.filter((one) => one === 'OUTCOME_UNKNOWN').length).toBeLessThan(keys.length / 4)
    expect(cluster.nodes[0]?.core?.status().entries).toBe(0)
  })
})
