/** docs/features.md names tests that exist. */

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'

const ROOT = join(import.meta.dirname, '../../..')

it('every feature that is here names tests that exist', () => {
  const document = readFileSync(join(ROOT, 'docs/features.md'), 'utf8')
  const here = /^## Here now\n([\s\S]*?)^## /m.exec(document)?.[1] ?? ''
  const rows = here.split('\n').filter((line) => line.startsWith('| ') && !line.startsWith('| source'))
  expect(rows.length).toBeGreaterThan(20)
  for (const row of rows) {
    const tests = [...(row.split(' | ').at(-1) ?? '').matchAll(/`([\w/.-]+\.test\.ts)`(?: › ([^;|]+))?/g)]
    expect(tests.length, row).toBeGreaterThan(0)
    for (const [, file = '', name] of tests) {
      const path = join(ROOT, 'test', file)
      expect(existsSync(path), file).toBe(true)
      if (name !== undefined) expect(readFileSync(path, 'utf8'), file).toContain(name.trim())
    }
  }
})
