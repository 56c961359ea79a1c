/** Who starts a lost partition over, by what nodes say that their snapshots brought back. */

import { describe, expect, it } from 'vitest'
import { Memories } from '../../../src/node/memories.ts'
import type { NodeState, Topology } from '../../../src/topology/topology.ts'

function topologyOf(...states: NodeState[]): Topology {
  const nodes = states.map((state, i) => ({ nodeId: `node-${i}`, incarnation: `process-${i}`, state }))
  return { nodes } as unknown as Topology // Memories look at nothing else.
}

const all = [0, 1, 2]
const linked = (): boolean => true
const away = (): boolean => false

describe('memories of snapshots', () => {
  it('name those whose log ends last: by epoch, then by sequence', () => {
    const memories = new Memories()
    const topology = topologyOf('active', 'active', 'active')
    memories.heard('node-0', 'process-0', [{ partition: 7, epoch: 2, sequence: 900 }])
    memories.heard('node-1', 'process-1', [{ partition: 7, epoch: 3, sequence: 5 }])
    memories.heard('node-2', 'process-2', [{ partition: 7, epoch: 3, sequence: 4 }])
    expect(memories.newest(topology, 7, all)).toEqual([1])
    expect(memories.newest(topology, 7, [0, 2])).toEqual([2])
    expect(memories.newest(topology, 8, all)).toEqual([])
    memories.heard('node-2', 'process-2', [{ partition: 7, epoch: 3, sequence: 5 }])
    expect(memories.newest(topology, 7, all)).toEqual([1, 2])
  })

  it('count only of the process that the topology names', () => {
    const memories = new Memories()
    memories.heard('node-0', 'an earlier process', [{ partition: 7, epoch: 9, sequence: 9 }])
    expect(memories.newest(topologyOf('active'), 7, [0])).toEqual([])
  })

  it('are waited for, longer from whom a link leads to', () => {
    const memories = new Memories()
    const topology = topologyOf('active', 'active')
    expect(memories.waitMs(topology, away)).toBe(10_000)
    expect(memories.waitMs(topology, linked)).toBe(30_000)
    memories.heard('node-0', 'process-0', [])
    expect(memories.waitMs(topology, linked)).toBe(30_000)
    memories.heard('node-1', 'process-1', [])
    expect(memories.waitMs(topology, linked)).toBe(0)
    expect(memories.waitMs(topologyOf('active', 'active', 'gone'), linked)).toBe(0)
  })

  it('of nodes that are gone are forgotten', () => {
    const memories = new Memories()
    memories.heard('node-0', 'process-0', [{ partition: 7, epoch: 1, sequence: 1 }])
    memories.keep(topologyOf('gone'))
    expect(memories.newest(topologyOf('active'), 7, [0])).toEqual([])
  })
})
