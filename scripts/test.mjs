/**
 * `npm test`: prepares the checkout, then runs the tests. Arguments go to vitest
 * (`npm test -- test/unit/kernel`, `npm test -- --project simulation`).
 */

import { spawnSync } from 'node:child_process'
import path from 'node:path'
import { prepare, root, runScript } from './prepare.mjs'

const PROJECTS = ['unit', 'contract', 'simulation', 'integration']

/** Runs vitest once and returns its exit code. */
export function runTests(projects, args) {
  const vitest = path.join(root, 'node_modules', 'vitest', 'vitest.mjs')
  const selection = projects.flatMap((project) => ['--project', project])
  const result = spawnSync(process.execPath, [vitest, 'run', ...selection, ...args], {
    cwd: root,
    stdio: 'inherit',
  })
  return result.status ?? 1
}

if (
  process.argv[1] !== undefined &&
  path.resolve(process.argv[1]) === path.join(root, 'scripts', 'test.mjs')
) {
  runScript(() => {
    prepare()
    const args = process.argv.slice(2)
    const chosen = args.some((arg) => arg === '--project' || arg.startsWith('--project='))
    process.exitCode = runTests(chosen ? [] : PROJECTS, args)
  })
}
