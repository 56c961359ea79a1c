/** The large values of ranges on their way to one learner: whatever becomes of the ranges, each stage ends once, and none early. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Engine, type LargeValue } from '../../../src/engine/engine.ts'
import { MemoryAccount } from '../../../src/kernel/memory-account.ts'
import { integerBetween, SeededRandom, uniform } from '../../../src/kernel/random.ts'
import { BulkPace } from '../../../src/replication/bulk-pace.ts'
import { RangeStages } from '../../../src/replication/range-stages.ts'
import { StageOutbox } from '../../../src/replication/stage-outbox.ts'
import { VirtualTime } from '../../../src/testing/virtual-time.ts'

const MIB = 1024 * 1024
const VALUE_BYTES = MIB
const LEARNER = 1
const NONE: ReadonlySet<LargeValue> = new Set()

let engine: Engine
let outbox: StageOutbox
let stages: RangeStages

beforeEach(() => {
  const time = new VirtualTime()
  engine = new Engine({ hashKey: { low: 1, high: 2 }, memory: new MemoryAccount(64 * MIB) })
  outbox = new StageOutbox(4 * MIB, new BulkPace(time, time), () => {})
  stages = new RangeStages(outbox, LEARNER)
})

afterEach(() => {
  stages.endAll()
  outbox.close()
  expect(engine.stats.largeBytes).toBe(0)
})

/** Begins a range with so many large values. */
function begin(count: number, settled: () => void = () => {}): readonly LargeValue[] {
  const values = Array.from({ length: count }, () => {
    const value = engine.newLargeValue(VALUE_BYTES)
    value.append(new Uint8Array(VALUE_BYTES))
    return value
  })
  stages.begin(0, 99, values, NONE, settled)
  for (const value of values) value.release()
  return values
}

/** The learner has what it was sent. */
function arrive(values: readonly LargeValue[]): void {
  for (const value of values) {
    const stageId = stages.range?.stages.get(value)
    if (stageId !== undefined) outbox.answered(LEARNER, stageId, true)
  }
}

describe('large values of ranges', () => {
  it('are told of one by one, and the range waits for the last', () => {
    let told = 0
    const values = begin(3, () => told++)
    expect([stages.range?.waiting, told]).toEqual([3, 0])
    arrive(values.slice(0, 2))
    expect([stages.range?.waiting, told]).toEqual([1, 2])
    arrive(values)
    expect([stages.range?.waiting, stages.range?.failed, told]).toEqual([0, false, 3])
  })

  it('are kept until their range is applied, and not until another is', () => {
    arrive(begin(2))
    stages.sent(1)
    expect(stages.range).toBeUndefined()
    stages.applied(2)
    expect(outbox.stageCount).toBe(2)
    stages.applied(1)
    expect(outbox.stageCount).toBe(0)
  })

  it('of a range given up for a later one end with it', () => {
    begin(2)
    begin(1)
    expect([outbox.stageCount, stages.range?.waiting]).toEqual([1, 1])
  })

  it('fail the range when the learner has no room for one', () => {
    let told = 0
    const values = begin(2, () => told++)
    const stageId = stages.range?.stages.get(values[0] as LargeValue)
    outbox.answered(LEARNER, stageId as number, false)
    expect([stages.range?.failed, stages.range?.waiting, told]).toEqual([true, 1, 1])
  })

  it('fail the range when too much is under way already, and put no more of it there', () => {
    begin(6)
    expect([stages.range?.failed, stages.range?.waiting, outbox.stageCount]).toEqual([true, 4, 4])
  })

  it.each(Array.from({ length: 20 }, (_, seed) => seed))(
    'seed %i: none stays behind, none ends early',
    (seed) => {
      const random = new SeededRandom(seed)
      let number = 0
      let waiting: readonly LargeValue[] = []
      /** By number, the stages that go with a range. */
      const sent = new Map<number, number>()
      for (let step = 0; step < 600; step++) {
        const dice = uniform(random)
        if (dice < 0.2) waiting = begin(integerBetween(random, 0, 3))
        else if (dice < 0.5) arrive(waiting.slice(0, integerBetween(random, 1, 3)))
        else if (dice < 0.75 && stages.range?.waiting === 0 && !stages.range.failed) {
          sent.set(++number, stages.range.stages.size)
          stages.sent(number)
        } else if (dice < 0.98) {
          const oldest = sent.keys().next().value
          if (oldest === undefined) continue
          stages.applied(oldest)
          sent.delete(oldest)
        } else {
          stages.endAll()
          sent.clear()
        }
        const named = [...sent.values()].reduce((sum, one) => sum + one, 0)
        expect(outbox.stageCount).toBe(named + (stages.range?.stages.size ?? 0))
      }
      expect(number).toBeGreaterThan(3)
    },
  )
})
