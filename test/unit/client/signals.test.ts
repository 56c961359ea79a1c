import { getEventListeners } from 'node:events'
import { describe, expect, it } from 'vitest'
import { openBench } from '../../support/client-on-loopback.ts'

const listeners = (signal: AbortSignal): number => getEventListeners(signal, 'abort').length

describe('a signal that many calls share', () => {
  it('gets one listener, and none once they are over', async () => {
    const { cache, run, cluster, time } = await openBench()
    for (const node of cluster.nodes) node.behave = (op) => (op.key.startsWith('held') ? 'hold' : undefined)
    const controller = new AbortController()
    const { signal } = controller
    const done = [cache.get('a', { signal }), cache.clear({ signal }), cache.mset({ x: 1, y: 2 }, { signal })]
    const held = [0, 1, 2].map((i) => cache.get(`held${i}`, { signal }).catch((error: unknown) => error))
    expect(listeners(signal)).toBe(1)
    await run(Promise.all(done))
    expect(listeners(signal)).toBe(1)
    controller.abort('enough')
    for (const error of await run(Promise.all(held)))
      expect(error).toMatchObject({ code: 'ABORTED', cause: 'enough' })
    expect(listeners(signal)).toBe(0)
    await time.advance(10)
    const later = new AbortController()
    await run(cache.get('a', { signal: later.signal }))
    expect(listeners(later.signal)).toBe(0)
  })

  it('ends only calls of its own', async () => {
    const { cache, run, cluster, time } = await openBench({}, { nodes: 1 })
    const [node] = cluster.nodes
    if (node === undefined) throw new Error('no node')
    node.behave = (op) => (op.key === 'a' ? 'hold' : undefined)
    const [mine, other] = [new AbortController(), new AbortController()]
    const a = cache.get('a', { signal: mine.signal }).catch((error: unknown) => error)
    const b = cache.get('b', { signal: other.signal })
    mine.abort()
    expect(await run(a)).toMatchObject({ code: 'ABORTED' })
    expect(await run(b)).toBeUndefined()
    await time.advance(1)
  })
})
