import { expect, it } from 'vitest'
import { LinkRate } from '../../chaos/network/link-rate.ts'

it('a link is busy for as long as what was sent takes, and carries no more later for having been idle', () => {
  const link = new LinkRate(1_000_000)
  expect(link.spend(64_000, 100)).toBe(64)
  // Another connection, while it is busy.
  expect(link.spend(36_000, 110)).toBe(90)
  expect(link.spend(1000, 10_000)).toBe(1)
})
