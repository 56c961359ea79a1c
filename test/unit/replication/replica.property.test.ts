import { describe, expect, it } from 'vitest'
import { CacheError } from '../../../src/kernel/errors.ts'
import { integerBetween, SeededRandom, uniform } from '../../../src/kernel/random.ts'
import { Outcome, type OutcomeSink } from '../../../src/replication/outcome.ts'
import { Replica } from '../../../src/replication/replica.ts'

class Sink implements OutcomeSink {
  readonly completedIds: number[] = []
  readonly failedIds: number[] = []
  waiting = 0
  waits(): void {
    this.waiting++
  }
  completed(outcome: Outcome): void {
    this.completedIds.push(outcome.requestId)
  }
  failed(outcome: Outcome, error: CacheError): void {
    expect(error.code).toBe('OUTCOME_UNKNOWN')
    this.failedIds.push(outcome.requestId)
  }
}

describe('a primary', () => {
  it.each([1, 2, 3, 4, 5, 6, 7])(
    'of %i replicas commits the highest sequence that a majority holds',
    (size) => {
      for (let seed = 0; seed < 10; seed++) {
        const random = new SeededRandom(seed * 10 + size)
        const nodes = Array.from({ length: size }, (_, i) => i)
        const replica = new Replica(3, 1, 0, 0, nodes)
        expect(replica.members.length).toBe(size - 1)
        const sink = new Sink()
        const pending: { id: number; wait: number; by: 'quorum' | 'all'; deadlineMs: number }[] = []
        let id = 0
        for (let step = 0; step < 200; step++) {
          const dice = uniform(random)
          if (dice < 0.4) replica.lastSequence++
          else if (dice < 0.8) {
            const member = replica.members[integerBetween(random, 0, size - 1)]
            if (member !== undefined) {
              member.sent = replica.lastSequence
              member.acked = Math.max(member.acked, integerBetween(random, 0, replica.lastSequence))
            }
          } else {
            const by = uniform(random) < 0.7 ? 'quorum' : 'all'
            const deadlineMs = step + integerBetween(random, 1, 100)
            const outcome = new Outcome(sink, ++id, 0x10, deadlineMs)
            // A retry waits for something older.
            outcome.waitSequence = integerBetween(
              random,
              Math.max(0, replica.lastSequence - 5),
              replica.lastSequence,
            )
            pending.push({ id, wait: outcome.waitSequence, by, deadlineMs })
            replica.await(outcome, by)
          }
          replica.advance()
          replica.expire(step)
          // Brute force: how many hold each sequence.
          const held = [replica.lastSequence, ...replica.members.map((member) => member.acked)]
          let commit = 0
          for (let s = 1; s <= replica.lastSequence; s++)
            if (held.filter((one) => one >= s).length * 2 > size) commit = s
          expect(replica.commitSequence).toBe(commit)
          expect(replica.allSequence).toBe(Math.min(...held))
          for (let i = pending.length - 1; i >= 0; i--) {
            const one = pending[i] as (typeof pending)[number]
            const reached = one.by === 'quorum' ? commit : Math.min(...held)
            if (one.wait <= reached) expect(sink.completedIds).toContain(one.id)
            else if (one.deadlineMs <= step) expect(sink.failedIds).toContain(one.id)
            else {
              expect(sink.completedIds).not.toContain(one.id)
              expect(sink.failedIds).not.toContain(one.id)
              continue
            }
            pending.splice(i, 1)
          }
          expect(replica.waiting).toBe(pending.length)
        }
        replica.abandon(new CacheError('OUTCOME_UNKNOWN', 'stopped'))
        expect(replica.waiting).toBe(0)
        expect(new Set([...sink.completedIds, ...sink.failedIds]).size).toBe(id)
        expect(sink.completedIds.length + sink.failedIds.length).toBe(id)
      }
    },
  )

  it('tells those that wait for the same in the order they came', () => {
    const replica = new Replica(0, 1, 0, 0, [0, 1, 2])
    const sink = new Sink()
    replica.lastSequence = 3
    for (const [requestId, wait] of [
      [1, 2],
      [2, 3],
      [3, 1],
      [4, 2],
      [5, 3],
    ] as const) {
      const outcome = new Outcome(sink, requestId, 0, 1)
      outcome.waitSequence = wait
      replica.await(outcome, 'quorum')
    }
    expect(sink.waiting).toBe(5)
    const member = replica.members[0]
    if (member !== undefined) member.acked = 3
    replica.advance()
    expect(sink.completedIds).toEqual([3, 1, 4, 2, 5])
  })
})
