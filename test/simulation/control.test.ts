/** The control plane of whole nodes on virtual time: how topologies come about when nodes die, return, join and are cut off. */

import { describe, expect, it } from 'vitest'
import { createTestCluster, type TestCluster } from '../../src/testing/test-cluster.ts'

const epochs = (cluster: TestCluster): number[] => cluster.nodes.map((node) => node.core?.control.epoch ?? 0)

/** The topology all running nodes agree on; undefined while they don't. */
function agreed(cluster: TestCluster) {
  const planes = cluster.nodes.flatMap((node) => (node.core === undefined ? [] : [node.core.control]))
  const [first] = planes
  return planes.every((plane) => plane.epoch === first?.epoch && plane.recordHash === first?.recordHash)
    ? first?.topology
    : undefined
}

const stateOf = (cluster: TestCluster, nodeId: string): string | undefined =>
  agreed(cluster)?.nodes.findLast((node) => node.nodeId === nodeId && node.state !== 'gone')?.state

describe('the control plane', () => {
  it('founds a cluster that all nodes agree on', async () => {
    const cluster = await createTestCluster({ nodes: 3, seed: 1 })
    expect(agreed(cluster)?.voters.map((voter) => voter.nodeId)).toEqual(['node-1', 'node-2', 'node-3'])
    cluster.close()
  })

  it.each([0, 1, 2])('commits the failure of node %i within 300 ms of its death', async (victim) => {
    const cluster = await createTestCluster({ nodes: 3, seed: 10 + victim })
    const node = cluster.nodes[victim]
    if (node === undefined) throw new Error('no such node')
    const killedMs = cluster.time.monotonicMs()
    cluster.killNode(node)
    await cluster.waitFor(() => stateOf(cluster, node.nodeId) === 'failed', 2000)
    expect(cluster.time.monotonicMs() - killedMs).toBeLessThan(300)
    const primaries = agreed(cluster)?.partitions.map((partition) => partition.primary)
    expect(primaries).not.toContain(victim)
    cluster.close()
  })

  it('takes a process back that was started again, under its new incarnation', async () => {
    const cluster = await createTestCluster({ nodes: 3, seed: 20 })
    const node = cluster.nodes[1]
    if (node === undefined) throw new Error('no such node')
    cluster.killNode(node)
    await cluster.waitFor(() => stateOf(cluster, node.nodeId) === 'failed', 2000)
    cluster.startNode(node)
    await cluster.waitFor(() => stateOf(cluster, node.nodeId) === 'active', 3000)
    const record = agreed(cluster)?.nodes.findLast(
      (one) => one.nodeId === node.nodeId && one.state === 'active',
    )
    expect(record?.incarnation).toBe(node.core?.incarnation)
    expect(epochs(cluster).every((epoch) => epoch > 2)).toBe(true)
    cluster.close()
  })
})

describe('a client', () => {
  it.each([30, 31, 32, 33])('rides through the death of a primary (seed %i)', async (seed) => {
    const cluster = await createTestCluster({ nodes: 3, seed })
    const cache = await cluster.connect()
    const keys = Array.from({ length: 32 }, (_, i) => `k${i}`)
    await cluster.run(cache.mset(keys.map((key) => [key, 0] as const)))
    const victim = cluster.nodes[seed % 3]
    if (victim === undefined) throw new Error('no such node')
    let worstMs = 0
    const failures: unknown[] = []
    const load = async (): Promise<void> => {
      for (let round = 1; round <= 40; round++) {
        const begunMs = cluster.time.monotonicMs()
        await Promise.all(
          keys.map(async (key) => {
            try {
              await cache.set(key, round)
              expect(await cache.get(key)).toBe(round)
            } catch (error) {
              failures.push(error)
            }
          }),
        )
        worstMs = Math.max(worstMs, cluster.time.monotonicMs() - begunMs)
      }
    }
    const running = load()
    await cluster.time.advance(20)
    cluster.killNode(victim)
    await cluster.run(running)
    expect(failures).toEqual([])
    expect(worstMs).toBeLessThan(500)
    cluster.close()
  })
})
