/**
 * The unary calls, from a stub that @grpc/proto-loader makes of proto/cache.proto alone: what any other language has. Each
 * call is made on every node, so that most of them go to a node that does not own the key.
 */

import {
  type Client,
  credentials,
  loadPackageDefinition,
  type Metadata,
  type ServiceClientConstructor,
  type ServiceError,
} from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { protoPath as healthProto } from 'grpc-health-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type NodeCluster, startNodeCluster } from '../support/node-cluster.ts'

// biome-ignore lint/suspicious/noExplicitAny: replies of a stub made at run time have no static type.
type Reply = any
type Stub = Client & Record<string, (...args: unknown[]) => unknown>

const FIRST_PORT = 7570

describe('unary calls', () => {
  let cluster: NodeCluster
  let stubs: Stub[]
  let health: Stub

  beforeAll(async () => {
    cluster = await startNodeCluster(FIRST_PORT, 3, {
      regions: { small: { ttl: '1h' } },
      limits: { value: '2mb' },
    })
    const options = { longs: Number, enums: String, defaults: true, oneofs: true }
    const Cache = constructorOf(loadSync('proto/cache.proto', options), 'ringcache', 'v1', 'Cache')
    stubs = cluster.addresses.map(
      (address) => new Cache(address, credentials.createInsecure()) as unknown as Stub,
    )
    const Health = constructorOf(loadSync(healthProto, options), 'grpc', 'health', 'v1', 'Health')
    health = new Health(cluster.addresses[0] as string, credentials.createInsecure()) as unknown as Stub
  })
  afterAll(async () => {
    for (const stub of [...stubs, health]) stub.close()
    await cluster.close()
  })

  const text = (value: string): object => ({ data: Buffer.from(value), encoding: 'TEXT' })

  it('stores and returns values of every encoding through any node', async () => {
    const encodings = ['BYTES', 'MSGPACK', 'JSON', 'TEXT', 'CUSTOM']
    for (const [index, encoding] of encodings.entries()) {
      for (const [writer, stub] of stubs.entries()) {
        const key = `encoding:${encoding}:${writer}`
        const data = Buffer.from([index, writer, 0, 255])
        const written = await call(stub, 'Set', { key, value: { data, encoding } })
        expect(written.applied).toBe(true)
        expect(written.version.sequence).toBeGreaterThan(0)
        for (const reader of stubs) {
          const { found, entry } = await call(reader, 'Get', { key })
          expect(found).toBe(true)
          expect(entry.value).toEqual({ data, encoding, lz4: false })
          expect(entry.version).toEqual(written.version)
          expect(entry.expiresAtMs).toBe(0)
        }
      }
    }
  })

  it('says of an absent key that it is absent, without an error', async () => {
    for (const stub of stubs) {
      expect(await call(stub, 'Get', { key: 'nobody' })).toMatchObject({ found: false, entry: null })
      expect(await call(stub, 'Has', { key: 'nobody' })).toEqual({ found: false })
      expect(await call(stub, 'Delete', { key: 'nobody' })).toEqual({ deleted: false })
      expect(await call(stub, 'Expire', { key: 'nobody', ttlMs: 1000 })).toEqual({ found: false })
    }
  })

  it('keeps times to live, of the entry and of the region', async () => {
    const [stub] = stubs as [Stub]
    const before = Date.now()
    await call(stub, 'Set', { key: 'ttl', value: text('x'), ttlMs: 60_000 })
    await call(stub, 'Set', { region: 'small', key: 'ttl', value: text('x') })
    const own = (await call(stub, 'Get', { key: 'ttl' })).entry.expiresAtMs
    const regions = (await call(stub, 'Get', { region: 'small', key: 'ttl' })).entry.expiresAtMs
    expect(own - before).toBeGreaterThan(59_000)
    expect(own - before).toBeLessThan(65_000)
    expect(regions - before).toBeGreaterThan(3_590_000)
    expect(await call(stub, 'Expire', { key: 'ttl', ttlMs: 600_000 })).toEqual({ found: true })
    expect((await call(stub, 'Get', { key: 'ttl' })).entry.expiresAtMs).toBeGreaterThan(own)
  })

  it('writes under conditions and returns what it found instead', async () => {
    const [a, b, c] = stubs as [Stub, Stub, Stub]
    const key = 'conditional'
    const first = await call(a, 'Set', { key, value: text('1'), condition: { absent: true } })
    expect(first.applied).toBe(true)
    const refused = await call(b, 'Set', { key, value: text('2'), condition: { absent: true } })
    expect(refused).toMatchObject({ applied: false, version: null })
    expect(refused.current.value.data.toString()).toBe('1')
    expect(refused.current.version).toEqual(first.version)
    const next = await call(c, 'Set', { key, value: text('3'), condition: { version: first.version } })
    expect(next.applied).toBe(true)
    const stale = await call(a, 'Set', { key, value: text('4'), condition: { version: first.version } })
    expect(stale.applied).toBe(false)
    const absent = await call(a, 'Set', { key: 'not there', value: text('4'), condition: { present: true } })
    expect(absent).toMatchObject({ applied: false, current: null })
  })

  it('counts', async () => {
    for (const [index, stub] of stubs.entries()) {
      expect(await call(stub, 'Increment', { key: 'counter', by: 2, initial: 10 })).toEqual({
        value: 12 + 2 * index,
      })
    }
    const [stub] = stubs as [Stub]
    expect((await call(stub, 'Get', { key: 'counter' })).entry.value.encoding).toBe('COUNTER')
    await call(stub, 'Set', { key: 'no counter', value: text('x') })
    await expect(call(stub, 'Increment', { key: 'no counter' })).rejects.toMatchObject({ code: 9 })
  })

  it('carries out a batch, each operation by itself', async () => {
    const operations = [
      ...Array.from({ length: 200 }, (_, index) => ({
        set: { key: `batch:${index}`, value: text(`v${index}`) },
      })),
      { get: { key: 'batch nobody' } },
      { set: { key: '', value: text('x') } },
      { set: { region: 'small', key: 'batch', value: text('x') } },
      { increment: { key: 'batch counter' } },
      { delete: { key: 'batch nobody' } },
      {},
    ]
    const { results } = await call(stubs[1] as Stub, 'Batch', { operations })
    expect(results).toHaveLength(operations.length)
    expect(results.slice(0, 200).every((result: Reply) => result.set?.applied)).toBe(true)
    expect(results[200].get.found).toBe(false)
    expect(results[201].error).toMatchObject({ code: 'INVALID_ARGUMENT', retryable: false })
    expect(results[202].set.applied).toBe(true)
    expect(results[203].increment.value).toBe(1)
    expect(results[204].delete.deleted).toBe(false)
    expect(results[205].error.code).toBe('INVALID_ARGUMENT')
    const reads = {
      operations: Array.from({ length: 200 }, (_, index) => ({ get: { key: `batch:${index}` } })),
    }
    for (const stub of stubs) {
      const read = await call(stub, 'Batch', reads)
      expect(read.results.map(({ get }: Reply) => get.entry.value.data.toString())).toEqual(
        Array.from({ length: 200 }, (_, index) => `v${index}`),
      )
    }
  })

  it('scans page by page through changing nodes, each key once', async () => {
    const [a] = stubs as [Stub]
    const keys = Array.from({ length: 500 }, (_, index) => `scan:${index}`)
    await call(a, 'Batch', { operations: keys.map((key) => ({ set: { key, value: text('x') } })) })
    const seen: string[] = []
    let cursor = ''
    let pages = 0
    do {
      const page = await call(stubs[pages++ % 3] as Stub, 'Scan', { pattern: 'scan:*', cursor, limit: 50 })
      seen.push(...page.keys)
      cursor = page.cursor
    } while (cursor !== '')
    expect(pages).toBeGreaterThan(3)
    expect(seen.sort()).toEqual(keys.sort())
  })

  it('clears by prefix, then all', async () => {
    const [a, b] = stubs as [Stub, Stub]
    const keys = ['x:1', 'x:2', 'y:1']
    await call(a, 'Batch', {
      region: 'small',
      operations: keys.map((key) => ({ set: { key, value: text('v') } })),
    })
    await call(b, 'Clear', { region: 'small', prefix: 'x:' })
    expect((await call(a, 'Scan', { region: 'small' })).keys).toEqual(
      expect.not.arrayContaining(['x:1', 'x:2']),
    )
    expect((await call(a, 'Has', { region: 'small', key: 'y:1' })).found).toBe(true)
    await call(b, 'Clear', { region: 'small' })
    expect((await call(a, 'Scan', { region: 'small' })).keys).toEqual([])
    expect((await call(a, 'Has', { key: 'scan:1' })).found).toBe(true)
  })

  it('carries values of a mebibyte, and refuses one above the limit by name', async () => {
    const [a, b] = stubs as [Stub, Stub]
    const data = Buffer.alloc(1024 * 1024, 7)
    await call(a, 'Set', { key: 'large', value: { data } })
    const { entry } = await call(b, 'Get', { key: 'large' })
    expect(data.equals(entry.value.data)).toBe(true)
    const failure = await failureOf(
      call(a, 'Set', { key: 'too large', value: { data: Buffer.alloc(2_500_000) } }),
    )
    expect([failure.code, trailer(failure)]).toEqual([3, 'VALUE_TOO_LARGE'])
  })

  it('maps errors to gRPC statuses and names them in a trailer', async () => {
    const [stub] = stubs as [Stub]
    const cases: [string, object, number, string][] = [
      ['Get', { key: '' }, 3, 'INVALID_ARGUMENT'],
      ['Get', { key: 'k'.repeat(1025) }, 3, 'KEY_TOO_LARGE'],
      ['Get', { key: 'k', region: 'nowhere' }, 5, 'UNKNOWN_REGION'],
      ['Set', { key: 'k' }, 3, 'INVALID_ARGUMENT'],
      ['Set', { key: 'k', value: text('x'), ttlMs: 0 }, 3, 'INVALID_ARGUMENT'],
      ['Set', { key: 'k', value: text('x'), ttlMs: -5 }, 3, 'INVALID_ARGUMENT'],
      ['Set', { key: 'k', value: text('x'), ttlMs: Number.NaN }, 3, 'INVALID_ARGUMENT'],
      ['Set', { key: 'k', value: text('x'), ttlMs: 1e18 }, 3, 'INVALID_ARGUMENT'],
      ['Set', { key: 'k', value: { data: Buffer.alloc(8), encoding: 'COUNTER' } }, 3, 'INVALID_ARGUMENT'],
      ['Scan', { cursor: 'nonsense' }, 3, 'INVALID_ARGUMENT'],
    ]
    for (const [method, request, status, code] of cases) {
      const failure = await failureOf(call(stub, method, request))
      expect([method, request, failure.code, trailer(failure)]).toEqual([method, request, status, code])
    }
  })

  it('stops at the deadline', async () => {
    const failure = await failureOf(call(stubs[0] as Stub, 'Get', { key: 'x' }, Date.now() - 1000))
    expect(failure.code).toBe(4)
  })

  it('counts in its statistics', async () => {
    const { json } = await call(stubs[2] as Stub, 'Stats', {})
    const stats = JSON.parse(json)
    expect(stats.nodes).toHaveLength(3)
    expect(stats.sets).toBeGreaterThan(0)
  })

  it('reports its health in the standard way', async () => {
    expect(await call(health, 'Check', {})).toEqual({ status: 'SERVING' })
    expect(await call(health, 'Check', { service: 'ringcache.v1.Cache' })).toEqual({ status: 'SERVING' })
    expect(await call(health, 'Check', { service: 'ringcache.replicas' })).toEqual({ status: 'SERVING' })
    expect((await failureOf(call(health, 'Check', { service: 'nonsense' }))).code).toBe(5)
  })

  it('describes itself by reflection', async () => {
    const reflection = loadSync(
      'node_modules/@grpc/reflection/build/proto/grpc/reflection/v1/reflection.proto',
      {
        oneofs: true,
      },
    )
    const Reflection = constructorOf(reflection, 'grpc', 'reflection', 'v1', 'ServerReflection')
    const stub = new Reflection(
      cluster.addresses[0] as string,
      credentials.createInsecure(),
    ) as unknown as Stub
    const stream = (
      stub['ServerReflectionInfo'] as () => import('@grpc/grpc-js').ClientDuplexStream<object, Reply>
    )()
    const answers: Reply[] = []
    const done = new Promise((resolve) =>
      stream.on('data', (answer) => answers.push(answer)).on('end', resolve),
    )
    stream.write({ listServices: '' })
    stream.write({ fileContainingSymbol: 'ringcache.v1.Cache' })
    stream.end()
    await done
    const names = answers[0].listServicesResponse.service.map(({ name }: Reply) => name)
    expect(names).toEqual(expect.arrayContaining(['ringcache.v1.Cache', 'grpc.health.v1.Health']))
    const [file] = answers[1].fileDescriptorResponse.fileDescriptorProto
    expect(file.toString('latin1')).toContain('IncrementRequest')
    stub.close()
  })
})

function constructorOf(definition: ReturnType<typeof loadSync>, ...path: string[]): ServiceClientConstructor {
  let at: Reply = loadPackageDefinition(definition)
  for (const name of path) at = at[name]
  return at
}

function call(stub: Stub, method: string, request: object, deadline = Date.now() + 10_000): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const rpc = stub[method] as (...args: unknown[]) => void
    rpc.call(stub, request, { deadline }, (error: ServiceError | null, reply: Reply) => {
      if (error === null) resolve(reply)
      else reject(error)
    })
  })
}

async function failureOf(promise: Promise<unknown>): Promise<ServiceError> {
  try {
    await promise
  } catch (error) {
    return error as ServiceError
  }
  throw new Error('the call did not fail')
}

function trailer(error: { readonly metadata: Metadata }): unknown {
  return error.metadata.get('ringcache-code')[0]
}
