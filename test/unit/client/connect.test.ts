/** `connect` itself: what it refuses, what it cannot reach, and the embedded node. */

import { createServer, type Server } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { connect } from '../../../src/client/connect.ts'
import { CacheError } from '../../../src/kernel/errors.ts'

async function failure(promise: Promise<unknown>): Promise<CacheError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (error instanceof CacheError) return error
  throw new Error(`expected a CacheError, not ${String(error)}`)
}

describe('connect refuses', () => {
  const nodes = ['127.0.0.1:7549']
  const wrong: [string, unknown, string][] = [
    ['no options', undefined, 'nodes'],
    ['no address', {}, 'nodes'],
    ['an empty list', { nodes: [] }, 'nodes'],
    ['a list that is none', { nodes: '127.0.0.1:7549' }, 'nodes'],
    ['an address without a port', { nodes: ['localhost'] }, 'localhost'],
    ['nodes and embedded', { nodes, embedded: true }, 'embedded'],
    ['what it does not know', { nodes, tls: {} }, 'tls'],
    ['what is misspelled', { nodes, timeOut: 5 }, 'timeOut'],
    ['a timeout of 0', { nodes, timeout: 0 }, 'timeout'],
    ['a timeout over 30 s', { nodes, timeout: '1m' }, 'timeout'],
    ['a connectTimeout of 0', { nodes, connectTimeout: 0 }, 'connectTimeout'],
    ['a time to live under 1 ms', { nodes, ttl: 0.5 }, 'ttl'],
    ['a durability there is not', { nodes, durability: 'most' }, 'durability'],
    ['a read there is not', { nodes, read: 'any' }, 'read'],
    ['a retry that is no function', { nodes, retry: 3 }, 'retry'],
    ['maxPending of 0', { nodes, maxPending: 0 }, 'maxPending'],
    ['maxPending over a million', { nodes, maxPending: 2 ** 21 }, 'maxPending'],
    ['a serializer there is not', { nodes, serializer: 'avro' }, 'serializer'],
    ['half a serializer', { nodes, serializer: { encode: () => new Uint8Array(0) } }, 'serializer'],
    ['a compression there is not', { nodes, compression: { algorithm: 'zstd' } }, 'lz4'],
    ['compression: true', { nodes, compression: true }, 'compression'],
    [
      'a threshold that is no size',
      { nodes, compression: { algorithm: 'lz4', threshold: true } },
      'threshold',
    ],
    ['a region that is no text', { nodes, region: 7 }, 'region'],
    ['a keyPrefix as long as a key', { nodes, keyPrefix: 'x'.repeat(1024) }, 'keyPrefix'],
    ['a keyPrefix with half a surrogate pair', { nodes, keyPrefix: '\ud800' }, 'keyPrefix'],
    ['an embedded node that is to join', { embedded: { join: nodes } }, 'join'],
    ['a policy there is not', { embedded: { regions: [{ name: 'x', policy: 'lfu' }] } }, 'lfu'],
    ['a region without a name', { embedded: { regions: [{}] } }, 'name'],
    ['a region twice', { embedded: { regions: [{ name: 'x' }, { name: 'x' }] } }, 'x'],
    ['a negative size', { embedded: { regions: [{ name: 'x', size: -1 }] } }, 'size'],
    ['half an entry', { embedded: { regions: [{ name: 'x', maxEntries: 0.5 }] } }, 'maxEntries'],
    ['too little memory', { embedded: { memory: '1kb' } }, 'memory'],
  ]
  it.each(wrong)('%s', async (_what, options, named) => {
    const error = await failure(connect(options as Parameters<typeof connect>[0]))
    expect(error.code).toBe('INVALID_ARGUMENT')
    expect(error.message).toContain(named)
  })
})

describe('connect cannot reach', () => {
  let server: Server | undefined
  afterEach(() => server?.close())

  it('a port where nothing listens: UNAVAILABLE, naming each address', async () => {
    const error = await failure(connect({ nodes: ['127.0.0.1:7549', '127.0.0.1:7548'], connectTimeout: 300 }))
    expect(error).toMatchObject({ code: 'UNAVAILABLE', retryable: true })
    expect(error.message).toContain('127.0.0.1:7549')
    expect(error.message).toContain('127.0.0.1:7548')
  })

  it('something that accepts and says nothing', async () => {
    server = createServer()
    await new Promise<void>((resolve) => server?.listen(7547, '127.0.0.1', resolve))
    const error = await failure(connect({ nodes: ['127.0.0.1:7547'], connectTimeout: 300 }))
    expect(error.code).toBe('UNAVAILABLE')
    expect(error.message).toContain('127.0.0.1:7547')
  })

  it('something that speaks another protocol', async () => {
    server = createServer((socket) => {
      socket.on('error', () => {})
      socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')
    })
    await new Promise<void>((resolve) => server?.listen(7546, '127.0.0.1', resolve))
    const error = await failure(connect({ nodes: ['127.0.0.1:7546'], connectTimeout: 300 }))
    expect(error).toBeInstanceOf(CacheError)
    expect(error.message).toContain('127.0.0.1:7546')
  })
})

describe('an embedded node', () => {
  it('holds values of every kind as they are, in regions of its own, and is gone when disposed of', async () => {
    const cache = await connect({
      embedded: { regions: [{ name: 'few', maxEntries: 200, ttl: '1h', policy: 'fifo' }], memory: '32mb' },
    })
    const values: Record<string, unknown> = {
      text: 'ä😀\ud800',
      numbers: [0, -0, 1.5, Number.NaN, Number.NEGATIVE_INFINITY, 2 ** 53],
      bigs: [1n, -(2n ** 200n)],
      nothing: [null, undefined, true],
      date: new Date(12),
      map: new Map<unknown, unknown>([[{ a: 1 }, new Set([1, 'b'])]]),
      bytes: [Buffer.from('x'), new Uint8Array(3), new Float64Array([1, -0]), new BigInt64Array([-1n])],
      error: new RangeError('no'),
      large: Buffer.alloc(70_000, 'large'),
    }
    await cache.mset(values)
    const keys = Object.keys(values)
    expect(await cache.mget(keys)).toEqual(keys.map((key) => values[key]))
    const numbers = (await cache.get('numbers')) as number[]
    expect(Object.is(numbers[1], -0)).toBe(true)
    const few = cache.region<number>('few')
    for (let i = 0; i < 1000; i++) await few.set(`k${i}`, i)
    expect((await few.keys()).length).toBeLessThanOrEqual(200)
    expect(await few.ttl('k999')).toBeGreaterThan(3_500_000)
    await cache[Symbol.asyncDispose]()
    expect(await failure(few.get('k999'))).toMatchObject({ code: 'CLOSED' })
  })

  it('is another for each connect, and closes at the end of its block', async () => {
    let kept: Awaited<ReturnType<typeof connect>> | undefined
    {
      await using one = await connect({ embedded: true })
      await using two = await connect({ embedded: true })
      await one.set('k', 1)
      expect(await two.has('k')).toBe(false)
      kept = one
    }
    expect(await failure(kept.get('k'))).toMatchObject({ code: 'CLOSED' })
  })
})
