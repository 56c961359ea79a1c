import { describe, expect, it } from 'vitest'
import { createTestCluster, type TestNode } from '../../../src/testing/index.ts'

describe('a test cluster', () => {
  it('does what docs/testing.md shows', async () => {
    const cluster = await createTestCluster({ nodes: 3, seed: 7 })
    const cache = await cluster.connect({ timeout: 3000 })
    await cluster.run(cache.set('user:1', { name: 'Ada' }))
    const victim = cluster.nodes[0] as TestNode
    cluster.killNode(victim)
    expect(await cluster.run(cache.get('user:1'))).toEqual({ name: 'Ada' })
    cluster.startNode(victim)
    await cluster.time.advance(5000)
    expect(victim.core?.status().state).toBe('serving')
    cluster.close()
  })

  it('takes a further node in', async () => {
    const cluster = await createTestCluster({ nodes: 3, seed: 8 })
    const added = cluster.addNode()
    cluster.startNode(added)
    await cluster.waitFor(() => added.core?.status().state === 'serving', 10_000)
    cluster.close()
  })

  it('sums up what was sent, alike for one seed and not for another', async () => {
    const digest = async (seed: number): Promise<string> => {
      const cluster = await createTestCluster({ nodes: 3, seed })
      const cache = await cluster.connect()
      await cluster.run(cache.set('a', 1))
      cluster.killNode(cluster.nodes[1] as TestNode, { what: 'power' })
      await cluster.time.advance(2000)
      cluster.close()
      return cluster.trace.digest
    }
    expect(await digest(1)).toBe(await digest(1))
    expect(await digest(1)).not.toBe(await digest(2))
  })
})
