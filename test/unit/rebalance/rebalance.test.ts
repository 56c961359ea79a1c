/** Nodes that come, go, fail and return: the table follows the ring, and never has fewer copies than before. */

import { describe, expect, it } from 'vitest'
import { Pace, progressOf } from '../../../src/rebalance/progress.ts'
import { cancelledRing, drainedRing, fullRing, ringChange } from '../../../src/rebalance/ring-change.ts'
import type { RingNode } from '../../../src/topology/topology.ts'
import { RebalanceCluster } from '../../support/rebalance-cluster.ts'

const names = (nodes: readonly RingNode[]): string[] => nodes.map(({ nodeId }) => nodeId)

function setRing(cluster: RebalanceCluster, nodes: readonly RingNode[]): void {
  const change = ringChange(cluster.topology, nodes)
  if (change === undefined) throw new Error('the ring is so already')
  cluster.commit(change)
}

/** Looks at every step that nothing is overdone. */
function watch(cluster: RebalanceCluster, copies: number, movesMax: number): void {
  const step = cluster.step.bind(cluster)
  cluster.step = () => {
    step()
    const incoming = new Map<number, number>()
    for (const { inSync, learners } of cluster.topology.partitions) {
      expect(inSync.length).toBeGreaterThanOrEqual(copies)
      for (const { node } of learners) incoming.set(node, (incoming.get(node) ?? 0) + 1)
    }
    for (const count of incoming.values()) expect(count).toBeLessThanOrEqual(movesMax)
  }
}

describe('a new cluster', () => {
  it('has nothing to do', () => {
    const cluster = new RebalanceCluster({ nodes: 3, partitions: 60 })
    cluster.run(10_000)
    expect(cluster.topology.epoch).toBe(1)
    expect(progressOf(cluster.topology)).toMatchObject({ state: 'idle', copiesTotal: 0, copiesLeft: 0 })
  })
})

describe('nodes that join', () => {
  it('get their share, a few partitions at a time and without a copy less in between', () => {
    const cluster = new RebalanceCluster({ nodes: 3, partitions: 120 })
    watch(cluster, 3, 2)
    cluster.join('n3')
    cluster.step()
    cluster.join('n4')
    cluster.run()
    expect(cluster.isDone).toBe(true)
    // 360 copies over 5 nodes.
    for (const name of ['n0', 'n1', 'n2', 'n3', 'n4'])
      expect(Math.abs(cluster.held(name) - 72)).toBeLessThan(5)
    expect(cluster.copies).toBeLessThanOrEqual(1.1 * 144)
    expect(progressOf(cluster.topology)).toMatchObject({ state: 'idle', copiesLeft: 0, handoversLeft: 0 })
    // Both at once: one change of the ring.
    expect(names(cluster.topology.ring.previous)).toEqual(['n0', 'n1', 'n2'])
  })

  it('get it whoever drives, each for a moment only', () => {
    const cluster = new RebalanceCluster({ nodes: 3, partitions: 40 }, { joinSettleMs: 0 })
    watch(cluster, 3, 2)
    cluster.join('n3')
    for (let i = 0; i < 300; i++) {
      cluster.replaceDriver()
      cluster.step()
    }
    expect(cluster.isDone).toBe(true)
    expect(cluster.held('n3')).toBeGreaterThan(25)
  })

  it('wait while the rebalance is paused, and what is cancelled goes back to what it was', () => {
    const cluster = new RebalanceCluster({ nodes: 3, partitions: 120 })
    const before = cluster.topology.partitions.map(({ inSync }) => [...inSync].sort())
    cluster.join('n3')
    cluster.run(2500)
    const held = cluster.held('n3')
    expect(held).toBeGreaterThan(5)
    expect(progressOf(cluster.topology)).toMatchObject({ state: 'running', copiesTotal: expect.any(Number) })
    cluster.commit({ kind: 'RingPaused', paused: true })
    cluster.run(5000)
    expect(cluster.held('n3') - held).toBeLessThanOrEqual(2)
    expect(progressOf(cluster.topology).state).toBe('paused')
    cluster.commit({ kind: 'RingPaused', paused: false })
    setRing(cluster, cancelledRing(cluster.topology))
    watch(cluster, 3, 2)
    cluster.run()
    expect(cluster.held('n3')).toBe(0)
    expect(cluster.isDone).toBe(true)
    expect(cluster.topology.partitions.map(({ inSync }) => [...inSync].sort())).toEqual(before)
    // It holds nothing until it is taken back.
    setRing(cluster, fullRing(cluster.topology, 'take back'))
    cluster.run()
    expect(cluster.held('n3')).toBeGreaterThan(80)
  })
})

describe('a node that leaves', () => {
  it('is emptied first, and then is a member no more', () => {
    const cluster = new RebalanceCluster({ nodes: 5, partitions: 60 })
    watch(cluster, 3, 2)
    cluster.commit({ kind: 'NodeLeaving', process: cluster.process('n4'), leaving: true })
    cluster.run()
    expect(cluster.topology.nodes[4]?.state).toBe('gone')
    expect(names(cluster.topology.ring.nodes)).toEqual(['n0', 'n1', 'n2', 'n3'])
    expect(cluster.isDone).toBe(true)
  })

  it('stays a member without data when it is drained, until it is taken back', () => {
    const cluster = new RebalanceCluster({ nodes: 4, partitions: 60 })
    const held = cluster.held('n1')
    setRing(cluster, drainedRing(cluster.topology, cluster.node('n1'), true))
    cluster.run()
    expect([cluster.held('n1'), cluster.node('n1').state, cluster.isDone]).toEqual([0, 'active', true])
    cluster.restart('n1')
    cluster.run()
    expect(cluster.held('n1')).toBe(0)
    setRing(cluster, drainedRing(cluster.topology, cluster.node('n1'), false))
    cluster.run()
    expect(cluster.held('n1')).toBe(held)
  })
})

describe('a node that fails', () => {
  it('is replaced after a while, and gets back what it had when it returns', () => {
    const cluster = new RebalanceCluster({ nodes: 5, partitions: 60 })
    const held = cluster.held('n2')
    cluster.fail('n2')
    cluster.run(29_000)
    expect(names(cluster.topology.ring.nodes)).toContain('n2')
    cluster.run(20_000)
    expect(names(cluster.topology.ring.nodes)).not.toContain('n2')
    expect(cluster.isDone).toBe(true)
    expect(cluster.topology.partitions.every(({ inSync }) => inSync.length === 3)).toBe(true)
    cluster.restart('n2')
    cluster.run()
    expect(cluster.held('n2')).toBe(held)
    expect(cluster.isDone).toBe(true)
  })

  it('that restarts in time is brought up again for what it had', () => {
    const cluster = new RebalanceCluster({ nodes: 4, partitions: 60 })
    const wanted = cluster.topology.ring.placement
    const held = cluster.held('n2')
    cluster.fail('n2')
    cluster.run(5000)
    expect(cluster.topology.partitions.some(({ inSync }) => inSync.length < 3)).toBe(true)
    cluster.restart('n2')
    const tookMs = cluster.run()
    expect(cluster.topology.ring.placement).toBe(wanted)
    expect(cluster.held('n2')).toBe(held)
    expect(cluster.isDone).toBe(true)
    // More at a time than a move.
    expect(tookMs).toBeLessThan(6000)
  })

  it('is waited for twice as long when it fails again soon', () => {
    const cluster = new RebalanceCluster({ nodes: 5, partitions: 30 })
    const replacedAfter = (): number => {
      cluster.fail('n1')
      const startMs = cluster.nowMs
      while (names(cluster.topology.ring.nodes).includes('n1')) cluster.step()
      return cluster.nowMs - startMs
    }
    for (const seconds of [30, 60, 120, 240]) {
      expect(Math.round(replacedAfter() / 1000)).toBe(seconds)
      cluster.back('n1')
      cluster.run()
    }
    cluster.run(700_000)
    expect(Math.round(replacedAfter() / 1000)).toBe(30)
  })

  it('is not replaced where too few are left to hold its copies', () => {
    const cluster = new RebalanceCluster({ nodes: 3, partitions: 30 })
    cluster.fail('n1')
    cluster.run(120_000)
    expect(names(cluster.topology.ring.nodes)).toContain('n1')
  })

  it('while it was being brought up is brought up anew', () => {
    const cluster = new RebalanceCluster({ nodes: 3, partitions: 30 }, { joinSettleMs: 0 })
    cluster.stalled = true
    cluster.join('n3')
    cluster.run(1000)
    expect(progressOf(cluster.topology).copiesRunning).toBe(2)
    cluster.restart('n3')
    expect(progressOf(cluster.topology).copiesRunning).toBe(0)
    cluster.stalled = false
    cluster.run()
    expect(cluster.isDone).toBe(true)
    expect(cluster.held('n3')).toBeGreaterThan(20)
  })
})

describe('a pace', () => {
  it('says how long the rest takes, and begins anew with another rebalance', () => {
    const pace = new Pace()
    for (let s = 0; s <= 10; s++) pace.observe(100 - 5 * s, s * 1000)
    expect(pace.etaMs(10_000)).toBe(10_000)
    pace.observe(200, 11_000)
    expect(pace.etaMs(11_000)).toBeUndefined()
    pace.observe(190, 12_000)
    expect(pace.etaMs(12_000)).toBe(19_000)
  })
})
