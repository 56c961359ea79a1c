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

describe('a change of the cluster', () => {
  it('lets a further node join, and gives it replicas', async () => {
    const cluster = await createTestCluster({ nodes: 3, seed: 40 })
    const node = cluster.addNode()
    cluster.startNode(node)
    await cluster.waitFor(() => stateOf(cluster, node.nodeId) === 'active', 3000)
    await cluster.waitFor(
      () => agreed(cluster)?.partitions.some((partition) => partition.inSync.includes(3)) === true,
      20_000,
    )
    expect(node.core?.status().state).toBe('serving')
    cluster.close()
  })

  it('goes on when the driver dies in the middle of it, and decides one thing only', async () => {
    for (let seed = 50; seed < 62; seed++) {
      const cluster = await createTestCluster({ nodes: 5, seed })
      const [driver, second] = cluster.nodes
      if (driver === undefined || second === undefined) throw new Error('five nodes')
      const before = agreed(cluster)?.regions.length ?? 0
      const region = { ...(agreed(cluster)?.regions[0] as object), name: 'late' } as never
      second.core?.control.propose({ kind: 'RegionCreated', region })
      // At any moment of the proposal.
      await cluster.time.advance((seed - 50) * 0.7)
      cluster.killNode(driver)
      await cluster.waitFor(
        () => agreed(cluster)?.regions.length === before + 1 && stateOf(cluster, 'node-1') === 'failed',
        5000,
      )
      cluster.close()
    }
  })

  it('is not made by a minority, and is by the others; the cut-off node learns of it afterwards', async () => {
    const cluster = await createTestCluster({ nodes: 3, seed: 70 })
    const [first, second, third] = cluster.nodes
    if (first === undefined || second === undefined || third === undefined) throw new Error('three nodes')
    for (const other of [second, third]) {
      cluster.network.cut(first.nodeId, other.nodeId)
      cluster.network.cut(other.nodeId, first.nodeId)
    }
    const region = { ...(first.core?.control.topology?.regions[0] as object), name: 'alone' } as never
    first.core?.control.propose({ kind: 'RegionCreated', region })
    await cluster.time.advance(6000)
    expect(first.core?.control.epoch).toBe(1)
    expect(second.core?.control.topology?.nodes[0]?.state).toBe('failed')
    expect(cluster.time.monotonicMs() - (first.core?.control.voterContactMs() ?? 0)).toBeGreaterThan(5000)
    cluster.network.healAll()
    await cluster.waitFor(() => stateOf(cluster, first.nodeId) === 'active', 10_000)
    expect(agreed(cluster)?.nodes.filter((node) => node.state === 'failed')).toEqual([])
    cluster.close()
  })

  it('lets all nodes restart at once: the cluster is the same, its epochs go on', async () => {
    const cluster = await createTestCluster({ nodes: 3, seed: 80 })
    const before = agreed(cluster)
    for (const node of cluster.nodes) cluster.killNode(node)
    await cluster.time.advance(500)
    for (const node of cluster.nodes) cluster.startNode(node)
    await cluster.waitFor(
      () =>
        cluster.nodes.every((node) => node.core?.status().state === 'serving') &&
        agreed(cluster)?.partitions.every((partition) => partition.recoveredAt > 0) === true,
      10_000,
    )
    const after = agreed(cluster)
    expect(after?.clusterId).toBe(before?.clusterId)
    expect(after?.epoch).toBeGreaterThan(before?.epoch ?? 0)
    const cache = await cluster.connect({ timeout: 5000 })
    await cluster.run(cache.set('k', 1))
    expect(await cluster.run(cache.get('k'))).toBe(1)
    cluster.close()
  })

  it('replaces a voter whose disk was lost', async () => {
    const cluster = await createTestCluster({ nodes: 3, seed: 90 })
    const [, node] = cluster.nodes
    if (node === undefined) throw new Error('no node')
    const before = agreed(cluster)?.voters.find((voter) => voter.nodeId === node.nodeId)
    cluster.killNode(node)
    await cluster.waitFor(() => stateOf(cluster, node.nodeId) === 'failed', 2000)
    cluster.startNode(node, { disk: 'empty' })
    await cluster.waitFor(() => {
      const voters = agreed(cluster)?.voters
      const own = voters?.find((voter) => voter.nodeId === node.nodeId)
      return voters?.length === 3 && own !== undefined && own.diskId !== before?.diskId
    }, 5000)
    cluster.close()
  })

  it('is kept on the disk before a voter answers for it', async () => {
    const cluster = await createTestCluster({ nodes: 3, seed: 95 })
    const [first, second, third] = cluster.nodes
    if (first === undefined || second === undefined || third === undefined) throw new Error('three nodes')
    second.disk.full = true
    third.disk.full = true
    const region = { ...(first.core?.control.topology?.regions[0] as object), name: 'unkept' } as never
    first.core?.control.propose({ kind: 'RegionCreated', region })
    await cluster.time.advance(2000)
    expect(epochs(cluster)).toEqual([1, 1, 1])
    third.disk.full = false
    await cluster.waitFor(() => epochs(cluster).every((epoch) => epoch >= 2), 5000)
    cluster.close()
  })
})
