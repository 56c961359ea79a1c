/** What the bench makes of a run: the least that has to move, and the limits that it names as broken. */

import { describe, expect, it } from 'vitest'
import { Holdings } from '../../../bench/rebalance/holdings.ts'
import {
  brokenLimits,
  idealForJoin,
  idealForLeave,
  imbalanceOf,
  type MoveFigures,
  type PhaseFigures,
} from '../../../bench/rebalance/report.ts'
import type { Epoch, RegionId } from '../../../src/kernel/ids.ts'
import type { RegionRecord, Topology } from '../../../src/topology/topology.ts'
import { makeTopology, withPartition } from '../../support/topologies.ts'

const REGION: RegionRecord = {
  ...{ regionId: 0 as RegionId, name: 'default', group: 'default', sizeBytes: 0, maxEntries: 0, ttlMs: 0 },
  ...{ policy: 'lru', durability: 'quorum', read: 'primary', minInSync: 1 },
}

function phase(name: string, p99Us: number, errors = 0): PhaseFigures {
  const rest = { seconds: 1, reads: 1, p50Us: 1, p999Us: 1, maxMs: 1, writeP99Us: 1, lateP99Us: 1 }
  return { name, p99Us, errors, ...rest }
}

const GOOD: MoveFigures = {
  name: 'grow',
  seconds: 1,
  moved: { copies: 110, bytes: 1100 },
  ideal: { copies: 100, bytes: 1000 },
  begunAnew: 0,
  imbalance: { copies: 1.06, primaries: 1.06, bytes: 1.06 },
  loads: [],
  check: 'all is well',
  isWell: true,
}

function broken(phases: readonly PhaseFigures[], move: Partial<MoveFigures> = {}): string[] {
  return brokenLimits(phases, [{ ...GOOD, ...move }], 'before', ['grow'])
}

describe('the rebalance bench', () => {
  it('knows the least that has to move', () => {
    expect(idealForJoin({ copies: 3 * 1024, bytes: 3000 }, 2, 5)).toEqual({ copies: 1228.8, bytes: 1200 })
    const loads = ['a', 'b', 'c'].map((nodeId, i) => ({
      nodeId,
      copies: 10 + i,
      primaries: 1,
      bytes: 100 * i,
    }))
    expect(idealForLeave(loads, ['b', 'c'])).toEqual({ copies: 23, bytes: 300 })
    expect(imbalanceOf(loads)).toEqual({ copies: 12 / 11, primaries: 1, bytes: 2 })
  })

  it('allows three times the p99 of before, or 5 ms, and names everything else', () => {
    expect(broken([phase('before', 1000), phase('start', 90_000), phase('grow', 4999)])).toEqual([])
    expect(broken([phase('before', 3000), phase('grow', 8999)])).toEqual([])
    expect(broken([phase('before', 3000), phase('grow', 9001)])).toHaveLength(1)
    expect(broken([phase('before', 1000), phase('start', 1, 2)])).toEqual(['start: 2 calls failed'])
    expect(broken([], { begunAnew: 1 })).toHaveLength(1)
    expect(broken([], { moved: { copies: 100, bytes: 1101 } })).toHaveLength(1)
    expect(broken([], { imbalance: { copies: 1, primaries: 1.07, bytes: 1 } })).toHaveLength(1)
    expect(broken([], { isWell: false })).toHaveLength(1)
  })

  it('counts each copy that comes to a node once, with the bytes of its partition', () => {
    const first: Topology = { ...makeTopology({ nodes: 4, partitions: 4 }), regions: [REGION] }
    const holdings = new Holdings(first, 1000, 100)
    const held = first.partitions[0]?.inSync ?? []
    const other = [0, 1, 2, 3].find((node) => !held.includes(node)) as number
    const epoch = (first.epoch + 1) as Epoch
    const second = { ...withPartition(first, 0, { inSync: [...held, other] }), epoch }
    holdings.observe(second)
    holdings.observe(second)
    const { copies, bytes } = holdings.moved
    expect(copies).toBe(1)
    expect(bytes).toBeGreaterThan(0.5 * (holdings.totalBytes / 4))
    expect(bytes).toBeLessThan(1.5 * (holdings.totalBytes / 4))
    expect(holdings.loads(second).reduce((sum, load) => sum + load.copies, 0)).toBe(13)
  })
})
