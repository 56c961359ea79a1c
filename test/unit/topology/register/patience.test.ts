import { describe, expect, it } from 'vitest'
import { canWait, pauseMs } from '../../../../src/topology/register/patience.ts'
import type { Transform } from '../../../../src/topology/transforms.ts'
import { makeTopology } from '../../../support/topologies.ts'

describe('patience', () => {
  it('lets steps of moves wait, and nothing that an outage ends by', () => {
    const steps: Transform[] = [
      { kind: 'LearnerAdded', learners: [] },
      { kind: 'LearnerPromoted', learners: [] },
      { kind: 'ReplicaRemoved', replicas: [] },
      { kind: 'Settled', partitions: [] },
    ]
    for (const step of steps) expect(canWait(step)).toBe(true)
    const urgent: Transform[] = [
      { kind: 'PrimaryMoved', moves: [] },
      { kind: 'InSyncShrunk', members: [] },
      { kind: 'Recovered', partitions: [] },
    ]
    for (const change of urgent) expect(canWait(change)).toBe(false)
  })

  it('grows with the record, up to less than what is proposed again after', () => {
    const few = pauseMs(makeTopology({ nodes: 3, partitions: 8 }))
    const many = pauseMs(makeTopology({ nodes: 3, partitions: 4096 }))
    expect(few).toBeLessThan(10)
    expect(many).toBeGreaterThan(few)
    expect(many).toBeLessThan(500)
  })
})
