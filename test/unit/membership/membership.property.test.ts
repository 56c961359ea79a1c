/** What holds whatever is said in whatever order. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SeededRandom } from '../../../src/kernel/random.ts'
import type { MembershipEffect } from '../../../src/membership/events.ts'
import { isFinal, joinStates, type MemberState, sameState } from '../../../src/membership/member-state.ts'
import { Membership } from '../../../src/membership/membership.ts'
import { resolveMembershipOptions } from '../../../src/membership/options.ts'
import {
  GOSSIP_UPDATES_MAX,
  type GossipMessage,
  type GossipUpdate,
  type MemberRecord,
} from '../../../src/wire/gossip-frames.ts'

const SELF = { nodeId: 'n0', incarnation: '0000000000000000', address: 'h:0' }

const stateArbitrary: fc.Arbitrary<MemberState> = fc
  .tuple(
    fc.integer({ min: 0, max: 4 }),
    fc.constantFrom('alive', 'suspect', 'dead', 'left' as const),
    fc.boolean(),
  )
  .map(([counter, status, wish]) => {
    const proven = wish && (status === 'dead' || status === 'left')
    return { counter, status, proven } as MemberState
  })

describe('joining opinions', () => {
  it('is commutative, associative and idempotent', () => {
    fc.assert(
      fc.property(stateArbitrary, stateArbitrary, stateArbitrary, (a, b, c) => {
        expect(sameState(joinStates(a, b), joinStates(b, a))).toBe(true)
        expect(sameState(joinStates(joinStates(a, b), c), joinStates(a, joinStates(b, c)))).toBe(true)
        expect(sameState(joinStates(a, a), a)).toBe(true)
      }),
      { numRuns: 2000 },
    )
  })

  it('never takes back what is final, nor lowers a counter', () => {
    fc.assert(
      fc.property(stateArbitrary, stateArbitrary, (a, b) => {
        const joined = joinStates(a, b)
        if (isFinal(a)) expect(isFinal(joined)).toBe(true)
        if (a.proven) expect(joined.proven).toBe(true)
        expect(joined.counter).toBe(Math.max(a.counter, b.counter))
      }),
      { numRuns: 2000 },
    )
  })

  it.each([
    // Alive needs a higher counter; suspect and dead apply at the same.
    ['alive', 1, 'suspect', 1, 'suspect'],
    ['suspect', 1, 'alive', 1, 'suspect'],
    ['suspect', 1, 'alive', 2, 'alive'],
    ['suspect', 1, 'dead', 1, 'dead'],
    ['dead', 1, 'suspect', 1, 'dead'],
    ['dead', 1, 'alive', 1, 'dead'],
    ['dead', 1, 'alive', 2, 'alive'],
    ['alive', 2, 'dead', 1, 'alive'],
    ['left', 1, 'alive', 9, 'left'],
    ['left', 1, 'dead', 9, 'left'],
  ] as const)('%s %i and %s %i give %s', (status, counter, other, otherCounter, expected) => {
    const a = { status, counter, proven: false }
    expect(joinStates(a, { status: other, counter: otherCounter, proven: false }).status).toBe(expected)
  })
})

const nodeArbitrary = fc.integer({ min: 0, max: 4 }).map((i) => `n${i}`)
const incarnationArbitrary = fc.integer({ min: 0, max: 2 }).map((i) => i.toString().padStart(16, '0'))
const recordArbitrary: fc.Arbitrary<MemberRecord> = fc
  .tuple(nodeArbitrary, incarnationArbitrary, stateArbitrary)
  .map(([nodeId, incarnation, state]) => ({ nodeId, incarnation, address: `h:${nodeId}`, ...state }))
const updateArbitrary: fc.Arbitrary<GossipUpdate> = fc.oneof(
  fc.record({ kind: fc.constant('member' as const), record: recordArbitrary, by: nodeArbitrary }),
  fc.record({
    kind: fc.constant('refused' as const),
    nodeId: nodeArbitrary,
    incarnation: incarnationArbitrary,
    counter: fc.integer({ min: 0, max: 4 }),
    by: nodeArbitrary,
  }),
)
const updatesArbitrary = fc.array(updateArbitrary, { maxLength: 4 })
const sequenceArbitrary = fc.integer({ min: 0, max: 12 })
const messageArbitrary: fc.Arbitrary<GossipMessage> = fc.oneof(
  fc.record({
    type: fc.constant('ping' as const),
    sequence: sequenceArbitrary,
    updates: updatesArbitrary,
  }),
  fc.record({
    type: fc.constant('ping-request' as const),
    sequence: sequenceArbitrary,
    nodeId: nodeArbitrary,
    incarnation: incarnationArbitrary,
    updates: updatesArbitrary,
  }),
  fc.record({ type: fc.constant('updates' as const), updates: updatesArbitrary }),
  fc.record({ type: fc.constant('push' as const), members: fc.array(recordArbitrary, { maxLength: 4 }) }),
  fc.record({ type: fc.constant('pull' as const), members: fc.array(recordArbitrary, { maxLength: 4 }) }),
  fc.record({
    type: fc.constant('ack' as const),
    sequence: sequenceArbitrary,
    lagMs: fc.integer({ min: 0, max: 5000 }),
    updates: updatesArbitrary,
  }),
  fc.record({
    type: fc.constant('nack' as const),
    sequence: sequenceArbitrary,
    updates: updatesArbitrary,
  }),
)
const topology = fc.record({ epoch: fc.integer({ min: 0, max: 3 }), hash: fc.integer({ min: 0, max: 3 }) })
const failureArbitrary = fc.constantFrom('reset' as const, 'timeout' as const, undefined)
const eventArbitrary = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      type: fc.constant('message' as const),
      nodeId: nodeArbitrary,
      incarnation: incarnationArbitrary,
      topology,
      message: messageArbitrary,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ type: fc.constant('tick' as const), lagMs: fc.constantFrom(0, 0, 0, 400, 3000) }),
  },
  fc.record({
    type: fc.constant('stream-up' as const),
    nodeId: nodeArbitrary,
    incarnation: incarnationArbitrary,
    dialledMs: fc.constant(0),
  }),
  fc.record({
    type: fc.constant('stream-down' as const),
    nodeId: nodeArbitrary,
    incarnation: incarnationArbitrary,
    failure: failureArbitrary,
  }),
  fc.record({ type: fc.constant('refused' as const), nodeId: nodeArbitrary }),
  fc.record({ type: fc.constant('check' as const), nodeId: nodeArbitrary }),
)

describe('membership, whatever it is told in whatever order', () => {
  it('resurrects nobody, lowers no counter, and keeps its bounds', () => {
    const steps = fc.array(fc.tuple(eventArbitrary, fc.integer({ min: 0, max: 900 })), { maxLength: 60 })
    fc.assert(
      fc.property(steps, (events) => {
        const options = resolveMembershipOptions({ queueMax: 16, membersMax: 16 })
        const core = new Membership(SELF, options, new SeededRandom(1), 0)
        const gone = new Set<string>()
        const counters = new Map<string, number>()
        let nowMs = 0
        let condemned = 0
        for (const [event, waitMs] of events) {
          nowMs += waitMs
          const effects = core.handle(
            event.type === 'stream-up' ? { ...event, dialledMs: nowMs - waitMs } : event,
            nowMs,
          )
          condemned += effects.filter(({ type }) => type === 'condemned').length
          checkFrames(effects)
          expect(core.news.size).toBeLessThanOrEqual(16)
          expect(core.awareness).toBeGreaterThanOrEqual(0)
          expect(core.awareness).toBeLessThanOrEqual(8)
          const members = core.members()
          expect(members.length).toBeLessThanOrEqual(17)
          // This process never believes in its own death.
          expect(members[0]).toMatchObject({ nodeId: 'n0', verdict: 'alive' })
          for (const { nodeId, incarnation, verdict, proven, counter } of members) {
            const key = `${nodeId}/${incarnation}`
            if (gone.has(key)) expect(verdict === 'left' || (verdict === 'dead' && proven), key).toBe(true)
            if (verdict === 'left' || proven) gone.add(key)
            expect(counter).toBeGreaterThanOrEqual(counters.get(key) ?? 0)
            counters.set(key, counter)
          }
          expect(core.dueMs).toBeLessThan(nowMs + 30_001)
        }
        expect(condemned).toBeLessThanOrEqual(1)
      }),
      { numRuns: 600 },
    )
  })

  it('two that hear the same records in different orders agree on everything', () => {
    const records = fc.array(recordArbitrary, { maxLength: 12 })
    fc.assert(
      fc.property(records, fc.nat(), (heard, seed) => {
        const views = [heard, shuffledBy(heard, seed)].map((order) => {
          const core = new Membership(SELF, resolveMembershipOptions(), new SeededRandom(1), 0)
          for (const record of order) core.handle(said(record), 0)
          return core
            .members()
            .slice(1)
            .map(({ nodeId, incarnation, verdict, proven, counter }) =>
              [nodeId, incarnation, verdict, proven, counter].join(),
            )
            .sort()
        })
        expect(views[0]).toEqual(views[1])
      }),
      { numRuns: 1000 },
    )
  })
})

function said(record: MemberRecord) {
  const update: GossipUpdate = { kind: 'member', record, by: 'n9' }
  const message: GossipMessage = { type: 'updates', updates: [update] }
  const from = { nodeId: 'n9', incarnation: '9999999999999999' }
  return { type: 'message' as const, ...from, topology: { epoch: 0, hash: 0 }, message }
}

function shuffledBy<T>(items: readonly T[], seed: number): T[] {
  const random = new SeededRandom(seed)
  return items
    .map((item) => ({ item, place: random.uint32() }))
    .sort((a, b) => a.place - b.place)
    .map(({ item }) => item)
}

function checkFrames(effects: readonly MembershipEffect[]): void {
  for (const effect of effects) {
    if (effect.type !== 'send' && effect.type !== 'reply') continue
    if ('updates' in effect.message)
      expect(effect.message.updates.length).toBeLessThanOrEqual(GOSSIP_UPDATES_MAX)
  }
}
