import { describe, expect, it } from 'vitest'
import type { PartitionEpoch } from '../../../../src/kernel/ids.ts'
import { canSpread, pauseMs } from '../../../../src/topology/register/patience.ts'
import type { Transform } from '../../../../src/topology/transforms.ts'
import { makeTopology, withPartition } from '../../../support/topologies.ts'

const AT = { partition: 5, partitionEpoch: 1 as PartitionEpoch }
const NODE_AT = { ...AT, node: 3 }
const STEPS: readonly Transform[] = [
  { kind: 'LearnerAdded', learners: [NODE_AT] },
  { kind: 'ReplicaRemoved', replicas: [NODE_AT] },
  { kind: 'Settled', partitions: [AT] },
]
const HANDOVER: Transform = { kind: 'PrimaryMoved', moves: [NODE_AT] }

describe('patience', () => {
  it('lets steps of moves wait, and nothing that an outage ends by', () => {
    const topology = makeTopology({ nodes: 4, partitions: 1024 })
    for (const step of STEPS) expect(pauseMs(topology, step)).toBeGreaterThan(500)
    const urgent: readonly Transform[] = [
      { kind: 'InSyncShrunk', members: [NODE_AT] },
      { kind: 'Recovered', partitions: [NODE_AT] },
    ]
    for (const change of urgent) {
      expect(pauseMs(topology, change)).toBe(0)
      expect(canSpread(topology, change)).toBe(false)
    }
  })

  it('lets what restores a lost copy wait less', () => {
    const whole = makeTopology({ nodes: 4, partitions: 1024 })
    const lacking = withPartition(whole, 5, { inSync: [0, 1], primary: 0 })
    for (const step of STEPS) {
      expect(pauseMs(lacking, step)).toBeGreaterThan(0)
      expect(pauseMs(lacking, step)).toBeLessThan(pauseMs(whole, step) / 2)
    }
  })

  it('lets handovers wait for each other a moment, and not those of a takeover that can not settle', () => {
    const settled = makeTopology({ nodes: 4, partitions: 1024 })
    expect(pauseMs(settled, HANDOVER)).toBeGreaterThan(0)
    expect(pauseMs(settled, HANDOVER)).toBeLessThan(100)
    const unsettled = withPartition(settled, 5, { unsettled: [{ primary: 0, members: [0, 1] }] })
    expect(pauseMs(unsettled, HANDOVER)).toBe(0)
  })

  it('grows with the record', () => {
    for (const step of STEPS) {
      const few = pauseMs(makeTopology({ nodes: 3, partitions: 8 }), step)
      const many = pauseMs(makeTopology({ nodes: 3, partitions: 4096 }), step)
      expect(few).toBeLessThan(50)
      expect(many).toBeGreaterThan(few)
      expect(many).toBeLessThanOrEqual(5000)
    }
  })
})
