/** The examples, run as they are written. */

import { spawn } from 'node:child_process'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Catalogue } from '../../examples/catalogue/catalogue.ts'
import { ProductSource } from '../../examples/catalogue/product-source.ts'
import { createApi } from '../../examples/catalogue/server.ts'
import type { Cache } from '../../src/client/cache.ts'
import { connect } from '../../src/client/connect.ts'
import { type NodeCluster, startNodeCluster } from '../support/node-cluster.ts'

const ROOT = path.resolve(import.meta.dirname, '../..')
const FIRST_PORT = 7620
const REGIONS = ['products', 'views', 'limits']

describe.each(['in this process', 'on three nodes'])('the catalogue, its cache %s', (where) => {
  let cluster: NodeCluster | undefined
  let caches: Cache[]
  let sources: ProductSource[]
  let servers: Server[]
  let urls: string[]

  beforeAll(async () => {
    if (where === 'on three nodes') {
      const regions = Object.fromEntries(REGIONS.map((name) => [name, {}]))
      cluster = await startNodeCluster(FIRST_PORT, 3, { regions })
      // Two application processes, each with its own client and an entry of its own into the cluster.
      caches = await Promise.all(
        cluster.addresses.slice(0, 2).map((address) => connect({ nodes: [address] })),
      )
    } else {
      const cache = await connect({ embedded: { regions: REGIONS.map((name) => ({ name })) } })
      caches = [cache, cache]
    }
    const database = new ProductSource(100, 5)
    sources = [database]
    servers = caches.map((cache) => createApi(new Catalogue(cache, database), cache))
    await Promise.all(
      servers.map((server) => new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))),
    )
    urls = servers.map((server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  })
  afterAll(async () => {
    for (const server of servers) {
      server.closeAllConnections()
      server.close()
    }
    await Promise.all(caches.map((cache) => cache.close()))
    await cluster?.close()
  })

  it('asks the source once, whichever server is asked', async () => {
    const [source] = sources as [ProductSource]
    const first = await fetch(`${urls[0]}/products/7`)
    const queries = source.queries
    const second = await fetch(`${urls[1]}/products/7`)
    expect([first.headers.get('x-from'), second.headers.get('x-from')]).toEqual(['source', 'cache'])
    expect(await second.json()).toEqual(await first.json())
    expect(source.queries).toBe(queries)
  })

  it('remembers what does not exist', async () => {
    const first = await fetch(`${urls[0]}/products/none`)
    const second = await fetch(`${urls[1]}/products/none`)
    expect([first.status, second.status]).toEqual([404, 404])
    expect(second.headers.get('x-from')).toBe('cache')
  })

  it('fills the cache for many with one query', async () => {
    const [source] = sources as [ProductSource]
    const before = source.queries
    const ids = Array.from({ length: 50 }, (_, index) => String(50 + index))
    const first = await fetch(`${urls[0]}/products?ids=${ids.join()},nope`)
    expect(((await first.json()) as { id: string }[]).map(({ id }) => id)).toEqual(ids)
    const second = await fetch(`${urls[1]}/products?ids=${ids.join()},nope`)
    expect(second.headers.get('x-from')).toBe('cache')
    expect(((await second.json()) as unknown[]).length).toBe(50)
    expect(source.queries).toBe(before + 1)
  })

  it('shows a change on every server at once', async () => {
    await fetch(`${urls[1]}/products/9`)
    const change = await fetch(`${urls[0]}/products/9/price`, { method: 'PUT', body: '{"priceCents": 999}' })
    expect(change.status).toBe(200)
    const seen = await fetch(`${urls[1]}/products/9`)
    expect(seen.headers.get('x-from')).toBe('cache')
    expect(await seen.json()).toMatchObject({ priceCents: 999 })
  })

  it('counts views of both servers together', async () => {
    const posts = Array.from({ length: 20 }, (_, index) =>
      fetch(`${urls[index % 2]}/products/3/views`, { method: 'POST' }).then((response) => response.json()),
    )
    const views = (await Promise.all(posts)).map((body) => (body as { views: number }).views)
    expect(views.sort((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, index) => index + 1))
  })
})

describe('unary-call.mjs', () => {
  let cluster: NodeCluster
  beforeAll(async () => {
    cluster = await startNodeCluster(FIRST_PORT + 5, 3)
  })
  afterAll(() => cluster.close())

  it('sets through one node and gets through another', async () => {
    const value = { data: Buffer.from('hello').toString('base64'), encoding: 'TEXT' }
    const [a = '', b = ''] = cluster.addresses
    const written = await run('examples/unary-call.mjs', a, 'Set', JSON.stringify({ key: 'greeting', value }))
    expect(JSON.parse(written.output)).toMatchObject({ applied: true })
    const read = await run('examples/unary-call.mjs', b, 'Get', '{"key": "greeting"}')
    expect(JSON.parse(read.output)).toMatchObject({ found: true, entry: { value: { data: value.data } } })
    const failed = await run('examples/unary-call.mjs', b, 'Get', '{"key": ""}')
    expect(failed).toMatchObject({ code: 2, output: expect.stringMatching(/^INVALID_ARGUMENT: /) })
    expect((await run('examples/unary-call.mjs', b, 'Nope')).code).toBe(1)
  })
})

function run(script: string, ...args: string[]): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [script, ...args], { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    const collect = (text: Buffer): void => {
      output += text
    }
    child.stdout.on('data', collect)
    child.stderr.on('data', collect)
    child.once('close', (code) => resolve({ code, output }))
  })
}
