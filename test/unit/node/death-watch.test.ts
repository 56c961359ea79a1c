import { describe, expect, it } from 'vitest'
import { DeathWatch } from '../../../src/node/death-watch.ts'
import type { Liveness, LivenessVerdict } from '../../../src/node/liveness.ts'
import type { Transform } from '../../../src/topology/transforms.ts'
import { makeTopology } from '../../support/topologies.ts'

class Verdicts implements Liveness {
  readonly verdicts = new Map<string, LivenessVerdict>()
  readonly proven = new Set<string>()

  verdict(nodeId: string): LivenessVerdict {
    return this.verdicts.get(nodeId) ?? 'alive'
  }

  isProvenDead(nodeId: string): boolean {
    return this.proven.has(nodeId)
  }
}

const failed = (changes: readonly Transform[]): string[] =>
  changes.map((change) => (change.kind === 'NodeFailed' ? change.process.nodeId : change.kind))

describe('deaths worth reporting', () => {
  const topology = makeTopology({ nodes: 3 })

  /** The watch of node n0 after so long in contact. */
  function watching(contactForMs: number): { watch: DeathWatch; liveness: Verdicts; nowMs: number } {
    const liveness = new Verdicts()
    const watch = new DeathWatch(liveness)
    for (let ms = 0; ms <= contactForMs; ms += 100) watch.observe(ms, ms)
    return { watch, liveness, nowMs: contactForMs }
  }

  it('are certain ones and goodbyes, at once', () => {
    const { watch, liveness } = watching(0)
    liveness.verdicts.set('n1', 'dead').set('n2', 'left')
    liveness.proven.add('n1')
    expect(failed(watch.reports(topology, 0, 0))).toEqual(['n1', 'n2'])
  })

  it('are others only after steady contact, and when nothing contradicted for a moment', () => {
    const { watch, liveness, nowMs } = watching(2000)
    liveness.verdicts.set('n1', 'dead')
    expect(watch.reports(topology, 0, nowMs)).toEqual([])
    expect(failed(watch.reports(topology, 0, nowMs + 600))).toEqual(['n1'])
    liveness.verdicts.set('n1', 'alive')
    expect(watch.reports(topology, 0, nowMs + 700)).toEqual([])
    liveness.verdicts.set('n1', 'dead')
    expect(watch.reports(topology, 0, nowMs + 800)).toEqual([])
  })

  it('are not those that a node holds which was cut off, in the moment it is back', () => {
    const { watch, liveness } = watching(2000)
    liveness.verdicts.set('n1', 'dead').set('n2', 'dead')
    // Contact was last proven at 2 s.
    for (let ms = 2000; ms <= 8000; ms += 100) {
      watch.observe(2000, ms)
      if (ms > 4100) expect(watch.reports(topology, 0, ms)).toEqual([])
    }
    watch.observe(8100, 8100)
    expect(watch.reports(topology, 0, 8100)).toEqual([])
    watch.observe(9700, 9700)
    expect(failed(watch.reports(topology, 0, 9700))).toEqual(['n1', 'n2'])
  })

  it('are none to a node that is not up itself, and none of nodes that are failed already', () => {
    const { watch, liveness } = watching(5000)
    liveness.verdicts.set('n1', 'left')
    expect(watch.reports(topology, -1, 5000)).toEqual([])
    const after = {
      ...topology,
      nodes: topology.nodes.map((node, i) => (i === 1 ? { ...node, state: 'failed' as const } : node)),
    }
    expect(watch.reports(after, 0, 5000)).toEqual([])
  })

  it('are made by no voter that holds the process alive', () => {
    const { watch, liveness } = watching(0)
    const [, node] = topology.nodes
    if (node === undefined) throw new Error('no node')
    const change: Transform = { kind: 'NodeFailed', process: node }
    expect(watch.approves(change)).toBe(false)
    liveness.verdicts.set('n1', 'suspect')
    expect(watch.approves(change)).toBe(true)
    expect(watch.approves({ kind: 'RingPaused', paused: true })).toBe(true)
  })
})
