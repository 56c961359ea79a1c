/** `npm run simulate -- --seeds N [--seed S]`: runs of random seeds; prints each that violates an invariant. */

import { parseArgs } from 'node:util'
import { simulate } from '../test/simulation/harness/simulation.ts'

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '100' },
    seed: { type: 'string' },
    verbose: { type: 'boolean', default: false },
  },
})

const count = values.seed === undefined ? Number(values.seeds) : 1
const first = values.seed === undefined ? Math.floor(Date.now() / 1000) % 1_000_000_000 : Number(values.seed)
let failed = 0
const totals = { operations: 0, unknown: 0, rejected: 0, faults: 0, killed: 0, lagging: 0, retries: 0 }
const startedMs = Date.now()
for (let i = 0; i < count; i++) {
  const seed = first + i
  try {
    const report = await simulate(seed)
    for (const name of Object.keys(totals) as (keyof typeof totals)[]) totals[name] += report[name]
    if (values.verbose || count === 1) console.log(report)
    if (report.violations.length === 0) continue
    console.log(`seed ${seed}: ${report.violations.slice(0, 5).join('; ')}`)
  } catch (error) {
    console.log(`seed ${seed}: ${error instanceof Error ? error.stack : String(error)}`)
  }
  failed++
  console.log(`  replay: npm run simulate -- --seed ${seed}`)
}
console.log(
  `${count - failed} passed, ${failed} failed in ${((Date.now() - startedMs) / 1000).toFixed(1)} s`,
  totals,
)
process.exitCode = failed === 0 ? 0 : 1
