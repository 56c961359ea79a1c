/**
 * `npm run check`: everything that can be said about the code without running it. Each step runs, whatever the ones
 * before it found; the exit code is 1 when any failed. `npm run check -- types layers` runs only those.
 */

import { spawnSync } from 'node:child_process'
import { join, resolve } from 'node:path'
import { docProblems } from './docs.ts'
import { checkLayers, layerProblems } from './layers.ts'
import { lockfileProblems } from './lockfile.ts'

interface Step {
  readonly name: string
  readonly what: string
  /** Whether all is well; prints what is not. */
  run(): boolean
}

const root: string = resolve(import.meta.dirname, '../..')

/** Declarations are made, too, because some mistakes in them are only found then; they go where nobody looks. */
const DECLARATIONS = [
  '--noEmit',
  'false',
  '--emitDeclarationOnly',
  '--outDir',
  'node_modules/.cache/declarations',
]

/** Runs a tool of node_modules by its script; its output goes straight through. */
function tool(script: string, ...args: string[]): boolean {
  const path = join(root, 'node_modules', script)
  return spawnSync(process.execPath, [path, ...args], { cwd: root, stdio: 'inherit' }).status === 0
}

function report(problems: readonly string[]): boolean {
  for (const problem of problems) console.error(`  ${problem}`)
  return problems.length === 0
}

const steps: readonly Step[] = [
  {
    name: 'lint',
    what: 'format and lint rules (biome; `npm run format` mends most)',
    run: () => tool('@biomejs/biome/bin/biome', 'check', '--error-on-warnings', '.'),
  },
  { name: 'types', what: 'types (tsc)', run: () => tool('typescript/bin/tsc', '-p', '.', ...DECLARATIONS) },
  {
    name: 'layers',
    what: 'which layer imports which (dependency-cruiser)',
    run: () => report(layerProblems(checkLayers(root))),
  },
  { name: 'dead', what: 'unused files, exports and packages (knip)', run: () => tool('knip/bin/knip.js') },
  {
    name: 'lockfile',
    what: 'package-lock.json names every package, those of other platforms too',
    run: () => report(lockfileProblems(root)),
  },
  {
    name: 'docs',
    what: 'documents (`npm run docs` writes the generated ones)',
    run: () => report(docProblems(root)),
  },
]

const asked: readonly string[] = process.argv.slice(2)
const unknown = asked.filter((name) => !steps.some((step) => step.name === name))
if (unknown.length > 0) {
  console.error(`unknown: ${unknown.join(', ')}; the steps are ${steps.map(({ name }) => name).join(', ')}`)
  process.exit(1)
}

const failed: string[] = []
for (const step of steps) {
  if (asked.length > 0 && !asked.includes(step.name)) continue
  console.error(`check ${step.name}: ${step.what}`)
  if (!step.run()) failed.push(step.name)
}
console.error(failed.length === 0 ? 'check: all good' : `check: failed in ${failed.join(', ')}`)
process.exitCode = failed.length === 0 ? 0 : 1
