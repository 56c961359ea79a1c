import { describe, expect, it } from 'vitest'
import { applyAll } from '../../../src/topology/apply-transform.ts'
import type { NodeRecord, Topology } from '../../../src/topology/topology.ts'
import { nextVoterChange, votersWanted } from '../../../src/topology/voters.ts'
import { makeTopology, nodeNamed } from '../../support/topologies.ts'

const never = (): boolean => false
const always = (): boolean => true

const names = (topology: Topology): string[] => topology.voters.map(({ nodeId }) => nodeId).sort()

function withNodes(topology: Topology, change: (node: NodeRecord, i: number) => NodeRecord): Topology {
  return { ...topology, nodes: topology.nodes.map(change) }
}

/** Makes one change after the other until there is none to make. */
function settled(topology: Topology, replaceable = never): { topology: Topology; steps: number } {
  let at = topology
  for (let steps = 0; steps < 10; steps++) {
    const change = nextVoterChange(at, replaceable)
    if (change === undefined) return { topology: at, steps }
    const next = applyAll(at, [change])
    expect(next.refused).toEqual([undefined])
    at = next.topology
  }
  throw new Error('voters never settle')
}

describe('voters', () => {
  it('are as many as nodes up to three, and five from five nodes on, in as many zones as possible', () => {
    const nodes = Array.from({ length: 7 }, (_, i) => nodeNamed(`n${i}`, `i${i}`, `z${Math.floor(i / 2)}`))
    expect([1, 2, 3, 4, 5, 7].map((count) => votersWanted(nodes.slice(0, count)).length)).toEqual([
      1, 2, 3, 3, 5, 5,
    ])
    expect(
      votersWanted(nodes.slice(0, 6))
        .slice(0, 3)
        .map(({ zone }) => zone),
    ).toEqual(['z0', 'z1', 'z2'])
  })

  it('become five when a fifth node joins, one in each epoch', () => {
    const { topology, steps } = settled(makeTopology({ nodes: 5 }))
    expect(names(topology)).toEqual(['n0', 'n1', 'n2', 'n3', 'n4'])
    expect(steps).toBe(2)
  })

  it('do not change while one is away that may come back, and do when it stays away', () => {
    const away = withNodes(makeTopology({ nodes: 4 }), (node, i) =>
      i === 1 ? { ...node, state: 'failed' } : node,
    )
    expect(nextVoterChange(away, never)).toBeUndefined()
    const { topology } = settled(away, always)
    expect(names(topology)).toEqual(['n0', 'n2', 'n3'])
  })

  it('lose the one whose disk is gone before the node votes with its new one', () => {
    const before = makeTopology({ nodes: 3 })
    const anew = withNodes(before, (node, i) => (i === 1 ? { ...node, diskId: 'another' } : node))
    expect(nextVoterChange(anew, never)).toMatchObject({ kind: 'VoterRemoved', diskId: 'disk-n1' })
    const { topology, steps } = settled(anew)
    expect(steps).toBe(2)
    expect(topology.voters.find(({ nodeId }) => nodeId === 'n1')?.diskId).toBe('another')
  })

  it('are never taken away where those left could decide nothing', () => {
    // Two of three have lost their disks: the third alone is no majority of two.
    const lost = withNodes(makeTopology({ nodes: 3 }), (node, i) =>
      i > 0 ? { ...node, state: 'gone' } : node,
    )
    expect(nextVoterChange(lost, always)).toBeUndefined()
  })

  it('move from a node that leaves to one that stays', () => {
    const leaving = withNodes(makeTopology({ nodes: 4 }), (node, i) =>
      i === 0 ? { ...node, state: 'leaving' } : node,
    )
    expect(names(settled(leaving).topology)).toEqual(['n1', 'n2', 'n3'])
  })
})
