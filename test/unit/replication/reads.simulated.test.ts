/** Answers that must be true of the present: when they go out at once, when they wait, when they don't come. */

import { afterEach, describe, expect, it } from 'vitest'
import type { Rule } from '../../../src/kernel/rule-switch.ts'
import type { ReadGate } from '../../../src/replication/read-gate.ts'
import { ReadCode } from '../../../src/wire/operations.ts'
import { shown, text, written } from '../../support/cluster-bench.ts'
import type { RawResult } from '../../support/raw-client.ts'
import { ReplicaCluster, type ReplicaClusterOptions } from '../../support/replicas/replica-cluster.ts'

const LINEARIZABLE = ReadCode.linearizable << 2
const MAJORITY = ReadCode.majority << 2

describe('a read', () => {
  let cluster: ReplicaCluster
  afterEach(() => cluster.close())

  async function start(options: ReplicaClusterOptions = {}): Promise<void> {
    cluster = new ReplicaCluster({ network: { slowShare: 0 }, ...options })
    await cluster.start()
  }

  /** What the call came to within so many milliseconds; undefined: nothing. */
  async function within(call: Promise<RawResult>, ms: number): Promise<string | undefined> {
    let result: RawResult | undefined
    void call.then((answer) => {
      result = answer
    })
    await cluster.time.advance(ms)
    return result === undefined ? undefined : shown(result)
  }

  const reads = (at = 0): ReadGate => {
    const { plane } = cluster.node(at)
    if (plane === undefined) throw new RangeError(`node ${at} has no topology`)
    return plane.replicator.reads
  }
  const hasLease = (at = 0): boolean => {
    const replica = cluster.replica(at)
    return replica !== undefined && reads(at).hasLease(replica)
  }

  it.each([LINEARIZABLE, MAJORITY])('of kind %i is answered at once under a lease', async (kind) => {
    await start()
    const client = await cluster.client(0)
    await cluster.run(client.set('k', text('v'), { durability: 3 }))
    await cluster.time.advance(600)
    expect(hasLease()).toBe(true)
    expect(shown(await cluster.run(client.get('k', kind)))).toBe('v')
    expect(shown(await cluster.run(client.get('none', kind)))).toBe('absent')
    expect(reads().waiting).toBe(0)
  })

  it('waits until what it shows is at a quorum: also that there is nothing', async () => {
    await start()
    const client = await cluster.client(0)
    await cluster.run(client.set('k', text('v'), { durability: 3 }))
    await cluster.time.advance(600)
    cluster.network.cut('n0', 'n1')
    cluster.network.cut('n0', 'n2')
    await cluster.run(client.delete('k', { durability: 1 }))
    expect(shown(await cluster.run(client.get('k')))).toBe('absent')
    const read = client.get('k', LINEARIZABLE)
    expect(await within(read, 300)).toBe(undefined)
    cluster.network.healAll()
    expect(shown(await cluster.run(read))).toBe('absent')
  })

  it('without a lease needs a quorum that answers after it came', async () => {
    await start()
    const client = await cluster.client(0)
    await cluster.run(client.set('k', text('v'), { durability: 3 }))
    cluster.cut(0, 1)
    cluster.cut(0, 2)
    await cluster.time.advance(950)
    expect(hasLease()).toBe(false)
    const read = client.get('k', LINEARIZABLE)
    expect(await within(read, 100)).toBe(undefined)
    const failed = client.set('k', text('w'), { condition: 'absent', durability: 1 })
    expect(await within(failed, 100)).toBe(undefined)
    // The default read does not wait.
    expect(shown(await cluster.run(client.get('k')))).toBe('v')
    cluster.heal(0, 1)
    expect(shown(await cluster.run(read))).toBe('v')
    expect(written(await cluster.run(failed))).toBe('condition failed')
  })

  it('that can not be confirmed ends in time, and nothing happened', async () => {
    await start()
    const client = await cluster.client(0)
    cluster.cut(0, 1)
    cluster.cut(0, 2)
    await cluster.time.advance(950)
    expect(await within(client.get('k', LINEARIZABLE), 2100)).toBe('TIMEOUT')
  })

  it('is refused by a node out of touch with the voters, unless it may be stale', async () => {
    await start()
    const client = await cluster.client(0)
    await cluster.run(client.set('k', text('v'), { durability: 3 }))
    cluster.cut(0, 1)
    cluster.cut(0, 2)
    await cluster.time.advance(3300)
    expect(shown(await cluster.run(client.get('k')))).toBe('UNAVAILABLE')
    expect(shown(await cluster.run(client.get('k', 0x20)))).toBe('v')
    expect(written(await cluster.run(client.set('k', text('w'), { durability: 1 })))).toBe('UNAVAILABLE')
    cluster.network.healAll()
    await cluster.time.advance(300)
    expect(shown(await cluster.run(client.get('k')))).toBe('v')
  })

  it('at a primary alone in its set counts on the voters', async () => {
    await start({ replicas: 1 })
    const at = cluster.primaryOf()
    const client = await cluster.client(at)
    await cluster.run(client.set('k', text('v')))
    expect(shown(await cluster.run(client.get('k', LINEARIZABLE)))).toBe('v')
    for (const other of [0, 1, 2]) if (other !== at) cluster.cut(at, other)
    await cluster.time.advance(2900)
    expect(hasLease(at)).toBe(false)
    const read = client.get('k', LINEARIZABLE)
    expect(await within(read, 50)).toBe(undefined)
    cluster.network.healAll()
    expect(shown(await cluster.run(read))).toBe('v')
  })

  it.each<[Rule | undefined, boolean]>([
    [undefined, true],
    ['takeover-waits-for-leases', false],
  ])('a new primary waits for the lease of one it can not ask (rule broken: %s)', async (rule, waits) => {
    await start({ ...(rule === undefined ? {} : { brokenRules: new Set([rule]) }) })
    const client = await cluster.client(0)
    await cluster.run(client.set('k', text('v'), { durability: 3 }))
    await cluster.time.advance(600)
    cluster.cut(0, 1)
    cluster.cut(0, 2)
    const fromMs = cluster.time.monotonicMs()
    cluster.fail(cluster.node(0))
    const next = cluster.primaryOf()
    let overlap = false
    while (cluster.replica(next)?.role !== 'primary') {
      await cluster.time.advance(5)
      overlap ||= cluster.replica(next)?.role === 'primary' && hasLease(0)
    }
    const waitedMs = cluster.time.monotonicMs() - fromMs
    expect(waitedMs > 700).toBe(waits)
    expect(waitedMs).toBeLessThan(1100)
    expect(overlap).toBe(!waits)
  })

  it('a new primary waits for nobody when the old one is proven dead', async () => {
    await start()
    await cluster.time.advance(600)
    const dead = cluster.crash(0)
    const fromMs = cluster.time.monotonicMs()
    cluster.fail(dead as NonNullable<typeof dead>)
    const next = cluster.primaryOf()
    await cluster.waitFor(() => cluster.replica(next)?.role === 'primary')
    expect(cluster.time.monotonicMs() - fromMs).toBeLessThan(60)
  })

  it('after a jump of the wall clock no grant from before counts', async () => {
    await start()
    await cluster.time.advance(600)
    expect(hasLease()).toBe(true)
    cluster.hosts[0]?.jumpWallClock(2000)
    expect(hasLease()).toBe(false)
    await cluster.time.advance(600)
    expect(hasLease()).toBe(true)
  })
})
