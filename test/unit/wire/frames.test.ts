/** The envelope of a frame: a protobuf message with one field, which any gRPC stack can read and write. */

import { resolve } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ByteWriter } from '../../../src/kernel/bytes.ts'
import { CacheError } from '../../../src/kernel/errors.ts'
import { SeededRandom } from '../../../src/kernel/random.ts'
import { beginFrame, FRAME_BYTES_MAX, FrameType, finishFrame, openFrame } from '../../../src/wire/frames.ts'
import { mutated, noise } from '../../support/hostile-bytes.ts'

function frame(type: FrameType, payload: Uint8Array): Uint8Array {
  const w = new ByteWriter(0)
  beginFrame(w, type)
  w.raw(payload)
  return finishFrame(w)
}

/** The message with its length as short as protobuf writes it. */
function shortForm(body: Uint8Array): Uint8Array {
  const w = new ByteWriter()
  w.uint8(0x0a)
  w.blob(body)
  return w.toBytes()
}

function refusal(message: Uint8Array): string {
  try {
    openFrame(message)
  } catch (error) {
    expect(error).toBeInstanceOf(CacheError)
    expect((error as CacheError).code).toBe('PROTOCOL_ERROR')
    return (error as CacheError).message
  }
  throw new Error(`accepted: ${Buffer.from(message).toString('hex')}`)
}

describe('a frame', () => {
  it('opens to the type and the payload it was made of', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...Object.values(FrameType)),
        fc.oneof(
          fc.uint8Array({ maxLength: 300 }),
          fc.nat(70_000).map((length) => new Uint8Array(length).fill(7)),
        ),
        (type, payload) => {
          const body = openFrame(frame(type, payload))
          expect(body[0]).toBe(type)
          expect(Buffer.compare(body.subarray(1), payload)).toBe(0)
        },
      ),
    )
  })

  it('opens with its length in the short form, as protobuf libraries write it', () => {
    for (const length of [1, 127, 128, 16_383, 16_384, FRAME_BYTES_MAX]) {
      const body = new Uint8Array(length).fill(3)
      expect(Buffer.compare(openFrame(shortForm(body)), body)).toBe(0)
    }
  })

  it('is a view of the message, not a copy', () => {
    const message = frame(FrameType.request, Uint8Array.of(1, 2))
    expect(openFrame(message).buffer).toBe(message.buffer)
  })

  it('leaves the writer ready for the next one', () => {
    const w = new ByteWriter(8)
    beginFrame(w, FrameType.request)
    w.uint8(1)
    const first = finishFrame(w)
    beginFrame(w, FrameType.cancel)
    const second = finishFrame(w)
    expect([...openFrame(first)]).toEqual([FrameType.request, 1])
    expect([...openFrame(second)]).toEqual([FrameType.cancel])
  })

  it.each([
    ['nothing', []],
    ['a tag alone', [0x0a]],
    ['an empty body', [0x0a, 0x00, 0x00]],
    ['another field', [0x12, 0x01, 0x00]],
    ['another wire type', [0x08, 0x01, 0x00]],
    ['less than it announces', [0x0a, 0x05, 1, 2]],
    ['more than it announces', [0x0a, 0x01, 1, 2]],
    ['a second body', [0x0a, 0x01, 1, 0x0a, 0x01, 1]],
    ['a length without end', [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]],
    ['a length that ends with the message', [0x0a, 0x80, 0x80]],
  ])('that holds %s is refused', (_, bytes) => {
    refusal(Uint8Array.from(bytes))
  })

  it('above the limit is refused with its size', () => {
    expect(refusal(shortForm(new Uint8Array(FRAME_BYTES_MAX + 1)))).toContain(`${FRAME_BYTES_MAX + 1} bytes`)
  })

  it('that was tampered with opens or is refused, and nothing else', () => {
    const random = new SeededRandom(1)
    const valid = frame(
      FrameType.response,
      Uint8Array.from({ length: 40 }, (_, i) => i),
    )
    for (let i = 0; i < 20_000; i++) {
      const message = i % 2 === 0 ? mutated(random, valid) : noise(random, 20)
      try {
        expect(openFrame(message).length).toBeGreaterThan(0)
      } catch (error) {
        expect((error as CacheError).code).toBe('PROTOCOL_ERROR')
      }
    }
  })

  it('is read and written by a protobuf library', async () => {
    const { loadSync } = await import('@grpc/proto-loader')
    const folder = resolve(import.meta.dirname, '../../../proto')
    const definition = loadSync('cache.proto', { includeDirs: [folder], longs: Number })
    const exchange = Object.values(definition)
      .flatMap((service) => Object.values(service))
      .find((method) => method?.path?.endsWith('/Exchange'))
    expect(exchange).toBeDefined()
    const message = frame(FrameType.hello, Uint8Array.of(9, 8, 7))
    expect([...exchange.requestDeserialize(Buffer.from(message)).body]).toEqual([FrameType.hello, 9, 8, 7])
    const written = exchange.requestSerialize({ body: Buffer.from([FrameType.hello, 1]) })
    expect([...openFrame(written)]).toEqual([FrameType.hello, 1])
  })
})
