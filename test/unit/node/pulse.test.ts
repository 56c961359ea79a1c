/** When a node looks at what is to be done for its topology. */

import { expect, it } from 'vitest'
import { Pulse } from '../../../src/node/pulse.ts'
import { VirtualTime } from '../../../src/testing/virtual-time.ts'

class Bench {
  readonly time = new VirtualTime()
  readonly beats: number[] = []
  restMs: number | undefined
  readonly pulse: Pulse = new Pulse({
    scheduler: this.time,
    beat: () => this.beats.push(this.time.monotonicMs()),
    restMs: () => this.restMs,
  })
}

it('beats ten times a second while there may be something to do', async () => {
  const { time, beats, pulse } = new Bench()
  pulse.start()
  await time.advance(1050)
  expect(beats).toHaveLength(10)
})

it('falls quiet after a beat that found all at rest, until it is stirred', async () => {
  const bench = new Bench()
  const { time, beats, pulse } = bench
  bench.restMs = 5000
  pulse.start()
  await time.advance(3000)
  expect(beats).toHaveLength(1)
  bench.restMs = undefined
  pulse.stir()
  await time.advance(450)
  expect(beats).toHaveLength(5)
})

it('does not beat later for being stirred again and again', async () => {
  const { time, beats, pulse } = new Bench()
  pulse.start()
  for (let i = 0; i < 20; i++) {
    pulse.stir()
    await time.advance(50)
  }
  expect(beats.length).toBeGreaterThanOrEqual(9)
})

it('beats once at the end of a turn, however often it was asked to', async () => {
  const { time, beats, pulse } = new Bench()
  pulse.beatSoon()
  pulse.beatSoon()
  await time.advance(1)
  expect(beats).toHaveLength(1)
})

it('does nothing any more once closed, even what was planned', async () => {
  const { time, beats, pulse } = new Bench()
  pulse.start()
  pulse.beatSoon()
  pulse.close()
  pulse.beatSoon()
  pulse.stir()
  await time.advance(1000)
  expect(beats).toEqual([])
})
