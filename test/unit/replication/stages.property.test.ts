/**
 * Large values on their way from a primary to its backups, over bulk streams that break at every point. Whatever happens,
 * nothing stays behind: neither at the sender nor at a receiver.
 */

import { describe, expect, it } from 'vitest'
import { Engine, type LargeValue } from '../../../src/engine/engine.ts'
import { ByteReader } from '../../../src/kernel/bytes.ts'
import type { CacheError } from '../../../src/kernel/errors.ts'
import { MemoryAccount } from '../../../src/kernel/memory-account.ts'
import { integerBetween, SeededRandom, uniform } from '../../../src/kernel/random.ts'
import { BulkPace, STEP_BYTES } from '../../../src/replication/bulk-pace.ts'
import { StageInbox } from '../../../src/replication/stage-inbox.ts'
import { StageOutbox } from '../../../src/replication/stage-outbox.ts'
import { VirtualTime } from '../../../src/testing/virtual-time.ts'
import { FrameType, UPLOAD_CHUNK_BYTES } from '../../../src/wire/frames.ts'
import { decodeStage } from '../../../src/wire/peer-frames.ts'
import { DirectStream } from '../../support/direct-stream.ts'

const MIB = 1024 * 1024

function newEngine(): Engine {
  return new Engine({ hashKey: { low: 1, high: 2 }, memory: new MemoryAccount(64 * MIB) })
}

function largeValue(engine: Engine, bytes: number, fill: number): LargeValue {
  const value = engine.newLargeValue(bytes)
  value.append(new Uint8Array(bytes).fill(fill))
  return value
}

/** The receiving end at one peer. */
class Peer {
  readonly engine: Engine = newEngine()
  readonly inbox: StageInbox
  stream: DirectStream | undefined

  constructor(bytesMax: number) {
    this.inbox = new StageInbox(this.engine, bytesMax, 4 * MIB)
  }
}

class Bench {
  readonly engine: Engine = newEngine()
  readonly peers: readonly Peer[]
  readonly holds: number[] = []
  readonly outbox: StageOutbox
  readonly time = new VirtualTime()
  readonly pace = new BulkPace(this.time, this.time)

  constructor(peers: number, bytesMax = 32 * MIB) {
    this.peers = Array.from({ length: peers }, () => new Peer(bytesMax))
    this.outbox = new StageOutbox(16 * MIB, this.pace, (node) => this.holds.push(node))
  }

  up(node: number): void {
    const peer = this.peers[node - 1] as Peer
    if (peer.stream !== undefined) return
    // A small buffer: the sender has to wait for it again and again.
    const stream = new DirectStream({ markBytes: 100_000 })
    stream.stuck = true
    peer.stream = stream
    this.outbox.linkUp(node, stream)
  }

  down(node: number): void {
    const peer = this.peers[node - 1] as Peer
    if (peer.stream === undefined) return
    peer.stream = undefined
    this.outbox.linkDown(node)
    peer.inbox.dropSender(0)
  }

  /** The peer takes up to `frames` frames off its stream and answers them. */
  deliver(node: number, frames = Number.POSITIVE_INFINITY): void {
    const peer = this.peers[node - 1] as Peer
    const { stream } = peer
    for (let left = frames; left > 0 && stream !== undefined && peer.stream === stream; left--) {
      const body = stream.sent.shift()
      if (body === undefined) return
      const r = new ByteReader(body, 1)
      if (body[0] === FrameType.stage) {
        const chunk = decodeStage(r)
        const result = peer.inbox.chunk(0, chunk, body)
        if (result !== 'more') this.outbox.answered(node, chunk.stageId, result === 'whole')
      } else {
        peer.inbox.drop(0, r.uint32())
      }
      if (stream.sent.length === 0) {
        stream.queuedBytes = 0
        this.outbox.drained(node)
      }
    }
  }
}

/** A stream with room for everything. */
function openTo(bench: Bench): DirectStream {
  const stream = new DirectStream({ markBytes: 100 * MIB })
  bench.outbox.linkUp(1, stream)
  return stream
}

function bytesOf(stream: DirectStream): number {
  return stream.sent.reduce((sum, frame) => sum + frame.length, 0)
}

describe('large values on their way to replicas', () => {
  it('go as fast as the stream takes them while nothing else is about', () => {
    const bench = new Bench(1)
    const stream = openTo(bench)
    bench.outbox.begin(largeValue(bench.engine, 4 * MIB, 1), [1], 1, () => {})
    expect(bytesOf(stream)).toBeGreaterThan(4 * MIB)
    expect(bench.time.monotonicMs()).toBe(0)
  })

  it('go in steps of bounded size while small operations arrive', async () => {
    const bench = new Bench(1)
    const stream = openTo(bench)
    bench.pace.sawSmall()
    bench.outbox.begin(largeValue(bench.engine, 4 * MIB, 1), [1], 1, () => {})
    let before = 0
    let turns = 0
    for (; bytesOf(stream) < 4 * MIB; turns++) {
      const now = bytesOf(stream)
      expect(now).toBeGreaterThan(before)
      expect(now - before).toBeLessThan(STEP_BYTES + UPLOAD_CHUNK_BYTES)
      before = now
      bench.pace.sawSmall()
      await bench.time.advance(1)
    }
    expect(turns).toBeGreaterThan((4 * MIB) / (STEP_BYTES + UPLOAD_CHUNK_BYTES) - 1)
  })

  it('go unhindered again a while after the last small operation', async () => {
    const bench = new Bench(1)
    bench.pace.sawSmall()
    await bench.time.advance(200)
    const stream = openTo(bench)
    bench.outbox.begin(largeValue(bench.engine, 4 * MIB, 1), [1], 1, () => {})
    expect(bytesOf(stream)).toBeGreaterThan(4 * MIB)
  })

  it('leave no timer behind', async () => {
    const bench = new Bench(1)
    const stream = openTo(bench)
    bench.pace.sawSmall()
    bench.outbox.begin(largeValue(bench.engine, 4 * MIB, 1), [1], 1, () => {})
    expect([bench.time.pending, bytesOf(stream) < MIB]).toEqual([1, true])
    bench.outbox.close()
    expect(bench.time.pending).toBe(0)
  })

  it.each(Array.from({ length: 40 }, (_, seed) => seed))(
    'seed %i: leave nothing behind, wherever streams break',
    (seed) => {
      const random = new SeededRandom(seed)
      const peers = 1 + (seed % 4)
      const bench = new Bench(peers, seed % 5 === 0 ? 300_000 : 32 * MIB)
      const told = new Map<number, CacheError | 'held'>()
      const needs = new Map<number, { needed: number; fill: number; bytes: number }>()
      const live: number[] = []
      const nodes = Array.from({ length: peers }, (_, i) => i + 1)
      let refusals = 0
      for (let step = 0; step < 400; step++) {
        const node = integerBetween(random, 1, peers)
        const dice = uniform(random)
        if (dice < 0.1) bench.up(node)
        else if (dice < 0.15) bench.down(node)
        else if (dice < 0.3) {
          const bytes = integerBetween(random, 65_537, 300_000)
          const fill = step & 0xff
          const value = largeValue(bench.engine, bytes, fill)
          const needed = integerBetween(random, 0, peers)
          let stageId = -1
          let early: CacheError | 'held' | undefined
          try {
            stageId = bench.outbox.begin(value, nodes, needed, (error) => {
              if (stageId < 0) early = error ?? 'held'
              else {
                expect(told.has(stageId)).toBe(false)
                told.set(stageId, error ?? 'held')
                // Held by as many as were asked for, and rightly.
                if (error === undefined) {
                  const holders = bench.peers.filter((peer) => peer.inbox.has(0, stageId))
                  expect(holders.length).toBeGreaterThanOrEqual(needed)
                  for (const peer of holders) {
                    const held = peer.inbox.peek(0, stageId)
                    expect([held?.totalBytes, held?.view(bytes - 1, 1)[0]]).toEqual([bytes, fill])
                  }
                }
              }
            })
            if (early !== undefined) told.set(stageId, early)
            needs.set(stageId, { needed, fill, bytes })
            live.push(stageId)
          } catch (error) {
            expect((error as CacheError).code).toBe('OVERLOADED')
            refusals++
          } finally {
            value.release()
          }
        } else if (dice < 0.4 && live.length > 0) {
          // Given up, or its record left the backlog.
          const at = integerBetween(random, 0, live.length - 1)
          bench.outbox.end(live[at] as number)
          live.splice(at, 1)
        } else if (dice < 0.5 && live.length > 0) {
          // Its record, ordered once it was held, is applied at the peer.
          const stageId = live[integerBetween(random, 0, live.length - 1)] as number
          if (told.get(stageId) === 'held') bench.peers[node - 1]?.inbox.take(0, stageId)
        } else if (dice < 0.55 && live.length > 0) {
          bench.outbox.missing(node, live[integerBetween(random, 0, live.length - 1)] as number)
        } else bench.deliver(node, integerBetween(random, 1, 8))
      }
      expect(needs.size + refusals).toBeGreaterThan(10)
      // All that was not told yet is told once the streams stand.
      for (const node of nodes) bench.up(node)
      for (let i = 0; i < 500; i++) for (const node of nodes) bench.deliver(node)
      for (const stageId of live) if (peers < 5 && seed % 5 !== 0) expect(told.has(stageId)).toBe(true)
      for (const stageId of live) bench.outbox.end(stageId)
      expect(told.size).toBe(needs.size)
      for (const node of nodes) bench.deliver(node)
      expect(bench.outbox.stageCount).toBe(0)
      expect(bench.engine.stats.largeBytes).toBe(0)
      for (const peer of bench.peers) {
        expect(peer.inbox.heldBytes).toBe(0)
        expect(peer.engine.stats.largeBytes).toBe(0)
      }
    },
  )

  it('wait for as many holders at one time as were asked for, not for one twice', () => {
    const bench = new Bench(4)
    for (const node of [1, 2]) bench.up(node)
    const value = largeValue(bench.engine, 70_000, 1)
    let told = false
    const stageId = bench.outbox.begin(value, [1, 2, 3, 4], 2, () => {
      told = true
    })
    value.release()
    bench.deliver(1)
    bench.down(1)
    bench.up(1)
    bench.deliver(1)
    expect(told).toBe(false)
    bench.deliver(2)
    expect(told).toBe(true)
    bench.outbox.end(stageId)
    expect(bench.engine.stats.largeBytes).toBe(0)
  })

  it('are refused when they would exceed what may be under way, and again taken when there is room', () => {
    const bench = new Bench(1)
    const value = largeValue(bench.engine, 9 * MIB, 1)
    const first = bench.outbox.begin(value, [1], 1, () => {})
    expect(() => bench.outbox.begin(value, [1], 1, () => {})).toThrow(/try again/)
    bench.outbox.end(first)
    const second = bench.outbox.begin(value, [1], 1, () => {})
    bench.outbox.end(second)
    value.release()
    expect(bench.engine.stats.largeBytes).toBe(0)
  })

  it('are refused for good when too many peers have no room', () => {
    const bench = new Bench(2, 100_000)
    for (const node of [1, 2]) bench.up(node)
    const errors: (string | undefined)[] = []
    const value = largeValue(bench.engine, 200_000, 1)
    const stageId = bench.outbox.begin(value, [1, 2], 1, (error) => errors.push(error?.code))
    value.release()
    bench.deliver(1)
    expect(errors).toEqual([])
    bench.deliver(2)
    expect(errors).toEqual(['OVERLOADED'])
    bench.outbox.end(stageId)
    for (const peer of bench.peers) expect(peer.inbox.heldBytes).toBe(0)
  })

  it('of several stages take turns on a stream', () => {
    const bench = new Bench(1)
    const values = [1, 2, 3].map((fill) => largeValue(bench.engine, 240_000, fill))
    for (const value of values) {
      bench.outbox.begin(value, [1], 1, () => {})
      value.release()
    }
    bench.up(1)
    const order: number[] = []
    const { stream } = bench.peers[0] as Peer
    for (let i = 0; i < 12; i++) {
      const body = stream?.sent[0]
      if (body !== undefined) order.push(decodeStage(new ByteReader(body, 1)).stageId)
      bench.deliver(1, 1)
    }
    expect(order.slice(0, 6)).toEqual([1, 2, 3, 1, 2, 3])
    bench.outbox.close()
    expect(bench.engine.stats.largeBytes).toBe(0)
  })
})

describe('the inbox of large values', () => {
  it('refuses chunks that do not follow each other', () => {
    const peer = new Peer(32 * MIB)
    const chunk = (offset: number, bytes: number): string =>
      peer.inbox.chunk(
        0,
        { stageId: 1, totalBytes: 100_000, offset, start: 0, end: bytes },
        new Uint8Array(bytes),
      )
    expect(chunk(0, 60_000)).toBe('more')
    expect(() => chunk(50_000, 10)).toThrow(/stands at 60000/)
    expect(() => chunk(60_000, 50_000)).toThrow(/stands at 60000/)
    expect(chunk(60_000, 40_000)).toBe('whole')
    expect(peer.inbox.has(0, 1)).toBe(true)
    // Begun anew: what was there is dropped.
    expect(chunk(0, 10)).toBe('more')
    expect(peer.inbox.has(0, 1)).toBe(false)
    peer.inbox.dropSender(0)
    expect([peer.inbox.heldBytes, peer.engine.stats.largeBytes]).toEqual([0, 0])
  })

  it('ignores the rest of a stage it refused', () => {
    const peer = new Peer(100_000)
    const chunk = (offset: number): string =>
      peer.inbox.chunk(
        0,
        { stageId: 1, totalBytes: 200_000, offset, start: 0, end: 60_000 },
        new Uint8Array(60_000),
      )
    expect([chunk(0), chunk(60_000), chunk(120_000)]).toEqual(['refused', 'more', 'more'])
    expect(peer.inbox.heldBytes).toBe(0)
  })
})
