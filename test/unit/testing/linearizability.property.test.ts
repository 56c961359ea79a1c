import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { HistoryOperation } from '../../../src/testing/history.ts'
import { checkLinearizability } from '../../../src/testing/linearizability.ts'
import { bruteForce, type DrawnOperation, recordFromRegister } from '../../support/random-history.ts'

function drawn(): fc.Arbitrary<DrawnOperation> {
  return fc.record({
    op: fc.constantFrom('get', 'get', 'set', 'cas', 'delete', 'increment'),
    value: fc.integer({ min: 0, max: 4 }),
    choice: fc.nat({ max: 11 }),
    at: fc.integer({ min: 0, max: 60 }).map((at) => at * 10),
    before: fc.integer({ min: 0, max: 120 }),
    behind: fc.integer({ min: 0, max: 120 }),
    fate: fc.constantFrom('ok', 'ok', 'ok', 'unknown', 'lost'),
  }) as fc.Arbitrary<DrawnOperation>
}

/** Times that differ, so that the recorded order is the only one at each moment. */
function apart(operations: readonly DrawnOperation[]): DrawnOperation[] {
  return operations.map((one, index) => ({ ...one, at: one.at + index / 100 }))
}

function mutate(history: readonly HistoryOperation[], which: number, value: number): HistoryOperation[] {
  const answered = history.filter((one) => one.outcome === 'ok')
  const victim = answered[which % Math.max(1, answered.length)]
  return history.map((one) => {
    if (one !== victim) return one
    const { output } = one
    if (output.existed !== undefined) return { ...one, output: { ...output, existed: !output.existed } }
    if (output.applied !== undefined) return { ...one, output: { applied: !output.applied } }
    return { ...one, output: { value: value === 5 ? null : value } }
  })
}

describe('the linearizability checker', () => {
  it('accepts whatever one register answered, however its operations overlap', () => {
    fc.assert(
      fc.property(fc.array(drawn(), { maxLength: 40 }), (operations) => {
        expect(checkLinearizability(recordFromRegister(apart(operations))).verdict).toBe('linearizable')
      }),
      { numRuns: 1000 },
    )
  })

  it('judges small histories, true or tampered with, as one that tries everything', () => {
    let rejected = 0
    fc.assert(
      fc.property(
        fc.array(drawn(), { minLength: 1, maxLength: 6 }),
        fc.nat({ max: 20 }),
        fc.nat({ max: 5 }),
        (operations, which, value) => {
          const history = mutate(recordFromRegister(apart(operations)), which, value)
          const expected = bruteForce(history)
          if (!expected) rejected++
          expect(checkLinearizability(history).verdict).toBe(expected ? 'linearizable' : 'violation')
        },
      ),
      { numRuns: 4000 },
    )
    expect(rejected).toBeGreaterThan(400)
  })
})
