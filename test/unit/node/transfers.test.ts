/** Large values between a client and a node: what is kept of them, in what order they go, and that all is given back. */

import { describe, expect, it } from 'vitest'
import { Engine } from '../../../src/engine/engine.ts'
import { ByteReader, ByteWriter } from '../../../src/kernel/bytes.ts'
import { CacheError } from '../../../src/kernel/errors.ts'
import { MemoryAccount } from '../../../src/kernel/memory-account.ts'
import { Downloads } from '../../../src/node/downloads.ts'
import { UploadRoom, Uploads } from '../../../src/node/uploads.ts'
import { FrameType } from '../../../src/wire/frames.ts'
import { DirectStream } from '../../support/direct-stream.ts'

const MIB = 1024 * 1024

function newEngine(limitMib = 64): Engine {
  return new Engine({ hashKey: { low: 1, high: 2 }, memory: new MemoryAccount(limitMib * MIB) })
}

function codeOf(run: () => unknown): string {
  try {
    run()
    return 'ok'
  } catch (error) {
    return error instanceof CacheError ? error.code : String(error)
  }
}

function chunk(
  uploads: Uploads,
  uploadId: number,
  totalBytes: number,
  offset: number,
  bytes: number,
  nowMs = 0,
): string {
  const w = new ByteWriter(64)
  w.uint32(uploadId)
  w.varint(totalBytes)
  w.varint(offset)
  w.raw(new Uint8Array(bytes).fill(uploadId))
  return codeOf(() => uploads.chunk(new ByteReader(w.bytes, 0, w.length), nowMs))
}

describe('uploads', () => {
  it('are handed over whole, large and small', () => {
    const engine = newEngine()
    const uploads = new Uploads(engine, 4 * MIB, new UploadRoom(64 * MIB))
    chunk(uploads, 1, 100_000, 0, 60_000)
    chunk(uploads, 2, 10, 0, 10)
    chunk(uploads, 1, 100_000, 60_000, 40_000)
    chunk(uploads, 3, 0, 0, 0)
    const large = uploads.take(1)
    expect(large instanceof Uint8Array).toBe(false)
    if (!(large instanceof Uint8Array)) {
      expect([large.complete, large.view(99_999, 1)[0]]).toEqual([true, 1])
      large.release()
    }
    expect(uploads.take(2)).toEqual(new Uint8Array(10).fill(2))
    expect(uploads.take(3)).toEqual(new Uint8Array(0))
    expect(codeOf(() => uploads.take(1))).toBe('INVALID_ARGUMENT')
    expect(engine.stats.largeBytes).toBe(0)
  })

  it('that are incomplete, unknown or out of place are refused', () => {
    const engine = newEngine()
    const uploads = new Uploads(engine, 4 * MIB, new UploadRoom(64 * MIB))
    expect(chunk(uploads, 1, 100_000, 0, 60_000)).toBe('ok')
    expect(codeOf(() => uploads.take(1))).toBe('INVALID_ARGUMENT')
    expect(engine.stats.largeBytes).toBe(0)
    expect(chunk(uploads, 1, 100_000, 60_000, 10)).toBe('PROTOCOL_ERROR')
    expect(chunk(uploads, 2, 100_000, 0, 10)).toBe('ok')
    expect(chunk(uploads, 2, 100_000, 5, 10)).toBe('PROTOCOL_ERROR')
    expect(chunk(uploads, 2, 100_001, 10, 10)).toBe('PROTOCOL_ERROR')
    expect(chunk(uploads, 3, 10, 0, 11)).toBe('PROTOCOL_ERROR')
    uploads.close()
    expect(engine.stats.largeBytes).toBe(0)
  })

  it('beyond what is allowed are told so when they are to be stored, and take no memory before', () => {
    const engine = newEngine()
    const uploads = new Uploads(engine, 1 * MIB, new UploadRoom(64 * MIB))
    expect(chunk(uploads, 1, 2 ** 50, 0, 10)).toBe('ok')
    expect(codeOf(() => uploads.take(1))).toBe('VALUE_TOO_LARGE')
    for (let id = 2; id <= 5; id++) chunk(uploads, id, 1 * MIB, 0, 10)
    expect(chunk(uploads, 6, 1 * MIB, 0, 10)).toBe('ok')
    expect(codeOf(() => uploads.take(6))).toBe('OVERLOADED')
    expect(engine.stats.largeBytes).toBe(4 * MIB)
    uploads.drop(2)
    chunk(uploads, 7, 1 * MIB, 0, 10)
    expect(codeOf(() => uploads.take(7))).toBe('INVALID_ARGUMENT')
    uploads.close()
    expect(engine.stats.largeBytes).toBe(0)
  })

  it('for which the node has no memory are told so', () => {
    const engine = newEngine(2)
    const uploads = new Uploads(engine, 16 * MIB, new UploadRoom(64 * MIB))
    expect(chunk(uploads, 1, 16 * MIB, 0, 10)).toBe('ok')
    expect(codeOf(() => uploads.take(1))).toBe('OVERLOADED')
    expect(engine.stats.largeBytes).toBe(0)
  })

  it('share one room with those of all other streams of the node', () => {
    const engine = newEngine()
    const room = new UploadRoom(300_000)
    const [one, two] = [new Uploads(engine, 4 * MIB, room), new Uploads(engine, 4 * MIB, room)]
    chunk(one, 1, 200_000, 0, 10)
    chunk(two, 1, 200_000, 0, 10)
    chunk(two, 2, 50, 0, 10)
    expect(room.heldBytes).toBe(200_050)
    expect(codeOf(() => two.take(1))).toBe('OVERLOADED')
    one.close()
    chunk(two, 3, 200_000, 0, 10)
    expect(room.heldBytes).toBe(200_050)
    two.close()
    expect([room.heldBytes, engine.stats.largeBytes]).toEqual([0, 0])
  })

  it('that stand still give up their room, and say so when they are to be stored', () => {
    const engine = newEngine()
    const room = new UploadRoom(64 * MIB)
    const uploads = new Uploads(engine, 4 * MIB, room)
    chunk(uploads, 1, 200_000, 0, 10, 1000)
    chunk(uploads, 2, 200_000, 0, 10, 2000)
    chunk(uploads, 3, 100, 0, 10, 1000)
    uploads.sweep(1500)
    expect(room.heldBytes).toBe(200_000)
    expect(chunk(uploads, 1, 200_000, 10, 199_990, 3000)).toBe('ok')
    expect(codeOf(() => uploads.take(1))).toBe('TIMEOUT')
    expect(codeOf(() => uploads.take(3))).toBe('TIMEOUT')
    expect(chunk(uploads, 2, 200_000, 10, 199_990, 3000)).toBe('ok')
    expect(codeOf(() => uploads.drop(2))).toBe('ok')
    expect([room.heldBytes, engine.stats.largeBytes]).toEqual([0, 0])
  })

  it('are so many at most', () => {
    const uploads = new Uploads(newEngine(), 4 * MIB, new UploadRoom(64 * MIB))
    for (let id = 0; id < 256; id++) expect(chunk(uploads, id, 10, 0, 1)).toBe('ok')
    expect(chunk(uploads, 256, 10, 0, 1)).toBe('PROTOCOL_ERROR')
    uploads.close()
  })
})

describe('downloads', () => {
  function bench(
    count: number,
    bytes: number,
  ): { engine: Engine; stream: DirectStream; downloads: Downloads } {
    const engine = newEngine()
    const stream = new DirectStream({ markBytes: 600_000 })
    const downloads = new Downloads(stream)
    for (let id = 1; id <= count; id++) {
      const value = engine.newLargeValue(bytes)
      value.append(new Uint8Array(bytes).fill(id))
      downloads.start(id, value)
      // The entry goes: the download holds it.
      value.release()
    }
    return { engine, stream, downloads }
  }

  it('take turns, arrive whole, and give everything back', () => {
    const { engine, stream, downloads } = bench(3, 700_000)
    downloads.pump()
    const received = new Map<number, number[]>()
    const order: number[] = []
    for (const body of stream.take()) {
      const r = new ByteReader(body, 1)
      const id = r.uint32()
      order.push(id)
      expect(body[0]).toBe(FrameType.value)
      const bytes = r.raw(r.remaining)
      expect(bytes.every((byte) => byte === id)).toBe(true)
      received.set(id, [...(received.get(id) ?? []), bytes.length])
    }
    expect(order.slice(0, 6)).toEqual([1, 2, 3, 1, 2, 3])
    for (const sizes of received.values()) expect(sizes.reduce((a, b) => a + b)).toBe(700_000)
    expect([downloads.count, engine.stats.largeBytes]).toEqual([0, 0])
  })

  it('put no more into a full buffer, however often they are asked to go on', () => {
    const { engine, stream, downloads } = bench(10, 4 * MIB)
    stream.stuck = true
    for (let i = 0; i < 100; i++) downloads.pump()
    expect(stream.queuedBytes).toBeLessThan(600_000 + 300_000)
    stream.queuedBytes = 0
    downloads.drained()
    expect(stream.queuedBytes).toBeGreaterThan(0)
    downloads.cancel(1)
    expect(downloads.count).toBe(9)
    downloads.close()
    expect([downloads.count, engine.stats.largeBytes]).toEqual([0, 0])
  })

  it('are so many at most', () => {
    const { engine, downloads } = bench(64, 70_000)
    const value = engine.newLargeValue(70_000)
    expect(codeOf(() => downloads.start(65, value))).toBe('OVERLOADED')
    value.release()
    downloads.close()
    expect(engine.stats.largeBytes).toBe(0)
  })
})
