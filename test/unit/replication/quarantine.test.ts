/** Whether a node is out of touch with the voters. */

import { expect, it } from 'vitest'
import { Quarantine } from '../../../src/replication/quarantine.ts'
import { VirtualTime } from '../../../src/testing/virtual-time.ts'

function begin(time: VirtualTime, contact: { ms: number }): Quarantine {
  return new Quarantine({ clock: time, scheduler: time, voterContactMs: () => contact.ms }, 3000)
}

it('begins in the moment in which the contact has grown too old', async () => {
  const time = new VirtualTime()
  const contact = { ms: time.monotonicMs() }
  const quarantine = begin(time, contact)
  await time.advance(2000)
  contact.ms = time.monotonicMs()
  await time.advance(2999)
  expect(quarantine.isOutOfTouch).toBe(false)
  await time.advance(3)
  expect(quarantine.isOutOfTouch).toBe(true)
})

it('ends within 50 ms of the next contact', async () => {
  const time = new VirtualTime()
  const contact = { ms: time.monotonicMs() }
  const quarantine = begin(time, contact)
  await time.advance(10_000)
  expect(quarantine.isOutOfTouch).toBe(true)
  contact.ms = time.monotonicMs()
  await time.advance(51)
  expect(quarantine.isOutOfTouch).toBe(false)
})

it('is looked at no more once closed', async () => {
  const time = new VirtualTime()
  const quarantine = begin(time, { ms: time.monotonicMs() })
  quarantine.close()
  await time.advance(10_000)
  expect(quarantine.isOutOfTouch).toBe(false)
})
