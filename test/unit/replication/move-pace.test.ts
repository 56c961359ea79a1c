/** How long copies that move rest between their steps. */

import { expect, it } from 'vitest'
import { MovePace } from '../../../src/replication/move-pace.ts'
import { VirtualTime } from '../../../src/testing/virtual-time.ts'

it('rests many times as long as a step took, within bounds', async () => {
  const time = new VirtualTime()
  let over = 0
  const pace = new MovePace(time, time, () => over++)
  expect(pace.isResting).toBe(false)
  pace.spend(0)
  await time.advance(3)
  expect(pace.isResting).toBe(true)
  await time.advance(2)
  expect([pace.isResting, over]).toEqual([false, 1])
  pace.spend(1)
  await time.advance(35)
  expect(over).toBe(1)
  await time.advance(10)
  expect(over).toBe(2)
  pace.spend(1000)
  await time.advance(101)
  expect(over).toBe(3)
})

it('rests once more after a rest that ended late', async () => {
  const time = new VirtualTime()
  let over = 0
  let skewMs = 0
  const pace = new MovePace(
    { wallMs: () => time.wallMs(), monotonicMs: () => time.monotonicMs() + skewMs },
    time,
    () => over++,
  )
  pace.spend(0)
  skewMs = 10
  await time.advance(5)
  expect([pace.isResting, over]).toEqual([true, 0])
  await time.advance(40)
  expect([pace.isResting, over]).toEqual([false, 1])
})

it('does nothing any more once closed', async () => {
  const time = new VirtualTime()
  let over = 0
  const pace = new MovePace(time, time, () => over++)
  pace.spend(1)
  pace.close()
  await time.advance(500)
  expect(over).toBe(0)
})
