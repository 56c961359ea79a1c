import { describe, expect, it } from 'vitest'
import { stopInOrder } from '../../../src/node/orderly-stop.ts'
import { VirtualTime } from '../../../src/testing/virtual-time.ts'

/** @returns when the node said goodbye, in milliseconds after it was told to stop */
async function leftAfter(settledMs: number, limitMs?: number): Promise<number> {
  const time = new VirtualTime()
  const begunMs = time.monotonicMs()
  let leftMs = Number.NaN
  const node = {
    drain: () => time.monotonicMs() - begunMs >= settledMs,
    leave: async () => {
      leftMs = time.monotonicMs() - begunMs
    },
  }
  await time.until(stopInOrder(node, time, time, limitMs), 60_000)
  return leftMs
}

describe('an orderly stop', () => {
  it('says goodbye at once when nothing is under way', async () => {
    expect(await leftAfter(0)).toBe(0)
  })

  it('says goodbye once what was begun is answered', async () => {
    expect(await leftAfter(95)).toBe(100)
  })

  it('waits no longer than a second, for all clients wait meanwhile', async () => {
    expect(await leftAfter(30_000)).toBe(1000)
    expect(await leftAfter(30_000, 5000)).toBe(1000)
  })

  it('waits no longer than it is told', async () => {
    expect(await leftAfter(30_000, 200)).toBe(200)
  })
})
