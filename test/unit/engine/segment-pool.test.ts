import { describe, expect, it } from 'vitest'
import { type Segment, SegmentPool } from '../../../src/engine/segment-pool.ts'
import { MemoryAccount } from '../../../src/kernel/memory-account.ts'

const MIB = 1024 * 1024

function take(pool: SegmentPool, count: number): Segment[] {
  return Array.from({ length: count }, () => pool.take() as Segment)
}

describe('segments that were given back', () => {
  it('are kept while large values turn over, and let go once they do not', () => {
    const memory = new MemoryAccount(1024 * MIB)
    const pool = new SegmentPool(memory, MIB)
    const seen = new Set<Segment>()
    for (let value = 0; value < 100; value++) {
      const segments = take(pool, 16)
      for (const segment of segments) seen.add(segment)
      for (const segment of segments) pool.giveTurnover(segment)
      pool.trim()
    }
    expect(seen.size).toBe(16)
    for (let i = 0; i < 100; i++) pool.trim()
    expect(pool.idleCount).toBe(4)
    expect(memory.held('engine')).toBe(4 * MIB)
  })

  it('are at most 64 MiB beyond the ordinary share', () => {
    const pool = new SegmentPool(new MemoryAccount(1024 * MIB), MIB)
    for (const segment of take(pool, 200)) pool.giveTurnover(segment)
    expect(pool.idleCount).toBe(64)
  })

  it('are few when those of the log are given back', () => {
    const pool = new SegmentPool(new MemoryAccount(1024 * MIB), MIB)
    for (const segment of take(pool, 200)) pool.give(segment)
    expect(pool.idleCount).toBe(4)
  })

  it('are given up when memory is short', () => {
    const memory = new MemoryAccount(40 * MIB)
    const pool = new SegmentPool(memory, MIB)
    for (const segment of take(pool, 16)) pool.giveTurnover(segment)
    expect(pool.idleCount).toBe(16)
    memory.add('rest', 20 * MIB)
    pool.trim()
    expect(pool.idleCount).toBe(2)
  })
})
