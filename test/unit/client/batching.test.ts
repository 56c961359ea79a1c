import { describe, expect, it } from 'vitest'
import { Opcode } from '../../../src/wire/operations.ts'
import { openBench } from '../../support/client-on-loopback.ts'

describe('batching', () => {
  it('sends the operations of one tick to one node as one frame', async () => {
    const { cache, run, cluster } = await openBench({}, { nodes: 1 })
    await run(Promise.all(Array.from({ length: 50 }, (_, i) => cache.get(`k${i}`))))
    expect(cluster.nodes[0]?.frames).toEqual([50])
  })

  it('keeps one frame in flight per node and gathers what is issued meanwhile', async () => {
    const { cache, run, cluster, time } = await openBench({}, { nodes: 1 })
    const [node] = cluster.nodes
    if (node === undefined) throw new Error('no node')
    let release: (() => void) | undefined
    node.tamper = (message) => {
      node.tamper = undefined
      release = () => {
        for (const stream of node.streams) stream.send(message)
      }
      return undefined
    }
    const first = cache.get('a')
    await time.advance(1)
    expect(node.frames).toEqual([1])
    const rest: Promise<unknown>[] = []
    for (let i = 0; i < 3; i++) {
      rest.push(cache.get(`b${i}`), cache.get(`c${i}`))
      await time.advance(1)
    }
    expect(node.frames).toEqual([1])
    release?.()
    await run(Promise.all([first, ...rest]))
    expect(node.frames).toEqual([1, 6])
  })

  it('is not held up by a write that waits for its quorum', async () => {
    const { cache, run, cluster, time } = await openBench({}, { nodes: 1 })
    const [node] = cluster.nodes
    if (node === undefined) throw new Error('no node')
    node.behave = (op) => (op.opcode === Opcode.set ? 'hold' : undefined)
    let written = false
    void cache.set('w', 1).then(
      () => {
        written = true
      },
      () => {},
    )
    await time.advance(1)
    for (let i = 0; i < 5; i++) expect(await run(cache.get(`r${i}`))).toBeUndefined()
    expect(written).toBe(false)
  })

  it('closes a frame before it outgrows the window, and loses nothing', async () => {
    const { cache, run, cluster } = await openBench({ compression: false }, { nodes: 1 })
    const values = Array.from({ length: 40 }, (_, i) => Buffer.alloc(20_000, i))
    await run(Promise.all(values.map((value, i) => cache.set(`k${i}`, value))))
    const frames = cluster.nodes[0]?.frames ?? []
    expect(frames.reduce((sum, count) => sum + count, 0)).toBe(40)
    expect(Math.max(...frames)).toBeLessThanOrEqual(3)
    const stored = await run(cache.mget(values.map((_, i) => `k${i}`)))
    expect(stored.every((value, i) => (value as Buffer).equals(values[i] as Buffer))).toBe(true)
  })

  it('refuses with OVERLOADED beyond maxPending and recovers', async () => {
    const { cache, run, failure, cluster, time } = await openBench({ maxPending: 10 }, { nodes: 1 })
    const [node] = cluster.nodes
    if (node === undefined) throw new Error('no node')
    node.behave = () => 'hold'
    const held = Array.from({ length: 10 }, (_, i) => cache.get(`k${i}`).catch((error: unknown) => error))
    const refused = await failure(cache.get('one-more'))
    expect(refused).toMatchObject({ code: 'OVERLOADED', retryable: true })
    node.behave = undefined
    await time.advance(2_500)
    for (const error of await Promise.all(held)) expect(error).toMatchObject({ code: 'TIMEOUT' })
    // The places stay taken until the node has answered or the stream is given up.
    await time.advance(6_000)
    for (const stream of node.streams) stream.close(true)
    await time.advance(1_000)
    expect(await run(cache.get('k0'))).toBeUndefined()
  })

  it('respects the credit the node grants', async () => {
    const { cache, run, cluster, time } = await openBench(
      { compression: false },
      { nodes: 1, creditBytes: 100_000 },
    )
    const [node] = cluster.nodes
    if (node === undefined) throw new Error('no node')
    node.behave = (op) => (op.key.startsWith('held') ? 'hold' : undefined)
    const held = [0, 1, 2, 3].map((i) => cache.set(`held${i}`, Buffer.alloc(30_000)).catch(() => 'failed'))
    await time.advance(10)
    const other = cache.set('other', Buffer.alloc(30_000))
    await time.advance(10)
    // Frames of up to two such values: the second is within the credit, a third is not.
    expect(node.received.length).toBeLessThan(5)
    for (const stream of node.streams) stream.close(true)
    node.behave = undefined
    await run(Promise.all([...held, other]))
    expect(await run(cache.has('held3'))).toBe(true)
  })
})
