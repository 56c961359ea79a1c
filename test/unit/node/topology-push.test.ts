/** Clients are told who owns what: the newest soon, and not each of the many records that follow one another when nodes come and go. */

import { afterEach, expect, test } from 'vitest'
import { DEFAULT_REGION } from '../../../src/node/options.ts'
import { createTestCluster, type TestCluster } from '../../../src/testing/test-cluster.ts'
import { FrameType } from '../../../src/wire/frames.ts'

let cluster: TestCluster

afterEach(() => {
  cluster.close()
})

/** All messages take the same time: they come as far apart as they are sent. */
async function start(): Promise<void> {
  cluster = await createTestCluster({
    nodes: 3,
    node: { partitionCount: 256 },
    network: { latencyMinMs: 1, latencyMaxMs: 1 },
  })
  await cluster.connect()
  await cluster.time.advance(1000)
}

/** When topologies came to the application, by the node that sent them. */
function countTold(): Map<string, number[]> {
  const { network, time } = cluster
  const told = new Map<string, number[]>()
  const { onDelivery } = network
  network.onDelivery = (from, to, body) => {
    onDelivery?.(from, to, body)
    if (to !== 'app' || body[0] !== FrameType.topology) return
    const times = told.get(from) ?? []
    told.set(from, times)
    times.push(time.monotonicMs())
  }
  return told
}

const epoch = (): number => cluster.nodes[0]?.core?.control.epoch ?? 0

test('a node that goes and comes back costs few records, and a client is told of each once', async () => {
  await start()
  const told = countTold()
  const before = epoch()
  const node = cluster.nodes[2]
  if (node === undefined) throw new Error('there are three nodes')
  cluster.killNode(node)
  await cluster.time.advance(2000)
  cluster.startNode(node)
  await cluster.time.advance(20_000)
  // 256 partitions lose a copy, and each gets it back in three steps.
  const epochs = epoch() - before
  expect(epochs).toBeLessThan(100)
  for (const at of ['node-1', 'node-2']) {
    const messages = told.get(at)?.length ?? 0
    expect(messages).toBeGreaterThan(1)
    expect(messages).toBeLessThanOrEqual(epochs)
  }
})

test('a client is told of records that follow one another at once 20 ms apart, and of the newest', async () => {
  await start()
  const told = countTold()
  const before = epoch()
  for (let i = 0; i < 40; i++) {
    const region = { ...DEFAULT_REGION, name: `region-${i}`, group: 'default' }
    cluster.nodes[0]?.core?.control.propose({ kind: 'RegionCreated', region })
    await cluster.time.advance(10)
  }
  await cluster.time.advance(1000)
  const epochs = epoch() - before
  expect(epochs).toBeGreaterThan(20)
  for (const at of ['node-1', 'node-2', 'node-3']) {
    const times = told.get(at) ?? []
    expect(times.length).toBeGreaterThan(1)
    expect(times.length).toBeLessThan(0.7 * epochs)
    for (let i = 1; i < times.length; i++) expect((times[i] ?? 0) - (times[i - 1] ?? 0)).toBeGreaterThan(19)
  }
  const cache = await cluster.connect()
  await cluster.run(cache.region('region-39').set('a key', 1))
})
