/** The primary's end of replication to one peer, against a peer that is the test. */

import { beforeEach, describe, expect, it } from 'vitest'
import { ByteReader } from '../../../src/kernel/bytes.ts'
import { integerBetween, SeededRandom, uniform } from '../../../src/kernel/random.ts'
import { Backlog } from '../../../src/replication/backlog.ts'
import { OperationTable } from '../../../src/replication/operation-table.ts'
import { PeerLog } from '../../../src/replication/peer-log.ts'
import { type Member, Replica } from '../../../src/replication/replica.ts'
import { FrameType } from '../../../src/wire/frames.ts'
import { Rejection } from '../../../src/wire/peer-frames.ts'
import { type Ask, decodeAsk, PositionStatus } from '../../../src/wire/replica-frames.ts'
import { DirectStream } from '../../support/direct-stream.ts'

interface Frame {
  readonly number: number
  readonly sessions: readonly (readonly [number, number])[]
  readonly records: readonly { partition: number; epoch: number; sequence: number; bytes: number }[]
}

class Bench {
  nowMs = 0
  readonly replicas: Replica[] = [new Replica(0, 4, 0, 0, [0, 1, 2]), new Replica(1, 5, 0, 0, [0, 1, 2])]
  readonly operations: OperationTable = new OperationTable()
  readonly missing = new Set<number>()
  readonly laggards: string[] = []
  readonly contradictions: string[] = []
  readonly full: number[] = []
  stamp = 0
  readonly asks: Ask[] = []
  readonly backlog: Backlog
  readonly log: PeerLog
  stream: DirectStream = new DirectStream()

  constructor(backlogBytes = 1_000_000, windowBytes = 4 * 1024 * 1024) {
    this.backlog = new Backlog(
      backlogBytes,
      (record) => {
        const replica = this.replicas[this.backlog.partition(record)] as Replica
        replica.firstRecord = this.backlog.next(record)
      },
      () => {},
    )
    this.log = new PeerLog(
      1,
      {
        backlog: this.backlog,
        wallMs: () => 1e12,
        monotonicMs: () => this.nowMs,
        replica: (partition) => this.replicas[partition],
        primaries: () => this.replicas,
        sessions: () => this.operations.all(),
        missingStage: (_, record) => this.missing.has(record),
        advanced: (replica) => replica.advance(),
        lagging: (_, member, why) => {
          member.state = 'lagging'
          this.laggards.push(why)
        },
        full: (replica) => this.full.push(replica.partition),
        answered: () => {},
        learnerReady: () => {},
        diverged: (_, what) => this.contradictions.push(what),
        nextStamp: () => ++this.stamp,
      },
      windowBytes,
    )
  }

  member(partition: number): Member {
    return this.replicas[partition]?.member(1) as Member
  }

  /** Logs `count` operations of the partition. @returns the last record */
  append(partition: number, count = 1, bytes = 10): number {
    const replica = this.replicas[partition] as Replica
    let record = -1
    for (let i = 0; i < count; i++) {
      replica.lastSequence++
      record = this.backlog.append(
        partition,
        replica.partitionEpoch,
        replica.lastSequence,
        new Uint8Array(bytes),
        bytes,
        replica.lastRecord,
        undefined,
      )
      if (replica.firstRecord < this.backlog.first) replica.firstRecord = record
      replica.lastRecord = record
    }
    return record
  }

  start(held: readonly number[] = [0, 0]): void {
    this.stream = new DirectStream()
    this.log.start(
      this.stream,
      held.map((lastSequence, partition) => ({
        partition,
        partitionEpoch: this.replicas[partition]?.partitionEpoch ?? 0,
        lastSequence,
      })),
    )
  }

  frames(): Frame[] {
    const bodies = this.stream.take()
    for (const body of bodies)
      if (body[0] === FrameType.ask) this.asks.push(...decodeAsk(new ByteReader(body, 1)))
    const frames = bodies.filter((body) => body[0] !== FrameType.ask)
    return frames.map((body) => {
      expect(body[0]).toBe(FrameType.replicate)
      const r = new ByteReader(body, 1)
      const number = r.uint32()
      r.float64()
      const sessions = Array.from({ length: r.varint() }, () => {
        const low = r.uint32()
        r.uint32()
        return [low, r.varint()] as const
      })
      const records: Frame['records'][number][] = []
      while (r.remaining > 0) {
        const [partition, epoch, sequence, versionEpoch, bytes] = [
          r.varint(),
          r.varint(),
          r.uint48(),
          r.varint(),
          r.varint(),
        ]
        expect(versionEpoch).toBeLessThanOrEqual(epoch)
        r.skip(bytes)
        records.push({ partition, epoch, sequence, bytes })
      }
      return { number, sessions, records }
    })
  }

  /** Sequences of a partition that were sent since last asked. */
  sent(partition: number): number[] {
    return this.frames().flatMap((frame) =>
      frame.records.filter((one) => one.partition === partition).map((one) => one.sequence),
    )
  }

  /** The peer's answer to a question. */
  position(
    partition: number,
    lastSequence: number,
    status: number = PositionStatus.adopted,
    heldEpoch?: number,
  ): void {
    const { partitionEpoch } = this.replicas[partition] as Replica
    this.log.positioned([
      {
        partition,
        partitionEpoch,
        status,
        heldEpoch: heldEpoch ?? partitionEpoch,
        lastEpoch: partitionEpoch,
        lastSequence,
        digestLow: 0,
        digestHigh: 0,
        leaseMs: 0,
      },
    ])
  }

  reject(
    frameNumber: number,
    partition: number,
    reason: number,
    lastSequence: number,
    partitionEpoch?: number,
  ): void {
    this.log.acked({
      frameNumber,
      rejected: [
        {
          partition,
          reason,
          partitionEpoch: partitionEpoch ?? this.replicas[partition]?.partitionEpoch ?? 0,
          lastSequence,
        },
      ],
    })
  }
}

describe('the log to a peer', () => {
  let bench: Bench
  beforeEach(() => {
    bench = new Bench()
  })

  it('sends nothing before the peer said what it holds, then what it lacks', () => {
    bench.append(0, 5)
    bench.append(1, 3)
    bench.log.flush()
    expect(bench.frames()).toEqual([])
    bench.start([2, 3])
    expect(bench.member(0)).toMatchObject({ acked: 2, sent: 5, state: 'following' })
    expect(bench.member(1)).toMatchObject({ acked: 3, sent: 3, state: 'following' })
    expect(bench.sent(0)).toEqual([3, 4, 5])
  })

  it('sends at once to an idle peer; what is logged while a frame is under way shares the next', () => {
    bench.start()
    for (let i = 0; i < 3; i++) {
      bench.append(0)
      bench.log.hurry()
    }
    const [first, ...others] = bench.frames()
    expect(first?.records.map((one) => one.sequence)).toEqual([1])
    expect(others).toEqual([])
    bench.log.acked({ frameNumber: first?.number ?? 0, rejected: [] })
    const [second] = bench.frames()
    expect(second?.records.map((one) => one.sequence)).toEqual([2, 3])
    // Nobody waits for this one: an acknowledgement does not send it.
    bench.append(0)
    bench.log.acked({ frameNumber: second?.number ?? 0, rejected: [] })
    expect(bench.frames()).toEqual([])
  })

  it('sends watermarks with records or a heartbeat, never alone upon an acknowledgement', () => {
    bench.start()
    bench.append(0)
    bench.log.hurry()
    const [first] = bench.frames()
    const session = bench.operations.session(7, 7)
    session.advance(5)
    bench.log.moved.add(session)
    bench.log.acked({ frameNumber: first?.number ?? 0, rejected: [] })
    bench.log.hurry()
    expect(bench.frames()).toEqual([])
    bench.log.heartbeat()
    expect(bench.frames().flatMap((frame) => frame.sessions)).toEqual([[7, 5]])
    expect(bench.log.moved.size).toBe(0)
  })

  it('sends each record once, in order, and takes as acknowledged what an ACK covers', () => {
    bench.start()
    for (let i = 0; i < 3; i++) {
      bench.append(0, 2)
      bench.append(1, 1)
      bench.log.flush()
    }
    const frames = bench.frames()
    expect(frames.map((frame) => frame.records.length)).toEqual([3, 3, 3])
    const numbers = frames.map((frame) => frame.number)
    bench.log.acked({ frameNumber: numbers[1] as number, rejected: [] })
    expect([bench.member(0).acked, bench.member(1).acked]).toEqual([4, 2])
    expect(bench.replicas[0]?.commitSequence).toBe(4)
    bench.log.acked({ frameNumber: numbers[2] as number, rejected: [] })
    expect(bench.replicas[0]?.commitSequence).toBe(6)
    expect(bench.log.inFlightBytes).toBe(0)
    expect(bench.sent(0)).toEqual([])
  })

  it('goes back to where a gap began, and sends everything from there', () => {
    bench.start()
    bench.append(0, 10)
    bench.log.flush()
    const { number } = bench.frames().at(-1) as Frame
    bench.reject(number, 0, Rejection.gap, 4)
    expect(bench.member(0)).toMatchObject({ acked: 4, sent: 10, state: 'following' })
    expect(bench.sent(0)).toEqual([5, 6, 7, 8, 9, 10])
    expect(bench.log.resent).toBe(6)
  })

  it('does not count what was refused as acknowledged, though the frame was answered', () => {
    bench.start()
    bench.append(0, 3)
    bench.append(1, 3)
    bench.log.flush()
    bench.reject(bench.frames().at(-1)?.number ?? 0, 0, Rejection.notStaged, 0)
    expect([bench.member(0).acked, bench.member(1).acked]).toEqual([0, 3])
  })

  it.each([
    ['has no role', Rejection.noRole, 0, undefined],
    ['is under an older epoch', Rejection.epoch, 2, 3],
  ])('asks a peer that %s what it holds, and goes on from its answer', (_, reason, lastSequence, epoch) => {
    bench.start()
    bench.append(0, 5)
    bench.log.flush()
    bench.reject(bench.frames().at(-1)?.number ?? 0, 0, reason, lastSequence, epoch)
    expect(bench.member(0).state).toBe('unknown')
    bench.append(0, 5)
    bench.append(1)
    bench.log.flush()
    expect(bench.sent(1)).toEqual([1])
    expect(bench.asks).toEqual([{ partition: 0, partitionEpoch: 4, session: 0 }])
    bench.position(0, 7)
    expect(bench.sent(0)).toEqual([8, 9, 10])
    expect(bench.member(0).acked).toBe(7)
  })

  it('sends nothing to a peer that is under a later epoch, until it is asked again', () => {
    bench.start()
    bench.append(0, 5)
    bench.log.flush()
    bench.reject(bench.frames().at(-1)?.number ?? 0, 0, Rejection.epoch, 2, 99)
    bench.append(0, 5)
    bench.log.flush()
    expect([bench.sent(0), bench.asks]).toEqual([[], []])
    bench.log.askAgain()
    bench.log.flush()
    expect([bench.sent(0), bench.asks.length]).toEqual([[], 1])
    bench.position(0, 0, PositionStatus.later)
    expect([bench.sent(0), bench.member(0).state]).toEqual([[], 'unknown'])
  })

  it('counts no answer of a peer that has said, on whatever stream, that it left the epoch', () => {
    bench.start()
    const replica = bench.replicas[0] as Replica
    bench.append(0, 5)
    bench.log.flush()
    const { number } = bench.frames().at(-1) as Frame
    bench.log.ask(replica)
    bench.reject(number, 0, Rejection.epoch, 5, 5)
    bench.position(0, 5)
    expect([bench.member(0).state, bench.member(0).acked, replica.commitSequence]).toEqual(['unknown', 0, 0])
    // The same of an answer that overtook an older one.
    const other = new Bench()
    other.start()
    other.append(0, 5)
    other.log.ask(other.replicas[0] as Replica)
    other.position(0, 0, PositionStatus.later, 5)
    other.position(0, 5)
    expect([other.member(0).state, other.member(0).acked]).toEqual(['unknown', 0])
  })

  it('says when a peer has no room', () => {
    bench.start()
    bench.append(0, 5)
    bench.log.flush()
    bench.reject(bench.frames().at(-1)?.number ?? 0, 0, Rejection.full, 2)
    expect([bench.full, bench.member(0).acked]).toEqual([[0], 2])
  })

  it('counts nothing that was acknowledged under an older epoch', () => {
    bench.start()
    const replica = bench.replicas[0] as Replica
    bench.append(0, 5)
    bench.log.flush()
    const { number } = bench.frames().at(-1) as Frame
    replica.enter(5, replica.state, 0, [0, 1, 2])
    bench.log.acked({ frameNumber: number, rejected: [] })
    expect([bench.member(0).acked, replica.commitSequence]).toEqual([0, 0])
    bench.log.ask(replica)
    bench.log.flush()
    bench.frames()
    bench.position(0, 3)
    expect([bench.member(0).acked, bench.sent(0)]).toEqual([3, [4, 5]])
    // What was refused of the older epoch is told behind the answer.
    bench.reject(number, 0, Rejection.epoch, 3)
    expect(bench.sent(0)).toEqual([4, 5])
  })

  it('leaves a peer out that holds more than the primary, and asks one of another epoch, or without a copy', () => {
    bench.append(0, 5)
    bench.start([6, 0])
    expect(bench.laggards).toEqual(['it holds more than its primary'])
    expect(bench.contradictions).toEqual(['a backup holds 6 operations of 5'])
    const other = new Bench()
    other.stream = new DirectStream()
    other.log.start(other.stream, [{ partition: 0, partitionEpoch: 3, lastSequence: 0 }])
    other.frames()
    expect(other.asks.map((ask) => ask.partition)).toEqual([0, 1])
  })

  it('leaves a peer out for which the backlog no longer has what it lacks', () => {
    bench = new Bench(200)
    bench.append(0, 100)
    bench.start([10, 0])
    expect(bench.laggards).toEqual(['the backlog no longer has what it lacks'])
    const near = new Bench(200)
    near.append(0, 100)
    near.start([near.backlog.sequence(near.backlog.first) - 1, 0])
    expect(near.laggards).toEqual([])
    expect(near.sent(0).length).toBe(near.backlog.end - near.backlog.first)
  })

  it('leaves a peer out that the backlog overruns while it is sent what it lacks', () => {
    bench = new Bench(20_000, 1000)
    bench.append(0, 15, 1000)
    bench.start([0, 0])
    expect(bench.member(0).state).toBe('following')
    bench = new Bench(200_000, 1000)
    bench.append(0, 150, 1000)
    bench.start([0, 0])
    expect(bench.member(0).state).toBe('behind')
    bench.append(0, 180, 1000)
    for (const { number } of bench.frames()) bench.log.acked({ frameNumber: number, rejected: [] })
    expect(bench.laggards).toEqual(['the backlog overran what it lacks'])
  })

  it('keeps within its window, and goes on as acknowledgements come', () => {
    bench = new Bench(10_000_000, 100_000)
    bench.start()
    bench.append(0, 3000, 100)
    bench.log.flush()
    expect(bench.log.inFlightBytes).toBeLessThan(100_000 + 70_000)
    const seen: number[] = []
    for (let i = 0; i < 100 && seen.length < 3000; i++) {
      for (const frame of bench.frames()) {
        seen.push(...frame.records.map((one) => one.sequence))
        bench.log.acked({ frameNumber: frame.number, rejected: [] })
      }
    }
    expect(seen).toEqual(Array.from({ length: 3000 }, (_, i) => i + 1))
    expect(bench.replicas[0]?.commitSequence).toBe(3000)
  })

  it('waits with a partition whose large value is not there yet, not with the others', () => {
    bench.start()
    bench.append(0, 2)
    bench.missing.add(bench.append(0))
    bench.append(0, 2)
    bench.append(1, 2)
    bench.log.flush()
    expect(bench.member(0)).toMatchObject({ state: 'awaiting', sent: 2 })
    expect(bench.member(1).sent).toBe(2)
    bench.frames()
    bench.log.staged()
    expect(bench.member(0).state).toBe('awaiting')
    bench.missing.clear()
    bench.log.staged()
    expect(bench.sent(0)).toEqual([3, 4, 5])
    expect(bench.member(0).state).toBe('following')
  })

  it('starts anew with each stream: what was under way on the old one is forgotten', () => {
    bench.start()
    bench.append(0, 5)
    bench.log.flush()
    bench.log.stop()
    expect([bench.log.linked, bench.log.available, bench.log.inFlightBytes]).toEqual([false, false, 0])
    bench.append(0, 2)
    bench.log.flush()
    bench.start([3, 0])
    expect(bench.sent(0)).toEqual([4, 5, 6, 7])
  })

  it('tells a peer that comes back all watermarks', () => {
    for (let i = 1; i <= 7000; i++) bench.operations.session(i, 0).advance(i)
    bench.start()
    const frames = bench.frames()
    expect(frames.flatMap((frame) => frame.sessions).length).toBe(7000)
    expect(frames[0]?.sessions[6]).toEqual([7, 7])
    for (const body of frames) expect(body.sessions.length).toBeLessThanOrEqual(3000)
  })

  it('counts a silent peer as gone, and as back when it answers', () => {
    bench.start()
    bench.nowMs = 900
    expect(bench.log.checkSilence(1000)).toBe(true)
    bench.nowMs = 1100
    expect(bench.log.checkSilence(1000)).toBe(false)
    expect([bench.log.linked, bench.log.available]).toEqual([true, false])
    bench.log.heartbeat()
    bench.log.acked({ frameNumber: bench.frames().at(-1)?.number ?? 0, rejected: [] })
    expect(bench.log.available).toBe(true)
  })

  it.each([1, 2, 3, 4, 5, 6, 7, 8])(
    'seed %i: a peer that refuses at random holds a prefix at any time, and all in the end',
    (seed) => {
      const random = new SeededRandom(seed)
      bench = new Bench(10_000_000, 5000)
      bench.start()
      const held = [0, 0]
      let linked = true
      let inbox: Frame[] = []
      for (let step = 0; step < 600; step++) {
        const dice = uniform(random)
        if (step > 500) {
          if (!linked) {
            bench.start(held)
            linked = true
          }
        } else if (dice < 0.05) {
          if (linked) bench.log.stop()
          else bench.start(held)
          linked = !linked
          inbox = []
        } else if (dice < 0.6) bench.append(integerBetween(random, 0, 1), integerBetween(random, 1, 30), 60)
        bench.log.flush()
        inbox.push(...bench.frames())
        if (!linked) continue
        const taken = inbox.splice(0, integerBetween(random, 0, 3))
        const rejected = new Map<
          number,
          { partition: number; reason: number; partitionEpoch: number; lastSequence: number }
        >()
        for (const frame of taken) {
          for (const record of frame.records) {
            if (rejected.has(record.partition)) continue
            const at = held[record.partition] as number
            if (record.sequence <= at) continue
            const wrong = record.sequence !== at + 1
            if (wrong || (step <= 500 && uniform(random) < 0.01)) {
              rejected.set(record.partition, {
                partition: record.partition,
                reason: wrong ? Rejection.gap : Rejection.notStaged,
                partitionEpoch: record.epoch,
                lastSequence: at,
              })
              continue
            }
            held[record.partition] = record.sequence
          }
        }
        const last = taken.at(-1)
        if (last !== undefined)
          bench.log.acked({ frameNumber: last.number, rejected: [...rejected.values()] })
        for (const partition of [0, 1]) {
          expect(bench.member(partition).acked).toBeLessThanOrEqual(held[partition] as number)
          expect(bench.replicas[partition]?.commitSequence).toBeLessThanOrEqual(held[partition] as number)
        }
      }
      expect(bench.laggards).toEqual([])
      for (const partition of [0, 1]) {
        const { lastSequence } = bench.replicas[partition] as Replica
        expect(lastSequence).toBeGreaterThan(1000)
        expect([held[partition], bench.member(partition).acked]).toEqual([lastSequence, lastSequence])
      }
    },
  )
})
