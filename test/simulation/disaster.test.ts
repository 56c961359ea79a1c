import { expect, it } from 'vitest'
import { disaster } from './harness/disaster.ts'

it('a cluster that ends as a whole, again and again, comes back with what its snapshots held and nothing else', async () => {
  let found = 0
  let rolledBack = 0
  let verified = 0
  for (let seed = 1; seed <= 6; seed++) {
    const report = await disaster(seed)
    expect(report.violations, `seed ${seed}`).toEqual([])
    found += report.found
    rolledBack += report.rolledBack
    verified += report.verified
  }
  expect(found).toBeGreaterThan(200)
  expect(rolledBack).toBeGreaterThan(50)
  expect(verified).toBeGreaterThan(10)
}, 120_000)
