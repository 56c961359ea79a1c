import { describe, expect, it } from 'vitest'
import { MemoryAccount } from '../../../src/kernel/memory-account.ts'

describe('MemoryAccount', () => {
  it('adds up what is held, by purpose', () => {
    const account = new MemoryAccount(1000)
    account.add('engine', 300)
    account.add('backlog', 50)
    account.add('engine', -100)
    expect(account.totalBytes).toBe(250)
    expect([account.held('engine'), account.held('backlog'), account.held('rest')]).toEqual([200, 50, 0])
  })

  it('tells its level by the watermarks', () => {
    const account = new MemoryAccount(1000, 0.8)
    const levels = [0, 799, 800, 999, 1000].map((bytes) => {
      account.add('engine', bytes - account.totalBytes)
      return account.level
    })
    expect(levels).toEqual(['normal', 'normal', 'high', 'high', 'full'])
  })

  it('counts what the process holds beyond what was reported, once it lasts', () => {
    const account = new MemoryAccount(1000)
    account.add('engine', 400)
    account.observe(500)
    expect(account.held('rest')).toBe(100)
    for (let i = 0; i < 15; i++) account.observe(900)
    expect(account.held('rest')).toBe(100)
    account.observe(900)
    expect(account.held('rest')).toBe(500)
    expect(account.level).toBe('high')
    account.observe(300)
    expect(account.held('rest')).toBe(0)
  })
})
