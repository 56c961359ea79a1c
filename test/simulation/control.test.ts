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
