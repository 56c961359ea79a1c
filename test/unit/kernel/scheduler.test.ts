import { describe, expect, it } from 'vitest'
import { every, onDemand, type Scheduler } from '../../../src/kernel/scheduler.ts'

/** Runs timers by hand, so that each step is seen. */
class ManualScheduler implements Scheduler {
  readonly timers: { delayMs: number; task: () => void; cancelled: boolean }[] = []

  after(delayMs: number, task: () => void): { cancel(): void } {
    const timer = { delayMs, task, cancelled: false }
    this.timers.push(timer)
    return {
      cancel: () => {
        timer.cancelled = true
      },
    }
  }

  endOfTurn(task: () => void): void {
    task()
  }

  nextTurn(task: () => void): void {
    task()
  }

  /** Runs the oldest timer that waits; false when there is none. */
  fire(): boolean {
    const timer = this.timers.shift()
    if (timer === undefined || timer.cancelled) return false
    timer.task()
    return true
  }
}

describe('every', () => {
  it('runs the task again and again, each delay counted from the end of a run', () => {
    const scheduler = new ManualScheduler()
    let runs = 0
    every(scheduler, 100, () => {
      // While the task runs the next timer is not armed yet.
      expect(scheduler.timers).toHaveLength(0)
      runs++
    })
    for (let i = 0; i < 3; i++) expect(scheduler.fire()).toBe(true)
    expect(runs).toBe(3)
    expect(scheduler.timers.map(({ delayMs }) => delayMs)).toEqual([100])
  })

  it('stops when cancelled, also from inside the task', () => {
    const scheduler = new ManualScheduler()
    let runs = 0
    const outside = every(scheduler, 1, () => runs++)
    outside.cancel()
    outside.cancel()
    expect(scheduler.fire()).toBe(false)
    const inside = every(scheduler, 1, () => {
      runs++
      inside.cancel()
    })
    expect(scheduler.fire()).toBe(true)
    expect(scheduler.timers).toHaveLength(0)
    expect(runs).toBe(1)
  })
})

describe('onDemand', () => {
  it('arms nothing until it is woken, and again only while the task asks for it', () => {
    const scheduler = new ManualScheduler()
    let left = 2
    const timer = onDemand(scheduler, 100, () => --left > 0)
    expect(scheduler.timers).toHaveLength(0)
    timer.wake()
    timer.wake()
    expect(scheduler.timers).toHaveLength(1)
    expect(scheduler.fire()).toBe(true)
    expect(scheduler.fire()).toBe(true)
    expect(scheduler.timers).toHaveLength(0)
    timer.wake()
    timer.cancel()
    timer.wake()
    expect(scheduler.fire()).toBe(false)
    expect(scheduler.timers).toHaveLength(0)
  })
})
