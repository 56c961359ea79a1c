/** Clients that keep to the frames and break everything else. Each gets a clear answer; nobody else notices. */

import { afterEach, describe, expect, it } from 'vitest'
import { ByteReader, ByteWriter } from '../../../src/kernel/bytes.ts'
import { errorCodeFromWire } from '../../../src/kernel/errors.ts'
import { beginFrame, FRAME_BYTES_MAX, FRAME_HEADROOM, FrameType } from '../../../src/wire/frames.ts'
import { beginRequest, Flag, Opcode, writeOperationStart, writeTarget } from '../../../src/wire/operations.ts'
import { Status } from '../../../src/wire/results.ts'
import { ClusterBench, shown, text, written } from '../../support/cluster-bench.ts'
import { DirectStream } from '../../support/direct-stream.ts'
import { uploadFrames } from '../../support/raw-client.ts'
import { helloBody } from '../../support/valid-requests.ts'

type Write = (w: ByteWriter) => void

describe('a hostile client', () => {
  let bench: ClusterBench
  let sessions = 0
  afterEach(() => bench.cluster.close())

  function stream(at = 0, lane: 'operations' | 'bulk' = 'operations', options = {}): DirectStream {
    const one = new DirectStream(options)
    const core = bench.node(at).core
    if (core === undefined) throw new Error('no such node')
    one.handler = core.accept('cache', one, 'hostile')
    one.handler.frame(helloBody((++sessions).toString(16).padStart(16, 'd'), lane))
    one.take()
    return one
  }

  /** What one operation is answered: an error's code, or a status. */
  async function answer(one: DirectStream, write: Write): Promise<string> {
    one.take()
    one.handler?.frame(request(write))
    await bench.cluster.time.advance(100)
    if (one.error !== undefined) return `stream: ${one.error.code}`
    for (const body of one.take()) {
      const r = new ByteReader(body, 1)
      if (body[0] !== FrameType.response || r.remaining < 9) continue
      r.skip(8)
      const status = r.uint8()
      return status >= Status.error ? errorCodeFromWire(status - Status.error) : `status ${status}`
    }
    return 'nothing'
  }

  function set(
    key: Uint8Array,
    more: { region?: number; ttl?: readonly number[]; value?: Uint8Array } = {},
  ): Write {
    return (w) => {
      writeOperationStart(w, Opcode.set, more.ttl === undefined ? 0 : Flag.ttl, 0)
      writeTarget(w, more.region ?? 0, 0, key, 0, key.length)
      w.varint(0)
      if (more.ttl !== undefined) w.raw(Uint8Array.from(more.ttl))
      w.uint8(0)
      w.blob(more.value ?? new Uint8Array(1))
    }
  }

  async function expectOthersServed(): Promise<void> {
    const client = await bench.client(0)
    const key = bench.keyOf(0, 3, 'honest')
    expect(written(await bench.run(client.set(key, text('v'))))).toBeGreaterThan(0)
    expect(shown(await bench.run(client.get(key)))).toBe('v')
    client.close()
  }

  it('is told what is wrong with its keys, values and times', async () => {
    bench = await ClusterBench.start()
    const one = stream()
    const key = text(bench.keyOf(0))
    expect(await answer(one, set(new Uint8Array(0)))).toBe('INVALID_ARGUMENT')
    expect(await answer(one, set(new Uint8Array(1025).fill(65)))).toBe('KEY_TOO_LARGE')
    expect(await answer(one, set(key, { region: 2 ** 40 }))).toBe('UNKNOWN_REGION')
    expect(await answer(one, set(key, { value: new Uint8Array(70_000) }))).toBe('INVALID_ARGUMENT')
    // 10^18 and 2^64 − 1 (a negative number, to some) have more bits than any number here; 2^53 − 1 and 2^48 − 1 are too long.
    const days = 36_525 * 86_400_000
    expect(await answer(one, set(key, { ttl: varint(days) }))).toBe('status 0')
    for (const ms of [days + 1, 2 ** 48 - 1, 2 ** 53 - 1]) {
      expect(await answer(one, set(key, { ttl: varint(ms) }))).toBe('INVALID_ARGUMENT')
    }
    expect(await answer(one, set(key, { ttl: varint(0) }))).toBe('status 0')
    expect(await answer(one, (w) => expireFor(w, key, 2 ** 53 - 1))).toBe('INVALID_ARGUMENT')
    const huge = [0x80, 0x80, 0x90, 0xbb, 0xba, 0xd6, 0xad, 0xf0, 0x0d]
    expect(await answer(one, set(key, { ttl: huge }))).toBe('stream: PROTOCOL_ERROR')
    const negative = stream()
    expect(await answer(negative, set(key, { ttl: [255, 255, 255, 255, 255, 255, 255, 255, 255, 1] }))).toBe(
      'stream: PROTOCOL_ERROR',
    )
    await expectOthersServed()
    for (const at of [0, 1, 2]) expect(bench.node(at).core?.dataPlane?.engine.stats.entries).toBe(2)
  })

  it('is told what is wrong with its partitions, buckets, regions and opcodes', async () => {
    bench = await ClusterBench.start()
    const one = stream()
    const scan =
      (region: number, partition: number, bucket: number): Write =>
      (w) => {
        writeOperationStart(w, Opcode.scan, 0, 0)
        for (const number of [region, 0, partition, bucket, 1000, 0]) w.varint(number)
      }
    const clear =
      (region: number, partition: number): Write =>
      (w) => {
        writeOperationStart(w, Opcode.clear, 0, 0)
        for (const number of [region, 0, partition, 0, 0]) w.varint(number)
      }
    const own = [0, 1, 2, 3, 4, 5, 6, 7].find((partition) => bench.primaryOf(partition) === 0) ?? 0
    expect(await answer(one, scan(0, own, 0))).toBe('status 0')
    for (const partition of [8, 2 ** 31, 2 ** 40, 2 ** 53 - 1]) {
      expect(await answer(one, scan(0, partition, 0))).toBe('INVALID_ARGUMENT')
      expect(await answer(one, clear(0, partition))).toBe('INVALID_ARGUMENT')
    }
    for (const bucket of [64, 2 ** 32, 2 ** 53 - 1])
      expect(await answer(one, scan(0, own, bucket))).toBe('INVALID_ARGUMENT')
    for (const region of [1, 2 ** 32, 2 ** 40]) {
      expect(await answer(one, scan(region, own, 0))).toBe('UNKNOWN_REGION')
      expect(await answer(one, clear(region, own))).toBe('UNKNOWN_REGION')
    }
    expect(await answer(one, (w) => w.raw(Uint8Array.from([0x55, 0])))).toBe('stream: PROTOCOL_ERROR')
    await expectOthersServed()
  })

  it('gets nowhere with atomic groups that lie about themselves', async () => {
    bench = await ClusterBench.start()
    const key = text(bench.keyOf(0))
    const group =
      (count: number, members: Write): Write =>
      (w) => {
        writeOperationStart(w, Opcode.atomic, 0, 0)
        writeTarget(w, 0, 0, key, 0, key.length)
        w.varint(0)
        w.varint(count)
        members(w)
      }
    const many: Write = (w) => {
      for (let i = 0; i < 300; i++) set(key)(w)
    }
    expect(await answer(stream(), group(1e9, set(key)))).toBe('stream: PROTOCOL_ERROR')
    expect(await answer(stream(), group(2 ** 53 - 1, many))).toBe('stream: PROTOCOL_ERROR')
    expect(await answer(stream(), group(300, many))).toBe('INVALID_ARGUMENT')
    const one = stream()
    // The first members are fine: none of them may stay.
    const good = set(key, { value: text('half') })
    const bad: readonly (readonly [Write, string])[] = [
      [set(new Uint8Array(0)), 'INVALID_ARGUMENT'],
      [set(key, { value: new Uint8Array(70_000) }), 'INVALID_ARGUMENT'],
      [set(key, { ttl: varint(2 ** 50) }), 'INVALID_ARGUMENT'],
      [set(key, { region: 9 }), 'UNKNOWN_REGION'],
      [set(text(bench.keyOf(1))), 'INVALID_ARGUMENT'],
    ]
    for (const [member, expected] of bad) {
      const write = group(2, (w) => {
        good(w)
        member(w)
      })
      expect(await answer(one, write)).toBe(expected)
    }
    expect(bench.replica(0, bench.keyOf(0)).lastSequence).toBe(0)
    expect(await bench.copies(bench.keyOf(0))).toEqual(['absent', 'absent', 'absent'])
    // A value that only calls itself a counter spoils no group.
    await bench.run(
      (await bench.client(0)).request((w) => {
        writeOperationStart(w, Opcode.set, 0, 0)
        writeTarget(w, 0, 0, key, 0, key.length)
        w.varint(0)
        w.uint8(4)
        w.blob(new Uint8Array(3))
      }),
    )
    expect(await answer(one, group(1, good))).toBe('status 0')
  })

  it('that never reads is stopped being read, and what waits for it stays bounded', async () => {
    bench = await ClusterBench.start({ node: { creditBytes: 1024 * 1024 } })
    const key = bench.keyOf(0)
    const client = await bench.client(0)
    await bench.run(client.set(key, new Uint8Array(60_000)))
    const one = stream()
    one.stuck = true
    const bytes = text(key)
    const get: Write = (w) => {
      for (let i = 0; i < 100; i++) {
        writeOperationStart(w, Opcode.get, 0, 0)
        writeTarget(w, 0, 0, bytes, 0, bytes.length)
      }
    }
    for (let i = 0; i < 50 && !one.paused; i++) {
      one.handler?.frame(request(get))
      await bench.cluster.time.advance(1)
    }
    expect(one.paused).toBe(true)
    expect(one.queuedBytes).toBeLessThan(1024 * 1024 + FRAME_BYTES_MAX)
    await expectOthersServed()
    // It reads after all: what is due comes.
    one.stuck = false
    one.drain()
    await bench.cluster.time.advance(100)
    expect(one.paused).toBe(false)
  })

  it('that has conditions fail while nothing can be committed pins no more than its credit', async () => {
    bench = await ClusterBench.start({ node: { creditBytes: 1024 * 1024, replicaTimeoutMs: 60_000 } })
    const key = bench.keyOf(0)
    const client = await bench.client(0)
    await bench.run(client.set(key, new Uint8Array(60_000)))
    bench.cut(0, 1)
    bench.cut(0, 2)
    void client.set(key, new Uint8Array(60_000), { timeoutMs: 5000 })
    await bench.cluster.time.advance(20)
    const one = stream()
    const bytes = text(key)
    const failing: Write = (w) => {
      for (let i = 0; i < 10; i++) {
        writeOperationStart(w, Opcode.set, 1 << 4, 3000)
        writeTarget(w, 0, 0, bytes, 0, bytes.length)
        w.varint(0)
        w.uint8(0)
        w.varint(0)
      }
    }
    let sent = 0
    for (; sent < 500 && !one.paused; sent++) one.handler?.frame(request(failing))
    expect(one.paused).toBe(true)
    expect(sent * 10 * 60_000).toBeLessThan(3 * 1024 * 1024)
    bench.heal()
    await bench.cluster.time.advance(4000)
    // All are answered, in frames that a client accepts, and it is read again.
    expect(one.paused).toBe(false)
    for (const body of one.take()) expect(body.length).toBeLessThanOrEqual(FRAME_BYTES_MAX)
  })

  it('that uploads and never stores takes the room of uploads, not of the cache, and not for ever', async () => {
    bench = await ClusterBench.start({
      node: { valueBytesMax: 1024 * 1024, memoryLimitBytes: 256 * 1024 * 1024, timeoutMaxMs: 5000 },
    })
    const room = bench.node(0).core?.dataPlane?.uploadRoom
    const streams = Array.from({ length: 20 }, () => stream(0, 'bulk'))
    for (const one of streams) {
      for (let id = 0; id < 30; id++) {
        const first = uploadFrames(id, new Uint8Array(1024 * 1024), 60_000)[0]
        if (first !== undefined) one.handler?.frame(first.slice(FRAME_HEADROOM))
      }
      // Declared beyond all bounds: nothing is kept for it.
      const w = new ByteWriter(64)
      beginFrame(w, FrameType.upload)
      w.uint32(1000)
      w.varint(2 ** 52)
      w.varint(0)
      one.handler?.frame(w.bytes.slice(FRAME_HEADROOM, w.length))
      expect(one.error).toBeUndefined()
    }
    expect(room?.heldBytes).toBeLessThanOrEqual(room?.bytesMax ?? 0)
    expect(bench.node(0).core?.memory.totalBytes).toBeLessThan(64 * 1024 * 1024)
    await expectOthersServed()
    await bench.cluster.time.advance(7000)
    expect(room?.heldBytes).toBe(0)
    expect(bench.node(0).core?.dataPlane?.engine.stats.largeBytes).toBe(0)
    for (const one of streams) one.hangUp()
  })

  it('that opens streams without end is refused beyond so many, others go on', async () => {
    bench = await ClusterBench.start({ node: { sessionsMax: 100 } })
    const early = await bench.client(0)
    const streams = Array.from({ length: 1000 }, () => stream())
    const refused = streams.filter((one) => one.closed)
    expect(refused.length).toBeGreaterThan(800)
    expect(new Set(refused.map((one) => one.error?.code))).toEqual(new Set(['OVERLOADED']))
    expect(refused[0]?.error?.message).toMatch(/limits\.streams/)
    expect(bench.node(0).core?.status().sessions).toBeLessThanOrEqual(100)
    const key = bench.keyOf(0)
    expect(written(await bench.run(early.set(key, text('v'))))).toBe(1)
    for (const one of streams) one.hangUp()
    await expectOthersServed()
  })

  it('that says no HELLO is hung up on', async () => {
    bench = await ClusterBench.start()
    const streams = Array.from({ length: 50 }, () => {
      const one = new DirectStream()
      one.handler = bench.node(0).core?.accept('cache', one, 'slow')
      return one
    })
    await bench.cluster.time.advance(4000)
    await expectOthersServed()
    await bench.cluster.time.advance(1500)
    for (const one of streams) expect([one.closed, one.error?.code]).toEqual([true, 'PROTOCOL_ERROR'])
    expect(streams[0]?.error?.message).toMatch(/no HELLO within 5000 ms/)
    expect(bench.node(0).core?.status().sessions).toBe(0)
  })

  it('that drops uploads it never began, or half an upload number, harms nobody', async () => {
    bench = await ClusterBench.start()
    const one = stream()
    one.handler?.frame(Uint8Array.from([FrameType.uploadDrop, 1, 0, 0, 0, 2, 0, 0, 0]))
    expect(await answer(one, set(text(bench.keyOf(0))))).toBe('status 0')
    one.handler?.frame(Uint8Array.from([FrameType.uploadDrop, 1, 0]))
    expect(one.error?.code).toBe('PROTOCOL_ERROR')
    await expectOthersServed()
  })

  it('that floods CANCEL changes nothing', async () => {
    bench = await ClusterBench.start()
    const one = stream()
    const w = new ByteWriter(64)
    beginFrame(w, FrameType.cancel)
    for (let id = 0; id < 10_000; id++) w.uint32(id)
    const body = w.bytes.slice(FRAME_HEADROOM, w.length)
    for (let i = 0; i < 100; i++) one.handler?.frame(body)
    expect(await answer(one, set(text(bench.keyOf(0))))).toBe('status 0')
    await expectOthersServed()
  })

  it('that uses a session per operation fills the table of sessions, and is told so; reads go on', async () => {
    bench = await ClusterBench.start()
    const key = text(bench.keyOf(0))
    const named = stream()
    for (let i = 0; i < 200; i++) {
      const one = stream()
      one.handler?.frame(
        request((w) => {
          for (let j = 0; j < 64; j++) {
            writeOperationStart(w, Opcode.set, Flag.session, 0)
            writeTarget(w, 0, 0, key, 0, key.length)
            w.uint32(i)
            w.uint32(j)
            w.varint(1)
            w.uint8(0)
            w.varint(0)
          }
        }),
      )
      await bench.cluster.time.advance(1)
      one.hangUp()
    }
    for (const at of [0, 1, 2]) {
      expect(bench.node(at).core?.dataPlane?.replicator.operations.sessionCount).toBeLessThanOrEqual(10_000)
    }
    const reader = await bench.client(0)
    reader.firstIncomplete = 1
    expect(shown(await bench.run(reader.get(bench.keyOf(0))))).toBe('')
    expect(written(await bench.run(reader.set(bench.keyOf(0), text('v'), { counter: 1 })))).toBe('OVERLOADED')
    // One stream alone can't do that.
    const ids = new Set<string>()
    for (let j = 0; j < 70; j++) {
      ids.add(
        await answer(named, (w) => {
          writeOperationStart(w, Opcode.set, Flag.session, 0)
          writeTarget(w, 0, 0, key, 0, key.length)
          w.uint32(7)
          w.uint32(j)
          w.varint(0)
          w.uint8(0)
          w.varint(0)
        }),
      )
    }
    expect([...ids]).toEqual(['status 0', 'INVALID_ARGUMENT'])
    // Without an id there is nothing to remember.
    expect(written(await bench.run(reader.set(bench.keyOf(0), text('v'))))).toBeGreaterThan(1)
    // The backups took all of it, from this node and from others.
    const other = await bench.client(1)
    expect(written(await bench.run(other.set(bench.keyOf(1), text('v'), { counter: 1 })))).toBe('OVERLOADED')
    expect(bench.node(0).core?.status().laggingReplicas).toBe(0)
    await bench.cluster.time.advance(70_000)
    expect(written(await bench.run(reader.set(bench.keyOf(0), text('v'), { counter: 2 })))).toBeGreaterThan(1)
  })

  it('that sends a frame of thousands of writes has each carried out once', async () => {
    bench = await ClusterBench.start({ nodes: 1 })
    const one = stream()
    const key = text('counter')
    const increments: Write = (w) => {
      for (let i = 0; i < 6000; i++) {
        writeOperationStart(w, Opcode.increment, 0, 0)
        writeTarget(w, 0, 0, key, 0, key.length)
        w.varint(0)
        w.float64(1)
        w.float64(0)
      }
    }
    one.handler?.frame(request(increments))
    one.handler?.frame(request(increments))
    await bench.cluster.time.advance(100)
    const sums: number[] = []
    const answers: number[] = []
    for (const body of one.take()) {
      const r = new ByteReader(body, 1)
      const frame = r.uint32()
      if (frame !== 0) answers.push(frame)
      while (r.remaining > 0) {
        r.uint32()
        expect(r.uint8()).toBe(Status.ok)
        sums.push(r.float64())
      }
    }
    expect(sums).toEqual(Array.from({ length: 12_000 }, (_, i) => i + 1))
    expect(answers.length).toBe(2)
  })

  it('that numbers two large writes alike loses neither, and nothing stays behind', async () => {
    bench = await ClusterBench.start()
    const key = text(bench.keyOf(0))
    bench.cut(0, 1)
    bench.cut(0, 2)
    const one = stream(0, 'bulk')
    for (const id of [1, 2]) {
      for (const frame of uploadFrames(id, new Uint8Array(100_000), 60_000))
        one.handler?.frame(frame.slice(FRAME_HEADROOM))
      const w = new ByteWriter(64)
      beginRequest(w, id, 7, 1)
      writeOperationStart(w, Opcode.setUploaded, 0, 500)
      writeTarget(w, 0, 0, key, 0, key.length)
      w.varint(0)
      w.uint8(0)
      w.uint32(id)
      one.handler?.frame(w.bytes.slice(FRAME_HEADROOM, w.length))
    }
    await bench.cluster.time.advance(1000)
    const codes = one.take().flatMap((body) => {
      const r = new ByteReader(body, 1)
      r.skip(4)
      const found: string[] = []
      while (r.remaining > 0) {
        r.skip(4)
        found.push(errorCodeFromWire(r.uint8() - Status.error))
        r.text()
      }
      return found
    })
    expect(codes.sort()).toEqual(['INVALID_ARGUMENT', 'TIMEOUT'])
    expect(bench.node(0).core?.dataPlane?.replicator.outbox.stageCount).toBe(0)
    expect(bench.node(0).core?.dataPlane?.engine.stats.largeBytes).toBe(0)
    one.hangUp()
  })
})

let frames = 0

function request(write: Write): Uint8Array {
  const w = new ByteWriter(1024)
  beginRequest(w, ++frames, 0, 1)
  write(w)
  return w.bytes.slice(FRAME_HEADROOM, w.length)
}

function expireFor(w: ByteWriter, key: Uint8Array, ms: number): void {
  writeOperationStart(w, Opcode.expire, Flag.ttl, 0)
  writeTarget(w, 0, 0, key, 0, key.length)
  w.varint(0)
  w.varint(ms)
}

function varint(value: number): number[] {
  const w = new ByteWriter(16)
  w.varint(value)
  return [...w.toBytes()]
}
