/** What operators see and change, over a cluster reduced to its record. */

import { describe, expect, it } from 'vitest'
import { AdminService } from '../../../src/node/admin/admin-service.ts'
import { heirOf } from '../../../src/node/driver-duties.ts'
import { Memories } from '../../../src/node/memories.ts'
import { VirtualTime } from '../../../src/testing/virtual-time.ts'
import type { Topology } from '../../../src/topology/topology.ts'
import { isUp } from '../../../src/topology/topology.ts'
import type { Transform } from '../../../src/topology/transforms.ts'
import type { AdminApi, RebalanceAction, RebalanceReply } from '../../../src/wire/admin.ts'
import { RebalanceCluster } from '../../support/rebalance-cluster.ts'

class Desk {
  readonly cluster: RebalanceCluster
  readonly service: AdminApi
  /** Runs before what is proposed is committed: another change gets in between. */
  before: (() => void) | undefined
  proposals = 0

  constructor(nodes: number, partitions = 60) {
    this.cluster = new RebalanceCluster({ nodes, partitions })
    const time = new VirtualTime()
    this.service = new AdminService({
      control: {
        topology: () => this.cluster.topology,
        propose: async (transforms: readonly Transform[]) => {
          this.proposals++
          this.before?.()
          this.cluster.commit(...transforms)
        },
        heirOf: (topology: Topology, partition: number, primaries: readonly number[]) =>
          heirOf(topology, partition, primaries, new Memories()),
        members: () =>
          this.cluster.topology.nodes.map(({ nodeId, incarnation, address, state }) => {
            const liveness = isUp(state) ? 'alive' : 'dead'
            return { nodeId, incarnation, address, liveness, proven: false, sinceMs: 0 }
          }),
      },
      nodeId: 'n0',
      clock: time,
      scheduler: time,
      jobs: undefined as never,
      observability: undefined as never,
    })
  }

  rebalance(action: RebalanceAction, includeDrained = false): Promise<RebalanceReply> {
    return this.service.rebalance({ action, includeDrained })
  }

  async reasons(): Promise<readonly string[]> {
    return (await this.service.clusterSafe({})).reasons
  }
}

const leave = (nodeId: string, more: { undo?: boolean; force?: boolean } = {}) => {
  return { nodeId, undo: false, force: false, ...more }
}

describe('a cluster', () => {
  it('is safe when it stands, and not while a node is away or is being brought up', async () => {
    const desk = new Desk(4)
    expect(await desk.service.clusterSafe({})).toEqual({ safe: true, reasons: [] })
    expect(await desk.service.clusterCheck({})).toEqual({ safe: true, findings: [] })
    desk.cluster.fail('n1')
    expect((await desk.reasons()).join()).toMatch(/failed: n1/)
    desk.cluster.run(2000)
    expect((await desk.reasons()).join()).toMatch(/\d+ of 60 partitions do not have all their copies/)
    desk.cluster.restart('n1')
    desk.cluster.stalled = true
    desk.cluster.run(1000)
    expect((await desk.reasons()).join()).toMatch(/30 of 60 partitions are being copied/)
    desk.cluster.stalled = false
    desk.cluster.run()
    expect(await desk.reasons()).toEqual([])
  })

  it('is not safe before a change is settled', async () => {
    const desk = new Desk(3)
    const [first] = desk.cluster.topology.partitions
    const to = first?.inSync[1] as number
    desk.cluster.commit({
      kind: 'PrimaryMoved',
      moves: [{ partition: 0, partitionEpoch: first?.partitionEpoch as never, node: to }],
    })
    expect(await desk.reasons()).toEqual(['1 of 60 partitions are settling after a change'])
  })

  it.each([
    [1, 'a cluster of one node can not fail over'],
    [2, 'two nodes can not fail over'],
  ])('of %i nodes is never safe', async (nodes, said) => {
    expect((await new Desk(nodes).reasons()).join()).toContain(said)
  })

  it('tells what is lost, and lets it start over when told to', async () => {
    const desk = new Desk(5)
    desk.cluster.fail('n1')
    desk.cluster.fail('n2')
    const { findings } = await desk.service.clusterCheck({})
    expect(findings[0]).toMatchObject({ severity: 'critical', code: 'partitions-lost' })
    const status = await desk.service.status({})
    expect(status).toMatchObject({ nodes: 5, nodesUp: 3, partitions: 60, safe: false })
    const { partitions } = await desk.service.recover({})
    expect(partitions).toBe(findings[0]?.count)
    expect((await desk.service.status({})).partitionsBlocked).toBe(0)
  })
})

describe('a node', () => {
  it('is drained, and taken back', async () => {
    const desk = new Desk(4)
    expect((await desk.service.drainNode(leave('n3'))).node).toMatchObject({ drained: true, state: 'active' })
    desk.cluster.run()
    expect((await desk.service.getNode({ nodeId: 'n3' })).node).toMatchObject({ primaries: 0, backups: 0 })
    expect(await desk.reasons()).toEqual([])
    const before = desk.proposals
    await desk.service.drainNode(leave('n3'))
    expect(desk.proposals).toBe(before)
    await desk.service.drainNode(leave('n3', { undo: true }))
    desk.cluster.run()
    expect((await desk.service.getNode({ nodeId: 'n3' })).node.backups).toBeGreaterThan(20)
  })

  it('is decommissioned once its data is elsewhere, unless that is taken back', async () => {
    const desk = new Desk(4)
    const reply = await desk.service.decommissionNode(leave('n3'))
    expect(reply.node).toMatchObject({ state: 'leaving', drained: true })
    await desk.service.decommissionNode(leave('n3', { undo: true }))
    desk.cluster.run()
    expect(desk.cluster.held('n3')).toBeGreaterThan(40)
    await desk.service.decommissionNode(leave('n3'))
    desk.cluster.run()
    expect((await desk.service.listNodes({})).nodes.map(({ nodeId }) => nodeId)).toEqual(['n0', 'n1', 'n2'])
    await expect(desk.service.getNode({ nodeId: 'n3' })).rejects.toThrow(
      'there is no node n3; there are n0, n1, n2',
    )
  })

  it('is not taken out where the others can not hold all copies, unless forced', async () => {
    const desk = new Desk(3)
    await expect(desk.service.drainNode(leave('n1'))).rejects.toThrow('2 nodes for 3 copies')
    await expect(desk.service.decommissionNode(leave('n1'))).rejects.toThrow('2 nodes for 3 copies')
    await desk.service.decommissionNode(leave('n1', { force: true }))
    desk.cluster.run()
    // It still votes: who votes is not the ring's business.
    expect(desk.cluster.held('n1')).toBe(0)
  })

  it('is given up when it failed, not before', async () => {
    const desk = new Desk(4)
    await expect(desk.service.removeNode({ nodeId: 'n1' })).rejects.toThrow('node decommission n1')
    desk.cluster.fail('n1')
    await expect(desk.service.decommissionNode(leave('n1'))).rejects.toThrow('node remove n1')
    await desk.service.removeNode({ nodeId: 'n1' })
    desk.cluster.run()
    expect(desk.cluster.topology.ring.nodes).toHaveLength(3)
    expect(desk.cluster.isDone).toBe(true)
  })
})

describe('a rebalance', () => {
  it('is planned, paused, resumed and cancelled', async () => {
    const desk = new Desk(3)
    desk.cluster.join('n3')
    const plan = await desk.rebalance('DRY_RUN')
    expect(plan.copiesToMove).toBeGreaterThan(40)
    expect(plan.loads.find(({ nodeId }) => nodeId === 'n3')).toMatchObject({ copies: 0 })
    expect(desk.proposals).toBe(0)
    await desk.rebalance('START')
    desk.cluster.run(500)
    expect((await desk.rebalance('PAUSE')).progress.state).toBe('paused')
    expect((await desk.rebalance('SHOW')).progress.copiesTotal).toBe(plan.copiesToMove)
    expect((await desk.rebalance('RESUME')).progress.state).toBe('running')
    await desk.rebalance('CANCEL')
    desk.cluster.run()
    expect(desk.cluster.held('n3')).toBe(0)
    // What was cancelled stays so until it is asked for again.
    await desk.rebalance('START')
    desk.cluster.run()
    expect(desk.cluster.held('n3')).toBe(0)
    await desk.rebalance('START', true)
    desk.cluster.run()
    expect(desk.cluster.held('n3')).toBe(plan.copiesToMove)
  })

  it('that never was can not be cancelled', async () => {
    await expect(new Desk(3).rebalance('CANCEL')).rejects.toThrow('no rebalance to cancel')
  })
})

describe('a region', () => {
  const settings = { ttlMs: 60_000, durability: 'all' }

  it('is created, altered and dropped', async () => {
    const { service } = new Desk(3)
    const { region } = await service.createRegion({ name: 'sessions', group: '', settings })
    expect(region).toMatchObject({ name: 'sessions', ttlMs: 60_000, durability: 'all', read: 'primary' })
    const altered = await service.alterRegion({ name: 'sessions', settings: { read: 'nearest' } })
    expect(altered.region).toEqual({ ...region, read: 'nearest' })
    expect((await service.listRegions({})).regions).toEqual([altered.region])
    await service.dropRegion({ name: 'sessions' })
    expect((await service.listRegions({})).regions).toEqual([])
  })

  it.each<[string, (service: AdminApi) => Promise<unknown>, string]>([
    ['a name', (s) => s.createRegion({ name: 'a b', group: '', settings: null }), '1 to 64 letters'],
    ['a group', (s) => s.createRegion({ name: 'a', group: 'x', settings: null }), 'no group x'],
    ['a setting', (s) => s.createRegion({ name: 'a', group: '', settings: { read: 'x' } }), 'use primary'],
    ['a figure', (s) => s.createRegion({ name: 'a', group: '', settings: { ttlMs: -1 } }), 'ttlMs is -1'],
    ['an unknown one', (s) => s.alterRegion({ name: 'a', settings: null }), 'no region a'],
    ['default', (s) => s.dropRegion({ name: 'default' }), 'is always there'],
  ])('is refused for %s that is wrong', async (_, call, said) => {
    await expect(call(new Desk(3).service)).rejects.toThrow(said)
  })
})

describe('a change', () => {
  it('that another one overtakes is made again', async () => {
    const desk = new Desk(4)
    desk.before = () => {
      desk.before = undefined
      desk.cluster.join('n4')
      desk.cluster.run(2000)
    }
    await desk.service.drainNode(leave('n3'))
    expect(desk.proposals).toBe(2)
    expect(desk.cluster.topology.ring.nodes.map(({ weight }) => weight)).toEqual([1, 1, 1, 0, 1])
  })

  it('that is overtaken again and again is given up', async () => {
    const desk = new Desk(4)
    let flip = false
    desk.before = () => {
      flip = !flip
      const { nodes } = desk.cluster.topology.ring
      const changed = nodes.map((node) => (node.nodeId === 'n0' ? { ...node, weight: flip ? 2 : 1 } : node))
      desk.cluster.commit({ kind: 'RingChanged', expected: nodes, nodes: changed })
    }
    await expect(desk.service.drainNode(leave('n3'))).rejects.toThrow('try once more')
  })
})
