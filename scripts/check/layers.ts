/**
 * Runs dependency-cruiser over the tree with the rules of .dependency-cruiser.cjs, and distrusts it: a cruise that saw
 * fewer modules than src has files (as happens under a TypeScript it can't load) counts as a failure, not as "no
 * violations".
 */

import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

export interface LayerReport {
  /** One line per violation, `rule: from → to`. */
  readonly violations: readonly string[]
  /** Modules of src that were looked at. */
  readonly modulesCruised: number
  /** TypeScript files that src holds. */
  readonly modulesExpected: number
}

interface CruiseResult {
  readonly modules: readonly { readonly source: string }[]
  readonly summary: {
    readonly violations: readonly {
      readonly from: string
      readonly to: string
      readonly rule: { readonly name: string }
    }[]
  }
}

const TREES = ['src', 'test', 'bench', 'scripts', 'examples']
const OUTPUT_BYTES_MAX = 256 * 1024 * 1024

/** Cruises the project in `root`, which holds .dependency-cruiser.cjs, tsconfig.json and node_modules. */
export function checkLayers(root: string): LayerReport {
  const cruiser = join(root, 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs')
  const trees = TREES.filter((tree) => existsSync(join(root, tree)))
  // The json reporter exits with 0 whatever it finds, so that a failure to run at all is an exception here.
  const output = execFileSync(process.execPath, [cruiser, '--output-type', 'json', ...trees], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: OUTPUT_BYTES_MAX,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const result = JSON.parse(output) as CruiseResult
  return {
    violations: result.summary.violations.map(({ rule, from, to }) => `${rule.name}: ${from} → ${to}`),
    modulesCruised: result.modules.filter(({ source }) => source.startsWith('src/')).length,
    modulesExpected: readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' }).filter((path) =>
      path.endsWith('.ts'),
    ).length,
  }
}

/** What is wrong, one line each. */
export function layerProblems(report: LayerReport): string[] {
  const problems = [...report.violations]
  if (report.modulesExpected === 0) problems.push('src holds no TypeScript file')
  if (report.modulesCruised < report.modulesExpected) {
    problems.push(
      `only ${report.modulesCruised} of the ${report.modulesExpected} modules of src were cruised: ` +
        'does this dependency-cruiser support the installed TypeScript?',
    )
  }
  return problems
}
