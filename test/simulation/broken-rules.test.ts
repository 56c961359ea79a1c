/** What each rule of the protocol is for: schedules that do no harm with it, and harm without it (test/simulation/rules). */

import { describe, expect, it } from 'vitest'
import { SCHEDULES, unshown } from './rules/schedules.ts'

describe.each(SCHEDULES)('$what', (schedule) => {
  it('as long as the rules are kept', async () => {
    expect(await schedule.run(undefined)).toBeUndefined()
  })

  it.each(schedule.rules)('not without %s', async (rule) => {
    expect(await schedule.run(new Set([rule]))).toBeTypeOf('string')
  })
})

describe('the rules of the protocol', () => {
  it('are each shown by a schedule', () => {
    expect(unshown()).toEqual([])
  })
})
