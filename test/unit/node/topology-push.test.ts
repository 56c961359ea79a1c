/** Clients are told who owns what: the newest soon, and not each of the many records that follow one another when nodes come and go. */

import { afterEach, expect, test } from 'vitest'
import { createTestCluster, type TestCluster } from '../../../src/testing/test-cluster.ts'
import { FrameType } from '../../../src/wire/frames.ts'

let cluster: TestCluster

afterEach(() => {
  cluster.close()
})

test('a client is not told of every record while a node comes back', async () => {
  cluster = await createTestCluster({
    nodes: 3,
    node: { partitionCount: 256 },
    // All messages take the same time: they come as far apart as they are sent.
    network: { latencyMinMs: 1, latencyMaxMs: 1 },
  })
  const { time, network, nodes } = cluster
  await cluster.connect()
  await time.advance(1000)
  const told = new Map<string, number>()
  const { onDelivery } = network
  network.onDelivery = (from, to, body) => {
    onDelivery?.(from, to, body)
    if (to === 'app' && bodyType(body) === FrameType.topology) told.set(from, (told.get(from) ?? 0) + 1)
  }
  const epoch = (): number => nodes[0]?.core?.control.epoch ?? 0
  const before = epoch()
  const node = nodes[2]
  if (node === undefined) throw new Error('there are three nodes')
  cluster.killNode(node)
  await time.advance(2000)
  cluster.startNode(node)
  await time.advance(20_000)
  const epochs = epoch() - before
  for (const at of ['node-1', 'node-2']) {
    const messages = told.get(at) ?? 0
    expect(messages).toBeGreaterThan(1)
    expect(messages).toBeLessThan(0.7 * epochs)
  }
})

function bodyType(body: Uint8Array): number {
  return body[0] ?? 0
}
