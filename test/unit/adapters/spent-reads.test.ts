import { describe, expect, it } from 'vitest'
import { SpentReads } from '../../../src/adapters/grpc/spent-reads.ts'

function pieces(count = 3): Uint8Array[] {
  const buffer = new ArrayBuffer(300)
  return Array.from({ length: count }, (_, at) => new Uint8Array(buffer, at * 100, 100).fill(at))
}

describe('the memory of a socket read', () => {
  it('is given back when a piece of the next read arrives, not before', () => {
    const reads = new SpentReads(() => true)
    const first = pieces()
    for (const piece of first) reads.arrived(piece)
    expect(first.map((piece) => piece.length)).toEqual([100, 100, 100])
    const second = pieces()
    reads.arrived(second[0] as Uint8Array)
    expect(first.map((piece) => piece.buffer.byteLength)).toEqual([0, 0, 0])
    expect(second.map((piece) => piece[0])).toEqual([0, 1, 2])
  })

  it('stays when a piece of it is kept, and the one after it does not', () => {
    const reads = new SpentReads(() => true)
    const [first, second, third] = [pieces(1), pieces(1), pieces(1)].flat() as [
      Uint8Array,
      Uint8Array,
      Uint8Array,
    ]
    reads.arrived(first)
    reads.keep()
    reads.arrived(second)
    reads.arrived(third)
    expect([first, second, third].map((piece) => piece.length)).toEqual([100, 0, 100])
  })

  it('stays when other streams of the connection may have pieces of it', () => {
    let isAlone = true
    const reads = new SpentReads(() => isAlone)
    const [first, second] = [pieces(1), pieces(1)].flat() as [Uint8Array, Uint8Array]
    reads.arrived(first)
    isAlone = false
    reads.arrived(second)
    expect(first.length).toBe(100)
  })
})
