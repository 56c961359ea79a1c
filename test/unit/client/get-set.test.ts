import { describe, expect, it } from 'vitest'
import { openBench } from '../../support/client-on-loopback.ts'

describe('a client of three nodes', () => {
  it('gets what was set, and undefined for what was not', async () => {
    const { cache, run } = await openBench()
    const version = await run(cache.set('a', { n: 1 }))
    expect(version).toEqual({ partitionEpoch: 1, sequence: 1 })
    expect(await run(cache.get('a'))).toEqual({ n: 1 })
    expect(await run(cache.get('b'))).toBeUndefined()
  })

  it('reaches keys on every node through one address', async () => {
    const { cache, run, cluster } = await openBench()
    const keys = Array.from({ length: 100 }, (_, i) => `key-${i}`)
    await run(cache.mset(Object.fromEntries(keys.map((key, i) => [key, i]))))
    expect(await run(cache.mget(keys))).toEqual(keys.map((_, i) => i))
    for (const node of cluster.nodes) expect(node.received.length).toBeGreaterThan(20)
  })
})
