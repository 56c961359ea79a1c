/** What a cluster does that nobody asks anything: each timer that fires and each message wakes a process, all day long. */

import { afterEach, expect, test } from 'vitest'
import { TestCluster } from '../../src/testing/test-cluster.ts'

const SECONDS = 30
let cluster: TestCluster

afterEach(() => {
  cluster.close()
})

interface Figures {
  readonly timers: number
  readonly messages: number
}

/** A cluster whose nodes' timers and messages are counted; `counts` gives the sums so far. */
async function counted(): Promise<() => Figures> {
  cluster = new TestCluster({ nodes: 3, node: { partitionCount: 1024 } })
  let timers = 0
  let messages = 0
  const { network, nodes } = cluster
  for (const { host } of nodes) {
    const after = host.after.bind(host)
    host.after = (delayMs, task) =>
      after(delayMs, () => {
        timers++
        task()
      })
  }
  const names = new Set(nodes.map(({ host }) => host.name))
  const { onDelivery } = network
  network.onDelivery = (from, to, body) => {
    if (names.has(from)) messages++
    onDelivery?.(from, to, body)
  }
  await cluster.start()
  return () => ({ timers, messages })
}

/** Per node and second, once all that follows a start is over. */
async function perSecond(counts: () => Figures): Promise<Figures> {
  await cluster.time.advance(20_000)
  const before = counts()
  await cluster.time.advance(1000 * SECONDS)
  const after = counts()
  const share = SECONDS * cluster.nodes.length
  return {
    timers: (after.timers - before.timers) / share,
    messages: (after.messages - before.messages) / share,
  }
}

test('a node that has nothing to do runs few timers and sends few messages', async () => {
  const { timers, messages } = await perSecond(await counted())
  expect.soft(timers).toBeLessThan(12)
  expect.soft(messages).toBeLessThan(23)
})

test('a client that asks nothing costs a node nothing', async () => {
  const counts = await counted()
  const cache = await cluster.connect()
  await cluster.run(cache.set('a key', 'a value'))
  const { timers, messages } = await perSecond(counts)
  expect.soft(timers).toBeLessThan(12)
  expect.soft(messages).toBeLessThan(23)
  await cluster.run(cache.close())
})
