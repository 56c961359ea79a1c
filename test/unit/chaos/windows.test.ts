import { describe, expect, it } from 'vitest'
import type { Samples } from '../../chaos/client/messages.ts'
import { outside, windowIn } from '../../chaos/report/windows.ts'

/** [due, end, outcome] */
function samples(calls: readonly (readonly [number, number, number])[]): Samples {
  return {
    dueMs: Float64Array.from(calls, ([due]) => due),
    endMs: Float64Array.from(calls, ([, end]) => end),
    outcome: Uint8Array.from(calls, ([, , outcome]) => outcome),
    group: new Uint8Array(calls.length),
    errors: {},
  }
}

describe('the window of a fault', () => {
  it('is 0 while calls are answered in time', () => {
    const { windowMs, episodes } = windowIn(
      [
        samples([
          [0, 10, 0],
          [20, 30, 0],
        ]),
      ],
      { fromMs: 0, toMs: 50 },
      100,
    )
    expect(windowMs).toBe(0)
    expect(episodes).toEqual([])
  })

  it('reaches from the due time of the first bad call to the end of the last, stalls and errors alike', () => {
    const calls = samples([
      [1000, 1400, 0],
      [1100, 1110, 1],
      [1200, 1500, 2],
      [1600, 1605, 0],
    ])
    const summary = windowIn([calls], { fromMs: 900, toMs: 2000 }, 100)
    expect(summary.windowMs).toBe(500)
    expect(summary).toMatchObject({ errors: 1, unknown: 1, stalled: 1, longestMs: 400 })
  })

  it('is the longest of several episodes, which are 200 ms apart', () => {
    const calls = samples([
      [0, 150, 0],
      [400, 401, 1],
      [580, 600, 1],
    ])
    const { windowMs, badMs, episodes } = windowIn([calls], { fromMs: 0, toMs: 1000 }, 100)
    expect(episodes.map(({ fromMs, toMs }) => [fromMs, toMs])).toEqual([
      [0, 150],
      [400, 600],
    ])
    expect([windowMs, badMs]).toEqual([200, 350])
  })

  it('joins what the calls of several clients show', () => {
    const span = { fromMs: 0, toMs: 1000 }
    expect(windowIn([samples([[0, 300, 0]]), samples([[250, 700, 0]])], span, 100).windowMs).toBe(700)
  })
})

describe('what is outside faults', () => {
  it('leaves out calls that reach into a span', () => {
    const calls = samples([
      [0, 90, 2],
      [95, 105, 1],
      [150, 160, 1],
      [205, 210, 1],
    ])
    expect(outside([calls], [{ fromMs: 100, toMs: 200 }])).toEqual({ calls: 2, errors: 1, unknown: 1 })
  })
})
