/** The state machine of a takeover, and what a learned record means, without any cluster. */

import { describe, expect, it } from 'vitest'
import type { Epoch, PartitionEpoch } from '../../../src/kernel/ids.ts'
import { changeOf, type HeldReplica } from '../../../src/replication/adoption.ts'
import { LearnerState } from '../../../src/replication/learner-state.ts'
import { BACKUP, changeRole, PRIMARY, type Role } from '../../../src/replication/role.ts'
import { Takeover, type TakeoverOptions } from '../../../src/replication/takeover.ts'
import type { PartitionRecord } from '../../../src/topology/topology.ts'

const NOBODY = (): boolean => false
const NEVER = Number.NEGATIVE_INFINITY
const own = { epoch: 3, sequence: 10 }

function takeover(options: Partial<TakeoverOptions> = {}): Takeover {
  return new Takeover({
    members: [1, 2],
    ownLeaseUntilMs: NEVER,
    former: [0],
    recoveredUntilMs: undefined,
    ...options,
  })
}

function answer(epoch: number, sequence: number, leaseUntilMs = NEVER) {
  return { epoch, sequence, leaseUntilMs, digestLow: 0, digestHigh: 0 }
}

describe('a takeover', () => {
  it('asks until all members have answered', () => {
    const one = takeover()
    expect(one.step(own, 0, NOBODY)).toEqual({ kind: 'ask', nodes: [1, 2] })
    one.answered(2, answer(3, 10))
    one.answered(7, answer(9, 99))
    expect(one.step(own, 0, NOBODY)).toEqual({ kind: 'ask', nodes: [1] })
    one.answered(1, answer(3, 9))
    expect(one.step(own, 0, NOBODY)).toEqual({ kind: 'serve' })
    expect(one.state).toEqual({ kind: 'over' })
  })

  it('fetches from whoever holds the longest log: a later epoch first, then the sequence', () => {
    const one = takeover()
    one.answered(1, answer(3, 12))
    one.answered(2, answer(4, 11))
    expect(one.step(own, 0, NOBODY)).toEqual({ kind: 'fetch', holder: 2 })
    expect(one.step({ epoch: 4, sequence: 11 }, 5, NOBODY)).toEqual({ kind: 'serve' })
  })

  it('hands over to the holder of what it can not get', () => {
    const one = takeover({ fetchTimeoutMs: 100 })
    one.answered(1, answer(3, 12))
    one.answered(2, answer(3, 10))
    expect(one.step(own, 0, NOBODY)).toEqual({ kind: 'fetch', holder: 1 })
    expect(one.step(own, 100, NOBODY)).toEqual({ kind: 'fetch', holder: 1 })
    one.grew(90)
    expect(one.step(own, 150, NOBODY)).toEqual({ kind: 'fetch', holder: 1 })
    expect(one.step(own, 191, NOBODY)).toEqual({ kind: 'hand-over', to: 1 })
    const other = takeover()
    other.answered(1, answer(3, 12))
    other.answered(2, answer(3, 10))
    other.step(own, 0, NOBODY)
    other.unavailable(2)
    expect(other.step(own, 1, NOBODY)).toEqual({ kind: 'fetch', holder: 1 })
    other.unavailable(1)
    expect(other.step(own, 1, NOBODY)).toEqual({ kind: 'hand-over', to: 1 })
  })

  it('waits out the longest lease, its own grant included', () => {
    const one = takeover({ ownLeaseUntilMs: 700 })
    one.answered(1, answer(3, 10, 500))
    one.answered(2, answer(3, 10))
    expect(one.step(own, 0, NOBODY)).toEqual({ kind: 'wait', untilMs: 700 })
    expect(one.step(own, 699, NOBODY)).toEqual({ kind: 'wait', untilMs: 700 })
    expect(one.step(own, 700, NOBODY)).toEqual({ kind: 'serve' })
  })

  it('waits for nothing once each earlier primary answered or is proven dead', () => {
    const one = takeover({ members: [0, 1], former: [0, 4], ownLeaseUntilMs: 700 })
    one.answered(0, answer(3, 10))
    one.answered(1, answer(3, 10))
    expect(one.step(own, 0, NOBODY)).toEqual({ kind: 'wait', untilMs: 700 })
    expect(one.step(own, 0, (node) => node === 4)).toEqual({ kind: 'serve' })
  })

  it('after a loss waits for what its predecessor may have served, whatever was granted', () => {
    const one = takeover({ members: [], former: [-1], recoveredUntilMs: 3300 })
    expect(one.step(own, 0, NOBODY)).toEqual({ kind: 'wait', untilMs: 3300 })
    expect(one.step(own, 3300, NOBODY)).toEqual({ kind: 'serve' })
  })
})

describe('roles', () => {
  const taking: Role = { kind: 'taking-over', takeover: takeover() }
  const learning: Role = { kind: 'learner', learner: new LearnerState(4) }

  it('nobody becomes primary but through a takeover', () => {
    expect(changeRole(taking, PRIMARY)).toBe(PRIMARY)
    for (const from of [BACKUP, learning]) expect(() => changeRole(from, PRIMARY)).toThrow('turned from')
  })

  it('a learner is whole once it applied the log up to where the walk ended', () => {
    const state = new LearnerState(4)
    expect([state.follows(4, 0), state.reached(9)]).toEqual([false, false])
    state.begin(7, 4, 0, 0, 0)
    expect([state.follows(4, 7), state.follows(4, 6), state.follows(3, 7)]).toEqual([true, false, false])
    state.end(6, 5)
    expect(state.reached(9)).toBe(false)
    state.end(7, 10)
    expect([state.reached(9), state.reached(10), state.isWhole, state.reached(11)]).toEqual([
      false,
      true,
      true,
      false,
    ])
  })
})

describe('a learned record', () => {
  const SELF = 1
  const base: PartitionRecord = {
    partitionEpoch: 5 as PartitionEpoch,
    primary: 0,
    inSync: [0, 1, 2],
    learners: [],
    unsettled: [],
    recoveredAt: 0,
  }
  const at = (partitionEpoch: number): PartitionEpoch => partitionEpoch as PartitionEpoch
  const held = (partitionEpoch: number, state: Role): HeldReplica => ({ partitionEpoch, state })
  const led = { ...base, primary: SELF, inSync: [1, 0, 2] }

  it.each<[string, Partial<PartitionRecord>, HeldReplica | undefined, string]>([
    ['begins with its first epoch', { ...led, partitionEpoch: at(1) }, undefined, 'begin'],
    ['begins as a backup', { partitionEpoch: at(1) }, undefined, 'begin'],
    ['is taken over when its beginning was missed', led, undefined, 'take-over'],
    ['is followed', {}, held(4, PRIMARY), 'follow'],
    ['is as it was', {}, held(5, BACKUP), 'keep'],
    ['is older than what was adopted', {}, held(6, BACKUP), 'ignore'],
    ['contradicts who asked in this epoch', led, held(5, BACKUP), 'ignore'],
    ['has no place for this node', { inSync: [0, 2] }, held(4, BACKUP), 'drop'],
    ['never had one', { inSync: [0, 2] }, undefined, 'none'],
    ['goes to a backup', led, held(4, BACKUP), 'take-over'],
    ['comes back after a change that was missed', led, held(3, PRIMARY), 'take-over'],
    ['stays', { ...led, unsettled: [{ primary: 1, members: [1, 0] }] }, held(4, PRIMARY), 'lead-on'],
    [
      'stays over two changes',
      {
        ...led,
        unsettled: [
          { primary: 1, members: [1, 0] },
          { primary: 1, members: [1, 2] },
        ],
      },
      held(3, PRIMARY),
      'lead-on',
    ],
    [
      'may have been led by another in between, whose pair was listed before',
      {
        ...led,
        unsettled: [
          { primary: 0, members: [0, 1] },
          { primary: 1, members: [1, 0] },
          { primary: 1, members: [1, 2] },
        ],
      },
      held(3, PRIMARY),
      'take-over',
    ],
    [
      'went away and came back',
      {
        ...led,
        unsettled: [
          { primary: 1, members: [1, 0] },
          { primary: 0, members: [1, 0] },
        ],
      },
      held(3, PRIMARY),
      'take-over',
    ],
    [
      'started over in between',
      { ...led, unsettled: [{ primary: 1, members: [1] }], recoveredAt: 5 },
      held(4, PRIMARY),
      'take-over',
    ],
  ])('%s', (_, record, replica, kind) => {
    expect(changeOf({ ...base, ...record }, SELF, replica).kind).toBe(kind)
  })

  it('names a session: a new one begins, a known one goes on', () => {
    const learners = [{ node: SELF, session: 9 as Epoch }]
    const record = { ...base, inSync: [0, 2], learners }
    const nine: Role = { kind: 'learner', learner: new LearnerState(9) }
    const eight: Role = { kind: 'learner', learner: new LearnerState(8) }
    expect(changeOf(record, SELF, undefined)).toEqual({ kind: 'learn', session: 9 })
    expect(changeOf(record, SELF, held(4, BACKUP))).toEqual({ kind: 'learn', session: 9 })
    expect(changeOf(record, SELF, held(5, eight))).toEqual({ kind: 'learn', session: 9 })
    expect(changeOf(record, SELF, held(4, nine)).kind).toBe('learn-on')
    expect(changeOf(record, SELF, held(5, nine)).kind).toBe('keep')
    expect(changeOf(base, SELF, held(4, nine)).kind).toBe('follow')
  })

  it('gives a process that it does not name nothing', () => {
    expect(changeOf(led, -1, undefined).kind).toBe('none')
    expect(changeOf(led, -1, held(5, PRIMARY)).kind).toBe('drop')
  })
})
