import { describe, expect, it } from 'vitest'
import { MessageReader, MessageWriter } from '../../../src/adapters/grpc/message-framing.ts'

const NOTHING = new Uint8Array(0)

function messageOf(length: number, byte: number): Uint8Array {
  return new Uint8Array(length).fill(byte)
}

function read(framed: Uint8Array): Uint8Array | undefined {
  const reader = new MessageReader(2 ** 24)
  reader.push(framed)
  return reader.next()
}

describe('MessageWriter', () => {
  it('uses its memory again once messages are written', () => {
    const writer = new MessageWriter()
    const memory = new Set<ArrayBufferLike>()
    for (let n = 0; n < 10_000; n++) {
      memory.add(writer.frame(messageOf(5_000, n)).buffer)
      writer.written()
    }
    expect(memory.size).toBe(1)
  })

  it('leaves messages alone that are not written yet', () => {
    const writer = new MessageWriter()
    const open: { framed: Uint8Array; message: Uint8Array }[] = []
    for (let n = 0; n < 2_000; n++) {
      const message = messageOf((n * 7919) % 9_000, n & 0xff)
      open.push({ framed: writer.frame(message), message })
      // Now some are written, now none for a while.
      while (open.length > n % 40) {
        const oldest = open.shift()
        // Not by toEqual: it looks at each byte by itself, which takes seconds for so many.
        const got = oldest === undefined ? undefined : read(oldest.framed)
        expect(got !== undefined && Buffer.from(got).equals(oldest?.message ?? NOTHING)).toBe(true)
        writer.written()
      }
    }
  })

  it('does not keep the memory of the largest messages', () => {
    const writer = new MessageWriter()
    const first = writer.frame(messageOf(1_000_000, 1))
    writer.written()
    const second = writer.frame(messageOf(100, 2))
    writer.written()
    expect(second.buffer).not.toBe(first.buffer)
    expect(second.buffer.byteLength).toBeLessThan(10_000)
  })

  it('says how long a message is of which more follows', () => {
    const framed = new MessageWriter().frame(messageOf(3, 9), 70_000)
    expect([...framed]).toEqual([0, 0, 1, 0x11, 0x73, 9, 9, 9])
  })
})
