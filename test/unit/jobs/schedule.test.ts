/** Cron expressions as jobs have them. */

import { describe, expect, it } from 'vitest'
import { parseSchedule } from '../../../src/jobs/schedule.ts'

const at = (text: string): number => Date.parse(text)
const next = (expression: string, from: string, timeZone?: string): string | undefined => {
  const ms = parseSchedule(expression, timeZone).next(at(from))
  return ms === undefined ? undefined : new Date(ms).toISOString()
}

describe('a schedule', () => {
  it.each([
    ['0 * * * *', '2026-03-01T10:15:00Z', '2026-03-01T11:00:00.000Z'],
    ['0 0 * * *', '2026-03-01T00:00:00Z', '2026-03-02T00:00:00.000Z'],
    ['*/2 * * * * *', '2026-03-01T00:00:00.500Z', '2026-03-01T00:00:02.000Z'],
    ['0 3 * * MON', '2026-03-01T00:00:00Z', '2026-03-02T03:00:00.000Z'],
    ['0 0 29 2 *', '2026-03-01T00:00:00Z', '2028-02-29T00:00:00.000Z'],
    ['@daily', '2026-03-01T00:00:00Z', '2026-03-02T00:00:00.000Z'],
  ])('%s after %s comes at %s', (expression, from, expected) => {
    expect(next(expression, from)).toBe(expected)
  })

  it('goes by its time zone: once in the night when an hour comes twice, after the gap when it is left out', () => {
    const daily = '30 2 * * *'
    const zone = 'Europe/Berlin'
    expect(next(daily, '2026-03-28T12:00:00Z', zone)).toBe('2026-03-29T01:00:00.000Z')
    expect(next(daily, '2026-10-24T12:00:00Z', zone)).toBe('2026-10-25T00:30:00.000Z')
    expect(next(daily, '2026-10-25T00:30:00Z', zone)).toBe('2026-10-26T01:30:00.000Z')
  })

  it('tells the last time up to another, that one included', () => {
    const schedule = parseSchedule('0 * * * *')
    expect(schedule.latest(at('2026-03-01T11:00:00Z'))).toBe(at('2026-03-01T11:00:00Z'))
    expect(schedule.latest(at('2026-03-01T10:59:59.999Z'))).toBe(at('2026-03-01T10:00:00Z'))
  })

  it.each([
    ['61 * * * *', 'minute'],
    ['* * * *', 'five or six fields'],
    ['every day', 'five or six fields'],
    ['', 'five or six fields'],
    ['0 0 31 2 *', 'no time'],
    ['? * * * *', '"?"'],
    ['2026-03-01T00:00:00', 'five or six fields'],
    ['0 0 * * * * 2027', 'five or six fields'],
    [`0 ${'1,'.repeat(200)}1 * * *`, 'too long'],
  ])('"%s" is none, and the error says why and what is', (expression, why) => {
    expect(() => parseSchedule(expression)).toThrow(why)
    expect(() => parseSchedule(expression)).toThrow('use a cron expression of five fields')
  })

  it('names a time zone that there is not', () => {
    expect(() => parseSchedule('@daily', 'Mars/Base')).toThrow('"Mars/Base" is no time zone; use UTC')
  })
})
