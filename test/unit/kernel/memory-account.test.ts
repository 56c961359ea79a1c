import { describe, expect, it } from 'vitest'
import { MemoryAccount } from '../../../src/kernel/memory-account.ts'

describe('a memory account', () => {
  it('counts by purpose and in total', () => {
    const account = new MemoryAccount(1000)
    account.add('engine', 300)
    account.add('backlog', 50)
    account.add('engine', -100)
    expect([account.held('engine'), account.held('backlog'), account.held('peers')]).toEqual([200, 50, 0])
    expect(account.totalBytes).toBe(250)
  })

  it('is high from the watermark on and full from the limit on', () => {
    const account = new MemoryAccount(1000, 0.85)
    const levelAt = (bytes: number): string => {
      account.add('sessions', bytes - account.totalBytes)
      return account.level
    }
    expect([849, 850, 999, 1000, 1001, 0].map(levelAt)).toEqual([
      'normal',
      'high',
      'high',
      'full',
      'full',
      'normal',
    ])
  })
})
