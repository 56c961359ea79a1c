import { describe, expect, it } from 'vitest'
import { SeededRandom } from '../../../src/kernel/random.ts'
import { Awareness } from '../../../src/membership/awareness.ts'
import { Dissemination, retransmitLimit } from '../../../src/membership/dissemination.ts'
import { LoopLag } from '../../../src/membership/loop-lag.ts'
import { MemberTable } from '../../../src/membership/member-table.ts'
import { resolveMembershipOptions } from '../../../src/membership/options.ts'
import { shuffled } from '../../../src/membership/prober.ts'
import type { GossipUpdate } from '../../../src/wire/gossip-frames.ts'

const ALIVE = { counter: 1, status: 'alive', proven: false } as const

function news(number: number, counter = 1): GossipUpdate {
  const incarnation = number.toString(16).padStart(16, '0')
  const record = { nodeId: `n${number}`, incarnation, address: 'a:1', ...ALIVE, counter }
  return { kind: 'member', record, by: 'me' }
}

describe('awareness', () => {
  it('stays within 0 and its maximum, and stretches', () => {
    const awareness = new Awareness(8)
    awareness.change(-1)
    expect([awareness.score, awareness.stretch(500)]).toEqual([0, 500])
    awareness.change(3)
    expect(awareness.stretch(500)).toBe(2000)
    awareness.change(100)
    expect(awareness.score).toBe(8)
    awareness.change(-1)
    expect(awareness.score).toBe(7)
  })
})

describe('dissemination', () => {
  it.each([
    [1, 4],
    [2, 4],
    [9, 4],
    [10, 8],
    [99, 8],
    [100, 12],
  ])('among %i members sends each piece %i times', (members, times) => {
    expect(retransmitLimit(4, members)).toBe(times)
    const queue = new Dissemination(16)
    queue.add(news(1))
    let sent = 0
    while (queue.take(10, times).length > 0) sent++
    expect(sent).toBe(times)
    expect([queue.size, queue.dropped]).toEqual([0, 0])
  })

  it('prefers what was sent least, and replaces what was said before of the same process', () => {
    const queue = new Dissemination(16)
    queue.add(news(1))
    expect(queue.take(1, 4)).toEqual([news(1)])
    queue.add(news(2))
    expect(queue.take(1, 4)).toEqual([news(2)])
    queue.add(news(1, 5))
    expect(queue.size).toBe(2)
    expect(queue.take(1, 4)).toEqual([news(1, 5)])
  })

  it('is bounded: what was sent most gives way, and is counted', () => {
    const queue = new Dissemination(3)
    for (let i = 0; i < 3; i++) queue.add(news(i))
    queue.take(1, 10)
    queue.add(news(3))
    expect([queue.size, queue.dropped]).toEqual([3, 1])
    expect(queue.take(10, 10)).toEqual([news(1), news(2), news(3)])
  })
})

describe('the member table', () => {
  const add = (table: MemberTable, i: number, at: number) =>
    table.add({ nodeId: `n${i}`, incarnation: 'i', address: 'a' }, ALIVE, at)

  it('is bounded: the ended give way first, then the given up, and the well never', () => {
    const table = new MemberTable(3)
    const members = [1, 2, 3].map((i) => add(table, i, i))
    expect(add(table, 4, 4)).toBeUndefined()
    const [first, second] = members
    if (first === undefined || second === undefined) throw new Error('the table refused a member')
    table.join(first, { counter: 1, status: 'dead', proven: false }, 5)
    table.join(second, { counter: 1, status: 'dead', proven: true }, 6)
    expect(add(table, 5, 7)).toBeDefined()
    expect(table.get('n2', 'i')).toBeUndefined()
    expect(add(table, 6, 8)).toBeDefined()
    expect([...table.all()].map(({ nodeId }) => nodeId)).toEqual(['n3', 'n5', 'n6'])
    expect(add(table, 7, 9)).toBeUndefined()
  })

  it('a contradiction voids what was reported before it', () => {
    const table = new MemberTable(3)
    const member = add(table, 1, 1)
    if (member === undefined) throw new Error('the table refused a member')
    member.refusals.set('a', { counter: 1, heardMs: 1 })
    member.refusals.set('b', { counter: 2, heardMs: 1 })
    table.join(member, { ...ALIVE, counter: 2 }, 2)
    expect([...member.refusals.keys()]).toEqual(['b'])
  })
})

describe('loop lag', () => {
  it('is the worst of the last while', () => {
    const lag = new LoopLag(1000)
    expect(lag.recent(0)).toBe(0)
    lag.note(300, 100)
    lag.note(2, 200)
    expect([lag.recent(200), lag.recent(1100), lag.recent(1101)]).toEqual([300, 300, 0])
    lag.note(5, 1200)
    expect(lag.recent(1200)).toBe(5)
  })
})

describe('options', () => {
  it('have the defaults of the protocol', () => {
    expect(resolveMembershipOptions()).toMatchObject({
      probeIntervalMs: 500,
      probeTimeoutMs: 250,
      indirectProbes: 3,
      pushPullIntervalMs: 30_000,
      gossipFanOut: 3,
      gossipIntervalMs: 200,
      retransmitMultiplier: 4,
      suspicionMultiplier: 4,
      awarenessMax: 8,
    })
  })

  it('out of range are named', () => {
    expect(() => resolveMembershipOptions({ gossipFanOut: 0 })).toThrow(/gossipFanOut is 0; choose.*1 to 16/)
    expect(() => resolveMembershipOptions({ probeIntervalMs: Number.NaN })).toThrow(/probeIntervalMs/)
    expect(() => resolveMembershipOptions({ probeTimeoutMs: 500 })).toThrow(/below probeIntervalMs/)
  })
})

it('shuffling keeps every item, and puts each in every place about as often', () => {
  const random = new SeededRandom(1)
  const places = [0, 0, 0, 0]
  for (let i = 0; i < 4000; i++) {
    const items = shuffled(['a', 'b', 'c', 'd'], random)
    expect([...items].sort()).toEqual(['a', 'b', 'c', 'd'])
    places[items.indexOf('a')] = (places[items.indexOf('a')] ?? 0) + 1
  }
  for (const count of places) expect(Math.abs(count - 1000)).toBeLessThan(120)
})
