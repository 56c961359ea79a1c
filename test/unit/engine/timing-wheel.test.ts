import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { EntryTable } from '../../../src/engine/entry-table.ts'
import { TimingWheel } from '../../../src/engine/timing-wheel.ts'
import { MemoryAccount } from '../../../src/kernel/memory-account.ts'

/** A wheel, and entries that are only times. */
function wheelWith(timesMs: readonly number[]): { wheel: TimingWheel; table: EntryTable; entries: number[] } {
  const table = new EntryTable(new MemoryAccount(2 ** 30))
  const wheel = new TimingWheel(table)
  const entries = timesMs.map((timeMs) => add(table, wheel, timeMs))
  return { wheel, table, entries }
}

function add(table: EntryTable, wheel: TimingWheel, timeMs: number): number {
  table.reserve()
  const e = table.add(0, 0)
  table.reserveExpiry(e)
  table.setExpiresAtMs(e, timeMs)
  wheel.schedule(e)
  return e
}

function advance(wheel: TimingWheel, nowMs: number, limit = 1e9): number[] {
  const due: number[] = []
  wheel.advance(nowMs, limit, (e) => due.push(e))
  return due
}

describe('TimingWheel', () => {
  it('hands over an entry at its millisecond, not before', () => {
    for (const timeMs of [
      1,
      255,
      256,
      257,
      65_535,
      65_536,
      2 ** 24,
      2 ** 32,
      2 ** 40 + 12_345,
      2 ** 48 - 1,
    ]) {
      const { wheel, entries } = wheelWith([timeMs])
      expect(advance(wheel, timeMs - 1)).toEqual([])
      expect(advance(wheel, timeMs)).toEqual(entries)
      expect(wheel.count).toBe(0)
    }
  })

  it('hands over in the order of time, whatever the jumps', () => {
    const boundary = fc.tuple(fc.nat(5), fc.nat(255)).map(([level, byte]) => 256 ** level * byte)
    const time = fc.oneof(
      boundary,
      fc.nat(1000),
      fc.nat(100_000),
      fc.nat(2 ** 31 - 1),
      fc.maxSafeNat().map((x) => x % 2 ** 44),
    )
    fc.assert(
      fc.property(fc.array(time, { maxLength: 60 }), fc.array(time, { maxLength: 20 }), (times, stops) => {
        const { wheel, table } = wheelWith(times)
        const waiting = [...times].sort((a, b) => a - b)
        for (const stop of stops.sort((a, b) => a - b)) {
          const due = advance(wheel, stop).map((e) => table.expiresAtMs(e))
          expect(due).toEqual(waiting.splice(0, waiting.filter((timeMs) => timeMs <= stop).length))
        }
        expect(wheel.count).toBe(waiting.length)
      }),
      { numRuns: 500 },
    )
  })

  it('hands over at once what was already due when it was scheduled', () => {
    const { wheel, table } = wheelWith([])
    advance(wheel, 10_000)
    const early = add(table, wheel, 5000)
    const now = add(table, wheel, 10_000)
    expect(wheel.isBehind(10_000)).toBe(true)
    expect(advance(wheel, 10_000).sort()).toEqual([early, now])
    expect(wheel.isBehind(10_000)).toBe(false)
  })

  it('does a bounded part of the work per call and the rest in later ones', () => {
    const { wheel } = wheelWith(Array.from({ length: 5000 }, () => 1_800_000_000_000))
    const seen = new Set<number>()
    let calls = 0
    while (wheel.isBehind(1_800_000_000_000)) {
      const due = advance(wheel, 1_800_000_000_000, 100)
      expect(due.length).toBeLessThanOrEqual(100)
      for (const e of due) seen.add(e)
      calls++
    }
    expect(seen.size).toBe(5000)
    // 50 calls hand over; five levels of moves at 656 a call.
    expect(calls).toBeLessThan(100)
  })

  it('stops in the midst of moving entries down and takes in new ones', () => {
    const { wheel, table } = wheelWith(Array.from({ length: 2000 }, (_, i) => 70_000 + i))
    advance(wheel, 65_536, 1)
    const late = add(table, wheel, 65_537)
    const soon = add(table, wheel, 71_000)
    const due: number[] = []
    while (wheel.isBehind(80_000)) due.push(...advance(wheel, 80_000, 10))
    expect(due[0]).toBe(late)
    expect(due).toContain(soon)
    expect(due.length).toBe(2002)
    const times = due.map((e) => table.expiresAtMs(e))
    expect(times).toEqual([...times].sort((a, b) => a - b))
  })

  it('forgets what is cancelled, also from within the callback', () => {
    const { wheel, entries } = wheelWith([10, 10, 10, 500])
    const [a, b, c, d] = entries as [number, number, number, number]
    wheel.cancel(d)
    const due: number[] = []
    wheel.advance(1000, 10, (e) => {
      due.push(e)
      wheel.cancel(a)
      wheel.cancel(b)
    })
    expect(due).toEqual([c])
    expect(wheel.count).toBe(0)
  })

  it('hands over nothing that is not due by a clock that was set back', () => {
    const { wheel, table } = wheelWith([])
    advance(wheel, 10_000)
    const e = add(table, wheel, 9000)
    expect(advance(wheel, 8000)).toEqual([])
    expect(advance(wheel, 9000)).toEqual([e])
  })
})
