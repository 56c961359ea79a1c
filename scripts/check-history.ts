/**
 * `npm run check-history -- FILE…`: whether recorded histories (lines of JSON, see src/testing/history.ts) are linearizable.
 * Ends with 0 only if each is.
 */

import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { parseHistory } from '../src/testing/history.ts'
import { checkLinearizability, describeViolation } from '../src/testing/linearizability.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { steps: { type: 'string', default: '2000000' } },
})

if (positionals.length === 0) {
  console.error('name the files to check: npm run check-history -- history.jsonl')
  process.exitCode = 2
}
for (const file of positionals) {
  const report = checkLinearizability(parseHistory(readFileSync(file, 'utf8')), {
    stepsMax: Number(values.steps),
  })
  console.log(
    `${file}: ${report.verdict}; ${report.operations} operations on ${report.keys} keys, ${report.steps} steps`,
  )
  for (const violation of report.violations) console.log(describeViolation(violation))
  for (const key of report.undecided)
    console.log(`key ${JSON.stringify(key)}: not decided in ${values.steps} steps`)
  if (report.verdict !== 'linearizable') process.exitCode = 1
}
