/** How in-sync sets change while a primary serves: members that don't follow, moves, losses, differences. */

import { afterEach, describe, expect, it } from 'vitest'
import type { PartitionEpoch } from '../../../src/kernel/ids.ts'
import type { Log } from '../../../src/kernel/log.ts'
import type { Replicator } from '../../../src/replication/replicator.ts'
import type { RegionRecord } from '../../../src/topology/topology.ts'
import { shown, text, written } from '../../support/cluster-bench.ts'
import { ReplicaCluster, type ReplicaClusterOptions } from '../../support/replicas/replica-cluster.ts'

describe('an in-sync set', () => {
  let cluster: ReplicaCluster
  const said: string[] = []
  const log: Log = {
    debug: () => {},
    info: () => {},
    warn: (line) => said.push(line),
    error: (line) => said.push(line),
  }
  afterEach(() => cluster.close())

  async function start(options: ReplicaClusterOptions = {}): Promise<void> {
    said.length = 0
    cluster = new ReplicaCluster({ network: { slowShare: 0 }, log, ...options })
    await cluster.start()
  }

  const inSync = (): number[] =>
    (cluster.register.topology.partitions[0]?.inSync ?? []).map((node) => cluster.machineOf(node))
  const epoch = (): PartitionEpoch =>
    cluster.register.topology.partitions[0]?.partitionEpoch as PartitionEpoch
  const replicator = (at: number): Replicator => {
    const { plane } = cluster.node(at)
    if (plane === undefined) throw new RangeError(`node ${at} has no topology`)
    return plane.replicator
  }

  it('goes on without a member that is silent, which counts until that is committed', async () => {
    await start()
    const client = await cluster.client(0)
    cluster.register.refuses = () => true
    cluster.cut(0, 2)
    await cluster.time.advance(1700)
    expect(cluster.replica(0)).toMatchObject({ quorum: 2, role: 'primary' })
    expect(cluster.replica(0)?.members.length).toBe(2)
    cluster.register.refuses = undefined
    await cluster.waitFor(() => inSync().length === 2)
    await cluster.waitFor(() => cluster.replica(0)?.members.length === 1)
    expect(written(await cluster.run(client.set('k', text('v'), { durability: 3 })))).toBe(1)
    expect(cluster.replica(0)).toMatchObject({ role: 'primary', partitionEpoch: 2 })
  })

  it('refuses a write at all while a member is silent, and changes nothing', async () => {
    await start()
    const client = await cluster.client(0)
    cluster.register.refuses = () => true
    cluster.cut(0, 2)
    await cluster.time.advance(1500)
    const result = await cluster.run(client.set('k', text('v'), { durability: 3 }))
    expect(written(result)).toBe('NOT_ENOUGH_REPLICAS')
    expect(cluster.replica(0)?.lastSequence).toBe(0)
  })

  it('of two stays, for slowness alone', async () => {
    await start({ replicas: 2 })
    cluster.cut(0, 1)
    await cluster.time.advance(4000)
    expect(inSync()).toEqual([0, 1])
    cluster.network.healAll()
    await cluster.time.advance(1200)
    const client = await cluster.client(0)
    expect(written(await cluster.run(client.set('k', text('v'))))).toBe(1)
  })

  it('lets one go whose missing records are overwritten, and takes it back', async () => {
    await start({ node: { backlogBytes: 2000 } })
    const client = await cluster.client(0)
    cluster.network.cut('n0', 'n2')
    for (let i = 0; i < 60; i++) await cluster.run(client.set(`k${i}`, text('v'.repeat(60))))
    await cluster.waitFor(() => inSync().length === 2)
    cluster.network.healAll()
    await cluster.waitFor(() => cluster.register.topology.partitions[0]?.unsettled.length === 0)
    cluster.commit({
      kind: 'LearnerAdded',
      learners: [{ partition: 0, partitionEpoch: epoch(), node: cluster.positionOf(2) }],
    })
    await cluster.waitFor(() => inSync().length === 3)
    await cluster.waitFor(() => cluster.replica(2)?.lastSequence === 60)
  })

  it('moves its primary within milliseconds, and loses nothing that was asked meanwhile', async () => {
    await start()
    const client = await cluster.client(0)
    for (let i = 0; i < 20; i++) await cluster.run(client.set(`k${i}`, text('v')))
    await cluster.time.advance(400)
    expect(replicator(1).movePrimary(0, 2)).toBe(false)
    expect(replicator(0).movePrimary(0, 2)).toBe(true)
    const refused = await cluster.run(client.set('k', text('w')))
    expect(refused.error?.code).toBe('UNAVAILABLE')
    const fromMs = cluster.time.monotonicMs()
    await cluster.waitFor(() => cluster.replica(2)?.role === 'primary')
    expect(cluster.time.monotonicMs() - fromMs).toBeLessThan(60)
    expect(cluster.replica(0)).toMatchObject({ role: 'backup', frozen: false })
    const again = await cluster.client(2)
    expect(written(await cluster.run(again.set('k', text('w'), { durability: 3 })))).toBe(22)
    expect(cluster.replica(0)?.lastSequence).toBe(22)
  })

  it('whose move is not decided goes on as before', async () => {
    await start()
    const client = await cluster.client(0)
    await cluster.run(client.set('k', text('v')))
    await cluster.time.advance(400)
    cluster.register.refuses = () => true
    expect(replicator(0).movePrimary(0, 2)).toBe(true)
    await cluster.time.advance(200)
    expect(cluster.replica(0)?.frozen).toBe(true)
    await cluster.time.advance(600)
    expect(written(await cluster.run(client.set('k', text('w'))))).toBe(2)
  })

  it('that is lost starts over with the best survivor, after the lost primary can not serve any more', async () => {
    await start({ nodes: 4, replicas: 3 })
    const client = await cluster.client(0)
    await cluster.run(client.set('k', text('v'), { durability: 3 }))
    await cluster.time.advance(600)
    // Two of three are out of reach, not proven dead.
    for (const at of [0, 1]) for (const to of [2, 3]) cluster.cut(at, to)
    cluster.cut(0, 1)
    cluster.fail(cluster.node(1))
    cluster.fail(cluster.node(0))
    expect(cluster.register.topology.partitions[0]?.primary).toBe(0)
    const fromMs = cluster.time.monotonicMs()
    cluster.commit({
      kind: 'Recovered',
      partitions: [{ partition: 0, partitionEpoch: epoch(), node: cluster.positionOf(2) }],
    })
    cluster.register.reaches = (host) => host.name === 'n2' || host.name === 'n3'
    await cluster.waitFor(() => cluster.replica(2)?.role === 'primary')
    expect(cluster.time.monotonicMs() - fromMs).toBeGreaterThan(3290)
    const again = await cluster.client(2)
    expect(shown(await cluster.run(again.get('k')))).toBe('v')
  })

  it('counts the writes it gives up', async () => {
    await start()
    const client = await cluster.client(0)
    await cluster.run(client.set('k', text('v'), { durability: 3 }))
    cluster.cut(0, 1)
    cluster.cut(0, 2)
    for (let i = 0; i < 7; i++) await cluster.run(client.set(`k${i}`, text('w'), { durability: 1 }))
    cluster.fail(cluster.node(0))
    const next = cluster.primaryOf()
    await cluster.waitFor(() => cluster.replica(next)?.role === 'primary')
    cluster.network.healAll()
    cluster.commit({ kind: 'NodeJoined', node: cluster.register.topology.nodes[0] as never })
    await cluster.waitFor(() => cluster.register.topology.partitions[0]?.unsettled.length === 0)
    cluster.commit({
      kind: 'LearnerAdded',
      learners: [{ partition: 0, partitionEpoch: epoch(), node: cluster.positionOf(0) }],
    })
    await cluster.waitFor(() => inSync().includes(0))
    expect(replicator(0).counters.rolledBackWrites).toBe(7)
  })

  it('finds a replica that holds something else, says so, and brings it up again', async () => {
    await start()
    const client = await cluster.client(0)
    for (let i = 0; i < 50; i++) await cluster.run(client.set(`k${i}`, text('v'), { durability: 3 }))
    const engine = cluster.node(2).plane?.engine
    const entries: number[] = []
    engine?.collectFrom(0, 0, entries)
    engine?.remove(entries[0] as number)
    await cluster.time.advance(31_000)
    expect(replicator(0).counters.repairs).toBe(1)
    expect(said.some((line) => line.includes('holds something else'))).toBe(true)
    await cluster.waitFor(() => inSync().length === 2)
    await cluster.waitFor(() => cluster.register.topology.partitions[0]?.unsettled.length === 0)
    cluster.commit({
      kind: 'LearnerAdded',
      learners: [{ partition: 0, partitionEpoch: epoch(), node: cluster.positionOf(2) }],
    })
    await cluster.waitFor(() => inSync().length === 3)
    expect(cluster.node(2).plane?.engine.entries(0)).toBe(50)
    expect([...replicator(1).replicas()].length).toBe(1)
  })

  it('removes what a dropped region held, also where the region was never known', async () => {
    await start({ nodes: 4, replicas: 3 })
    const client = await cluster.client(0)
    const { regionId: _, ...other } = cluster.register.topology.regions[0] as RegionRecord
    cluster.commit({ kind: 'RegionCreated', region: { ...other, name: 'other' } })
    // Written at once: backups learn of the region a little later than the primary.
    await cluster.waitFor(() => replicator(0).region(1) !== undefined)
    for (let i = 0; i < 30; i++)
      await cluster.run(client.set(`k${i}`, text('v'), { regionId: 1, durability: 3, timeoutMs: 3000 }))
    await cluster.run(client.set('stays', text('v'), { durability: 3 }))
    expect(cluster.node(2).plane?.engine.entries(0)).toBe(31)
    cluster.crash(3)
    cluster.commit({ kind: 'RegionDropped', regionId: 1 })
    cluster.restart(3)
    const old = cluster.register.topology.nodes[3] as never
    cluster.commit({
      kind: 'NodeRestarted',
      old,
      node: { ...(old as object), ...cluster.process(3) } as never,
    })
    cluster.commit({
      kind: 'LearnerAdded',
      learners: [{ partition: 0, partitionEpoch: epoch(), node: cluster.positionOf(3) }],
    })
    await cluster.waitFor(() => inSync().length === 4)
    await cluster.time.advance(1500)
    expect([0, 1, 2, 3].map((at) => cluster.node(at).plane?.engine.entries(0))).toEqual([1, 1, 1, 1])
  })

  it('gives memory back when its role is over, in slices', async () => {
    await start({ nodes: 4, replicas: 3 })
    const client = await cluster.client(0)
    for (let i = 0; i < 1200; i++) await cluster.run(client.set(`k${i}`, text('v')))
    await cluster.time.advance(50)
    cluster.commit({
      kind: 'LearnerAdded',
      learners: [{ partition: 0, partitionEpoch: epoch(), node: cluster.positionOf(3) }],
    })
    await cluster.waitFor(() => inSync().length === 4)
    await cluster.waitFor(() => cluster.register.topology.partitions[0]?.unsettled.length === 0)
    cluster.commit({
      kind: 'ReplicaRemoved',
      replicas: [{ partition: 0, partitionEpoch: epoch(), node: cluster.positionOf(1) }],
    })
    await cluster.waitFor(() => cluster.replica(1) === undefined)
    await cluster.time.advance(60)
    expect(cluster.node(1).plane?.engine.hasPartition(0)).toBe(false)
    expect(cluster.node(1).plane?.engine.stats.entries).toBe(0)
  })
})
