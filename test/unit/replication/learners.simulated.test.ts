/** Learners, told step by step: what they are sent, what they keep, when they count. */

import { afterEach, describe, expect, it, vi } from 'vitest'
import type { PartitionEpoch } from '../../../src/kernel/ids.ts'
import { foldDigest } from '../../../src/replication/epoch-fence.ts'
import { shown, text, written } from '../../support/cluster-bench.ts'
import type { RawClient } from '../../support/raw-client.ts'
import { ReplicaCluster, type ReplicaClusterOptions } from '../../support/replicas/replica-cluster.ts'
import { contentOf } from '../../support/version-witness.ts'

const KIB = 1024

describe('a learner', () => {
  let cluster: ReplicaCluster
  afterEach(() => cluster.close())

  async function start(options: ReplicaClusterOptions = {}): Promise<RawClient> {
    cluster = new ReplicaCluster({ nodes: 4, network: { slowShare: 0 }, ...options })
    await cluster.start()
    return cluster.client(0)
  }

  function addLearner(at: number, partition = 0): boolean {
    const { partitionEpoch } = cluster.register.topology.partitions[partition] as {
      partitionEpoch: PartitionEpoch
    }
    return cluster.commit({
      kind: 'LearnerAdded',
      learners: [{ partition, partitionEpoch, node: cluster.positionOf(at) }],
    })
  }

  const inSync = (): readonly number[] =>
    (cluster.register.topology.partitions[0]?.inSync ?? []).map((node) => cluster.machineOf(node))

  function digestOf(at: number): object {
    const { engine } = cluster.node(at).plane as NonNullable<ReturnType<typeof cluster.node>['plane']>
    return { ...foldDigest(engine.digest(0)), entries: engine.entries(0) }
  }

  function contentsOf(at: number): Map<string, string> {
    const { engine } = cluster.node(at).plane as NonNullable<ReturnType<typeof cluster.node>['plane']>
    return contentOf(engine, 0)
  }

  async function promoted(at: number, limitMs?: number): Promise<void> {
    await cluster.waitFor(() => inSync().includes(at), limitMs)
    await cluster.waitFor(() => cluster.replica(at)?.role === 'backup')
  }

  it('is brought up from nothing and promoted, while writes go on', async () => {
    const client = await start()
    for (let i = 0; i < 500; i++) await cluster.run(client.set(`k${i}`, text(`v${i}`.repeat(50))))
    expect(addLearner(3)).toBe(true)
    for (let i = 0; !inSync().includes(3) && i < 300; i++) {
      expect(written(await cluster.run(client.set(`k${i % 600}`, text(`w${i}`))))).toBeGreaterThan(500)
      if (i % 7 === 0) await cluster.run(client.delete(`k${i + 3}`))
    }
    await promoted(3)
    await cluster.run(client.set('last', text('v'), { durability: 3 }))
    expect(digestOf(3)).toEqual(digestOf(0))
    await cluster.waitFor(() => cluster.register.topology.partitions[0]?.unsettled.length === 0)
    expect(cluster.replica(3)?.lastSequence).toBe(cluster.replica(0)?.lastSequence)
  })

  it('is not counted before it is promoted', async () => {
    const client = await start({ nodes: 3, replicas: 2 })
    for (let i = 0; i < 50; i++) await cluster.run(client.set(`k${i}`, text('v')))
    cluster.register.refuses = (transform) => transform.kind === 'LearnerPromoted'
    cluster.cut(0, 1)
    addLearner(2)
    await cluster.time.advance(300)
    expect(cluster.replica(2)).toMatchObject({ role: 'learner', lastSequence: 50 })
    const waiting = client.set('k', text('v'), { timeoutMs: 3000 })
    await cluster.time.advance(100)
    expect(cluster.replica(2)?.lastSequence).toBe(51)
    expect(cluster.replica(0)?.commitSequence).toBe(50)
    cluster.register.refuses = undefined
    // Promoted, it makes a quorum of three with the primary.
    expect(written(await cluster.run(waiting))).toBe(51)
    expect(inSync()).toContain(2)
  })

  it('keeps the buckets that are equal, and only gets the others', async () => {
    const client = await start()
    for (let i = 0; i < 600; i++) await cluster.run(client.set(`k${i}`, text('v'.repeat(500))))
    await cluster.time.advance(50)
    // A false suspicion: it returns with all that it had, a little behind.
    const node = cluster.node(2)
    cluster.fail(node)
    await cluster.time.advance(20)
    await cluster.run(client.set('k1', text('new')))
    await cluster.run(client.delete('k2'))
    cluster.commit({ kind: 'NodeJoined', node: cluster.register.topology.nodes[2] as never })
    await cluster.waitFor(() => cluster.register.topology.partitions[0]?.unsettled.length === 0)
    const before = cluster.node(0).plane?.replicator.syncs.sentBytes ?? 0
    addLearner(2)
    await promoted(2)
    const sent = (cluster.node(0).plane?.replicator.syncs.sentBytes ?? 0) - before
    expect(digestOf(2)).toEqual(digestOf(0))
    expect(sent).toBeLessThan(60 * KIB)
  })

  it('is sent of the buckets that differ what it lacks', async () => {
    const client = await start()
    const count = 3000
    for (let i = 0; i < count; i++) await cluster.run(client.set(`k${i}`, text('v'.repeat(500))))
    await cluster.time.advance(50)
    const node = cluster.node(2)
    cluster.fail(node)
    await cluster.time.advance(20)
    for (let i = 0; i < 10; i++) {
      await cluster.run(client.set(`k${i}`, text('new'.repeat(100))))
      await cluster.run(client.delete(`k${i + 10}`))
      await cluster.run(client.expire(`k${i + 20}`, 3_600_000))
    }
    cluster.commit({ kind: 'NodeJoined', node: cluster.register.topology.nodes[2] as never })
    await cluster.waitFor(() => cluster.register.topology.partitions[0]?.unsettled.length === 0)
    const before = cluster.node(0).plane?.replicator.syncs.sentBytes ?? 0
    addLearner(2)
    await promoted(2)
    const sent = (cluster.node(0).plane?.replicator.syncs.sentBytes ?? 0) - before
    expect(contentsOf(2)).toEqual(contentsOf(0))
    expect(digestOf(2)).toEqual(digestOf(0))
    // 1 % changed, in more than a third of the buckets.
    expect(sent).toBeGreaterThan(10 * 300)
    expect(sent).toBeLessThan((count * 500) / 30)
  })

  it('keeps large values that it has, and gets those that are changed while others are sent', async () => {
    const client = await start({ network: { slowShare: 0, latencyMaxMs: 8 } })
    const bulk = await cluster.client(0, undefined, 'bulk')
    const large = (i: number, fill: number): Promise<unknown> =>
      cluster.run(bulk.setLarge(`large${i}`, new Uint8Array(200 * KIB).fill(fill)))
    for (let i = 0; i < 8; i++) await large(i, i + 1)
    for (let i = 0; i < 300; i++) await cluster.run(client.set(`k${i}`, text('v')))
    await cluster.time.advance(50)
    cluster.fail(cluster.node(2))
    await cluster.time.advance(20)
    // Every bucket differs.
    for (let i = 0; i < 300; i++) await cluster.run(client.set(`k${i}`, text('w')))
    await large(0, 50)
    cluster.commit({ kind: 'NodeJoined', node: cluster.register.topology.nodes[2] as never })
    await cluster.waitFor(() => cluster.register.topology.partitions[0]?.unsettled.length === 0)
    const { outbox } = cluster.node(0).plane?.replicator ?? {}
    const staging = vi.spyOn(outbox as NonNullable<typeof outbox>, 'begin')
    addLearner(2)
    await cluster.waitFor(() => cluster.replica(2)?.lastSequence === cluster.replica(0)?.lastSequence)
    for (let i = 1; i < 4; i++) await cluster.run(client.expire(`large${i}`, 3_600_000))
    await large(4, 60)
    await promoted(2)
    await cluster.time.advance(1000)
    expect(contentsOf(2)).toEqual(contentsOf(0))
    expect(digestOf(2)).toEqual(digestOf(0))
    // Those three that were neither written nor touched since are not sent.
    expect(new Set(staging.mock.calls.map(([value]) => value)).size).toBeLessThan(8)
    expect(staging).toHaveBeenCalled()
  })

  it('holds what its former log had and the cluster did not: it is replaced, and counted', async () => {
    const client = await start({ nodes: 3 })
    for (let i = 0; i < 20; i++) await cluster.run(client.set(`k${i}`, text('v')))
    await cluster.time.advance(10)
    cluster.cut(0, 1)
    cluster.cut(0, 2)
    // Nobody else gets these; they are the newest versions of their keys.
    for (let i = 0; i < 5; i++) await cluster.run(client.set(`k${i}`, text('lost'), { durability: 1 }))
    const old = cluster.node(0)
    cluster.fail(old)
    const next = cluster.primaryOf()
    await cluster.waitFor(() => cluster.replica(next)?.role === 'primary')
    const again = await cluster.client(next)
    await cluster.run(again.set('k0', text('kept')))
    cluster.network.healAll()
    cluster.commit({ kind: 'NodeJoined', node: cluster.register.topology.nodes[0] as never })
    await cluster.waitFor(() => cluster.register.topology.partitions[0]?.unsettled.length === 0)
    addLearner(0)
    await promoted(0)
    expect(digestOf(0)).toEqual(digestOf(next))
    const reader = await cluster.client(0)
    expect(shown(await cluster.run(reader.get('k1', 2 << 2)))).toBe('v')
    expect(shown(await cluster.run(reader.get('k0', 2 << 2)))).toBe('kept')
  })

  it('gets large values, also when they change while they are sent', async () => {
    const client = await start({ network: { slowShare: 0, latencyMaxMs: 8 } })
    const bulk = await cluster.client(0, undefined, 'bulk')
    for (let i = 0; i < 6; i++)
      await cluster.run(bulk.setLarge(`large${i}`, new Uint8Array(200 * KIB).fill(i + 1)))
    for (let i = 0; i < 50; i++) await cluster.run(client.set(`k${i}`, text('v')))
    addLearner(3)
    for (let i = 0; !inSync().includes(3) && i < 40; i++) {
      await cluster.run(bulk.setLarge(`large${i % 3}`, new Uint8Array(150 * KIB).fill(100 + i)))
    }
    await promoted(3)
    await cluster.run(client.set('last', text('v'), { durability: 3 }))
    expect(digestOf(3)).toEqual(digestOf(0))
    const held = (at: number): number | undefined => cluster.node(at).plane?.engine.stats.largeBytes
    expect(held(3)).toBeGreaterThan(6 * 150 * KIB)
    await cluster.time.advance(1000)
    expect(cluster.node(3).plane?.replicator.inbox.heldBytes).toBe(0)
  })

  it('answers retries: it has the outcomes of operations from before its time', async () => {
    const client = await start({ nodes: 4 })
    const session = '00000000000000aa'
    const first = await cluster.client(0, session)
    const sum = (await cluster.run(first.increment('n', 5, { counter: 1 }))).reader.float64()
    expect(sum).toBe(5)
    await cluster.run(client.set('k', text('v')))
    addLearner(3)
    await promoted(3)
    await cluster.waitFor(() => cluster.register.topology.partitions[0]?.unsettled.length === 0)
    await cluster.waitFor(() => cluster.replica(0)?.partitionEpoch === 2)
    cluster.commit({
      kind: 'PrimaryMoved',
      moves: [{ partition: 0, partitionEpoch: 2 as PartitionEpoch, node: cluster.positionOf(3) }],
    })
    await cluster.waitFor(() => cluster.replica(3)?.role === 'primary')
    const again = await cluster.client(3, session)
    expect((await cluster.run(again.increment('n', 5, { counter: 1 }))).reader.float64()).toBe(5)
    expect((await cluster.run(again.increment('n', 5, { counter: 2 }))).reader.float64()).toBe(10)
  })

  it('goes on where it was after its stream broke', async () => {
    const client = await start({ node: {} })
    for (let i = 0; i < 3000; i++) await cluster.run(client.set(`k${i}`, text('v'.repeat(400))))
    addLearner(3)
    for (let i = 0; i < 5; i++) {
      await cluster.time.advance(13)
      cluster.network.reset('n0', 'n3')
    }
    await promoted(3)
    expect(digestOf(3)).toEqual(digestOf(0))
  })

  it('is brought up by the next primary when the first one dies on the way', async () => {
    const client = await start({ nodes: 4 })
    for (let i = 0; i < 2000; i++) await cluster.run(client.set(`k${i}`, text('v'.repeat(300))))
    addLearner(3)
    await cluster.waitFor(() => (cluster.node(0).plane?.replicator.syncs.sentBytes ?? 0) > 100 * KIB)
    const dead = cluster.crash(0)
    cluster.fail(dead as NonNullable<typeof dead>)
    const next = cluster.primaryOf()
    await promoted(3)
    await cluster.time.advance(200)
    expect(digestOf(3)).toEqual(digestOf(next))
    expect(cluster.replica(3)?.lastSequence).toBe(2001)
  })
})
