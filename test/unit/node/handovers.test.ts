/** When a primary hands over what the ring wants led elsewhere. */

import { expect, it } from 'vitest'
import { Handovers } from '../../../src/node/handovers.ts'
import { VirtualTime } from '../../../src/testing/virtual-time.ts'
import { applyAll } from '../../../src/topology/apply-transform.ts'
import { wantedPlacement } from '../../../src/topology/placement.ts'
import type { PartitionRecord, Topology } from '../../../src/topology/topology.ts'
import { makeTopology, withPartition } from '../../support/topologies.ts'

/** Node 0 leads all sixty partitions; the ring wants each node to lead twenty. */
const LED_BY_ONE: Topology = (() => {
  const topology = makeTopology({ nodes: 3, partitions: 60 })
  return {
    ...topology,
    partitions: topology.partitions.map((one) => ({ ...one, primary: 0, inSync: [0, 1, 2] })),
  }
})()

async function run(
  start: Topology,
  forMs: number,
  self = 0,
): Promise<{ moved: number[]; topology: Topology; most: number }> {
  const time = new VirtualTime()
  const moved: number[] = []
  let topology = start
  let most = 0
  let now = 0
  const handovers = new Handovers({
    scheduler: time,
    topology: () => topology,
    self: () => self,
    move(partition, node) {
      now++
      moved.push(partition)
      const { partitionEpoch } = topology.partitions[partition] as PartitionRecord
      time.after(20, () => {
        const move = { partition, partitionEpoch, node }
        topology = applyAll(topology, [{ kind: 'PrimaryMoved', moves: [move] }]).topology
      })
      return true
    },
  })
  for (let atMs = 0; atMs < forMs; atMs += 100) {
    now = 0
    await time.advance(100)
    most = Math.max(most, now)
  }
  handovers.close()
  return { moved, topology, most }
}

it('hands over a few at a time until the ring has what it wants', async () => {
  const { moved, topology, most } = await run(LED_BY_ONE, 12_000)
  expect(new Set(moved).size).toBe(40)
  expect(most).toBe(32)
  expect(topology.partitions.map(({ primary }) => primary)).toEqual(
    wantedPlacement(topology).map(([first]) => first),
  )
})

it('waits while copies are being made, but not for ever', async () => {
  const lacking = withPartition(LED_BY_ONE, 11, { inSync: [0, 1] })
  expect((await run(lacking, 29_000)).moved).toEqual([])
  const late = await run(lacking, 60_000)
  expect(late.moved.length).toBeGreaterThan(5)
  expect(late.most).toBe(1)
})

it('hands over nothing where it leads nothing, or has no role', async () => {
  expect((await run(LED_BY_ONE, 5000, 1)).moved).toEqual([])
  expect((await run(LED_BY_ONE, 5000, -1)).moved).toEqual([])
})
