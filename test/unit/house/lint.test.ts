/** The lint rules that keep ambient time and randomness out are in force where they should be, and only there. */

import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const root = resolve(import.meta.dirname, '../../..')

const AMBIENT: readonly string[] = [
  'setTimeout(task, 1)',
  'setInterval(task, 1)',
  'setImmediate(task)',
  'queueMicrotask(task)',
  'globalThis.setTimeout(task, 1)',
  'performance.now()',
  'crypto.randomUUID()',
  'Date.now()',
  'new Date()',
  'Math.random()',
  'process.nextTick(task)',
  'process.hrtime()',
]
const OTHERS: readonly (readonly [rule: string, text: string])[] = [
  ['noDefaultExport', 'export default 1'],
  ['noEnum', 'export enum E {\n  a,\n}'],
  ['noExplicitAny', 'export function f(x: any): void {\n  x()\n}'],
  ['noParameterProperties', 'export class C {\n  constructor(readonly x: number) {}\n}'],
  ['useImportType', "import { Clock } from '../kernel/clock.ts'\nexport type T = Clock"],
  ['noReExportAll', "export * from '../kernel/clock.ts'"],
  ['noFloatingPromises', 'export function f(): void {\n  Promise.resolve(1)\n}'],
  ['noNonNullAssertion', 'export const f = (x: number | undefined): number => x!'],
]

describe('lint', () => {
  let copy: string
  let found: Map<string, string[]>

  beforeAll(() => {
    copy = mkdtempSync(join(tmpdir(), 'ringcache-lint-'))
    const files = new Map<string, string>()
    for (const [index, use] of AMBIENT.entries()) {
      const text = `export function f(task: () => void): unknown {\n  return [task, ${use}]\n}\n`
      files.set(`src/node/ambient-${index}.ts`, text)
      files.set(`src/adapters/ambient-${index}.ts`, text)
      files.set(`src/testing/ambient-${index}.ts`, text)
      files.set(`test/unit/ambient-${index}.ts`, text)
    }
    for (const [rule, text] of OTHERS) files.set(`src/node/other-${rule.toLowerCase()}.ts`, `${text}\n`)
    for (const folder of ['src/engine', 'src/wire']) {
      files.set(`${folder}/assertion.ts`, 'export const f = (x: number | undefined): number => x!\n')
    }
    for (const [file, text] of files) {
      mkdirSync(dirname(join(copy, file)), { recursive: true })
      writeFileSync(join(copy, file), text)
    }
    for (const name of ['biome.jsonc', 'scripts', 'node_modules', 'package.json', 'tsconfig.json']) {
      symlinkSync(join(root, name), join(copy, name))
    }
    const biome = join(root, 'node_modules/@biomejs/biome/bin/biome')
    const args = ['lint', '--vcs-enabled=false', '--reporter=json', '--max-diagnostics=none', 'src', 'test']
    const result = spawnSync(process.execPath, [biome, ...args], { cwd: copy, encoding: 'utf8' })
    const report = JSON.parse(result.stdout) as {
      diagnostics: { category: string; location: { path: string | { file: string } } }[]
    }
    found = new Map()
    for (const { category, location } of report.diagnostics) {
      const path = typeof location.path === 'string' ? location.path : location.path.file
      found.set(path, [...(found.get(path) ?? []), category])
    }
  }, 60_000)

  afterAll(() => rmSync(copy, { recursive: true, force: true }))

  it.each([...AMBIENT.entries()])(
    '%d: forbids %s in the layers and allows it in adapters and tests',
    (index) => {
      expect(found.get(`src/node/ambient-${index}.ts`)).toEqual(
        expect.arrayContaining([expect.stringMatching(/^plugin$|noRestrictedGlobals$/)]),
      )
      for (const folder of ['src/adapters', 'src/testing', 'test/unit']) {
        expect(found.get(`${folder}/ambient-${index}.ts`)).toBeUndefined()
      }
    },
  )

  it.each(OTHERS)('%s is in force', (rule) => {
    expect(found.get(`src/node/other-${rule.toLowerCase()}.ts`)).toContainEqual(expect.stringContaining(rule))
  })

  it('allows non-null assertions in the measured loops of engine and wire', () => {
    expect(found.get('src/engine/assertion.ts')).toBeUndefined()
    expect(found.get('src/wire/assertion.ts')).toBeUndefined()
  })
})
