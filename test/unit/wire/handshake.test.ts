/** The first frames of a stream: what each side says of itself, and what happens when the other speaks otherwise. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ByteReader } from '../../../src/kernel/bytes.ts'
import { CacheError, ERROR_KINDS, type ErrorCode } from '../../../src/kernel/errors.ts'
import { SeededRandom } from '../../../src/kernel/random.ts'
import { FrameType, openFrame, PROTOCOL_VERSION_MAX, PROTOCOL_VERSION_MIN } from '../../../src/wire/frames.ts'
import {
  decodeError,
  decodeHello,
  decodeWelcome,
  encodeError,
  encodeHello,
  encodeWelcome,
  type Hello,
  negotiate,
  type Welcome,
} from '../../../src/wire/handshake.ts'
import { textOfBytes } from '../../support/arbitrary-text.ts'
import { mutated, noise } from '../../support/hostile-bytes.ts'

const HELLO: Hello = {
  versionMin: 1,
  versionMax: 1,
  lane: 'operations',
  session: '0123456789abcdef',
  streamNumber: 3,
  clusterId: 'ab'.repeat(16),
  clientName: 'shop',
  token: 'secret',
  timeoutMs: 2000,
}

const WELCOME: Welcome = {
  version: 1,
  clusterId: 'cd'.repeat(16),
  nodeId: 'node1',
  incarnation: '0011223344556677',
  keyBytesMax: 1024,
  valueBytesMax: 16 * 1024 ** 2,
  creditBytes: 4 * 1024 ** 2,
  operationsMax: 16_384,
  topology: Uint8Array.of(1, 2, 3),
}

/** A reader behind the type byte, which has to be `type`. */
function inside(message: Uint8Array, type: FrameType): ByteReader {
  const r = new ByteReader(openFrame(message))
  expect(r.uint8()).toBe(type)
  return r
}

const short = textOfBytes(128)
const hex = (digits: number): fc.Arbitrary<string> =>
  fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: digits, maxLength: digits })

describe('a HELLO', () => {
  it('comes back as it was sent', () => {
    const hello = fc.record<Hello>({
      versionMin: fc.constant(PROTOCOL_VERSION_MIN),
      versionMax: fc.integer({ min: PROTOCOL_VERSION_MAX, max: 0xffff }),
      lane: fc.constantFrom('operations', 'bulk'),
      session: hex(16),
      streamNumber: fc.nat(),
      clusterId: fc.oneof(fc.constant(''), hex(32)),
      clientName: short,
      token: short,
      timeoutMs: fc.nat(),
    })
    fc.assert(
      fc.property(hello, (sent) => {
        expect(decodeHello(inside(encodeHello(sent), FrameType.hello))).toEqual(sent)
      }),
    )
  })

  it('rounds a fractional timeout up, so that it never becomes 0', () => {
    expect(decodeHello(inside(encodeHello({ ...HELLO, timeoutMs: 0.2 }), FrameType.hello)).timeoutMs).toBe(1)
  })

  it('of a version that is not spoken here is told both ranges', () => {
    const message = encodeHello({ ...HELLO, versionMin: 2, versionMax: 9 })
    const decode = (): Hello => decodeHello(inside(message, FrameType.hello))
    expect(decode).toThrow(expect.objectContaining({ code: 'VERSION_MISMATCH' }))
    expect(decode).toThrow(/versions 1 to 1, the other side 2 to 9/)
  })

  it('without the magic number is no HELLO', () => {
    const body = openFrame(encodeHello(HELLO)).slice()
    body[1] = 0
    expect(() => decodeHello(new ByteReader(body, 1))).toThrow(
      expect.objectContaining({ code: 'PROTOCOL_ERROR' }),
    )
  })

  it('with a name or token that is too long is refused', () => {
    for (const long of [
      { clientName: 'x'.repeat(129) },
      { token: 'x'.repeat(8193) },
      { clusterId: 'x'.repeat(65) },
    ]) {
      const message = encodeHello({ ...HELLO, ...long })
      expect(() => decodeHello(inside(message, FrameType.hello))).toThrow(/bytes exceeds the/)
    }
  })
})

describe('negotiation', () => {
  it.each([
    [1, 1, 1],
    [0, 5, 1],
    [1, 65_535, 1],
  ])('of %d to %d ends in version %d', (min, max, version) => {
    expect(negotiate(min, max)).toBe(version)
  })

  it.each([
    [2, 3],
    [0, 0],
    [5, 4],
  ])('of %d to %d fails', (min, max) => {
    expect(() => negotiate(min, max)).toThrow(expect.objectContaining({ code: 'VERSION_MISMATCH' }))
  })
})

describe('a WELCOME', () => {
  it('comes back as it was sent', () => {
    expect(decodeWelcome(inside(encodeWelcome(WELCOME), FrameType.welcome))).toEqual(WELCOME)
    const empty = { ...WELCOME, topology: new Uint8Array(0) }
    expect(decodeWelcome(inside(encodeWelcome(empty), FrameType.welcome))).toEqual(empty)
  })
})

describe('an ERROR', () => {
  it('comes back with its code and message, whichever it is', () => {
    for (const code of Object.keys(ERROR_KINDS) as ErrorCode[]) {
      const error = decodeError(inside(encodeError(code, `why: ü ${code}`), FrameType.error))
      expect(error).toMatchObject({ code, message: `why: ü ${code}` })
    }
  })
})

describe('hostile bytes', () => {
  it.each([
    ['HELLO', encodeHello(HELLO), decodeHello],
    ['WELCOME', encodeWelcome(WELCOME), decodeWelcome],
    ['ERROR', encodeError('OVERLOADED', 'the queue is full'), decodeError],
  ] as const)('in place of a %s are accepted or refused, and nothing else', (_, message, decode) => {
    const random = new SeededRandom(2)
    const valid = openFrame(message)
    for (let i = 0; i < 30_000; i++) {
      // Two of three keep the header (magic and versions), so that what follows is reached.
      const bytes = i % 3 === 0 ? noise(random, 80) : mutated(random, valid, 7)
      try {
        decode(new ByteReader(bytes, Math.min(1, bytes.length)))
      } catch (error) {
        expect(error).toBeInstanceOf(CacheError)
        expect(['PROTOCOL_ERROR', 'VERSION_MISMATCH']).toContain((error as CacheError).code)
      }
    }
  })
})
