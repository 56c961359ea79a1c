/**
 * What each rule is for: a schedule in which its breaking shows, run with the rule and without it. Random runs find others; these
 * are rare there (docs/protocol.md names the rules, src/kernel/rule-switch.ts lists them).
 */

import { afterEach, describe, expect, it } from 'vitest'
import type { Epoch, PartitionEpoch } from '../../../src/kernel/ids.ts'
import type { Rule } from '../../../src/kernel/rule-switch.ts'
import { foldDigest } from '../../../src/replication/epoch-fence.ts'
import { ReadCode } from '../../../src/wire/operations.ts'
import { shown, text, written } from '../../support/cluster-bench.ts'
import type { RawResult } from '../../support/raw-client.ts'
import { ReplicaCluster, type ReplicaClusterOptions } from '../../support/replicas/replica-cluster.ts'

const LINEARIZABLE = ReadCode.linearizable << 2

describe('a broken rule', () => {
  let cluster: ReplicaCluster
  afterEach(() => cluster.close())

  async function start(rule: Rule | undefined, options: ReplicaClusterOptions = {}): Promise<void> {
    cluster = new ReplicaCluster({
      network: { slowShare: 0 },
      ...options,
      ...(rule === undefined ? {} : { brokenRules: new Set([rule]) }),
    })
    await cluster.start()
  }

  const record = () => {
    const [first] = cluster.register.topology.partitions
    if (first === undefined) throw new RangeError('no partition')
    return first
  }
  const epoch = (): PartitionEpoch => record().partitionEpoch
  const inSync = (): number[] => record().inSync.map((node) => cluster.machineOf(node))
  const serves = (at: number): boolean => cluster.replica(at)?.role === 'primary'

  function hasLease(at: number): boolean {
    const replica = cluster.replica(at)
    const gate = cluster.nodes[at]?.plane?.replicator.reads
    return replica !== undefined && gate?.hasLease(replica) === true
  }

  /** Lets time pass until `at` serves, and says whether another machine held a lease at any moment since. */
  async function overlaps(at: number, other: number, limitMs = 8000): Promise<boolean> {
    let both = false
    for (let i = 0; i < limitMs / 5; i++) {
      await cluster.time.advance(5)
      both ||= serves(at) && hasLease(other)
    }
    expect(serves(at)).toBe(true)
    return both
  }

  function addLearner(at: number): boolean {
    return cluster.commit({
      kind: 'LearnerAdded',
      learners: [{ partition: 0, partitionEpoch: epoch(), node: cluster.positionOf(at) }],
    })
  }

  function entriesOf(at: number): number {
    const engine = cluster.node(at).plane?.engine
    return engine?.hasPartition(0) === true ? engine.entries(0) : 0
  }

  function digestOf(at: number): string {
    const engine = cluster.node(at).plane?.engine
    if (engine === undefined) return 'nothing'
    const { low, high } = foldDigest(engine.digest(0))
    return `${engine.entries(0)} ${low} ${high}`
  }

  it.each<Rule | undefined>([undefined, 'shrink-after-commit'])(
    '%s: a member counts until its removal is known',
    async (rule) => {
      await start(rule, { nodes: 5, replicas: 4 })
      const client = await cluster.client(0)
      cluster.register.refuses = (transform) => transform.kind === 'InSyncShrunk'
      cluster.cut(0, 2)
      cluster.cut(0, 3)
      await cluster.time.advance(1800)
      const result = await cluster.run(client.set('k', text('v'), { timeoutMs: 300 }))
      expect(written(result)).toBe(rule === undefined ? 'NOT_ENOUGH_REPLICAS' : 1)
      // Nobody knows of the removal: the two may take over, without the write.
      for (const at of [0, 1]) {
        const dead = cluster.crash(at)
        if (dead !== undefined) cluster.fail(dead)
      }
      const next = cluster.primaryOf()
      await cluster.waitFor(() => serves(next))
      expect(cluster.replica(next)?.lastSequence).toBe(1)
    },
  )

  it.each<[Rule | undefined, string]>([
    [undefined, 'OUTCOME_UNKNOWN'],
    ['applied-is-unknown', 'NOT_PRIMARY'],
  ])('%s: what was applied is not refused', async (rule, code) => {
    await start(rule)
    const client = await cluster.client(0)
    cluster.cut(0, 1)
    cluster.cut(0, 2)
    const waiting = client.set('k', text('v'))
    await cluster.time.advance(20)
    cluster.commit({ kind: 'PrimaryMoved', moves: [{ partition: 0, partitionEpoch: epoch(), node: 1 }] })
    await cluster.time.advance(100)
    cluster.network.healAll()
    expect((await cluster.run(waiting)).error?.code).toBe(code)
    await cluster.waitFor(() => serves(1))
    // It was the longest log: refused or not, it lasts.
    expect(shown(await cluster.run((await cluster.client(1)).get('k')))).toBe('v')
  })

  it.each<Rule | undefined>([
    undefined,
    'lease-own-grant',
    'lease-needs-grants',
    'takeover-waits-for-leases',
    'proven-dead-by-process',
  ])('%s: a new primary outwaits the old one', async (rule) => {
    await start(rule, { replicas: 2 })
    await cluster.time.advance(600)
    cluster.cut(0, 1)
    cluster.fail(cluster.node(0))
    cluster.register.reaches = (host) => host.name !== 'n0'
    expect(await overlaps(1, 0, 1500)).toBe(rule !== undefined)
  })

  it.each<Rule | undefined>([undefined, 'lease-from-send'])(
    '%s: a lease counts from the sending',
    async (rule) => {
      await start(rule, { replicas: 2 })
      cluster.network.delay('n1', 'n0', 600)
      await cluster.time.advance(2000)
      // The last acknowledgements arrive 600 ms after they were sent; what is sent behind them does not.
      cluster.network.cut('n0', 'n1')
      await cluster.time.advance(590)
      cluster.network.cut('n1', 'n0')
      cluster.fail(cluster.node(0))
      cluster.register.reaches = (host) => host.name !== 'n0'
      expect(await overlaps(1, 0, 2500)).toBe(rule !== undefined)
    },
  )

  it.each<Rule | undefined>([undefined, 'lease-ends-early'])(
    '%s: clocks may drift by a twentieth',
    async (rule) => {
      await start(rule, { replicas: 2 })
      cluster.hosts[0]?.setClockRate(0.955)
      cluster.hosts[1]?.setClockRate(1.045)
      await cluster.time.advance(423)
      cluster.cut(0, 1)
      cluster.fail(cluster.node(0))
      cluster.register.reaches = (host) => host.name !== 'n0'
      expect(await overlaps(1, 0, 1500)).toBe(rule !== undefined)
    },
  )

  it.each<Rule | undefined>([undefined, 'lone-primary-needs-voters'])(
    '%s: a primary alone counts on the voters',
    async (rule) => {
      await start(rule, { replicas: 1 })
      await cluster.time.advance(300)
      cluster.cut(0, 1)
      cluster.cut(0, 2)
      cluster.fail(cluster.node(0))
      const node = cluster.positionOf(1)
      cluster.commit({ kind: 'Recovered', partitions: [{ partition: 0, partitionEpoch: epoch(), node }] })
      expect(await overlaps(1, 0, 5000)).toBe(rule !== undefined)
    },
  )

  it.each<Rule | undefined>([undefined, 'recovered-waits'])(
    '%s: whoever starts over waits for who may still serve',
    async (rule) => {
      await start(rule, { replicas: 1 })
      await cluster.time.advance(300)
      cluster.cut(0, 1)
      cluster.cut(0, 2)
      cluster.fail(cluster.node(0))
      const node = cluster.positionOf(1)
      cluster.commit({ kind: 'Recovered', partitions: [{ partition: 0, partitionEpoch: epoch(), node }] })
      expect(await overlaps(1, 0, 5000)).toBe(rule !== undefined)
    },
  )

  it.each<Rule | undefined>([undefined, 'recovered-whole'])(
    '%s: a learner that is not whole starts over with nothing',
    async (rule) => {
      await start(rule, { replicas: 1 })
      const client = await cluster.client(0)
      for (let i = 0; i < 600; i++) await cluster.run(client.set(`k${i}`, text('v'.repeat(9000))))
      cluster.network.delay('n1', 'n0', 60)
      addLearner(1)
      await cluster.waitFor(() => entriesOf(1) > 100)
      const dead = cluster.crash(0)
      if (dead !== undefined) cluster.fail(dead)
      const node = cluster.positionOf(1)
      cluster.commit({ kind: 'Recovered', partitions: [{ partition: 0, partitionEpoch: epoch(), node }] })
      await cluster.waitFor(() => serves(1))
      expect(entriesOf(1) > 0).toBe(rule !== undefined)
    },
  )

  it.each<Rule | undefined>([undefined, 'settle-after-quorum'])(
    '%s: older sets count until a quorum holds what they may have acknowledged',
    async (rule) => {
      await start(rule, { nodes: 5 })
      const client = await cluster.client(0)
      cluster.network.cut('n0', 'n1')
      expect(written(await cluster.run(client.set('k', text('v'))))).toBe(1)
      const dead = cluster.crash(0)
      // Node 2 leads; in the moment in which it does, nothing reaches node 1 any more.
      const node = cluster.positionOf(2)
      if (dead !== undefined) cluster.fail(dead)
      if (cluster.primaryOf() !== 2)
        cluster.commit({ kind: 'PrimaryMoved', moves: [{ partition: 0, partitionEpoch: epoch(), node }] })
      cluster.time.afterEvent = () => {
        if (serves(2)) cluster.cut(2, 1)
      }
      await cluster.waitFor(() => serves(2))
      await cluster.time.advance(300)
      expect(cluster.replica(1)?.lastSequence).toBe(0)
      cluster.time.afterEvent = undefined
      const died = cluster.crash(2)
      if (died !== undefined) cluster.fail(died)
      await cluster.time.advance(300)
      expect(serves(1)).toBe(rule !== undefined)
    },
  )

  it.each<Rule | undefined>([undefined, 'adopt-before-answer'])(
    '%s: whoever answers a new primary follows the old one no more',
    async (rule) => {
      await start(rule)
      const client = await cluster.client(0)
      await cluster.run(client.set('k', text('v'), { durability: 3 }))
      cluster.register.reaches = (host) => host.name === 'n2'
      cluster.commit({ kind: 'PrimaryMoved', moves: [{ partition: 0, partitionEpoch: epoch(), node: 2 }] })
      await cluster.waitFor(() => serves(2))
      const result = await cluster.run(client.set('k', text('w'), { timeoutMs: 300 }))
      expect(written(result) === 2).toBe(rule !== undefined)
      if (rule === undefined) expect(written(result)).toBe('NOT_PRIMARY')
    },
  )

  it.each<Rule | undefined>([undefined, 'unverified-replaced', 'learner-forgets'])(
    '%s: a learner holds what its primary does, whatever it held before',
    async (rule) => {
      await start(rule)
      const client = await cluster.client(0)
      for (let i = 0; i < 20; i++) await cluster.run(client.set(`k${i}`, text('v')))
      await cluster.time.advance(10)
      cluster.cut(0, 1)
      cluster.cut(0, 2)
      for (let i = 0; i < 9; i++) await cluster.run(client.set(`k${i}`, text('lost'), { durability: 1 }))
      cluster.fail(cluster.node(0))
      const next = cluster.primaryOf()
      await cluster.waitFor(() => serves(next))
      cluster.network.healAll()
      cluster.commit({ kind: 'NodeJoined', node: cluster.register.topology.nodes[0] as never })
      await cluster.waitFor(() => record().unsettled.length === 0)
      addLearner(0)
      const again = await cluster.client(next)
      for (let i = 0; i < 5; i++) await cluster.run(again.set(`k${i + 10}`, text('w')))
      await cluster.time.advance(3000)
      const same = inSync().includes(0) && digestOf(0) === digestOf(next)
      expect(same).toBe(rule === undefined)
    },
  )

  it.each<Rule | undefined>([undefined, 'promote-only-whole'])(
    '%s: only a whole learner is promoted',
    async (rule) => {
      await start(rule, { nodes: 4 })
      const client = await cluster.client(0)
      for (let i = 0; i < 1500; i++) await cluster.run(client.set(`k${i}`, text('v'.repeat(300))))
      addLearner(3)
      let early = false
      for (let i = 0; i < 400 && !early; i++) {
        await cluster.time.advance(2)
        early = inSync().includes(3) && entriesOf(3) !== 1500
      }
      expect(early).toBe(rule !== undefined)
    },
  )

  it.each<[Rule | undefined, number]>([
    [undefined, 5],
    ['ids-in-sync', 10],
    ['ids-until-watermark', 10],
  ])('%s: an operation is done once, whoever is asked again', async (rule, sum) => {
    await start(rule, { nodes: 4 })
    const session = '00000000000000aa'
    const first = await cluster.client(0, session)
    await cluster.run(first.increment('n', 5, { counter: 1 }))
    addLearner(3)
    await cluster.waitFor(() => inSync().includes(3))
    await cluster.waitFor(() => record().unsettled.length === 0)
    const node = cluster.positionOf(3)
    cluster.commit({ kind: 'PrimaryMoved', moves: [{ partition: 0, partitionEpoch: epoch(), node }] })
    await cluster.waitFor(() => serves(3))
    const again = await cluster.client(3, session)
    expect((await cluster.run(again.increment('n', 5, { counter: 1 }))).reader.float64()).toBe(sum)
  })

  it.each<[Rule | undefined, boolean]>([
    [undefined, false],
    ['learner-session', true],
  ])('%s: a promotion names its session', async (rule, promoted) => {
    await start(rule, { nodes: 4 })
    const refuses = (kind: string): boolean => kind === 'LearnerPromoted'
    cluster.register.refuses = (transform) => refuses(transform.kind)
    addLearner(3)
    const session = cluster.register.topology.epoch
    await cluster.time.advance(200)
    const node = cluster.positionOf(3)
    const learner = { partition: 0, partitionEpoch: epoch(), node, session: session as Epoch }
    cluster.commit({ kind: 'LearnerDropped', learners: [learner] })
    addLearner(3)
    // The proposal of the first session arrives late.
    expect(cluster.commit({ kind: 'LearnerPromoted', learners: [learner] })).toBe(promoted)
  })

  it.each<Rule | undefined>([undefined, 'read-waits-for-commit'])(
    '%s: an answer shows only what a quorum holds',
    async (rule) => {
      await start(rule)
      const client = await cluster.client(0)
      await cluster.run(client.set('k', text('v'), { durability: 3 }))
      await cluster.time.advance(600)
      cluster.network.cut('n0', 'n1')
      cluster.network.cut('n0', 'n2')
      await cluster.run(client.delete('k', { durability: 1 }))
      let answer: RawResult | undefined
      void client.get('k', LINEARIZABLE).then((result) => {
        answer = result
      })
      await cluster.time.advance(200)
      expect(answer !== undefined).toBe(rule !== undefined)
    },
  )

  it.each<Rule | undefined>([undefined, 'confirm-after-arrival', 'read-under-lease'])(
    '%s: without a lease a quorum answers after the request came',
    async (rule) => {
      await start(rule, { replicas: 2 })
      const client = await cluster.client(0)
      await cluster.run(client.set('k', text('v'), { durability: 3 }))
      // Acknowledgements come so late that they grant nothing any more when they do.
      cluster.network.delay('n1', 'n0', 920)
      await cluster.time.advance(3000)
      cluster.network.cut('n0', 'n1')
      let answer: RawResult | undefined
      await cluster.time.advance(30)
      void client.get('k', LINEARIZABLE).then((result) => {
        answer = result
      })
      await cluster.time.advance(300)
      expect(answer !== undefined).toBe(rule !== undefined)
    },
  )
})
