/** A process of `npm run simulate`: runs the seeds it is sent and answers with what came of them. */

import { RULES, type Rule } from '../src/kernel/rule-switch.ts'
import { addCoverage, type Coverage, noCoverage } from '../test/simulation/harness/coverage.ts'
import type { ScenarioLimits } from '../test/simulation/harness/scenario.ts'
import { simulate } from '../test/simulation/harness/simulation.ts'

export interface SeedTask {
  readonly seeds: readonly number[]
  readonly limits: ScenarioLimits
  /** A rule that the nodes break. */
  readonly broken?: Rule
}

export interface SeedAnswer {
  readonly failures: readonly { readonly seed: number; readonly violations: readonly string[] }[]
  readonly coverage: Coverage
  readonly errors: readonly (readonly [string, number])[]
}

// Errors are the daily bread of a simulation, and nobody reads where they came from.
Error.stackTraceLimit = 0

async function run({ seeds, limits, broken }: SeedTask): Promise<SeedAnswer> {
  const coverage = noCoverage()
  const errors = new Map<string, number>()
  const failures: { seed: number; violations: readonly string[] }[] = []
  for (const seed of seeds) {
    const report = await simulate(seed, {
      limits,
      ...(broken === undefined ? {} : { brokenRules: new Set([broken]) }),
    })
    addCoverage(coverage, report.coverage)
    for (const [code, count] of report.errors) errors.set(code, (errors.get(code) ?? 0) + count)
    if (report.violations.length === 0) continue
    failures.push({ seed, violations: report.violations })
    // A broken rule is caught: the other seeds need not run.
    if (broken !== undefined) break
  }
  return { failures, coverage, errors: [...errors] }
}

process.on('message', (task: SeedTask) => {
  if (task.broken !== undefined && !RULES.includes(task.broken)) throw new Error(`no rule ${task.broken}`)
  void run(task).then((answer) => process.send?.(answer))
})
