/** The simulation notices broken rules: a few of those that few seeds show. All of them: `npm run simulate -- --mutations`. */

import { describe, expect, it } from 'vitest'
import type { Rule } from '../../src/kernel/rule-switch.ts'
import { simulate } from './harness/simulation.ts'

const SEEDS_MAX = 60
const QUICK: readonly Rule[] = [
  'read-under-lease',
  'takeover-waits-for-leases',
  'read-waits-for-commit',
  'takeover-hears-all',
]

describe('a simulation of nodes that break a rule', () => {
  it.each(QUICK)(
    'shows violations without %s',
    async (rule) => {
      for (let seed = 1; seed <= SEEDS_MAX; seed++) {
        const { violations } = await simulate(seed, { brokenRules: new Set([rule]) })
        if (violations.length > 0) return
      }
      expect.fail(`${SEEDS_MAX} seeds noticed nothing`)
    },
    300_000,
  )
})
