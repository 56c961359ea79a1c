/**
 * Replication alone under faults, over a register that is one record: what must always hold does after every event, what
 * clients were told is linearizable, and everything is whole again in the end. With a rule broken that shows.
 */

import { describe, expect, it } from 'vitest'
import type { Rule } from '../../src/kernel/rule-switch.ts'
import { runReplicas } from '../support/replicas/run.ts'

const SEEDS = Array.from({ length: 24 }, (_, i) => i + 1)

/** Rules whose breaking a few runs show; test/unit/replication/broken-rules.simulated.test.ts has schedules for others. */
const SHOWN: readonly Rule[] = [
  'takeover-longest-log',
  'takeover-waits-for-leases',
  'set-majority',
  'lease-needs-grants',
  'retry-waits-for-commit',
]
const TRIES = 40

describe('replicas under faults', () => {
  it('keep what they acknowledged, one primary at a time, and become whole again', async () => {
    let takeovers = 0
    let synced = 0
    for (const seed of SEEDS) {
      const report = await runReplicas(seed)
      expect(report.violations, `seed ${seed}`).toEqual([])
      takeovers += report.takeovers
      synced += report.synced
    }
    // Else nothing was tried.
    expect(takeovers).toBeGreaterThan(SEEDS.length)
    expect(synced).toBeGreaterThan(SEEDS.length)
  })

  it.each(SHOWN)('show that %s is broken', async (rule) => {
    const brokenRules = new Set<Rule>([rule])
    for (let seed = 1; seed <= TRIES; seed++) {
      const { violations } = await runReplicas(seed, { brokenRules })
      if (violations.length > 0) return
    }
    throw new Error(`${TRIES} runs did not notice`)
  })
})
