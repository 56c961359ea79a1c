import { describe, expect, it } from 'vitest'
import type {
  HistoryInput,
  HistoryOp,
  HistoryOperation,
  HistoryOutput,
} from '../../../src/testing/history.ts'
import { checkLinearizability, describeViolation } from '../../../src/testing/linearizability.ts'

let process = 0

function ok(
  op: HistoryOp,
  call: number,
  returned: number,
  input: HistoryInput,
  output: HistoryOutput,
  key = 'k',
): HistoryOperation {
  return { process: process++, key, op, input, output, call, return: returned, outcome: 'ok' }
}

function unknown(op: HistoryOp, call: number, input: HistoryInput, key = 'k'): HistoryOperation {
  return { process: process++, key, op, input, output: {}, call, return: null, outcome: 'unknown' }
}

const set = (value: number, call: number, returned: number, output: HistoryOutput = {}): HistoryOperation =>
  ok('set', call, returned, { value }, output)
const get = (value: number | null, call: number, returned: number, version?: string): HistoryOperation =>
  ok('get', call, returned, {}, version === undefined ? { value } : { value, version })

const good: readonly (readonly [string, readonly HistoryOperation[]])[] = [
  ['nothing', []],
  ['a read of nothing', [get(null, 0, 1)]],
  ['a write and a read after it', [set(1, 0, 1), get(1, 2, 3)]],
  ['a read beside a write, of what was before', [set(1, 0, 1), set(2, 2, 6), get(1, 3, 4), get(2, 4, 5)]],
  ['two writes at one time, in the order that reads tell', [set(1, 0, 9), set(2, 0, 9), get(2, 10, 11)]],
  ['an unknown write that was seen late', [unknown('set', 0, { value: 7 }), get(null, 5, 6), get(7, 8, 9)]],
  ['an unknown write that never happened', [unknown('set', 0, { value: 7 }), get(null, 5, 6)]],
  ['a write refused for certain, and never seen', [{ ...set(1, 0, 1), outcome: 'fail' }, get(null, 2, 3)]],
  [
    'one of two compare-and-sets on one version wins',
    [
      set(1, 0, 1, { version: '1.1' }),
      ok('cas', 2, 8, { value: 2, version: '1.1' }, { applied: true, version: '1.2' }),
      ok('cas', 2, 8, { value: 3, version: '1.1' }, { applied: false, found: 2, foundVersion: '1.2' }),
    ],
  ],
  [
    'a sum that needs two unknown increments',
    [
      unknown('increment', 0, { by: 1 }),
      unknown('increment', 0, { by: 1 }),
      ok('increment', 5, 6, { by: 1 }, { value: 3 }),
    ],
  ],
  [
    'an unknown write under an unknown increment',
    [unknown('set', 0, { value: 10 }), unknown('increment', 0, { by: 5 }), get(15, 3, 4)],
  ],
  [
    'a lock that changes hands',
    [
      ok('lock', 0, 1, { owner: 'a' }, { applied: true, token: 1 }),
      ok('lock', 2, 3, { owner: 'b' }, { applied: false }),
      ok('unlock', 4, 5, { owner: 'a' }, { applied: true }),
      ok('lock', 6, 7, { owner: 'b' }, { applied: true, token: 2 }),
    ],
  ],
]

const bad: readonly (readonly [string, readonly HistoryOperation[]])[] = [
  ['a write that is not seen', [set(1, 0, 1), get(null, 2, 3)]],
  ['a value that nobody wrote', [get(3, 0, 1)]],
  ['a read that goes back', [set(1, 0, 1), set(2, 2, 9), get(2, 3, 4), get(1, 5, 6)]],
  ['a write refused for certain that is seen', [{ ...set(1, 0, 1), outcome: 'fail' }, get(1, 2, 3)]],
  ['an unknown write seen before it was called', [get(7, 0, 1), unknown('set', 5, { value: 7 })]],
  [
    'an unknown write that happens twice',
    [unknown('set', 0, { value: 7 }), get(7, 1, 2), set(8, 3, 4), get(7, 5, 6)],
  ],
  [
    'two compare-and-sets win on one version',
    [
      set(1, 0, 1, { version: '1.1' }),
      ok('cas', 2, 8, { value: 2, version: '1.1' }, { applied: true, version: '1.2' }),
      ok('cas', 2, 8, { value: 3, version: '1.1' }, { applied: true, version: '1.3' }),
    ],
  ],
  [
    'an increment that counts twice',
    [ok('increment', 0, 1, { by: 1 }, { value: 1 }), ok('increment', 2, 3, { by: 1 }, { value: 3 })],
  ],
  ['a delete of what was deleted', [set(1, 0, 1), ok('delete', 2, 3, {}, { existed: true }), get(1, 4, 5)]],
  ['a version that goes back', [set(1, 0, 1, { version: '2.5' }), set(2, 2, 3, { version: '2.4' })]],
  ['a value under the version of another', [set(1, 0, 1, { version: '1.1' }), get(1, 2, 3, '1.2')]],
  [
    'a lock held by two',
    [
      ok('lock', 0, 1, { owner: 'a' }, { applied: true, token: 1 }),
      ok('lock', 2, 3, { owner: 'b' }, { applied: true, token: 2 }),
    ],
  ],
  [
    'a fencing token given twice',
    [
      ok('lock', 0, 1, { owner: 'a' }, { applied: true, token: 5 }),
      ok('unlock', 2, 3, { owner: 'a' }, { applied: true }),
      ok('lock', 4, 5, { owner: 'b' }, { applied: true, token: 5 }),
    ],
  ],
]

describe('the linearizability checker', () => {
  it.each(good)('accepts %s', (_, history) => {
    expect(checkLinearizability(history).verdict).toBe('linearizable')
  })

  it.each(bad)('rejects %s', (_, history) => {
    expect(checkLinearizability(history).verdict).toBe('violation')
  })

  it('decides each key alone', () => {
    const history = [set(1, 0, 1), { ...get(null, 2, 3), key: 'other' }]
    expect(checkLinearizability(history)).toMatchObject({ verdict: 'linearizable', keys: 2, operations: 2 })
  })

  it('shows the first operation that does not fit, and what is around it', () => {
    const far = Array.from({ length: 20 }, (_, i) => set(i, 10 * i, 10 * i + 5))
    const wrong = get(3, 1000, 1005)
    const after = set(99, 2000, 2005)
    const { violations } = checkLinearizability([...far, wrong, after])
    expect(violations).toHaveLength(1)
    expect(violations[0]?.operation).toBe(wrong)
    expect(violations[0]?.around).toEqual([...far.slice(-4), wrong])
    expect(describeViolation(violations[0] as never)).toContain('  > {"process"')
  })

  it('says undecided, not linearizable, when its budget is too small', () => {
    const history = Array.from({ length: 9 }, (_, i) => set(i, 0, 100)).concat(get(77, 101, 102))
    expect(checkLinearizability(history, { stepsMax: 50 })).toMatchObject({
      verdict: 'undecided',
      undecided: ['k'],
    })
    expect(checkLinearizability(history).verdict).toBe('violation')
  })

  it('decides thousands of operations with many of unknown outcome in few steps', () => {
    const history: HistoryOperation[] = []
    for (let i = 0; i < 5000; i++) {
      const at = i * 10
      history.push(set(i, at, at + 4), get(i, at + 5, at + 6))
      if (i % 20 === 0) history.push(unknown('set', at + 6, { value: -i - 1 }))
      if (i % 40 === 0) history.push(get(-i - 1, at + 7, at + 8))
    }
    const report = checkLinearizability(history)
    expect(report.verdict).toBe('linearizable')
    expect(report.steps).toBeLessThan(200_000)
  })
})
