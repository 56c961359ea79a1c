/** Who answers what: primaries, backups, nodes that restarted, clusters that did. */

import { afterEach, describe, expect, it } from 'vitest'
import { encodeHello } from '../../../src/wire/handshake.ts'
import { ReadCode } from '../../../src/wire/operations.ts'
import { ClusterBench, partitionOfKey, shown, text, ttlOf, written } from '../../support/cluster-bench.ts'
import { RawClient } from '../../support/raw-client.ts'

const fromReplica = ReadCode.replica << 2

describe('roles', () => {
  let bench: ClusterBench
  afterEach(() => bench.cluster.close())

  it('only the primary takes writes and default reads; every copy answers reads of kind replica', async () => {
    bench = await ClusterBench.start()
    const key = bench.keyOf(1)
    const clients = [await bench.client(0), await bench.client(1), await bench.client(2)] as const
    expect(written(await bench.run(clients[1].set(key, text('v'), { durability: 3 })))).toBe(1)
    for (const [at, client] of clients.entries()) {
      const expected = at === 1 ? 'v' : 'NOT_PRIMARY'
      expect(shown(await bench.run(client.get(key)))).toBe(expected)
      expect(shown(await bench.run(client.get(key, fromReplica)))).toBe('v')
      expect(shown(await bench.run(client.get(key, ReadCode.nearest << 2)))).toBe('v')
      if (at !== 1) expect(written(await bench.run(client.set(key, text('w'))))).toBe('NOT_PRIMARY')
    }
    for (const kind of [ReadCode.linearizable, ReadCode.majority]) {
      expect(shown(await bench.run(clients[1].get(key, kind << 2)))).toBe('v')
      expect(shown(await bench.run(clients[0].get(key, kind << 2)))).toBe('NOT_PRIMARY')
    }
  })

  it('a restarted node is taken back as another process, and has none before', async () => {
    bench = await ClusterBench.start()
    const key = bench.keyOf(0)
    const client = await bench.client(0)
    await bench.run(client.set(key, text('v')))
    bench.cluster.killNode(bench.node(0))
    await bench.cluster.time.advance(500)
    expect(client.ended).toBe(true)
    // Others have taken over.
    const next = await bench.client(bench.primaryOf(partitionOfKey(key)))
    expect(shown(await bench.run(next.get(key)))).toBe('v')
    // It can reach nobody: what it kept names an earlier process of it.
    bench.cut(0, 1)
    bench.cut(0, 2)
    bench.cluster.startNode(bench.node(0))
    await bench.cluster.time.advance(500)
    expect(bench.node(0).core?.status()).toMatchObject({ state: 'no-role', primaries: 0, backups: 0 })
    const again = await bench.client(0)
    expect(again.welcome?.clusterId).toBe(client.welcome?.clusterId)
    expect(again.welcome?.incarnation).not.toBe(client.welcome?.incarnation)
    expect(shown(await bench.run(again.get(key)))).toBe('NO_ROLE')
    expect(written(await bench.run(again.set(key, text('w'))))).toBe('NO_ROLE')
    bench.heal()
    await bench.cluster.waitFor(() => bench.node(0).core?.status().state === 'serving', 10_000)
    expect(shown(await bench.run(next.get(key)))).toBe('v')
    for (const at of [0, 1, 2]) expect(bench.node(at).core?.diverged).toBe(0)
  })

  it('a client that arrived early is told the topology once there is one', async () => {
    bench = await ClusterBench.start()
    const [first, second, late] = [bench.node(0), bench.node(1), bench.node(2)]
    for (const node of [first, second, late]) bench.cluster.killNode(node)
    bench.cluster.startNode(first, { disk: 'empty' })
    bench.cluster.startNode(second, { disk: 'empty' })
    const early = await bench.client(0)
    expect(early.welcome?.topology.length).toBe(0)
    expect(shown(await bench.run(early.get('k')))).toBe('NOT_READY')
    expect(written(await bench.run(early.set('k', text('v'))))).toBe('NOT_READY')
    bench.cluster.startNode(late, { disk: 'empty' })
    await bench.cluster.waitFor(() => bench.cluster.isServing())
    const key = bench.keyOf(0)
    expect(written(await bench.run(early.set(key, text('v'))))).toBe(1)
  })

  it('a cluster whose disks were all lost is another one, and refuses clients of the old', async () => {
    bench = await ClusterBench.start()
    const before = (await bench.client(0)).welcome?.clusterId ?? ''
    for (const node of bench.cluster.nodes) bench.cluster.killNode(node)
    for (const node of bench.cluster.nodes) bench.cluster.startNode(node, { disk: 'empty' })
    await bench.cluster.waitFor(() => bench.cluster.isServing())
    const fresh = await bench.client(0)
    expect(fresh.welcome?.clusterId).not.toBe(before)
    const old = oldClient(bench, before)
    await bench.cluster.time.advance(100)
    expect(old.error?.code).toBe('WRONG_CLUSTER')
    expect(old.error?.message).toContain(before)
    expect(old.ended).toBe(true)
    expect(fresh.ended).toBe(false)
  })

  it('expired entries are hidden at once on every copy, and removed by the primary for all', async () => {
    bench = await ClusterBench.start()
    const key = bench.keyOf(0)
    const client = await bench.client(0)
    await bench.run(client.set(key, text('v'), { ttlMs: 300, durability: 3 }))
    expect((await bench.run(ttlOf(client, key))).reader.float64()).toBeLessThanOrEqual(300)
    expect(await bench.copies(key)).toEqual(['v', 'v', 'v'])
    // The primary can't tell the backups; they hide it by themselves.
    bench.cut(0, 1)
    bench.cut(0, 2)
    await bench.cluster.time.advance(400)
    expect(await bench.copies(key)).toEqual(['absent', 'absent', 'absent'])
    expect(bench.replica(1, key).lastSequence).toBe(1)
    bench.heal()
    await bench.cluster.time.advance(6000)
    for (const at of [0, 1, 2]) {
      expect(bench.replica(at, key).lastSequence).toBe(2)
      expect(bench.node(at).core?.dataPlane?.engine.stats.entries).toBe(0)
    }
  })

  it("a region's time to live holds for what is written without one", async () => {
    bench = await ClusterBench.start({ regions: [{ ttlMs: 500 }] })
    const [key, lasting, short] = [bench.keyOf(0), bench.keyOf(0, 1), bench.keyOf(0, 2)]
    const client = await bench.client(0)
    await bench.run(client.set(key, text('v')))
    await bench.run(client.set(lasting, text('v'), { ttlMs: 0 }))
    await bench.run(client.set(short, text('v'), { ttlMs: 100 }))
    await bench.cluster.time.advance(200)
    expect(await bench.copies(short)).toEqual(['absent', 'absent', 'absent'])
    expect(await bench.copies(key)).toEqual(['v', 'v', 'v'])
    await bench.cluster.time.advance(600)
    expect(await bench.copies(key)).toEqual(['absent', 'absent', 'absent'])
    expect(await bench.copies(lasting)).toEqual(['v', 'v', 'v'])
  })

  it('what a primary evicts over its budget of entries goes from the backups too', async () => {
    bench = await ClusterBench.start({ regions: [{ maxEntries: 30 }] })
    await expectBudget(bench, 300, 20)
  })

  it('what a primary evicts over its budget of bytes goes from the backups too', async () => {
    bench = await ClusterBench.start({ regions: [{ sizeBytes: 30_000 }] })
    await expectBudget(bench, 300, 500)
  })
})

async function expectBudget(bench: ClusterBench, writes: number, valueBytes: number): Promise<void> {
  const clients = [await bench.client(0), await bench.client(1), await bench.client(2)]
  for (let i = 0; i < writes; i++) {
    const at = i % 3
    const key = bench.keyOf(at, Math.floor(i / 3))
    expect(
      written(await bench.run(clients[at]?.set(key, new Uint8Array(valueBytes)) as never)),
    ).toBeGreaterThan(0)
  }
  await bench.cluster.time.advance(1000)
  const engines = [0, 1, 2].map((at) => bench.node(at).core?.dataPlane?.engine)
  const counts = engines.map((engine) => engine?.stats.entries)
  expect(counts[0]).toBeGreaterThan(10)
  expect(counts[0]).toBeLessThanOrEqual(60)
  expect(counts).toEqual([counts[0], counts[0], counts[0]])
  for (let partition = 0; partition < 8; partition++) {
    const digests = engines.map((engine) => [...(engine?.digest(partition) ?? [])].join())
    expect(new Set(digests).size).toBe(1)
  }
}

/** A client that expects the cluster it knew. */
function oldClient(bench: ClusterBench, clusterId: string): RawClient {
  const dialer = bench.cluster.network.dialer(bench.cluster.clientHost('old'))
  return new RawClient(
    {
      open: (address, options, handler) => {
        const stream = dialer.open(address, options, handler)
        let first = true
        const { send } = stream
        stream.send = (message) => {
          const hello = first
          first = false
          return send.call(stream, hello ? helloTo(clusterId) : message)
        }
        return stream
      },
      close: () => {},
    },
    bench.node(0).address,
    'feedfeedfeedfeed',
  )
}

function helloTo(clusterId: string): Uint8Array {
  return encodeHello({
    versionMin: 1,
    versionMax: 1,
    lane: 'operations',
    session: 'feedfeedfeedfeed',
    streamNumber: 1,
    clusterId,
    clientName: 'old',
    token: '',
    timeoutMs: 1000,
  })
}
