/** The check of the documents finds what it is there to find. */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { brokenLinks, errorCodeProblems, machinePaths } from '../../../scripts/check/docs.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'ringcache-docs-'))
  mkdirSync(join(folder, 'docs'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function write(name: string, text: string): string {
  writeFileSync(join(folder, name), text)
  return name
}

it('links that lead nowhere, to a missing heading or out of the project are named', () => {
  write('docs/other.md', '# Other page\n\n## Two words, `code` & more\n\n## Twice\n\n## Twice\n')
  const page = write(
    'docs/page.md',
    [
      '# Page',
      '[ok](other.md) [ok](#page) [ok](other.md#two-words-code--more) [ok](other.md#twice-1) [ok](../docs/other.md)',
      '[ok](https://example.com/nothing) `[code](nowhere.md)`',
      '```',
      '[code](nowhere.md)',
      '```',
      '[bad](nowhere.md) [bad](other.md#nothing) [bad](../../outside.md) ![bad](picture.png) [bad](#nothing)',
    ].join('\n'),
  )
  expect(brokenLinks(folder, page)).toEqual([
    'docs/page.md: the link nowhere.md leads nowhere',
    'docs/page.md: docs/other.md has no heading #nothing',
    'docs/page.md: the link ../../outside.md leads out of the project',
    'docs/page.md: the link picture.png leads nowhere',
    'docs/page.md: docs/page.md has no heading #nothing',
  ])
})

it('an error code without its section, with wrong facts, or that is none is named', () => {
  write(
    'docs/errors.md',
    '# Errors\n\n## CLOSED\n\nRetryable: yes · gRPC status 14 · wire 20\n\n## GONE\n\nx\n',
  )
  const problems = errorCodeProblems(folder)
  expect(problems).toContain('docs/errors.md has no section "## TIMEOUT"')
  expect(problems).toContain('docs/errors.md: CLOSED should say "Retryable: no · gRPC status 14 · wire 20"')
  expect(problems).toContain('docs/errors.md explains GONE, which is no error code')
})

it('paths of one machine are named by line, others are not', () => {
  // Put together here, because this file is checked, too.
  const somebody = ['', 'home', 'somebody'].join('/')
  const file = write('a.md', `fine: /var/lib/x, /app/dist, ./work/x\nsee ${somebody}/project\n`)
  expect(machinePaths(folder, file)).toEqual([`a.md:2: ${somebody} is a path of one machine`])
})
