/** When writes are acknowledged, refused, or left unknown, as replicas come and go. */

import { afterEach, describe, expect, it } from 'vitest'
import { DurabilityCode } from '../../../src/wire/operations.ts'
import { ClusterBench, partitionOfKey, text, written } from '../../support/cluster-bench.ts'

const { one, quorum, all } = DurabilityCode

describe('a write', () => {
  let bench: ClusterBench

  afterEach(() => bench.cluster.close())

  it('is on all copies once it was acknowledged by all', async () => {
    bench = await ClusterBench.start()
    const key = bench.keyOf(0)
    const client = await bench.client(0)
    expect(written(await bench.run(client.set(key, text('v'), { durability: all })))).toBe(1)
    expect([0, 1, 2].map((at) => bench.replica(at, key).lastSequence)).toEqual([1, 1, 1])
    expect(await bench.copies(key)).toEqual(['v', 'v', 'v'])
  })

  it('at quorum goes on while one backup is dead', async () => {
    bench = await ClusterBench.start()
    const key = bench.keyOf(0)
    const client = await bench.client(0)
    bench.cluster.killNode(bench.node(1))
    const startMs = bench.cluster.time.monotonicMs()
    for (let i = 1; i <= 20; i++) expect(written(await bench.run(client.set(key, text(`${i}`))))).toBe(i)
    // Not held up either: round trips, no timeouts.
    expect(bench.cluster.time.monotonicMs() - startMs).toBeLessThan(400)
    expect(bench.replica(2, key).lastSequence).toBe(20)
  })

  it('at quorum is refused before anything is applied once both backups are known to be gone', async () => {
    bench = await ClusterBench.start()
    const key = bench.keyOf(0)
    const client = await bench.client(0)
    bench.cluster.killNode(bench.node(1))
    bench.cluster.killNode(bench.node(2))
    await bench.cluster.time.advance(500)
    expect(written(await bench.run(client.set(key, text('x'))))).toBe('NOT_ENOUGH_REPLICAS')
    expect(bench.replica(0, key).lastSequence).toBe(0)
    // One copy is enough for who asks for no more.
    expect(written(await bench.run(client.set(key, text('x'), { durability: one })))).toBe(1)
  })

  it('is of unknown outcome when its backups fall silent while it waits, and refused after that', async () => {
    bench = await ClusterBench.start({ node: { replicaTimeoutMs: 400 } })
    const key = bench.keyOf(0)
    const client = await bench.client(0)
    bench.cut(0, 1)
    bench.cut(0, 2)
    expect(written(await bench.run(client.set(key, text('x'), { timeoutMs: 300 })))).toBe('OUTCOME_UNKNOWN')
    expect(bench.replica(0, key).lastSequence).toBe(1)
    await bench.cluster.time.advance(600)
    expect(written(await bench.run(client.set(key, text('y'), { timeoutMs: 300 })))).toBe(
      'NOT_ENOUGH_REPLICAS',
    )
    expect(bench.replica(0, key).lastSequence).toBe(1)
    bench.heal()
    await bench.cluster.time.advance(6000)
    expect(await bench.copies(key)).toEqual(['x', 'x', 'x'])
  })

  it('is refused below the replicas in sync that its region asks for, whatever a quorum would need', async () => {
    bench = await ClusterBench.start({ regions: [{ minInSync: 3 }] })
    const key = bench.keyOf(0)
    const client = await bench.client(0)
    expect(written(await bench.run(client.set(key, text('a'))))).toBe(1)
    bench.cluster.killNode(bench.node(1))
    await bench.cluster.time.advance(1500)
    expect(written(await bench.run(client.set(key, text('b'), { durability: quorum })))).toBe(
      'NOT_ENOUGH_REPLICAS',
    )
    expect(written(await bench.run(client.set(key, text('c'), { durability: one })))).toBe(2)
  })

  it('follows its region when it says nothing of durability', async () => {
    bench = await ClusterBench.start({ regions: [{ durability: 'one' }] })
    const key = bench.keyOf(0)
    const client = await bench.client(0)
    bench.cluster.killNode(bench.node(1))
    bench.cluster.killNode(bench.node(2))
    await bench.cluster.time.advance(500)
    expect(written(await bench.run(client.set(key, text('x'))))).toBe(1)
    expect(written(await bench.run(client.set(key, text('x'), { durability: quorum })))).toBe(
      'NOT_ENOUGH_REPLICAS',
    )
  })

  it('that fails its condition says so only once what it saw is committed', async () => {
    bench = await ClusterBench.start({ node: { replicaTimeoutMs: 5000 } })
    const key = bench.keyOf(0)
    const client = await bench.client(0)
    bench.cut(0, 1)
    bench.cut(0, 2)
    const first = client.set(key, text('x'), { timeoutMs: 4000 })
    const second = client.set(key, text('y'), { condition: 'absent', timeoutMs: 4000 })
    let told = false
    void second.then(() => {
      told = true
    })
    await bench.cluster.time.advance(300)
    expect(told).toBe(false)
    bench.heal()
    expect(written(await bench.run(first))).toBe(1)
    expect(written(await bench.run(second))).toBe('condition failed')
  })

  it('that was cut off from one backup reaches it after the cut heals', async () => {
    bench = await ClusterBench.start()
    const key = bench.keyOf(0)
    const client = await bench.client(0)
    bench.cut(0, 2)
    for (let i = 1; i <= 50; i++) expect(written(await bench.run(client.set(key, text(`${i}`))))).toBe(i)
    expect(bench.replica(2, key).lastSequence).toBe(0)
    bench.heal()
    await bench.cluster.time.advance(5000)
    expect(await bench.copies(key)).toEqual(['50', '50', '50'])
    expect(bench.replica(0, key).members.map((member) => member.state)).toEqual(['following', 'following'])
  })

  it('goes on without a backup that the backlog overran, and takes it back', async () => {
    bench = await ClusterBench.start({ node: { backlogBytes: 4096 } })
    const key = bench.keyOf(0)
    const client = await bench.client(0)
    bench.cluster.network.cut(bench.node(0).nodeId, bench.node(2).nodeId)
    for (let i = 1; i <= 100; i++) {
      expect(written(await bench.run(client.set(key, text('x'.repeat(100)))))).toBe(i)
    }
    expect(bench.node(0).core?.dataPlane?.replicator.counters.lagging).toBeGreaterThan(0)
    bench.heal()
    const states = (): string[] => {
      const node = bench.cluster.nodes[bench.primaryOf(partitionOfKey(key))]
      const replica = node?.core?.dataPlane?.replicator.replica(partitionOfKey(key))
      return (replica?.members ?? []).map((member) => member.state)
    }
    await bench.cluster.waitFor(() => states().join() === 'following,following', 60_000)
    expect(written(await bench.run(client.set(key, text('y'), { durability: all })))).toBe(101)
    expect(bench.replica(2, key).lastSequence).toBe(101)
  })
})
