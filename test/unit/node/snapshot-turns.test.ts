/** When nodes write their snapshots. */

import fc from 'fast-check'
import { expect, it } from 'vitest'
import { untilTurnMs } from '../../../src/node/snapshot-turns.ts'

const turn = fc.record({
  intervalMs: fc.integer({ min: 1000, max: 7 * 86_400_000 }),
  wallMs: fc.integer({ min: 0, max: 2 ** 42 }),
  places: fc.integer({ min: 1, max: 64 }),
})

it('gives each node one moment in an interval, a part of it away from that of every other', () => {
  fc.assert(
    fc.property(turn, ({ intervalMs, wallMs, places }) => {
      const moments = Array.from({ length: places }, (_, place) => {
        const delayMs = untilTurnMs({ intervalMs, wallMs, place, places })
        expect(delayMs).toBeGreaterThanOrEqual(500)
        expect(delayMs).toBeLessThanOrEqual(intervalMs + 500)
        return (wallMs + delayMs) % intervalMs
      }).sort((a, b) => a - b)
      const gaps = moments.map((at, i) =>
        i === 0 ? at + intervalMs - (moments.at(-1) as number) : at - (moments[i - 1] as number),
      )
      for (const gap of gaps) expect(gap).toBeCloseTo(intervalMs / places, 2)
    }),
  )
})

it('comes once an interval, also when the timer fires a little early or late', () => {
  fc.assert(
    fc.property(turn, fc.integer({ min: -400, max: 400 }), (at, offMs) => {
      const { intervalMs, wallMs } = at
      const first = wallMs + untilTurnMs({ ...at, place: 0 })
      const firedMs = first + offMs
      const second = firedMs + untilTurnMs({ ...at, wallMs: firedMs, place: 0 })
      expect(second - first).toBeCloseTo(intervalMs, 2)
    }),
  )
})

it('knows a turn for a node that has no place yet', () => {
  expect(untilTurnMs({ intervalMs: 10_000, wallMs: 1000, place: -1, places: 0 })).toBe(9000)
})
