/** Takeovers, told step by step: who serves after what, and with what. */

import { afterEach, describe, expect, it } from 'vitest'
import type { ReadGate } from '../../../src/replication/read-gate.ts'
import type { Replica } from '../../../src/replication/replica.ts'
import { ReadCode } from '../../../src/wire/operations.ts'
import { shown, text, written } from '../../support/cluster-bench.ts'
import { ReplicaCluster, type ReplicaClusterOptions } from '../../support/replicas/replica-cluster.ts'

const ONE = 1

describe('a takeover', () => {
  let cluster: ReplicaCluster
  afterEach(() => cluster.close())

  async function start(options: ReplicaClusterOptions = {}): Promise<void> {
    cluster = new ReplicaCluster({ network: { slowShare: 0 }, ...options })
    await cluster.start()
  }

  async function serving(at: number, limitMs?: number): Promise<void> {
    await cluster.waitFor(() => cluster.replica(at)?.role === 'primary', limitMs)
  }

  it('a cluster of replicas replicates', async () => {
    await start()
    const client = await cluster.client(0)
    expect(written(await cluster.run(client.set('k', text('v'), { durability: 3 })))).toBe(1)
    expect([0, 1, 2].map((at) => cluster.replica(at)?.lastSequence)).toEqual([1, 1, 1])
  })

  it('a backup serves what its primary acknowledged, under the next epoch, and goes on with its sequence', async () => {
    await start()
    const client = await cluster.client(0)
    for (let i = 1; i <= 5; i++)
      expect(written(await cluster.run(client.set(`k${i}`, text(`v${i}`))))).toBe(i)
    const dead = cluster.crash(0)
    cluster.fail(dead as NonNullable<typeof dead>)
    const next = cluster.primaryOf()
    await serving(next)
    const again = await cluster.client(next)
    expect(shown(await cluster.run(again.get('k5')))).toBe('v5')
    // Its term began with an entry of its own.
    expect(written(await cluster.run(again.set('k6', text('v6'))))).toBe(7)
    const other = next === 1 ? 2 : 1
    expect(cluster.replica(next)).toMatchObject({ partitionEpoch: 2, lastSequence: 7, commitSequence: 7 })
    expect(cluster.replica(other)).toMatchObject({ partitionEpoch: 2, role: 'backup', lastSequence: 7 })
    await cluster.waitFor(() => cluster.register.topology.partitions[0]?.unsettled.length === 0)
  })

  it('fetches what only another member holds, and brings the rest up', async () => {
    await start({ nodes: 4, replicas: 4 })
    // Node 3 alone gets what node 0 orders last.
    cluster.cut(0, 1)
    cluster.cut(0, 2)
    const client = await cluster.client(0)
    for (let i = 1; i <= 3; i++) await cluster.run(client.set(`k${i}`, text(`v${i}`), { durability: ONE }))
    await cluster.time.advance(50)
    expect([1, 2, 3].map((at) => cluster.replica(at)?.lastSequence)).toEqual([0, 0, 3])
    const dead = cluster.crash(0)
    cluster.fail(dead as NonNullable<typeof dead>)
    const next = cluster.primaryOf()
    expect(next).not.toBe(3)
    await serving(next)
    expect(cluster.replica(next)?.lastSequence).toBe(4)
    await cluster.time.advance(100)
    expect([1, 2, 3].map((at) => cluster.replica(at)?.lastSequence)).toEqual([4, 4, 4])
    const again = await cluster.client(next)
    expect(shown(await cluster.run(again.get('k3')))).toBe('v3')
    expect(cluster.nodes.map((node) => node?.plane?.replicator.counters.diverged ?? 0)).toEqual([0, 0, 0, 0])
  })

  it('a primary that was moved away answers what it applied with OUTCOME_UNKNOWN, and follows', async () => {
    await start()
    const client = await cluster.client(0)
    await cluster.run(client.set('k', text('v'), { durability: 3 }))
    cluster.cut(0, 1)
    cluster.cut(0, 2)
    const waiting = client.set('k', text('w'))
    await cluster.time.advance(20)
    cluster.commit({ kind: 'PrimaryMoved', moves: [{ partition: 0, partitionEpoch: 1 as never, node: 1 }] })
    await cluster.time.advance(300)
    // It can't be asked, so its lease has to run out first; it hears of nothing.
    expect(cluster.replica(0)?.role).toBe('primary')
    cluster.network.healAll()
    expect((await cluster.run(waiting)).error?.code).toBe('OUTCOME_UNKNOWN')
    await serving(1)
    // Its write was the longest log.
    const again = await cluster.client(1)
    expect(shown(await cluster.run(again.get('k')))).toBe('w')
    expect(cluster.replica(0)).toMatchObject({ role: 'backup', partitionEpoch: 2 })
  })

  it('waits for what a member granted that was set aside and came back', async () => {
    await start()
    const old = await cluster.client(0)
    await cluster.run(old.set('k', text('v'), { durability: 3 }))
    // Node 0 has its lease from node 2 alone, and hears of none of the commits to come.
    cluster.register.refuses = () => true
    cluster.cut(0, 1)
    await cluster.time.advance(1200)
    cluster.cut(0, 2)
    cluster.register.reaches = (host) => host.name !== 'n0'
    cluster.fail(cluster.node(2))
    await cluster.waitFor(() => cluster.replica(2)?.role === 'kept')
    cluster.commit({ kind: 'NodeJoined', node: cluster.register.topology.nodes[2] as never })
    cluster.fail(cluster.node(0))
    expect(cluster.register.topology.partitions[0]).toMatchObject({ primary: 1, inSync: [1, 2] })
    const former = cluster.replica(0) as Replica
    const reads = cluster.node(0).plane?.replicator.reads as ReadGate
    await cluster.waitFor(() => cluster.replica(2)?.primary === 1)
    expect(reads.hasLease(former)).toBe(true)
    await serving(1)
    expect(reads.hasLease(former)).toBe(false)
    const next = await cluster.client(1)
    expect(written(await cluster.run(next.set('k', text('w'))))).toBeGreaterThan(1)
    const read = await cluster.run(old.get('k', ReadCode.linearizable << 2))
    expect(shown(read)).toBe('TIMEOUT')
  })

  it('a primary that stays primary serves through a change of its set', async () => {
    await start()
    const client = await cluster.client(0)
    await cluster.run(client.set('k', text('v')))
    const dead = cluster.crash(2)
    cluster.fail(dead as NonNullable<typeof dead>)
    let answered = 0
    for (let i = 0; i < 40; i++) {
      const result = await cluster.run(client.set('k', text(`v${i}`)))
      if (written(result) !== 'NOT_ENOUGH_REPLICAS') answered++
      await cluster.time.advance(2)
    }
    expect(answered).toBe(40)
    expect(cluster.replica(0)).toMatchObject({ role: 'primary', partitionEpoch: 2 })
    expect(cluster.node(0).plane?.replicator.leadership.takeovers).toBe(0)
    await cluster.waitFor(() => cluster.register.topology.partitions[0]?.unsettled.length === 0)
  })
})
