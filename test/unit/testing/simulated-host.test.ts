import { describe, expect, it } from 'vitest'
import { SimulatedHost } from '../../../src/testing/simulated-host.ts'
import { VirtualTime } from '../../../src/testing/virtual-time.ts'

describe('a simulated host', () => {
  it('runs overdue timers before what the network brought, after it stood still', async () => {
    const time = new VirtualTime()
    const host = new SimulatedHost('a', time)
    const ran: string[] = []
    host.after(250, () => {
      ran.push('probe timeout')
      host.nextTurn(() => ran.push('two turns later'))
    })
    time.after(10, () => host.pause())
    time.after(20, () => host.receive(() => ran.push('ack')))
    time.after(2000, () => host.resume())
    await time.advance(1999)
    expect(ran).toEqual([])
    await time.advance(10)
    expect(ran).toEqual(['probe timeout', 'ack', 'two turns later'])
  })

  it('runs nothing of a process that crashed, nor timers cancelled while it stood still', async () => {
    const time = new VirtualTime()
    const host = new SimulatedHost('a', time)
    const ran: string[] = []
    host.after(10, () => ran.push('first life'))
    host.crash()
    const timer = host.after(20, () => ran.push('cancelled'))
    host.after(21, () => ran.push('kept'))
    host.pause()
    await time.advance(100)
    timer.cancel()
    host.resume()
    await time.advance(1)
    expect(ran).toEqual(['kept'])
  })

  it('has a clock that runs fast or slow, and timers that follow it', async () => {
    const time = new VirtualTime()
    const host = new SimulatedHost('a', time)
    await time.advance(1000)
    host.setClockRate(1.05)
    let firedMs = 0
    host.after(1050, () => {
      firedMs = time.monotonicMs()
    })
    await time.advance(2000)
    expect(firedMs).toBeCloseTo(2000)
    expect(host.monotonicMs()).toBeCloseTo(3100)
    host.setClockRate(0.95)
    await time.advance(1000)
    expect(host.monotonicMs()).toBeCloseTo(4050)
  })

  it('keeps its monotonic clock when its wall clock is set', async () => {
    const time = new VirtualTime()
    const host = new SimulatedHost('a', time)
    const [wall, monotonic] = [host.wallMs(), host.monotonicMs()]
    host.jumpWallClock(-60_000)
    await time.advance(10)
    expect(host.wallMs() - wall).toBeCloseTo(-59_990)
    expect(host.monotonicMs() - monotonic).toBe(10)
  })
})
