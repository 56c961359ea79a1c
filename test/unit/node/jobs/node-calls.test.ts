/** Calls between nodes: each ends once, with what the other said, in time, or with the stream. */

import { describe, expect, it } from 'vitest'
import { CacheError } from '../../../../src/kernel/errors.ts'
import { type CallLink, NodeCalls } from '../../../../src/node/jobs/node-calls.ts'
import { VirtualTime } from '../../../../src/testing/virtual-time.ts'
import type { ControlMessage } from '../../../../src/wire/control-frames.ts'

type Call = Extract<ControlMessage, { kind: 'call' }>

/** Two nodes; frames take a millisecond each way. */
function pair(): { time: VirtualTime; a: NodeCalls; b: NodeCalls; link: CallLink; cut(): void } {
  const time = new VirtualTime()
  let isUp = true
  const link: CallLink = {
    send(message) {
      if (!isUp) return false
      time.after(1, () =>
        b.asked(message as Call, (answer) =>
          time.after(1, () => {
            if (isUp) a.answered(answer, link)
          }),
        ),
      )
      return true
    },
  }
  const a = new NodeCalls('a', { scheduler: time, linkTo: (nodeId) => (nodeId === 'b' ? link : undefined) })
  const b = new NodeCalls('b', { scheduler: time, linkTo: () => undefined })
  const cut = (): void => {
    isUp = false
    a.lost(link)
  }
  return { time, a, b, link, cut }
}

const limits = { timeoutMs: 100 }

describe('a call', () => {
  it('is answered by the other node, and by this one', async () => {
    const { time, a, b } = pair()
    b.serve('add', async (request) => ({ sum: (request as { x: number }).x + 1 }))
    a.serve('add', async () => ({ sum: -1 }))
    expect(await time.until(a.call('b', 'add', { x: 2 }, limits))).toEqual({ sum: 3 })
    expect(await time.until(a.call('a', 'add', {}, limits))).toEqual({ sum: -1 })
  })

  it('ends with the error that the other says, under its name', async () => {
    const { time, a, b } = pair()
    b.serve('fail', async () => {
      throw new CacheError('STORAGE_FAILED', 'the disk is full')
    })
    await expect(time.until(a.call('b', 'fail', {}, limits))).rejects.toMatchObject({
      code: 'STORAGE_FAILED',
      message: 'the disk is full',
    })
    await expect(time.until(a.call('b', 'what', {}, limits))).rejects.toMatchObject({ code: 'UNSUPPORTED' })
    await expect(time.until(a.call('c', 'add', {}, limits))).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  })

  it('ends in time, which the other is told, and with the stream', async () => {
    const { time, a, b, cut } = pair()
    let gaveUp = 0
    b.serve('wait', (_, signal) => {
      signal.addEventListener('abort', () => gaveUp++)
      return new Promise(() => {})
    })
    await expect(time.until(a.call('b', 'wait', {}, limits))).rejects.toMatchObject({ code: 'TIMEOUT' })
    expect(time.monotonicMs()).toBe(100)
    await time.advance(10)
    expect(gaveUp).toBe(1)
    const call = a.call('b', 'wait', {}, { timeoutMs: 10_000 })
    time.after(5, cut)
    await expect(time.until(call)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  })

  it('ends when whoever asked gives it up, and when the node closes', async () => {
    const { time, a, b } = pair()
    b.serve('wait', () => new Promise(() => {}))
    const abort = new AbortController()
    const call = a.call('b', 'wait', {}, { ...limits, signal: abort.signal })
    time.after(5, () => abort.abort())
    await expect(time.until(call)).rejects.toMatchObject({ code: 'ABORTED' })
    const other = a.call('b', 'wait', {}, limits)
    time.after(5, () => a.close())
    await expect(time.until(other)).rejects.toMatchObject({ code: 'CLOSED' })
  })

  it('is refused when too many are under way', async () => {
    const { time, a, b } = pair()
    b.serve('wait', () => new Promise(() => {}))
    const calls = Array.from({ length: 256 }, () => a.call('b', 'wait', {}, { timeoutMs: 1000 }))
    for (const call of calls) call.catch(() => {})
    await expect(a.call('b', 'wait', {}, limits)).rejects.toMatchObject({ code: 'OVERLOADED' })
    await time.advance(10)
    // Of those that the other took on, no more than it may have.
    const ends = await Promise.allSettled(calls.slice(64).map((call) => time.until(call)))
    expect(
      ends.every((end) => end.status === 'rejected' && (end.reason as CacheError).code === 'OVERLOADED'),
    ).toBe(true)
  })
})
