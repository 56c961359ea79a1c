import { describe, expect, it } from 'vitest'
import { encodeTopology } from '../../../../src/topology/codec.ts'
import { Chain } from '../../../../src/topology/register/chain.ts'
import { draftValue } from '../../../../src/topology/register/value.ts'
import type { Topology } from '../../../../src/topology/topology.ts'
import { makeTopology } from '../../../support/topologies.ts'

/** The value that follows on what a chain knows. */
function following(chain: Chain, paused: boolean): Uint8Array {
  const { value } = draftValue(chain.topology as Topology, [{ kind: 'RingPaused', paused }])
  if (value === undefined) throw new Error('nothing applies')
  return value
}

function started(): Chain {
  const chain = new Chain()
  chain.replace(makeTopology({ nodes: 3 }))
  return chain
}

describe('the chain of topologies', () => {
  it('leads all nodes to the same record, by values or as a whole', () => {
    const [proposer, learner, late] = [started(), started(), started()]
    for (let epoch = 2; epoch < 10; epoch++) {
      const value = following(proposer, epoch % 2 === 0)
      expect(proposer.learn(epoch, value)).toBe('learned')
      expect(learner.learn(epoch, value)).toBe('learned')
      expect(learner.learn(epoch, value)).toBe('known')
    }
    expect(learner.hash).toBe(proposer.hash)
    expect(learner.encoded).toEqual(proposer.encoded)
    expect(late.learn(9, new Uint8Array(0))).toBe('gap')
    for (const { slot, value } of proposer.since(1) ?? []) expect(late.learn(slot, value)).toBe('learned')
    expect(late.hash).toBe(proposer.hash)
    const whole = new Chain()
    expect(whole.replace(proposer.topology as Topology)).toBe(true)
    expect(whole.hash).toBe(proposer.hash)
    expect(whole.since(3)).toBeUndefined()
  })

  it('notices a value that leads elsewhere than at its proposer, and stays where it is', () => {
    const chain = started()
    const other = new Chain()
    const topology = makeTopology({ nodes: 3 })
    other.replace({ ...topology, clusterName: 'another' })
    expect(chain.learn(2, following(other, true))).toBe('contradiction')
    expect(chain.epoch).toBe(1)
    expect(chain.encoded).toEqual(encodeTopology(topology, 'node'))
  })
})
