/** The state machine, event by event. */

import { beforeEach, describe, expect, it } from 'vitest'
import { SeededRandom } from '../../../src/kernel/random.ts'
import type { MembershipEffect, MembershipEvent } from '../../../src/membership/events.ts'
import { Membership } from '../../../src/membership/membership.ts'
import { resolveMembershipOptions } from '../../../src/membership/options.ts'
import type { GossipMessage, GossipUpdate, MemberRecord } from '../../../src/wire/gossip-frames.ts'

const NOWHERE = { epoch: 0, hash: 0 }

/** Incarnation `number` of any node. */
const life = (number: number): string => number.toString(16).padStart(16, '0')

function record(nodeId: string, change: Partial<MemberRecord> = {}): MemberRecord {
  return {
    nodeId,
    incarnation: life(1),
    address: `${nodeId}:1`,
    counter: 1,
    status: 'alive',
    proven: false,
    ...change,
  }
}

describe('membership', () => {
  let core: Membership
  let nowMs: number
  let effects: MembershipEffect[]

  beforeEach(() => {
    nowMs = 0
    effects = []
    const self = { nodeId: 'me', incarnation: life(9), address: 'me:1' }
    core = new Membership(self, resolveMembershipOptions(), new SeededRandom(1), 0)
    for (const peer of ['a', 'b', 'c']) {
      up(peer)
      hear(peer, { type: 'pull', members: [record(peer)] })
    }
    effects = []
  })

  function handle(event: MembershipEvent): void {
    effects.push(...core.handle(event, nowMs))
  }

  function up(nodeId: string, incarnation: string = life(1), dialledMs: number = nowMs): void {
    handle({ type: 'stream-up', nodeId, incarnation, dialledMs })
  }

  function down(nodeId: string, failure: 'reset' | 'timeout' | undefined = 'reset'): void {
    handle({ type: 'stream-down', nodeId, incarnation: life(1), failure })
  }

  function hear(nodeId: string, message: GossipMessage, incarnation: string = life(1)): void {
    handle({ type: 'message', nodeId, incarnation, topology: NOWHERE, message })
  }

  function tell(from: string, ...updates: GossipUpdate[]): void {
    hear(from, { type: 'updates', updates })
  }

  function refusedAt(by: string, nodeId: string, counter = 1): GossipUpdate {
    return { kind: 'refused', nodeId, incarnation: life(1), counter, by }
  }

  function said(by: string, of: MemberRecord): GossipUpdate {
    return { kind: 'member', record: of, by }
  }

  function wait(ms: number): void {
    const untilMs = nowMs + ms
    while (core.dueMs <= untilMs) {
      nowMs = Math.max(nowMs, core.dueMs)
      handle({ type: 'tick', lagMs: 0 })
    }
    nowMs = untilMs
  }

  function state(nodeId: string, incarnation: string = life(1)): string {
    const member = core.members().find((one) => one.nodeId === nodeId && one.incarnation === incarnation)
    return member === undefined ? 'unknown' : `${member.proven ? 'proven ' : ''}${member.verdict}`
  }

  const sentTo = (nodeId: string): GossipMessage[] =>
    effects.flatMap((effect) => (effect.type === 'send' && effect.to === nodeId ? [effect.message] : []))

  it('takes two refused connections for a proof, one for a suspicion', () => {
    down('a')
    handle({ type: 'refused', nodeId: 'a' })
    expect(state('a')).toBe('suspect')
    handle({ type: 'refused', nodeId: 'a' })
    expect(state('a')).toBe('suspect')
    tell('b', refusedAt('b', 'a'))
    expect(state('a')).toBe('proven dead')
  })

  it('passes its own report on at once', () => {
    down('a')
    wait(300)
    effects = []
    handle({ type: 'refused', nodeId: 'a' })
    wait(10)
    expect(sentTo('b')).toContainEqual({
      type: 'updates',
      updates: expect.arrayContaining([refusedAt('me', 'a')]),
    })
  })

  it.each([
    ['timed out', () => down('a', 'timeout')],
    ['still stands', () => {}],
  ])('takes a refused connection for nothing when its stream %s', (_what, before) => {
    before()
    handle({ type: 'refused', nodeId: 'a' })
    expect(state('a')).toBe('alive')
  })

  it('takes no proof while its own stream stands, asks there, and takes it when the stream breaks', () => {
    tell('b', refusedAt('b', 'a'))
    effects = []
    tell('c', refusedAt('c', 'a'))
    expect(state('a')).toBe('suspect')
    expect(sentTo('a')).toMatchObject([{ type: 'ping' }])
    tell('b', said('b', record('a', { status: 'dead', proven: true })))
    expect(state('a')).toBe('suspect')
    down('a')
    expect(state('a')).toBe('proven dead')
  })

  it('heeds no report that the member has contradicted, that is old, or that a node gives of itself', () => {
    down('a')
    handle({ type: 'refused', nodeId: 'a' })
    tell('c', said('a', record('a', { counter: 2 })))
    expect(state('a')).toBe('alive')
    tell('b', refusedAt('b', 'a', 1))
    expect(state('a')).toBe('alive')
    tell('b', refusedAt('b', 'a', 2), refusedAt('a', 'a', 2), refusedAt('stranger', 'a', 2))
    expect(state('a')).toBe('suspect')
    tell('c', said('a', record('a', { counter: 3 })), refusedAt('c', 'a', 3))
    nowMs += 10_001
    handle({ type: 'refused', nodeId: 'a' })
    expect(state('a')).toBe('suspect')
  })

  it('takes whoever answers for the successor of all that it knew when it asked, and of no others', () => {
    tell('b', said('b', record('a', { incarnation: life(2) })))
    nowMs += 10
    const dialledMs = nowMs
    nowMs += 10
    // Heard of after the question: it may be the successor of the one that answers.
    tell('b', said('b', record('a', { incarnation: life(3) })))
    down('a')
    up('a', life(4), dialledMs)
    expect([1, 2, 3].map((number) => state('a', life(number)))).toEqual([
      'proven dead',
      'proven dead',
      'alive',
    ])
  })

  it('gives up after the suspicion, and takes back when the member contradicts', () => {
    tell('b', said('b', record('a', { status: 'suspect' })), said('c', record('a', { status: 'suspect' })))
    // A suspicion by two of three others among four members: 4,000 − 2,000 · ln 2 / ln 3.
    for (const [atMs, expected] of [
      [2730, 'suspect'],
      [2740, 'dead'],
    ] as const) {
      nowMs = atMs
      handle({ type: 'tick', lagMs: 0 })
      expect(state('a')).toBe(expected)
    }
    tell('b', said('a', record('a', { counter: 2 })))
    expect(state('a')).toBe('alive')
    expect(core.counters).toMatchObject({ deathsRefuted: 1 })
  })

  it('takes a death in another table for a suspicion, unless it is proven', () => {
    hear('b', { type: 'push', members: [record('b'), record('a', { status: 'dead' })] })
    expect(state('a')).toBe('suspect')
    tell('b', said('b', record('a', { status: 'dead' })))
    expect(state('a')).toBe('dead')
    down('c')
    hear('b', { type: 'push', members: [record('c', { status: 'dead', proven: true })] })
    expect(state('c')).toBe('proven dead')
  })

  it('contradicts what is said of itself, with a higher counter', () => {
    tell('b', said('b', record('me', { incarnation: life(9), status: 'suspect', counter: 4 })))
    expect(core.members()[0]).toMatchObject({ verdict: 'alive', counter: 5 })
    tell('b', said('b', record('me', { incarnation: life(9), status: 'dead', counter: 4 })))
    expect(core.members()[0]).toMatchObject({ counter: 5 })
    wait(10)
    const own = record('me', { incarnation: life(9), counter: 5 })
    expect(sentTo('b').concat(sentTo('a'), sentTo('c'))).toContainEqual({
      type: 'updates',
      updates: expect.arrayContaining([said('me', own)]),
    })
  })

  it('says once that the others hold it for gone, and of an earlier life of its own nothing', () => {
    tell('b', said('b', record('me', { incarnation: life(8), status: 'dead', proven: true })))
    expect(effects.filter(({ type }) => type === 'condemned')).toHaveLength(0)
    const end = said('b', record('me', { incarnation: life(9), status: 'dead', proven: true }))
    tell('b', end, end)
    expect(effects.filter(({ type }) => type === 'condemned')).toHaveLength(1)
  })

  it('tells a member in doubt of it when it pings, and in answer to its pings', () => {
    tell('b', said('b', record('a', { status: 'suspect' })))
    effects = []
    hear('a', { type: 'ping', sequence: 5, updates: [] })
    expect(effects).toContainEqual({
      type: 'reply',
      to: 'a',
      topology: NOWHERE,
      message: {
        type: 'ack',
        sequence: 5,
        lagMs: 0,
        updates: expect.arrayContaining([said('me', record('a', { status: 'suspect' }))]),
      },
    })
  })

  it('pings for others: passes the ack on, and says in time that there is none', () => {
    const ask = (sequence: number, nodeId: string): void =>
      hear('b', { type: 'ping-request', sequence, nodeId, incarnation: life(1), updates: [] })
    ask(70, 'a')
    const [ping] = sentTo('a')
    if (ping?.type !== 'ping') throw new Error('it did not ping')
    hear('a', { type: 'ack', sequence: ping.sequence, lagMs: 7, updates: [] })
    const replies = (): unknown[] =>
      effects.flatMap((effect) =>
        effect.type === 'reply'
          ? [[effect.message.type, 'sequence' in effect.message && effect.message.sequence]]
          : [],
      )
    expect(replies()).toEqual([['ack', 70]])
    ask(71, 'a')
    wait(199)
    expect(replies()).toHaveLength(1)
    wait(2)
    expect(replies()).toContainEqual(['nack', 71])
    ask(72, 'nobody')
    expect(replies()).toContainEqual(['nack', 72])
  })

  it('voids a round and gives suspicions their time back when its own loop stalled', () => {
    wait(500)
    tell('b', said('b', record('a', { status: 'suspect' })))
    nowMs += 3900
    handle({ type: 'late', lagMs: 3650 })
    handle({ type: 'tick', lagMs: 3650 })
    nowMs += 200
    handle({ type: 'tick', lagMs: 0 })
    expect(state('a')).toBe('suspect')
    expect(core.counters).toMatchObject({ roundsVoided: 1, suspicions: 0, deaths: 0 })
    expect(core.awareness).toBe(1)
  })

  it('does not doubt itself when those it asked for help say that they are well', () => {
    wait(750)
    const asked = ['a', 'b', 'c'].flatMap((peer) =>
      sentTo(peer).flatMap((message) => (message.type === 'ping-request' ? [{ peer, ...message }] : [])),
    )
    expect(asked).toHaveLength(2)
    for (const { peer, sequence } of asked) hear(peer, { type: 'nack', sequence, updates: [] })
    wait(250)
    expect(core.counters).toMatchObject({ probesFailed: 1, suspicions: 1 })
    expect(core.awareness).toBe(0)
  })

  it('raises awareness when those it asked for help are silent too', () => {
    down('b', 'timeout')
    down('c', 'timeout')
    wait(5000)
    expect(core.awareness).toBeGreaterThan(2)
  })

  it('does nothing more of its own after its goodbye, and knows when it was heard', () => {
    handle({ type: 'leave' })
    for (const peer of ['a', 'b', 'c']) {
      const ping = sentTo(peer).find((message) => message.type === 'ping')
      if (ping?.type !== 'ping') throw new Error(`${peer} was not told`)
      expect(ping.updates).toEqual([said('me', record('me', { incarnation: life(9), status: 'left' }))])
      expect(effects.some(({ type }) => type === 'goodbye-heard')).toBe(false)
      hear(peer, { type: 'ack', sequence: ping.sequence, lagMs: 0, updates: [] })
    }
    expect(effects.some(({ type }) => type === 'goodbye-heard')).toBe(true)
    wait(10_000)
    expect(core.counters.probes).toBe(0)
    expect(core.dueMs).toBeGreaterThan(nowMs)
  })
})
