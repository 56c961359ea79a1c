/** A limit of bytes a second. */

import { expect, it } from 'vitest'
import { ByteRate } from '../../../src/replication/byte-rate.ts'
import { VirtualTime } from '../../../src/testing/virtual-time.ts'

it('lets through as many bytes a second as it is set to', async () => {
  const time = new VirtualTime()
  const beganMs = time.monotonicMs()
  let sent = 0
  const rate = new ByteRate(100_000, time, time, () => send())
  const send = (): void => {
    while (!rate.holdsBack(time.monotonicMs())) {
      rate.spend(1000)
      sent += 1000
    }
  }
  send()
  await time.advance(10_000)
  const allowed = ((time.monotonicMs() - beganMs) / 1000) * 100_000
  expect(sent).toBeGreaterThan(0.98 * allowed)
  expect(sent).toBeLessThanOrEqual(allowed + 1000)
})

it('saves nothing up while nothing goes', async () => {
  const time = new VirtualTime()
  const rate = new ByteRate(1000, time, time, () => {})
  await time.advance(60_000)
  rate.spend(1000)
  expect(rate.holdsBack(time.monotonicMs())).toBe(true)
})

it('holds nothing back without a limit', () => {
  const time = new VirtualTime()
  const rate = new ByteRate(0, time, time, () => {})
  rate.spend(1e12)
  expect(rate.holdsBack(time.monotonicMs())).toBe(false)
})

it('calls nobody once closed', async () => {
  const time = new VirtualTime()
  let calls = 0
  const rate = new ByteRate(1000, time, time, () => calls++)
  rate.spend(1000)
  rate.holdsBack(time.monotonicMs())
  rate.close()
  await time.advance(5000)
  expect(calls).toBe(0)
})
