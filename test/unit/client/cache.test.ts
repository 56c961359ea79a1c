import { describe, expect, it } from 'vitest'
import { CacheError } from '../../../src/kernel/errors.ts'
import { DurabilityCode, Opcode, ReadCode } from '../../../src/wire/operations.ts'
import { openBench } from '../../support/client-on-loopback.ts'

describe('entries', () => {
  it('come with version, times and tags', async () => {
    const { cache, run, time } = await openBench()
    const version = await run(cache.set('k', 'v', { ttl: '1m', tags: ['a', 'b', 'a'] }))
    await time.advance(10_000)
    const entry = await run(cache.getEntry('k'))
    expect(entry).toMatchObject({ value: 'v', version, tags: ['a', 'b'], stale: false })
    expect(entry?.ttlRemaining).toBe(50_000)
    expect(await run(cache.ttl('k'))).toBe(50_000)
    expect(await run(cache.getEntry('other'))).toBeUndefined()
  })

  it('expire, are touched, deleted, looked for', async () => {
    const { cache, run, time } = await openBench()
    await run(cache.set('k', 1))
    expect(await run(cache.ttl('k'))).toBe(Number.POSITIVE_INFINITY)
    expect(await run(cache.expire('k', 100))).toBe(true)
    expect(await run(cache.touch('k'))).toBe(true)
    expect(await run(cache.has('k'))).toBe(true)
    await time.advance(101)
    expect(await run(cache.has('k'))).toBe(false)
    expect(await run(cache.ttl('k'))).toBeUndefined()
    expect(await run(cache.expire('k', 100))).toBe(false)
    expect(await run(cache.delete('k'))).toBe(false)
    await run(cache.set('k', 1))
    expect(await run(cache.expire('k', 'never'))).toBe(true)
    expect(await run(cache.delete('k'))).toBe(true)
  })

  it('keep undefined and null as values', async () => {
    const { cache, run } = await openBench()
    await run(cache.set('u', undefined))
    await run(cache.set('n', null))
    expect(await run(cache.has('u'))).toBe(true)
    expect(await run(cache.get('n'))).toBeNull()
  })
})

describe('conditional writes', () => {
  it('say what they found', async () => {
    const { cache, run } = await openBench()
    const first = await run(cache.set('k', 1, { when: 'absent' }))
    expect(first).toMatchObject({ ok: true })
    expect(await run(cache.set('k', 2, { when: 'absent' }))).toMatchObject({
      ok: false,
      current: { value: 1 },
    })
    if (!first.ok) throw new Error('the first set was refused')
    const second = await run(cache.set('k', 2, { when: { version: first.version } }))
    expect(second).toMatchObject({ ok: true })
    expect(await run(cache.set('k', 3, { when: { version: first.version } }))).toMatchObject({ ok: false })
    expect(await run(cache.set('other', 3, { when: 'present' }))).toEqual({ ok: false, current: undefined })
    expect(await run(cache.delete('k', { when: { version: first.version } }))).toBe(false)
    if (!second.ok) throw new Error('the second set was refused')
    expect(await run(cache.delete('k', { when: { version: second.version } }))).toBe(true)
  })

  it('say what they found when its value is too large to come with the result', async () => {
    const { cache, run } = await openBench({ compression: false })
    const large = Buffer.alloc(200_000, 'x')
    const stored = await run(cache.set('k', large, { tags: ['t'] }))
    for (const value of [1, Buffer.alloc(100_000)]) {
      const refused = await run(cache.set('k', value, { when: 'absent' }))
      if (refused.ok) throw new Error('the set was not refused')
      expect(refused.current).toMatchObject({ version: stored, tags: ['t'] })
      expect(large.equals(refused.current?.value as Buffer)).toBe(true)
    }
    const other = { partitionEpoch: 1, sequence: 999 }
    expect(await run(cache.delete('k', { when: { version: other } }))).toBe(false)
    const both = await run(Promise.all([cache.delete('k', { when: { version: other } }), cache.has('k')]))
    expect(both).toEqual([false, true])
  })

  it('show the newer state when the large entry they met has changed meanwhile', async () => {
    const { cache, run, cluster } = await openBench({ compression: false }, { nodes: 1 })
    const [node] = cluster.nodes
    if (node === undefined) throw new Error('no node')
    const meanwhile = (change: () => void): void => {
      node.behave = (op) => {
        if (op.opcode === Opcode.getEntry) change()
        return undefined
      }
    }
    const store = cluster.store(cluster.partitionOf('k'))
    await run(cache.set('small', 'newer'))
    const small = cluster.store(cluster.partitionOf('small')).get('1/small')
    if (small === undefined) throw new Error('not stored')
    await run(cache.set('k', Buffer.alloc(100_000)))
    meanwhile(() => store.set('1/k', small))
    expect(await run(cache.set('k', 1, { when: 'absent' }))).toMatchObject({
      ok: false,
      current: { value: 'newer' },
    })
    await run(cache.set('k', Buffer.alloc(100_000)))
    meanwhile(() => store.delete('1/k'))
    expect(await run(cache.set('k', 1, { when: 'absent' }))).toEqual({ ok: false, current: undefined })
  })

  it('end within their time, and say that nothing happened, when what they met cannot be read', async () => {
    const { cache, run, failure, cluster, time } = await openBench({ compression: false }, { nodes: 1 })
    const [node] = cluster.nodes
    if (node === undefined) throw new Error('no node')
    await run(cache.set('k', Buffer.alloc(100_000)))
    node.behave = (op) => (op.opcode === Opcode.getEntry ? 'hold' : undefined)
    const before = time.monotonicMs()
    const late = cache.set('k', 1, { when: 'absent', timeout: 300 })
    expect(await failure(late)).toMatchObject({ code: 'TIMEOUT', outcome: 'none' })
    expect(time.monotonicMs() - before).toBeLessThan(400)
    const controller = new AbortController()
    const aborted = failure(cache.set('k', 1, { when: 'absent', signal: controller.signal }))
    time.after(20, () => controller.abort())
    expect(await aborted).toMatchObject({ code: 'ABORTED', outcome: 'none' })
  })

  it('of an mset do not read the large entries they meet', async () => {
    const { cache, run, cluster } = await openBench({ compression: false })
    const large = Buffer.alloc(100_000)
    await run(cache.mset({ a: large, b: large }))
    const outcomes = await run(
      cache.mset([
        ['a', 1, { when: 'absent' }],
        ['b', large, { when: 'absent' }],
      ]),
    )
    for (const outcome of outcomes.values()) expect(outcome).toMatchObject({ code: 'CONDITION_FAILED' })
    expect(cluster.received.some((op) => op.opcode === Opcode.getEntry)).toBe(false)
  })
})

describe('counters', () => {
  it('count up and down from where they start', async () => {
    const { cache, run, failure } = await openBench()
    expect(await run(cache.increment('n'))).toBe(1)
    expect(await run(cache.increment('n', 4.5))).toBe(5.5)
    expect(await run(cache.decrement('n', 2))).toBe(3.5)
    expect(await run(cache.get('n'))).toBe(3.5)
    expect(await run(cache.increment('m', 1, { initial: 100 }))).toBe(101)
    await run(cache.set('text', 'x'))
    expect(await failure(cache.increment('text'))).toMatchObject({ code: 'WRONG_TYPE' })
    expect(await failure(cache.increment('n', Number.NaN))).toMatchObject({ code: 'INVALID_ARGUMENT' })
  })
})

describe('many keys', () => {
  it('are read in order, written with a version each, deleted with a count', async () => {
    const { cache, run } = await openBench()
    const outcomes = await run(
      cache.mset([
        ['a', 1],
        ['b', 2, { ttl: '1s' }],
        ['', 3],
        ['c', () => {}],
      ]),
    )
    expect([...outcomes.keys()]).toEqual(['a', 'b', '', 'c'])
    expect(outcomes.get('')).toMatchObject({ code: 'INVALID_ARGUMENT' })
    expect(outcomes.get('c')).toMatchObject({ code: 'SERIALIZATION' })
    expect(await run(cache.mget(new Set(['b', 'x', 'a'])))).toEqual([2, undefined, 1])
    expect(await run(cache.mdelete(['a', 'b', 'x']))).toBe(2)
    expect(await run(cache.mget([]))).toEqual([])
    expect(await run(cache.mset({}))).toEqual(new Map())
    expect(await run(cache.mdelete([]))).toBe(0)
  })

  it('are written each under its own condition, which may fail', async () => {
    const { cache, run } = await openBench()
    const version = await run(cache.set('a', 1))
    const outcomes = await run(
      cache.mset([
        ['a', 2, { when: { version } }],
        ['b', 2, { when: 'present' }],
        ['c', 2],
      ]),
    )
    const stored = { sequence: expect.any(Number) }
    expect([outcomes.get('a'), outcomes.get('c')]).toMatchObject([stored, stored])
    expect(outcomes.get('b')).toMatchObject({ code: 'CONDITION_FAILED', retryable: false, outcome: 'none' })
    expect(await run(cache.mget(['a', 'b', 'c']))).toEqual([2, undefined, 2])
  })

  it('fail together when they are read, each for itself when they are written', async () => {
    const { cache, run, failure, cluster } = await openBench()
    const [node] = cluster.nodes
    if (node === undefined) throw new Error('no node')
    node.behave = () => 'VALUE_TOO_LARGE'
    const keys = Array.from({ length: 30 }, (_, i) => `k${i}`)
    const outcomes = await run(cache.mset(keys.map((key) => [key, 1] as const)))
    for (const key of keys) {
      if (cluster.primaryOf(key) === node) expect(outcomes.get(key)).toBeInstanceOf(CacheError)
      else expect(outcomes.get(key)).toMatchObject({ sequence: expect.any(Number) })
    }
    expect(await failure(cache.mget(keys))).toMatchObject({ code: 'VALUE_TOO_LARGE' })
  })
})

describe('reads', () => {
  it('go to replicas when asked, in turn', async () => {
    const { cache, run, cluster } = await openBench()
    await run(cache.set('k', 'v'))
    for (const node of cluster.nodes) node.received.length = 0
    for (let i = 0; i < 10; i++) expect(await run(cache.get('k', { read: 'replica' }))).toBe('v')
    const counts = cluster.nodes.map((node) => node.received.length)
    expect(counts[cluster.nodes.indexOf(cluster.primaryOf('k'))]).toBe(0)
    expect(counts.filter((count) => count === 5)).toHaveLength(2)
    expect(cluster.received.every((op) => op.readKind === ReadCode.replica)).toBe(true)
    expect(await run(cache.get('k', { read: 'nearest' }))).toBe('v')
  })

  it('use the replicas that live', async () => {
    const { cache, run, cluster, time } = await openBench()
    await run(cache.set('k', 'v'))
    cluster.kill(cluster.nodes.indexOf(cluster.primaryOf('k')))
    await time.advance(1)
    for (let i = 0; i < 4; i++) expect(await run(cache.get('k', { read: 'nearest' }))).toBe('v')
  })

  it('that must be true of the present go to the primary', async () => {
    const { cache, run } = await openBench()
    await run(cache.set('k', 'v'))
    for (const read of ['majority', 'linearizable'] as const) {
      expect(await run(cache.get('k', { read }))).toBe('v')
    }
  })

  it('can be asked of one named node', async () => {
    const { cache, run, cluster } = await openBench()
    await run(cache.set('k', 'v'))
    for (const node of cluster.nodes) {
      node.received.length = 0
      expect(await run(cache.inspect(node.nodeId).getEntry('k'))).toMatchObject({ value: 'v' })
      expect(node.received).toHaveLength(1)
    }
    expect(() => cache.inspect('nobody')).toThrow(CacheError)
  })

  it('fall back on a miss or a failure, and store nothing', async () => {
    const { cache, run, failure, cluster } = await openBench()
    expect(await run(cache.get('k', { fallback: 7 }))).toBe(7)
    expect(await run(cache.get('k', { fallback: async () => 8 }))).toBe(8)
    expect(await run(cache.has('k'))).toBe(false)
    for (const node of cluster.nodes) node.behave = () => 'NOT_ENOUGH_REPLICAS'
    expect(await run(cache.get('k', { fallback: 9 }))).toBe(9)
    expect(await failure(cache.get('', { fallback: 9 }))).toMatchObject({ code: 'INVALID_ARGUMENT' })
  })
})

describe('large values', () => {
  it('travel both ways, alone and among others', async () => {
    const { cache, run, cluster } = await openBench({ compression: false })
    const large = Buffer.alloc(3_000_000, 'large')
    const medium = Buffer.alloc(50_000, 'medium')
    await run(cache.mset({ large, medium, small: 1 }))
    expect(((await run(cache.get('large'))) as Buffer).equals(large)).toBe(true)
    const entry = await run(cache.getEntry('large'))
    expect(large.equals(entry?.value as Buffer)).toBe(true)
    const [a, b, c, d] = (await run(cache.mget(['small', 'large', 'missing', 'medium']))) as unknown[]
    expect([a, c]).toEqual([1, undefined])
    expect((b as Buffer).equals(large) && (d as Buffer).equals(medium)).toBe(true)
    expect(cluster.received.some((op) => op.opcode === Opcode.setUploaded)).toBe(true)
    const exact = Buffer.alloc(16 * 1024 * 1024, 1)
    await run(cache.set('exact', exact))
    expect(((await run(cache.get('exact'))) as Buffer).equals(exact)).toBe(true)
  })

  it('beyond what the cluster accepts are refused before anything is sent', async () => {
    const { cache, run, failure, cluster } = await openBench(
      { compression: false },
      { valueBytesMax: 100_000 },
    )
    const sent = cluster.received.length
    expect(await failure(cache.set('k', Buffer.alloc(100_001)))).toMatchObject({ code: 'VALUE_TOO_LARGE' })
    expect(cluster.received.length).toBe(sent)
    await run(cache.set('k', Buffer.alloc(100_000)))
  })

  it('are uploaded again after the connection was lost, under the same id', async () => {
    const { cache, run, cluster, time } = await openBench({ compression: false }, { nodes: 1 })
    const [node] = cluster.nodes
    if (node === undefined) throw new Error('no node')
    node.behave = (op) => (op.opcode === Opcode.setUploaded ? 'hold' : undefined)
    const value = Buffer.alloc(500_000, 3)
    const write = cache.set('k', value)
    await time.advance(5)
    node.behave = undefined
    for (const stream of node.streams) stream.close(true)
    await run(write)
    const ids = node.received.filter((op) => op.opcode === Opcode.setUploaded).map((op) => op.counter)
    expect(ids.length).toBeGreaterThan(1)
    expect(new Set(ids).size).toBe(1)
    expect(((await run(cache.get('k'))) as Buffer).equals(value)).toBe(true)
  })

  it('are dropped at the node when they are given up before their write is sent', async () => {
    const { cache, run, failure, cluster, time } = await openBench({ compression: false }, { nodes: 1 })
    const [node] = cluster.nodes
    if (node === undefined) throw new Error('no node')
    await run(cache.set('open', Buffer.alloc(100_000)))
    // Partly sent: the stream takes a megabyte at a time.
    const controller = new AbortController()
    const partly = failure(cache.set('partly', Buffer.alloc(8_000_000), { signal: controller.signal }))
    await Promise.resolve()
    controller.abort()
    expect(await partly).toMatchObject({ code: 'ABORTED' })
    // Whole, but the write that names it waits behind a frame that is not answered.
    node.tamper = () => undefined
    const gate = cache.set('gate', Buffer.alloc(100_000), { timeout: 900 }).catch(() => {})
    await time.advance(1)
    const whole = cache.set('whole', Buffer.alloc(100_000), { timeout: 300 })
    await time.advance(10)
    expect(node.uploadsHeld).toBe(1)
    expect(await failure(whole)).toMatchObject({ code: 'TIMEOUT' })
    await run(gate)
    expect(node.received.some((op) => op.key === 'whole' || op.key === 'partly')).toBe(false)
    expect(node.uploadsHeld).toBe(0)
  })

  it('are asked for once on the stream that follows a lost one', async () => {
    const { cache, run, cluster, time } = await openBench({ compression: false }, { nodes: 1 })
    const [node] = cluster.nodes
    if (node === undefined) throw new Error('no node')
    const value = Buffer.alloc(100_000, 9)
    await run(cache.mset({ a: value, b: value }))
    node.received.length = 0
    const asked = (key: string): number => node.received.filter((op) => op.key === key).length
    // The answer on the bulk stream is lost: what is read next stays queued there.
    node.tamper = (message) => (asked('a') === 2 ? undefined : message)
    const first = cache.get('a')
    await time.advance(2)
    node.tamper = undefined
    const second = cache.get('b')
    await time.advance(2)
    expect([asked('a'), asked('b')]).toEqual([2, 1])
    for (const stream of node.streams) stream.close(true)
    for (const read of [first, second]) expect(value.equals((await run(read)) as Buffer)).toBe(true)
    expect([asked('a'), asked('b')]).toEqual([3, 2])
  })

  it('can be given up, in each phase', async () => {
    const { cache, run, failure, cluster, time } = await openBench({ compression: false }, { nodes: 1 })
    const [node] = cluster.nodes
    if (node === undefined) throw new Error('no node')
    await run(cache.set('k', Buffer.alloc(2_000_000)))
    node.behave = () => 'hold'
    expect(await failure(cache.set('w', Buffer.alloc(2_000_000), { timeout: 50 }))).toMatchObject({
      code: 'OUTCOME_UNKNOWN',
    })
    const controller = new AbortController()
    const read = cache.get('k', { signal: controller.signal }).catch((error: unknown) => error)
    await time.advance(2)
    controller.abort()
    expect(await read).toMatchObject({ code: 'ABORTED' })
    node.behave = undefined
    expect(((await run(cache.get('k'))) as Buffer).length).toBe(2_000_000)
  })
})

describe('scans', () => {
  const keys = Array.from({ length: 300 }, (_, i) => `user:${i}`)

  it('return every key once, and those that match a pattern', async () => {
    const { cache, run } = await openBench()
    await run(cache.mset(Object.fromEntries(keys.map((key) => [key, 1]))))
    await run(cache.set('other', 1))
    expect((await run(cache.keys())).sort()).toEqual([...keys, 'other'].sort())
    expect((await run(cache.keys('user:1?'))).sort()).toEqual(
      keys.filter((key) => /^user:1.$/.test(key)).sort(),
    )
    expect(await run(cache.keys('user:[12]0'))).toHaveLength(2)
  })

  it('go on from a cursor', async () => {
    const { cache, run, failure } = await openBench()
    await run(cache.mset(Object.fromEntries(keys.map((key) => [key, 1]))))
    const scan = cache.scan('*', { batchSize: 1 })
    const seen: string[] = []
    await run(
      (async () => {
        for await (const key of scan) {
          seen.push(key)
          if (seen.length === 120) break
        }
      })(),
    )
    const rest = cache.scan('*', { cursor: scan.cursor })
    await run(
      (async () => {
        for await (const key of rest) seen.push(key)
      })(),
    )
    expect([...new Set(seen)].sort()).toEqual([...keys].sort())
    expect(seen.length).toBeLessThan(320)
    for (const cursor of ['', 'x', '1:other:0:0', '1:default:0:64', '1:%:0:0']) {
      expect(() => cache.scan('*', { cursor })).toThrow(CacheError)
    }
    const beyond = cache.scan('*', { cursor: '1:default:17:0' })[Symbol.asyncIterator]().next()
    expect(await failure(beyond)).toMatchObject({ code: 'INVALID_ARGUMENT' })
  })

  it('and clears stay within the prefix', async () => {
    const { cache, run, connect } = await openBench({ keyPrefix: 'a*:' })
    const plain = await connect()
    await run(cache.mset({ one: 1, two: 2 }))
    await run(plain.mset({ 'ab:three': 3, one: 4 }))
    expect(await run(plain.get('a*:one'))).toBe(1)
    expect((await run(cache.keys())).sort()).toEqual(['one', 'two'])
    expect(await run(cache.clear())).toBe(2)
    expect((await run(plain.keys())).sort()).toEqual(['ab:three', 'one'])
    expect(await run(plain.clear())).toBe(2)
  })
})

describe('atomic groups', () => {
  it('happen or do not', async () => {
    const { cache, run } = await openBench()
    const result = await run(
      cache
        .atomic()
        .check('{g}a', 'absent')
        .set('{g}a', { n: 1 })
        .increment('{g}n', 2)
        .delete('{g}x')
        .execute(),
    )
    expect(result).toMatchObject({ ok: true, results: [{ sequence: expect.any(Number) }, 2, false] })
    const failed = await run(
      cache
        .atomic()
        .check('{g}n', 'present')
        .check('{g}a', { value: { n: 2 } })
        .set('{g}a', 0)
        .execute(),
    )
    expect(failed).toEqual({ ok: false, failedCheck: 1 })
    expect(await run(cache.get('{g}a'))).toEqual({ n: 1 })
    const entry = await run(cache.getEntry('{g}a'))
    if (entry === undefined) throw new Error('no entry')
    const last = cache
      .atomic()
      .check('{g}a', { version: entry.version })
      .check('{g}a', { value: { n: 1 } })
      .delete('{g}a')
    expect(await run(last.execute())).toEqual({ ok: true, results: [true] })
  })

  it('take conditions from check alone', async () => {
    const { cache } = await openBench()
    const set = (): unknown => cache.atomic().set('a', 1, { when: 'absent' } as never)
    expect(set).toThrow(CacheError)
  })

  it('explain hash tags when the keys lie apart', async () => {
    const { cache, failure } = await openBench()
    const error = (await failure(cache.atomic().set('a', 1).set('b', 1).set('c', 1).execute())) as CacheError
    expect(error.code).toBe('INVALID_ARGUMENT')
    expect(error.message).toContain('{group}')
    expect(await failure(cache.atomic().execute())).toMatchObject({ code: 'INVALID_ARGUMENT' })
  })
})

describe('a batch', () => {
  it('gives every operation its own result', async () => {
    const { cache, run } = await openBench()
    await run(cache.set('a', 1))
    const results = await run(
      cache.batch().get('a').set('b', 2).increment('a').delete('a').has('a').get('').execute(),
    )
    expect(results[0]).toEqual({ ok: true, value: 1 })
    expect(results[1]).toMatchObject({ ok: true })
    expect(results[2]).toMatchObject({ ok: false, error: { code: 'WRONG_TYPE' } })
    expect(results[5]).toMatchObject({ ok: false, error: { code: 'INVALID_ARGUMENT' } })
  })
})

describe('regions', () => {
  it('keep their keys apart and share connections', async () => {
    const { cache, run, failure, cluster } = await openBench()
    const sessions = cache.region<string>('sessions')
    await run(sessions.set('k', 's'))
    expect(await run(cache.get('k'))).toBeUndefined()
    expect(await run(sessions.get('k'))).toBe('s')
    expect(cluster.nodes.every((node) => node.streams.size === 1)).toBe(true)
    const error = (await failure(cache.region('nope').get('k'))) as CacheError
    expect(error.code).toBe('UNKNOWN_REGION')
    expect(error.message).toContain('default, sessions')
  })

  it('add up their figures', async () => {
    const { cache, run, cluster, time } = await openBench()
    expect(await run(cache.stats())).toMatchObject({
      hits: 9,
      misses: 3,
      hitRate: 0.75,
      sets: 15,
      missing: [],
    })
    cluster.kill(1)
    await time.advance(1_000)
    expect(await run(cache.stats())).toMatchObject({ hits: 6, missing: ['node-2'] })
  })
})

describe('what connect was told', () => {
  it('holds for every call that says nothing else', async () => {
    const { cache, run, cluster } = await openBench({ ttl: '1m', durability: 'all', read: 'replica' })
    await run(cache.set('k', 1))
    await run(cache.increment('n'))
    await run(cache.mset({ m: 1 }))
    await run(cache.region('sessions').set('k', 1))
    await run(cache.get('k'))
    await run(cache.mget(['k']))
    for (const op of cluster.received) {
      const isRead = op.opcode === Opcode.get
      expect([op.ttlMs, op.durability, op.readKind]).toEqual(
        isRead
          ? [-1, expect.any(Number), ReadCode.replica]
          : [60_000, DurabilityCode.all, expect.any(Number)],
      )
    }
    const before = cluster.received.length
    await run(cache.set('own', 1, { ttl: 'never', durability: 'one' }))
    await run(cache.get('own', { read: 'primary' }))
    expect(cluster.received).toHaveLength(before + 2)
    const [written, read] = cluster.received.filter((op) => op.key === 'own')
    expect(written).toMatchObject({ ttlMs: 0, durability: DurabilityCode.one })
    expect(read).toMatchObject({ readKind: ReadCode.primary })
  })
})

describe('arguments', () => {
  it('that make no sense are refused with a reason', async () => {
    const { cache, failure } = await openBench({ keyPrefix: 'p:' })
    const calls: [() => Promise<unknown>, string][] = [
      [() => cache.get(''), 'INVALID_ARGUMENT'],
      [() => cache.get(5 as never), 'INVALID_ARGUMENT'],
      [() => cache.get('a\ud800'), 'INVALID_ARGUMENT'],
      [() => cache.get('x'.repeat(1023)), 'KEY_TOO_LARGE'],
      [() => cache.get('漢'.repeat(341)), 'KEY_TOO_LARGE'],
      [() => cache.get('x'.repeat(1e6)), 'KEY_TOO_LARGE'],
      [() => cache.set('k', 1, { ttl: 0 }), 'INVALID_ARGUMENT'],
      [() => cache.set('k', 1, { ttl: 0.5 }), 'INVALID_ARGUMENT'],
      [() => cache.set('k', 1, { ttl: -1 }), 'INVALID_ARGUMENT'],
      [() => cache.set('k', 1, { ttl: Number.NaN }), 'INVALID_ARGUMENT'],
      [() => cache.set('k', 1, { ttl: 1e18 }), 'INVALID_ARGUMENT'],
      [() => cache.set('k', 1, { ttl: 'soon' }), 'INVALID_ARGUMENT'],
      [() => cache.set('k', 1, { tags: [''] }), 'INVALID_ARGUMENT'],
      [() => cache.set('k', 1, { tags: ['x'.repeat(257)] }), 'INVALID_ARGUMENT'],
      [() => cache.set('k', 1, { tags: Array.from({ length: 65 }, (_, i) => `${i}`) }), 'INVALID_ARGUMENT'],
      [() => cache.set('k', 1, { durability: 'some' as never }), 'INVALID_ARGUMENT'],
      [() => cache.set('k', 1, { when: 'maybe' as never }), 'INVALID_ARGUMENT'],
      [() => cache.set('k', 1, { when: { version: 3 as never } }), 'INVALID_ARGUMENT'],
      [() => cache.get('k', { read: 'any' as never }), 'INVALID_ARGUMENT'],
    ]
    for (const [call, code] of calls) expect(await failure(call())).toMatchObject({ code })
  })

  it('of the wrong kind altogether are refused as an error of the project, and never thrown at once', async () => {
    const { cache, failure, cluster } = await openBench()
    const calls: (() => Promise<unknown>)[] = []
    for (const none of [null, undefined, 5, 'text', {}]) {
      calls.push(
        () => cache.mget(none as never),
        () => cache.mdelete(none as never),
      )
      if (typeof none !== 'object' || none === null) calls.push(() => cache.mset(none as never))
    }
    for (const signal of [5, {}, null]) {
      calls.push(
        () => cache.get('k', { signal: signal as never }),
        () => cache.set('k', 1, { signal: signal as never }),
        () => cache.mget(['k'], { signal: signal as never }),
        () => cache.clear({ signal: signal as never }),
      )
    }
    calls.push(
      () => cache.mset([1] as never),
      () => cache.increment('k', 'one' as never),
      () => cache.expire('k', undefined as never),
      () => cache.set('k', 1, { tags: 'text' as never }),
      () => cache.keys(5 as never),
    )
    for (const call of calls) expect(await failure(call())).toMatchObject({ code: 'INVALID_ARGUMENT' })
    expect(cluster.received).toHaveLength(0)
  })

  it('that throw when they are read end SERIALIZATION, with the reason', async () => {
    const { cache, failure } = await openBench()
    const cause = new Error('not today')
    const value = {
      get member(): never {
        throw cause
      },
    }
    expect(await failure(cache.set('k', value))).toMatchObject({ code: 'SERIALIZATION', cause })
    class Own {
      toJSON(): never {
        throw cause
      }
    }
    expect(await failure(cache.set('k', { own: new Own() }))).toMatchObject({ code: 'SERIALIZATION', cause })
  })

  it('at the limit are accepted', async () => {
    const { cache, run } = await openBench({ keyPrefix: 'p:' })
    await run(cache.set('x'.repeat(1022), 1))
    expect(await run(cache.get('x'.repeat(1022)))).toBe(1)
    await run(cache.set('k', 1, { ttl: '36500d' }))
  })
})
