import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Epoch } from '../../../src/kernel/ids.ts'
import { encodeTopology } from '../../../src/topology/codec.ts'
import { NO_JOBS } from '../../../src/topology/jobs.ts'
import { RecordEncoder } from '../../../src/topology/record-encoder.ts'
import type { Topology } from '../../../src/topology/topology.ts'
import { makeTopology, withPartition } from '../../support/topologies.ts'

const JOB = {
  name: 'backup',
  kind: 'backup',
  schedule: '@daily',
  timeZone: 'UTC',
  timeLimitMs: 1000,
  startWithinMs: 1000,
  spec: '{}',
  accountedMs: 1_700_000_000_000,
  busyUntilMs: 0,
  doneCount: 0,
  failedCount: 0,
  missedCount: 0,
}
const PARTITIONS = 24
const FIRST = makeTopology({ nodes: 4, partitions: PARTITIONS })

/** What a commit may do to a record, as far as its bytes are concerned. */
const STEPS: readonly ((topology: Topology, p: number) => Topology)[] = [
  // Of another length in bytes.
  (topology, p) => withPartition(topology, p, { learners: [{ node: 3, session: topology.epoch }] }),
  (topology, p) => withPartition(topology, p, { learners: [] }),
  (topology, p) => withPartition(topology, p, { recoveredAt: topology.partitions[p]?.partitionEpoch ?? 0 }),
  // Everything moves by the length of the name.
  (topology, p) => ({ ...topology, clusterName: 'c'.repeat(p) }),
  (topology) => ({ ...topology, ring: { ...topology.ring, paused: !topology.ring.paused } }),
  (topology, p) => ({ ...topology, partitions: topology.partitions.slice(0, Math.max(1, p)) }),
  (topology) => ({ ...topology, partitions: [...topology.partitions, ...FIRST.partitions].slice(0, 60) }),
  (topology) => ({ ...topology, hashKey: topology.hashKey === undefined ? FIRST.hashKey : undefined }),
  // What follows the partitions.
  (topology, p) => ({ ...topology, jobs: { ...NO_JOBS, jobs: [{ ...JOB, name: 'j'.repeat(p + 1) }] } }),
  (topology) => (topology.jobs === undefined ? topology : { ...topology, jobs: NO_JOBS }),
  () => FIRST,
]

describe('a record encoder', () => {
  it.each(['node', 'client'] as const)('writes for a %s what encodeTopology writes', (audience) => {
    const step = fc.tuple(fc.nat(STEPS.length - 1), fc.nat(PARTITIONS - 1))
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const encoder = new RecordEncoder(audience)
        let topology = FIRST
        for (const [kind, p] of steps) {
          const changed = STEPS[kind]?.(topology, p % topology.partitions.length) ?? topology
          topology = { ...changed, epoch: (topology.epoch + 1) as Epoch }
          expect(encoder.encode(topology)).toEqual(encodeTopology(topology, audience))
        }
      }),
    )
  })

  it('leaves alone the bytes it gave before', () => {
    const encoder = new RecordEncoder('node')
    const first = encoder.encode(FIRST)
    encoder.encode({ ...FIRST, clusterName: 'another' })
    expect(first).toEqual(encodeTopology(FIRST, 'node'))
  })
})
