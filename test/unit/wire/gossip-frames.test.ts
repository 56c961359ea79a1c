import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CacheError } from '../../../src/kernel/errors.ts'
import { SeededRandom } from '../../../src/kernel/random.ts'
import { FrameType, openFrame } from '../../../src/wire/frames.ts'
import {
  decodeGossip,
  encodeGossip,
  GOSSIP_MEMBERS_MAX,
  GOSSIP_UPDATES_MAX,
  type GossipMessage,
  type GossipUpdate,
  isGossipAnswer,
  type MemberRecord,
} from '../../../src/wire/gossip-frames.ts'
import { textOfBytes } from '../../support/arbitrary-text.ts'
import { mutated, noise } from '../../support/hostile-bytes.ts'

const text = (maxBytes: number) => textOfBytes(maxBytes, 1)
const incarnation = fc.stringMatching(/^[0-9a-f]{16}$/)
const counter = fc.maxSafeNat()
const record: fc.Arbitrary<MemberRecord> = fc
  .record({ nodeId: text(256), incarnation, address: text(512), counter })
  .chain((named) =>
    fc
      .constantFrom(
        { status: 'alive', proven: false } as const,
        { status: 'suspect', proven: false } as const,
        { status: 'dead', proven: false } as const,
        { status: 'dead', proven: true } as const,
        { status: 'left', proven: false } as const,
        { status: 'left', proven: true } as const,
      )
      .map((state) => ({ ...named, ...state })),
  )
const update: fc.Arbitrary<GossipUpdate> = fc.oneof(
  fc.record({ kind: fc.constant('member' as const), record, by: text(256) }),
  fc.record({
    kind: fc.constant('refused' as const),
    nodeId: text(256),
    incarnation,
    counter,
    by: text(256),
  }),
)
const updates = fc.array(update, { maxLength: 8 })
const members = fc.array(record, { maxLength: 8 })
const sequence = fc.nat(2 ** 32 - 1)
const message: fc.Arbitrary<GossipMessage> = fc.oneof(
  fc.record({ type: fc.constant('ping' as const), sequence, updates }),
  fc.record({
    type: fc.constant('ping-request' as const),
    sequence,
    nodeId: text(256),
    incarnation,
    updates,
  }),
  fc.record({ type: fc.constant('updates' as const), updates }),
  fc.record({ type: fc.constant('push' as const), members }),
  fc.record({ type: fc.constant('ack' as const), sequence, lagMs: fc.nat(2 ** 32 - 1), updates }),
  fc.record({ type: fc.constant('nack' as const), sequence, updates }),
  fc.record({ type: fc.constant('pull' as const), members }),
)
const topology = fc.record({ epoch: counter, hash: fc.nat(2 ** 32 - 1) })

const NOWHERE = { epoch: 0, hash: 0 }
const MEMBER: MemberRecord = {
  nodeId: 'n1',
  incarnation: '0123456789abcdef',
  address: 'h:1',
  counter: 1,
  status: 'alive',
  proven: false,
}

describe('gossip frames', () => {
  it('are read as they were written', () => {
    fc.assert(
      fc.property(topology, message, (mark, said) => {
        const read = decodeGossip(openFrame(encodeGossip(mark, said)))
        expect(read).toEqual({ topology: mark, message: said })
      }),
      { numRuns: 500 },
    )
  })

  it('are answers exactly when their type says that the accepting side sends them', () => {
    fc.assert(
      fc.property(message, (said) => {
        const [type] = openFrame(encodeGossip(NOWHERE, said))
        expect(isGossipAnswer(said)).toBe((type ?? 0) >= 0x80)
      }),
    )
  })

  it('hold as many updates and members as allowed, and no more', () => {
    const said = (count: number): GossipMessage => ({
      type: 'updates',
      updates: Array.from({ length: count }, () => ({ kind: 'member', record: MEMBER, by: 'n2' })),
    })
    const all = (count: number): GossipMessage => ({
      type: 'push',
      members: Array.from({ length: count }, () => MEMBER),
    })
    for (const fits of [said(GOSSIP_UPDATES_MAX), all(GOSSIP_MEMBERS_MAX)])
      expect(decodeGossip(openFrame(encodeGossip(NOWHERE, fits))).message).toEqual(fits)
    for (const tooMuch of [said(GOSSIP_UPDATES_MAX + 1), all(GOSSIP_MEMBERS_MAX + 1)])
      expect(() => decodeGossip(openFrame(encodeGossip(NOWHERE, tooMuch)))).toThrow(/of at most/)
  })

  it.each([
    ['a trailing byte', (body: Uint8Array) => Uint8Array.from([...body, 0]), /follow behind/],
    [
      'another type',
      (body: Uint8Array) => Uint8Array.from([FrameType.ack, ...body.subarray(1)]),
      /no gossip/,
    ],
    ['a missing byte', (body: Uint8Array) => body.slice(0, -1), /ends in the middle/],
  ])('with %s are refused', (_name, change, reason) => {
    const body = openFrame(encodeGossip(NOWHERE, { type: 'push', members: [MEMBER] }))
    expect(() => decodeGossip(change(body))).toThrow(reason)
  })

  it('with a state or kind that nobody knows, or a node without a name, are refused', () => {
    const body = openFrame(encodeGossip(NOWHERE, { type: 'push', members: [MEMBER] })).slice()
    body[body.length - 1] = 6
    expect(() => decodeGossip(body)).toThrow(/unknown state/)
    const nameless = openFrame(encodeGossip(NOWHERE, { type: 'push', members: [{ ...MEMBER, nodeId: '' }] }))
    expect(() => decodeGossip(nameless)).toThrow(/no name/)
    const kind = openFrame(
      encodeGossip(NOWHERE, { type: 'updates', updates: [{ kind: 'member', record: MEMBER, by: 'x' }] }),
    ).slice()
    // Type, epoch, hash, count, kind.
    kind[1 + 1 + 4 + 1] = 3
    expect(() => decodeGossip(kind)).toThrow(/unknown kind/)
  })

  it('that are hostile end in PROTOCOL_ERROR or a well-formed message, never in anything else', () => {
    const random = new SeededRandom(7)
    const valid = fc
      .sample(message, { seed: 3, numRuns: 200 })
      .map((said) => openFrame(encodeGossip(NOWHERE, said)))
    let refused = 0
    for (let i = 0; i < 20_000; i++) {
      const bytes =
        i % 10 === 0 ? noise(random, 200) : mutated(random, valid[i % valid.length] as Uint8Array, i % 2)
      try {
        const { topology: mark, message: said } = decodeGossip(bytes)
        expect(decodeGossip(openFrame(encodeGossip(mark, said))).message).toEqual(said)
      } catch (error) {
        expect(error).toBeInstanceOf(CacheError)
        expect((error as CacheError).code).toBe('PROTOCOL_ERROR')
        refused++
      }
    }
    expect(refused).toBeGreaterThan(5000)
  })
})
