import { describe, expect, it } from 'vitest'
import { CacheError } from '../../../src/kernel/errors.ts'
import { integerBetween, SeededRandom, uniform } from '../../../src/kernel/random.ts'
import { OperationTable, type SessionOutcomes } from '../../../src/replication/operation-table.ts'

function codeOf(run: () => unknown): string {
  try {
    run()
    return 'ok'
  } catch (error) {
    return error instanceof CacheError ? error.code : String(error)
  }
}

describe("a session's outcomes", () => {
  it.each([1, 2, 3, 4, 5, 6])('seed %i: are those of a map from the watermark up', (seed) => {
    const random = new SeededRandom(seed)
    const windowMax = [64, 100, 1000, 4096, 10_000, 131_072][seed - 1] as number
    const table = new OperationTable({ windowMax })
    const outcomes = table.session(1, 2)
    const model = new Map<
      number,
      { partition: number; sequence: number; number: number; payload: Uint8Array | undefined }
    >()
    let watermark = 0
    let next = 0
    let applied = 0
    for (let i = 0; i < 20_000; i++) {
      const dice = uniform(random)
      if (dice < 0.1) {
        watermark = Math.max(watermark, integerBetween(random, watermark, Math.max(watermark, next)))
        if (uniform(random) < 0.05) watermark += integerBetween(random, 0, 3 * windowMax)
        next = Math.max(next, watermark)
        outcomes.advance(watermark)
        for (const counter of [...model.keys()]) if (counter < watermark) model.delete(counter)
        continue
      }
      // Mostly the next one; also retries, and such as run far ahead.
      let counter = next
      if (dice < 0.5) counter = integerBetween(random, Math.max(0, watermark - 20), next + 5)
      else if (dice < 0.52) counter = next + integerBetween(random, 0, 2 * windowMax)
      const known = model.get(counter)
      expect(outcomes.find(counter)).toBe(known !== undefined)
      if (known !== undefined) {
        expect([
          outcomes.foundPartition,
          outcomes.foundSequence,
          outcomes.foundNumber,
          outcomes.foundPayload,
        ]).toEqual([known.partition, known.sequence, known.number, known.payload])
        continue
      }
      const admitted = codeOf(() => outcomes.admit(counter))
      const expected =
        counter < watermark ? 'STALE_OPERATION' : counter - watermark + 1 > windowMax ? 'OVERLOADED' : 'ok'
      expect(admitted).toBe(expected)
      if (admitted !== 'ok') continue
      const outcome = {
        partition: counter % 7,
        sequence: ++applied,
        number: counter * 2,
        payload: uniform(random) < 0.1 ? new Uint8Array(3).fill(counter) : undefined,
      }
      outcomes.record(counter, outcome.partition, 1, outcome.sequence, outcome.number, outcome.payload)
      model.set(counter, outcome)
      next = Math.max(next, counter + 1)
    }
    expect(applied).toBeGreaterThan(1000)
    expect(outcomes.slots).toBeLessThanOrEqual(2 * windowMax)
    // Payloads go with the watermark.
    outcomes.advance(watermark + 10 * windowMax)
    expect(table.heldBytes).toBe(outcomes.slots * 32)
  })

  it('grow for what a primary logged, up to what no primary would admit', () => {
    const outcomes = new OperationTable({ windowMax: 1000 }).session(1, 1)
    outcomes.reserve(1500)
    outcomes.record(1500, 1, 1, 1, 0, undefined)
    expect(outcomes.find(1500)).toBe(true)
    expect(codeOf(() => outcomes.reserve(3000))).toBe('PROTOCOL_ERROR')
    expect(codeOf(() => outcomes.admit(1001))).toBe('OVERLOADED')
  })
})

describe('the table of outcomes', () => {
  it('admits so many sessions, and keeps those that peers logged besides', () => {
    const table = new OperationTable({ sessionsMax: 10 })
    // The halves of a session both count.
    for (let i = 0; i < 10; i++) table.admit(i % 3, i)
    expect(codeOf(() => table.admit(7, 7))).toBe('OVERLOADED')
    expect(table.open(7, 7)).toBeUndefined()
    expect(codeOf(() => table.admit(2, 5))).toBe('ok')
    expect(table.session(7, 7).low).toBe(7)
    expect(table.sessionCount).toBe(11)
    expect(table.admit(7, 7)).toBe(table.session(7, 7))
  })

  it('refuses outcomes beyond its bytes, and takes them again when sessions are forgotten', () => {
    const table = new OperationTable({ bytesMax: 64 * 32 * 20, idleMs: 1000 })
    const sessions: SessionOutcomes[] = []
    for (let i = 0; i < 10; i++) sessions.push(table.admit(i, i))
    // One client alone must not take what is left for all.
    expect(codeOf(() => sessions[0]?.admit(100_000))).toBe('OVERLOADED')
    expect(codeOf(() => sessions[0]?.admit(600))).toBe('OVERLOADED')
    expect(codeOf(() => sessions[0]?.admit(500))).toBe('ok')
    expect(table.heldBytes).toBe(64 * 32 * 9 + 512 * 32)
    expect(codeOf(() => sessions[1]?.admit(500))).toBe('OVERLOADED')
    expect(codeOf(() => sessions[1]?.admit(63))).toBe('ok')
    for (const session of sessions.slice(2)) session.lastWriteMs = 2000
    table.sweep(2500)
    expect(table.sessionCount).toBe(8)
    expect(table.heldBytes).toBe(64 * 32 * 8)
    table.close()
    expect(table.heldBytes).toBe(0)
  })

  it('forgets exactly the sessions that were idle for long enough', () => {
    const table = new OperationTable({ idleMs: 100 })
    for (let i = 0; i < 50; i++) table.session(i % 5, i).lastWriteMs = i
    table.session(3, 48).record(1, 1, 1, 9, 0, undefined)
    table.sweep(120)
    expect(table.sessionCount).toBe(29)
    expect([...table.all()].every((one) => one.lastWriteMs > 20)).toBe(true)
    expect(table.session(3, 48).find(1)).toBe(true)
  })
})
