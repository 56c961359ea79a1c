import { describe, expect, it } from 'vitest'
import type { BatchResult } from '../../../src/client/batch.ts'
import type { CallOptions } from '../../../src/client/options.ts'
import { Opcode } from '../../../src/wire/operations.ts'
import { type Bench, openBench } from '../../support/client-on-loopback.ts'
import type { FakeNode } from '../../support/fake-node.ts'

async function oneNode(): Promise<Bench & { node: FakeNode }> {
  const bench = await openBench({}, { nodes: 1 })
  const [node] = bench.cluster.nodes
  if (node === undefined) throw new Error('no node')
  return { ...bench, node }
}

/** Stops the first frame's answer, so that everything after it is not sent. */
async function closeGate({ cache, node, time }: Bench & { node: FakeNode }): Promise<void> {
  node.tamper = () => undefined
  void cache.get('gate').catch(() => {})
  await time.advance(1)
}

describe('timeouts', () => {
  it('ends a read that was sent with TIMEOUT, and tells the node', async () => {
    const { cache, failure, node, time } = await oneNode()
    node.behave = () => 'hold'
    const before = time.monotonicMs()
    expect(await failure(cache.get('k'))).toMatchObject({ code: 'TIMEOUT', node: 'node-1' })
    expect(time.monotonicMs() - before).toBeGreaterThanOrEqual(2_000)
    expect(time.monotonicMs() - before).toBeLessThan(2_100)
    await time.advance(1)
    expect(node.cancelled).toEqual([node.received[0]?.requestId])
  })

  it('ends a write that was sent with OUTCOME_UNKNOWN', async () => {
    const { cache, failure, node } = await oneNode()
    node.behave = () => 'hold'
    expect(await failure(cache.set('k', 1, { timeout: 100 }))).toMatchObject({ code: 'OUTCOME_UNKNOWN' })
  })

  it('ends what was never sent with TIMEOUT, and never sends it', async () => {
    const bench = await oneNode()
    const { cache, node, time } = bench
    await closeGate(bench)
    const write = failureOf(cache.set('never', 1, { timeout: 100 }))
    const kept = cache.set('kept', 1, { timeout: 20_000 }).catch((error: unknown) => error)
    await time.advance(200)
    expect(await write).toMatchObject({ code: 'TIMEOUT', retryable: true })
    node.tamper = undefined
    for (const stream of node.streams) stream.close(true)
    await time.advance(100)
    await kept
    expect(node.received.map((op) => [op.opcode, op.key])).toEqual([
      [Opcode.get, 'gate'],
      [Opcode.none, ''],
      [Opcode.set, 'kept'],
      [Opcode.get, 'gate'],
    ])
  })

  it('gives each operation its own', async () => {
    const { cache, failure, node, time } = await oneNode()
    node.behave = () => 'hold'
    const started = time.monotonicMs()
    const ended: number[] = []
    const calls = [50, 500, 1_000].map(async (timeout) => {
      await failureOf(cache.get(`k${timeout}`, { timeout }))
      ended.push(Math.round(time.monotonicMs() - started))
    })
    await failure(cache.get('default'))
    await Promise.all(calls)
    expect(ended).toHaveLength(3)
    for (const [i, timeout] of [50, 500, 1_000].entries()) {
      expect(ended[i]).toBeGreaterThanOrEqual(timeout)
      expect(ended[i]).toBeLessThan(timeout + 50)
    }
    expect(node.received.map((op) => op.timeoutMs)).toEqual([50, 500, 1_000, 0])
  })

  it('ignores an answer that comes too late', async () => {
    const { cache, run, failure, node, time } = await oneNode()
    let late: Uint8Array | undefined
    node.tamper = (message) => {
      late = message
      node.tamper = undefined
      return undefined
    }
    expect(await failure(cache.get('k', { timeout: 50 }))).toMatchObject({ code: 'TIMEOUT' })
    for (const stream of node.streams) stream.send(late as Uint8Array)
    await time.advance(1)
    expect(await run(cache.get('k'))).toBeUndefined()
  })

  it('drops a connection that has stopped answering', async () => {
    const { cache, run, failure, node, time } = await oneNode()
    node.silent = true
    expect(await failure(cache.get('k'))).toMatchObject({ code: 'TIMEOUT' })
    await time.advance(4_000)
    node.silent = false
    await time.advance(4_000)
    expect(node.hellos.length).toBeGreaterThan(1)
    expect(await run(cache.get('k'))).toBeUndefined()
  })

  it('refuses a timeout that makes no sense', async () => {
    const { cache, failure } = await oneNode()
    for (const timeout of [0, -1, Number.NaN, 1e9, 'soon']) {
      expect(await failure(cache.get('k', { timeout }))).toMatchObject({ code: 'INVALID_ARGUMENT' })
    }
  })
})

describe('every call', () => {
  type Make = (cache: Bench['cache'], options: CallOptions) => Promise<unknown>
  const reads: Record<string, Make> = {
    get: (cache, options) => cache.get('k', options),
    getEntry: (cache, options) => cache.getEntry('k', options),
    has: (cache, options) => cache.has('k', options),
    ttl: (cache, options) => cache.ttl('k', options),
    mget: (cache, options) => cache.mget(['a', 'b', 'c'], options),
    keys: (cache, options) => cache.keys('*', options),
    stats: (cache, options) => cache.stats(options),
    'get in a batch': (cache, options) => ofBatch(cache.batch().get('k').execute(options)),
    'get of another region': (cache, options) => cache.region('sessions').get('k', options),
    'replica read': (cache, options) => cache.get('k', { ...options, read: 'replica' }),
  }
  const writes: Record<string, Make> = {
    set: (cache, options) => cache.set('k', 1, options),
    'large set': (cache, options) => cache.set('k', Buffer.alloc(200_000), options),
    'conditional set': (cache, options) => cache.set('k', 1, { ...options, when: 'absent' }),
    delete: (cache, options) => cache.delete('k', options),
    expire: (cache, options) => cache.expire('k', '1m', options),
    touch: (cache, options) => cache.touch('k', options),
    increment: (cache, options) => cache.increment('k', 1, options),
    decrement: (cache, options) => cache.decrement('k', 1, options),
    mset: async (cache, options) => {
      throw (await cache.mset({ k: 1, l: 2 }, options)).get('l')
    },
    mdelete: (cache, options) => cache.mdelete(['k', 'l'], options),
    atomic: (cache, options) => cache.atomic().set('k', 1).execute(options),
    clear: (cache, options) => cache.clear(options),
    'set in a batch': (cache, options) => ofBatch(cache.batch().set('k', 1).execute(options)),
  }
  const all = [
    ...Object.entries(reads).map(([name, make]) => ({ name, make, isWrite: false })),
    ...Object.entries(writes).map(([name, make]) => ({ name, make, isWrite: true })),
  ]

  it.each(all)('$name ends in time', async ({ make, isWrite }) => {
    const { cache, failure, cluster, time } = await openBench({ compression: false })
    for (const node of cluster.nodes) node.behave = () => 'hold'
    const before = time.monotonicMs()
    const error = await failure(make(cache, { timeout: 100 }))
    expect(error).toMatchObject({ code: isWrite ? 'OUTCOME_UNKNOWN' : 'TIMEOUT' })
    expect(time.monotonicMs() - before).toBeGreaterThanOrEqual(100)
    expect(time.monotonicMs() - before).toBeLessThan(150)
  })

  it.each(all)('$name ends when its signal fires, and the nodes are told', async ({ make, isWrite }) => {
    const { cache, failure, cluster, time } = await openBench({ compression: false })
    for (const node of cluster.nodes) node.behave = () => 'hold'
    const controller = new AbortController()
    const ended = failure(make(cache, { signal: controller.signal }))
    time.after(20, () => controller.abort())
    const before = time.monotonicMs()
    expect(await ended).toMatchObject({ code: isWrite ? 'OUTCOME_UNKNOWN' : 'ABORTED' })
    expect(time.monotonicMs() - before).toBeLessThanOrEqual(21)
    await time.advance(1)
    for (const node of cluster.nodes)
      expect([...node.cancelled].sort()).toEqual(node.received.map((op) => op.requestId).sort())
  })

  it.each(all)('$name of a closed client ends CLOSED', async ({ make }) => {
    const { cache, run, failure } = await openBench()
    await run(cache.close())
    expect(await failure(make(cache, {}))).toMatchObject({ code: 'CLOSED', outcome: 'none' })
  })

  async function ofBatch(results: Promise<readonly BatchResult<unknown>[]>): Promise<never> {
    const [first] = await results
    throw first?.ok === false ? first.error : new Error('no error')
  }
})

describe('abort signals', () => {
  it('reject at once when they have fired before', async () => {
    const { cache, failure, node } = await oneNode()
    const error = await failure(cache.set('k', 1, { signal: AbortSignal.abort('why') }))
    expect(error).toMatchObject({ code: 'ABORTED', cause: 'why' })
    expect(node.received).toHaveLength(0)
  })

  it('take an operation back before it is sent', async () => {
    const bench = await oneNode()
    const { cache, node, time } = bench
    await closeGate(bench)
    const controller = new AbortController()
    const write = failureOf(cache.set('gone', 'x'.repeat(500), { signal: controller.signal }))
    const next = cache.get('next', { timeout: 20_000 })
    controller.abort()
    expect(await write).toMatchObject({ code: 'ABORTED' })
    node.tamper = undefined
    for (const stream of node.streams) stream.close(true)
    await time.advance(500)
    expect(await next).toBeUndefined()
    expect(node.received.some((op) => op.key === 'gone')).toBe(false)
  })

  it('end a read that was sent with ABORTED, a write with OUTCOME_UNKNOWN, and tell the node', async () => {
    const { cache, node, time } = await oneNode()
    node.behave = () => 'hold'
    const controller = new AbortController()
    const { signal } = controller
    const read = failureOf(cache.get('r', { signal }))
    const write = failureOf(cache.set('w', 1, { signal }))
    const many = failureOf(cache.mget(['a', 'b'], { signal }))
    await time.advance(1)
    controller.abort()
    expect(await read).toMatchObject({ code: 'ABORTED' })
    expect(await write).toMatchObject({ code: 'OUTCOME_UNKNOWN' })
    expect(await many).toMatchObject({ code: 'ABORTED' })
    await time.advance(1)
    expect([...node.cancelled].sort()).toEqual(node.received.map((op) => op.requestId).sort())
  })

  it('end what waits to be tried again', async () => {
    const { cache, node, time } = await oneNode()
    node.behave = () => 'OVERLOADED'
    const controller = new AbortController()
    const write = failureOf(cache.set('k', 1, { signal: controller.signal }))
    await time.advance(5)
    controller.abort()
    expect(await write).toMatchObject({ code: 'ABORTED' })
    const sent = node.received.length
    await time.advance(2_000)
    expect(node.received).toHaveLength(sent)
  })

  it('give each write of an mset its own outcome', async () => {
    const { cache, run, node, time } = await oneNode()
    node.behave = (op) => (op.key === 'held' ? 'hold' : undefined)
    const controller = new AbortController()
    const writes = cache.mset({ held: 1, done: 2 }, { signal: controller.signal })
    await time.advance(1)
    controller.abort()
    const outcomes = await run(writes)
    expect(outcomes.get('held')).toMatchObject({ code: 'OUTCOME_UNKNOWN' })
    expect(outcomes.get('done')).toMatchObject({ sequence: expect.any(Number) })
  })
})

function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => undefined,
    (error: unknown) => error,
  )
}
