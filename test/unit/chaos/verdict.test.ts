import { describe, expect, it } from 'vitest'
import type { HistoryOperation } from '../../../src/testing/history.ts'
import { judge } from '../../chaos/report/verdict.ts'

type Short = Pick<HistoryOperation, 'op' | 'input' | 'output'> & { readonly at: number }

function history(...short: readonly Short[]): HistoryOperation[] {
  return short.map(({ at, ...rest }, process) => ({
    process,
    key: 'k',
    ...rest,
    call: at,
    return: at + 5,
    outcome: 'ok',
  }))
}

const stale = history(
  { op: 'set', input: { value: 'a' }, output: {}, at: 0 },
  { op: 'set', input: { value: 'b' }, output: {}, at: 10 },
  { op: 'get', input: {}, output: { value: 'a' }, at: 20 },
)

describe('the verdict on a history', () => {
  it('counts a read of an overwritten value as stale where reads are linearizable', () => {
    expect(judge(stale, 'linearizable')).toMatchObject({ verdict: 'violation', staleReads: 1 })
  })

  it('lets primary reads be behind', () => {
    expect(judge(stale, 'primary').verdict).toBe('linearizable')
  })

  it('refuses a primary read of what nobody had asked to write', () => {
    const invented = history(
      { op: 'set', input: { value: 'a' }, output: {}, at: 0 },
      { op: 'get', input: {}, output: { value: 'z' }, at: 20 },
    )
    expect(judge(invented, 'primary').verdict).toBe('violation')
    const early = history(
      { op: 'get', input: {}, output: { value: 'a' }, at: 0 },
      { op: 'set', input: { value: 'a' }, output: {}, at: 20 },
    )
    expect(judge(early, 'primary').verdict).toBe('violation')
  })

  it('holds writes to linearizability in both modes', () => {
    const twice = history(
      { op: 'set', input: { value: 'a', when: 'absent' }, output: { applied: true }, at: 0 },
      { op: 'set', input: { value: 'b', when: 'absent' }, output: { applied: true }, at: 10 },
    )
    for (const read of ['primary', 'linearizable'] as const) {
      expect(judge(twice, read).verdict).toBe('violation')
    }
  })
})
