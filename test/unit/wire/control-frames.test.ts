import { describe, expect, it } from 'vitest'
import { ByteReader } from '../../../src/kernel/bytes.ts'
import { SeededRandom } from '../../../src/kernel/random.ts'
import { type ControlMessage, decodeControl, encodeControl } from '../../../src/wire/control-frames.ts'
import { openFrame } from '../../../src/wire/frames.ts'
import { mutated } from '../../support/hostile-bytes.ts'

const ballot = { round: 300, proposer: 'node-1/00112233445566aa' }
const other = { round: 301, proposer: 'node-2/00112233445566bb' }
const value = Uint8Array.from([1, 2, 3])
const voter = 'node-1/00112233445566778899aabbccddeeff'

const messages: ControlMessage[] = [
  { kind: 'prepare', slot: 7, ballot },
  { kind: 'accept', slot: 7, ballot, value },
  { kind: 'contact', round: 4, epoch: 6 },
  { kind: 'suggest', change: value },
  { kind: 'decided', slot: 7, value },
  { kind: 'fetched', slot: 7, value },
  { kind: 'fetch', epoch: 6 },
  { kind: 'record', topology: value },
  { kind: 'fetchedRecord', topology: value },
  { kind: 'found', topology: value },
  { kind: 'founded', clusterId: '00112233445566778899aabbccddeeff' },
  { kind: 'remembers', partitions: [] },
  {
    kind: 'remembers',
    partitions: [
      { partition: 0, epoch: 3, sequence: 2 ** 40 },
      { partition: 65_535, epoch: 300, sequence: 0 },
    ],
  },
  { kind: 'contacted', contacted: { round: 4, voter, epoch: 6, accepted: 7 } },
  { kind: 'vote', vote: { kind: 'promised', slot: 7, ballot, voter, accepted: undefined } },
  { kind: 'vote', vote: { kind: 'promised', slot: 7, ballot, voter, accepted: { ballot: other, value } } },
  { kind: 'vote', vote: { kind: 'accepted', slot: 7, ballot, voter } },
  { kind: 'vote', vote: { kind: 'refused', slot: 7, ballot, voter, promised: other } },
  { kind: 'vote', vote: { kind: 'decided', slot: 7, ballot, voter, epoch: 9 } },
  { kind: 'vote', vote: { kind: 'behind', slot: 7, ballot, voter, epoch: 2 } },
]

const bodyOf = (message: ControlMessage): Uint8Array => openFrame(encodeControl(message))
const decode = (body: Uint8Array): ControlMessage => decodeControl(body[0] ?? 0, new ByteReader(body, 1))

describe('frames of the control lane', () => {
  it.each(messages)('come back as they were sent: $kind', (message) => {
    expect(decode(bodyOf(message))).toEqual(message)
  })

  it('are refused when they end early, go on behind their end, or are of another lane', () => {
    for (const message of messages) {
      const body = bodyOf(message)
      for (let length = 1; length < body.length; length++)
        expect(() => decode(body.subarray(0, length))).toThrow(
          expect.objectContaining({ code: 'PROTOCOL_ERROR' }),
        )
      expect(() => decode(Uint8Array.from([...body, 0]))).toThrow(/behind the end/)
    }
    expect(() => decode(Uint8Array.from([0x22, 0]))).toThrow(/lane control/)
  })

  it('are refused when they tell of more partitions than a cluster can have', () => {
    const partitions = Array.from({ length: 65_537 }, (_, partition) => ({
      partition,
      epoch: 1,
      sequence: 1,
    }))
    expect(() => decode(bodyOf({ kind: 'remembers', partitions }))).toThrow(/tells of 65537 partitions/)
  })

  it('are decoded or refused, and nothing else, whatever is changed in them', () => {
    const random = new SeededRandom(3)
    for (let i = 0; i < 20_000; i++) {
      const message = messages[i % messages.length] as ControlMessage
      try {
        decode(mutated(random, bodyOf(message), 1))
      } catch (error) {
        expect(error).toMatchObject({ code: 'PROTOCOL_ERROR' })
      }
    }
  })
})
