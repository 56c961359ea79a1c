import { describe, expect, it } from 'vitest'
import { systemScheduler } from '../../../src/adapters/system/scheduler.ts'

describe('systemScheduler', () => {
  it('runs the end of a turn after all microtasks and nextTicks, and before timers and the next turn', async () => {
    const log: string[] = []
    await new Promise<void>((resolve) => {
      setTimeout(() => {
        systemScheduler.after(0, () => {
          log.push('timer')
          if (log.includes('next turn')) resolve()
        })
        systemScheduler.nextTurn(() => {
          log.push('next turn')
          if (log.includes('timer')) resolve()
        })
        systemScheduler.endOfTurn(() => log.push('end'))
        process.nextTick(() => log.push('tick'))
        void Promise.resolve()
          .then(() => log.push('microtask 1'))
          .then(() => log.push('microtask 2'))
          .then(() => log.push('microtask 3'))
        log.push('code')
      }, 0)
    })
    expect(log.slice(0, 6)).toEqual(['code', 'tick', 'microtask 1', 'microtask 2', 'microtask 3', 'end'])
  })

  it('runs what microtasks of this turn ask for in the same turn, and what the end asks for after its microtasks', async () => {
    const log: string[] = []
    await new Promise<void>((resolve) => {
      setImmediate(() => {
        setImmediate(() => {
          log.push('next turn')
          resolve()
        })
        systemScheduler.endOfTurn(() => {
          log.push('end 1')
          systemScheduler.endOfTurn(() => log.push('end 3'))
          void Promise.resolve().then(() => log.push('microtask of end 1'))
        })
        void Promise.resolve().then(() => systemScheduler.endOfTurn(() => log.push('end 2')))
      })
    })
    expect(log).toEqual(['end 1', 'end 2', 'microtask of end 1', 'end 3', 'next turn'])
  })

  it('does not run a timer that was cancelled', async () => {
    let ran = false
    const timer = systemScheduler.after(1, () => {
      ran = true
    })
    timer.cancel()
    timer.cancel()
    await new Promise<void>((resolve) => systemScheduler.after(5, resolve))
    expect(ran).toBe(false)
  })
})
