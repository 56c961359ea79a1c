import { describe, expect, it } from 'vitest'
import { CopyPool } from '../../../src/client/copy-pool.ts'
import { VirtualTime } from '../../../src/testing/virtual-time.ts'

const MIB = 1024 * 1024

describe('copies of large values', () => {
  it('lie in memory of their own, and in the same memory once the last reference was given back', () => {
    const pool = new CopyPool(new VirtualTime())
    const value = new Uint8Array(100_000).fill(7)
    const copy = pool.copy(value)
    value.fill(8)
    expect(copy.bytes.length).toBe(100_000)
    expect(copy.bytes.every((byte) => byte === 7)).toBe(true)
    copy.retain()
    copy.release()
    expect(copy.isFree).toBe(false)
    expect(pool.copy(value).bytes.buffer).not.toBe(copy.bytes.buffer)
    copy.release()
    expect(copy.isFree).toBe(true)
    expect(pool.copy(value.subarray(1)).bytes.buffer).toBe(copy.bytes.buffer)
  })

  it('leave at most 64 MiB to the pool', () => {
    const pool = new CopyPool(new VirtualTime())
    const value = new Uint8Array(16 * MIB)
    const copies = Array.from({ length: 5 }, () => pool.copy(value))
    for (const copy of copies) copy.release()
    expect(pool.freeBytes).toBe(64 * MIB)
  })

  it('leave nothing to it once no value was copied for a while, or it was closed', async () => {
    const time = new VirtualTime()
    const pool = new CopyPool(time)
    const touch = (): void => pool.copy(new Uint8Array(MIB)).release()
    touch()
    await time.advance(1_500)
    touch()
    await time.advance(1_500)
    expect(pool.freeBytes).toBe(MIB)
    await time.advance(4_000)
    expect(pool.freeBytes).toBe(0)
    touch()
    pool.close()
    expect(pool.freeBytes).toBe(0)
  })
})
