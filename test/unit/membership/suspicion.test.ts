import { describe, expect, it } from 'vitest'
import { confirmationsExpected, Suspicion, suspicionTimeoutMs } from '../../../src/membership/suspicion.ts'

describe('the suspicion timeout', () => {
  // Multiplier 4, interval 500 ms, so k = 2 and min = 2,000 · max(1, log10 n).
  it.each([
    // n, confirmations, milliseconds
    [2, 0, 2000],
    [3, 0, 2000],
    [3, 1, 2000],
    [4, 0, 4000],
    [4, 1, 4000 - (2000 * Math.log(2)) / Math.log(3)],
    [4, 2, 2000],
    [4, 3, 2000],
    [7, 0, 4000],
    [7, 2, 2000],
    [10, 0, 4000],
    [100, 0, 8000],
    [100, 1, 8000 - (4000 * Math.log(2)) / Math.log(3)],
    [100, 2, 4000],
    [1000, 5, 6000],
  ])('among %i members with %i confirmations is %d ms', (members, confirmations, expected) => {
    expect(suspicionTimeoutMs(4, 500, members, confirmations)).toBeCloseTo(expected, 6)
  })

  it('waits for nobody where too few others could confirm', () => {
    expect([2, 3, 4, 50].map((members) => confirmationsExpected(4, members))).toEqual([0, 0, 2, 2])
    expect([6, 7, 8].map((members) => confirmationsExpected(8, members))).toEqual([0, 0, 6])
    expect(suspicionTimeoutMs(3, 500, 3, 0)).toBe(3000)
  })
})

describe('a suspicion', () => {
  it('counts each accuser once, and no more than shorten it', () => {
    const suspicion = new Suspicion('a', 1000)
    expect(suspicion.confirm('a', 2)).toBe(false)
    expect(suspicion.deadlineMs(4, 500, 7)).toBe(5000)
    expect([suspicion.confirm('b', 2), suspicion.confirm('b', 2)]).toEqual([true, false])
    expect([suspicion.confirm('c', 2), suspicion.confirm('d', 2)]).toEqual([true, false])
    expect(suspicion.confirmations).toBe(2)
    expect(suspicion.deadlineMs(4, 500, 7)).toBe(3000)
  })

  it('is given back the time in which its node could hear nothing', () => {
    const suspicion = new Suspicion('a', 1000)
    suspicion.postpone(700)
    expect(suspicion.deadlineMs(4, 500, 3)).toBe(3700)
  })
})
