/** docs/testing.md names each rule of the protocol with a schedule that shows what it is for. */

import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { RULES } from '../../../src/kernel/rule-switch.ts'
import { SCHEDULES } from '../../simulation/rules/schedules.ts'

const DOC = new URL('../../../docs/testing.md', import.meta.url)

describe('the table of rules in docs/testing.md', () => {
  const rows = [...readFileSync(DOC, 'utf8').matchAll(/^\| `([a-z-]+)` \| .+ \| (.+) \|$/gm)]

  it('has a row for each rule', () => {
    expect(rows.map(([, rule]) => rule).sort()).toEqual([...RULES].sort())
  })

  it.each(rows.map(([, rule, what]) => [rule, what]))('%s: %s', (rule, what) => {
    const schedule = SCHEDULES.find((one) => one.what === what)
    expect(schedule?.rules).toContain(rule)
  })
})
