import { describe, expect, it } from 'vitest'
import { SeededRandom } from '../../../../src/kernel/random.ts'
import { applyAll } from '../../../../src/topology/apply-transform.ts'
import { type ProposalEnd, Proposals } from '../../../../src/topology/register/proposals.ts'
import type { Transform } from '../../../../src/topology/transforms.ts'
import { makeTopology } from '../../../support/topologies.ts'

const pause: Transform = { kind: 'RingPaused', paused: true }

describe('proposals', () => {
  it('are sent at once, and again to the next voter while nothing comes of them', () => {
    const proposals = new Proposals(new SeededRandom(1))
    proposals.add(pause, 0)
    proposals.add({ kind: 'RingPaused', paused: true }, 0)
    expect(proposals.size).toBe(1)
    expect([...proposals.due(0)]).toEqual([[0, [pause]]])
    expect([...proposals.due(100)]).toEqual([])
    expect([...proposals.due(310)]).toEqual([[1, [pause]]])
    expect([...proposals.due(310 + 610)]).toEqual([[2, [pause]]])
  })

  it('wait longer before they ask the next voter when they can', () => {
    const proposals = new Proposals(new SeededRandom(1))
    proposals.add(pause, 0, undefined, 400)
    expect([...proposals.due(0)]).toEqual([[0, [pause]]])
    expect([...proposals.due(540)]).toEqual([])
    expect([...proposals.due(710)]).toEqual([[1, [pause]]])
  })

  it('end when they are committed, refused by the topology, unwanted, or too old', () => {
    const topology = makeTopology({ nodes: 3 })
    const next = applyAll(topology, [pause]).topology
    const ends: ProposalEnd[] = []
    const proposals = new Proposals(new SeededRandom(1))
    const add = (nowMs = 0): void => {
      proposals.add(pause, nowMs, (end) => ends.push(end))
    }
    add()
    proposals.adopted(topology, [])
    expect(ends).toEqual([])
    proposals.adopted(next, [pause])
    add()
    // Somebody else did it, in a commit this node did not see.
    proposals.adopted(next, undefined)
    add()
    proposals.drop((change) => change.kind === 'RingPaused')
    add(1000)
    proposals.due(16_000)
    expect(ends.map(({ kind }) => kind)).toEqual(['committed', 'refused', 'refused', 'expired'])
    expect(proposals.size).toBe(0)
  })

  it('are bounded', () => {
    const proposals = new Proposals(new SeededRandom(1))
    let taken = 0
    for (let regionId = 0; regionId < 5000; regionId++)
      if (proposals.add({ kind: 'RegionDropped', regionId }, 0)) taken++
    expect(taken).toBe(4096)
  })
})
