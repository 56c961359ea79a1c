/** The backup's end of replication: what it applies, what it refuses, and what it says of both. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ByteReader, ByteWriter } from '../../../src/kernel/bytes.ts'
import type { Epoch, PartitionEpoch } from '../../../src/kernel/ids.ts'
import { EffectKind, writeEffectStart, writeKey, writeSetStart } from '../../../src/replication/effects.ts'
import { encodeTopology } from '../../../src/topology/codec.ts'
import type { PartitionRecord } from '../../../src/topology/topology.ts'
import { beginFrame, FRAME_HEADROOM, FrameType } from '../../../src/wire/frames.ts'
import { decodeAck, decodeResume, Rejection } from '../../../src/wire/peer-frames.ts'
import { DirectStream } from '../../support/direct-stream.ts'
import { LoneNode } from '../../support/lone-node.ts'
import { stageBody } from '../../support/stage-body.ts'

interface Record {
  readonly partition?: number
  readonly epoch?: number
  readonly sequence: number
  readonly versionEpoch?: number
  readonly key?: string
  readonly stage?: number
  readonly effect?: (w: ByteWriter) => void
}

const encoder = new TextEncoder()

describe('a backup', () => {
  let node: LoneNode
  let stream: DirectStream
  let frames = 0

  beforeEach(async () => {
    node = await LoneNode.serving()
    stream = node.fromA()
  })
  afterEach(() => node.core.close())

  /** Sends the records in one frame. */
  function replicate(records: readonly Record[], to: DirectStream = stream): void {
    const w = new ByteWriter(256)
    beginFrame(w, FrameType.replicate)
    w.uint32(++frames)
    w.float64(node.time.wallMs())
    w.varint(0)
    for (const record of records) {
      const effect = new ByteWriter(64)
      if (record.effect !== undefined) record.effect(effect)
      else set(effect, record.key ?? `k${record.sequence}`, record.stage)
      w.varint(record.partition ?? 0)
      w.varint(record.epoch ?? 1)
      w.uint48(record.sequence)
      w.varint(record.versionEpoch ?? 1)
      w.varint(effect.length)
      w.raw(effect.bytes, 0, effect.length)
    }
    to.handler?.frame(w.bytes.slice(FRAME_HEADROOM, w.length))
  }

  /** What the ACK of this turn says. */
  async function acked(): Promise<{ frame: number; rejected: string[] }> {
    stream.take()
    await node.time.advance(0)
    const acks = stream.take().filter((body) => body[0] === FrameType.ack)
    expect(acks.length).toBe(1)
    const ack = decodeAck(new ByteReader(acks[0] as Uint8Array, 1))
    const names = Object.entries(Rejection)
    return {
      frame: ack.frameNumber,
      rejected: ack.rejected.map((one) => {
        const name = names.find(([, reason]) => reason === one.reason)?.[0]
        return `${one.partition} ${name} ${one.partitionEpoch} ${one.lastSequence}`
      }),
    }
  }

  const last = (partition = 0): number | undefined =>
    node.core.dataPlane?.replicator.replica(partition)?.lastSequence
  const entries = (partition = 0): number | undefined => node.core.dataPlane?.engine.entries(partition)

  it('says what it holds of the partitions that the sender is primary of, and of no others', () => {
    replicate([{ sequence: 1 }, { sequence: 2 }])
    const again = node.fromA()
    const resume = again.take().find((body) => body[0] === FrameType.resume)
    expect(decodeResume(new ByteReader(resume as Uint8Array, 1))).toEqual([
      { partition: 0, partitionEpoch: 1, lastSequence: 2 },
      { partition: 3, partitionEpoch: 1, lastSequence: 0 },
    ])
    // A newer stream takes the place of the older.
    expect(stream.closed).toBe(true)
  })

  it('applies records in order, and acknowledges all frames of a turn at once', async () => {
    replicate([{ sequence: 1 }, { sequence: 2 }])
    replicate([{ sequence: 3 }, { partition: 3, sequence: 1 }])
    expect([last(), last(3), entries()]).toEqual([3, 1, 3])
    expect(await acked()).toEqual({ frame: frames, rejected: [] })
  })

  it('applies a repeated record once, and acknowledges it again', async () => {
    const increment = (w: ByteWriter): void => {
      writeEffectStart(w, EffectKind.clear, undefined, Number.NaN)
      writeKey(w, 0, new Uint8Array(0), 0, 0)
    }
    replicate([{ sequence: 1 }, { sequence: 2, effect: increment }, { sequence: 3 }])
    replicate([{ sequence: 1 }, { sequence: 2, effect: increment }, { sequence: 3, key: 'another' }])
    expect([last(), entries()]).toEqual([3, 1])
    expect(await acked()).toEqual({ frame: frames, rejected: [] })
  })

  it('refuses records behind a gap, and says from where to go on', async () => {
    replicate([{ sequence: 1 }, { sequence: 3 }, { sequence: 4 }, { partition: 3, sequence: 1 }])
    expect([last(), entries(), last(3)]).toEqual([1, 1, 1])
    expect(await acked()).toEqual({ frame: frames, rejected: ['0 gap 1 1'] })
    // What was refused does not hold up what comes right.
    replicate([{ sequence: 2 }, { sequence: 3 }])
    expect(last()).toBe(3)
  })

  it('refuses the rest of a turn after a gap, even what would fit', async () => {
    replicate([{ sequence: 2 }])
    replicate([{ sequence: 1 }])
    expect(last()).toBe(0)
    expect((await acked()).rejected).toEqual(['0 gap 1 0'])
    replicate([{ sequence: 1 }])
    expect(last()).toBe(1)
  })

  it('refuses records of another epoch, naming its own', async () => {
    replicate([{ sequence: 1 }])
    replicate([
      { sequence: 2, epoch: 2 },
      { sequence: 2, epoch: 1 },
    ])
    expect([last(), entries()]).toEqual([1, 1])
    expect((await acked()).rejected).toEqual(['0 epoch 1 1'])
  })

  it('refuses records of partitions that the sender is not primary of', async () => {
    // 1 is this node's own, 2 another's.
    replicate([
      { partition: 1, sequence: 1 },
      { partition: 2, sequence: 1 },
      { partition: 77, sequence: 1 },
    ])
    expect([last(1), last(2)]).toEqual([0, 0])
    expect((await acked()).rejected).toEqual(['1 noRole 1 0', '2 epoch 1 0', '77 noRole 0 0'])
  })

  it('has no place in the log as a learner whose session has not begun, and says of none when it is dropped', async () => {
    replicate([{ sequence: 1 }, { sequence: 2 }])
    const { topology } = node
    const learn = (epoch: number, learners: PartitionRecord['learners']): Promise<DirectStream> => {
      const [first, ...others] = topology.partitions as [PartitionRecord, ...PartitionRecord[]]
      const partitionEpoch = 2 as PartitionEpoch
      const alone: PartitionRecord = { ...first, partitionEpoch, primary: 0, inSync: [0], learners }
      return node.learn(
        encodeTopology({ ...topology, epoch: epoch as Epoch, partitions: [alone, ...others] }, 'node'),
      )
    }
    await learn(topology.epoch + 1, [{ node: 1, session: (topology.epoch + 1) as Epoch }])
    // Its last sequence is that of the log it had as a backup, of which the primary may know nothing.
    replicate([
      { sequence: 2, epoch: 2 },
      { sequence: 3, epoch: 2 },
    ])
    expect(last()).toBe(2)
    expect((await acked()).rejected).toEqual(['0 noRole 2 0'])
    stream.take()
    await learn(topology.epoch + 2, [])
    const ack = stream.take().find((body) => body[0] === FrameType.ack)
    expect(decodeAck(new ByteReader(ack as Uint8Array, 1)).rejected).toEqual([
      { partition: 0, reason: Rejection.noRole, partitionEpoch: 2, lastSequence: 0 },
    ])
  })

  it('keeps the version that an operation was ordered with', () => {
    replicate([{ sequence: 1, versionEpoch: 9, key: 'k' }])
    const engine = node.core.dataPlane?.engine
    const key = encoder.encode('k')
    const entry = engine?.find(0, 0, engine.hashKey(0, key, 0, 1), key, 0, 1) ?? -1
    expect([engine?.versionEpoch(entry), engine?.versionSequence(entry)]).toEqual([9, 1])
    replicate([{ sequence: 2, versionEpoch: 0 }])
    expect(stream.error?.code).toBe('PROTOCOL_ERROR')
  })

  it('waits for a large value that has not arrived, then takes it', async () => {
    replicate([{ sequence: 1, stage: 5 }, { sequence: 2 }])
    expect(last()).toBe(0)
    expect((await acked()).rejected).toEqual(['0 notStaged 1 0'])
    const bulk = node.fromA('bulk')
    bulk.handler?.frame(stageBody(5, 70_000, 0, new Uint8Array(60_000)))
    replicate([{ sequence: 1, stage: 5 }])
    expect((await acked()).rejected).toEqual(['0 notStaged 1 0'])
    bulk.handler?.frame(stageBody(5, 70_000, 60_000, new Uint8Array(10_000)))
    replicate([{ sequence: 1, stage: 5 }, { sequence: 2 }])
    expect([last(), entries()]).toEqual([2, 2])
    expect((await acked()).rejected).toEqual([])
    const { replicator, engine } = node.core.dataPlane ?? {}
    expect(replicator?.inbox.heldBytes).toBe(0)
    expect(engine?.stats.largeBytes).toBeGreaterThan(0)
  })

  it('forgets with its bulk stream what had arrived of large values', () => {
    const bulk = node.fromA('bulk')
    bulk.handler?.frame(stageBody(5, 70_000, 0, new Uint8Array(60_000)))
    bulk.handler?.frame(stageBody(6, 70_000, 0, new Uint8Array(70_000)))
    expect(node.core.dataPlane?.replicator.inbox.heldBytes).toBe(140_000)
    bulk.hangUp()
    expect(node.core.dataPlane?.replicator.inbox.heldBytes).toBe(0)
    expect(node.core.dataPlane?.engine.stats.largeBytes).toBe(0)
  })

  it('says that its memory is full, and holds on to what it has', async () => {
    node.core.close()
    node = await LoneNode.serving({ memoryLimitBytes: 3 * 1024 * 1024 })
    stream = node.fromA()
    let sequence = 0
    const big = (w: ByteWriter): void => set(w, `big${sequence}`, undefined, 60_000)
    let rejected: string[] = []
    for (; sequence < 200 && rejected.length === 0; sequence++) {
      replicate([{ sequence: sequence + 1, effect: big }])
      rejected = (await acked()).rejected
    }
    expect(rejected).toEqual([`0 full 1 ${last()}`])
    expect(entries()).toBe(last())
    expect(last()).toBeGreaterThan(5)
  })

  it('applies a batch whole or not at all', async () => {
    const batch =
      (...members: ((w: ByteWriter) => void)[]) =>
      (w: ByteWriter): void => {
        writeEffectStart(w, EffectKind.batch, undefined, Number.NaN)
        w.blob(Uint8Array.from([1]))
        w.varint(members.length)
        for (const member of members) member(w)
      }
    replicate([
      {
        sequence: 1,
        effect: batch(
          (w) => set(w, 'a'),
          (w) => set(w, 'b'),
        ),
      },
    ])
    expect([last(), entries()]).toEqual([1, 2])
    const nested = batch(
      (w) => set(w, 'c'),
      batch((w) => set(w, 'd')),
    )
    replicate([{ sequence: 2, effect: nested }])
    expect(stream.error?.code).toBe('PROTOCOL_ERROR')
    expect([last(), entries()]).toEqual([1, 2])
    stream = node.fromA()
    const unknownRegion = (w: ByteWriter): void => {
      writeEffectStart(w, EffectKind.deleted, undefined, Number.NaN)
      writeKey(w, 7, encoder.encode('x'), 0, 1)
    }
    // It may be one that was created a moment ago, of which this node has yet to learn.
    replicate([{ sequence: 2, effect: batch((w) => set(w, 'c'), unknownRegion) }])
    expect((await acked()).rejected).toEqual(['0 later 1 1'])
    expect([last(), entries()]).toEqual([1, 2])
  })

  it('takes no log from a process that the topology does not name', () => {
    const other = new DirectStream()
    const hello = node.helloOfA('operations')
    // Another incarnation of the same node.
    const text = Buffer.from(hello).toString('latin1').replaceAll('aaaaaaaaaaaaaaaa', 'bbbbbbbbbbbbbbbb')
    other.handler = node.core.accept('cluster', other, 'x')
    other.handler.frame(Buffer.from(text, 'latin1'))
    replicate([{ sequence: 1 }], other)
    expect(other.error?.code).toBe('PROTOCOL_ERROR')
    expect(last()).toBe(0)
  })
})

function set(w: ByteWriter, key: string, stage?: number, bytes = 10): void {
  const keyBytes = encoder.encode(key)
  const fields = {
    codec: 0,
    createdAtMs: 1e12,
    expiresAtMs: 0,
    tagCount: 0,
    tags: undefined,
    tagsStart: 0,
    tagsEnd: 0,
  }
  writeSetStart(w, undefined, Number.NaN, 0, keyBytes, 0, keyBytes.length, fields, stage !== undefined)
  if (stage === undefined) w.blob(new Uint8Array(bytes))
  else w.uint32(stage)
}
