/** The HTTP API in front of the catalogue. Each answer says in `x-from` whether the cache or the source gave it. */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Cache } from 'ringcache'
import type { Catalogue } from './catalogue.ts'

const BODY_BYTES_MAX = 10_000
/** Requests of one caller per minute. */
const REQUESTS_MAX = 10_000

interface Answer {
  readonly status: number
  readonly body: unknown
  readonly from?: string
}

const NOT_FOUND: Answer = { status: 404, body: { error: 'not found' } }

/** @param cache of the whole application: holds the request counters that all servers share */
export function createApi(catalogue: Catalogue, cache: Cache): Server {
  const limits = cache.region<number>('limits')

  async function answer(request: IncomingMessage): Promise<Answer> {
    // The counter begins anew a minute after its first request, on whichever server that arrived.
    const caller = request.socket.remoteAddress ?? 'unknown'
    if ((await limits.increment(caller, 1, { ttl: '1m' })) > REQUESTS_MAX) {
      return { status: 429, body: { error: 'too many requests; try again in a minute' } }
    }
    const url = new URL(request.url ?? '/', 'http://localhost')
    const [, collection, id, part] = url.pathname.split('/')
    if (collection === 'stats' && request.method === 'GET') return { status: 200, body: await cache.stats() }
    if (collection !== 'products') return NOT_FOUND
    if (id === undefined) {
      const ids = (url.searchParams.get('ids') ?? '').split(',').filter(Boolean)
      const { value, from } = await catalogue.products(ids)
      return { status: 200, body: value, from }
    }
    if (request.method === 'POST' && part === 'views') {
      return { status: 200, body: { views: await catalogue.view(id) } }
    }
    if (request.method === 'PUT' && part === 'price') {
      const { priceCents } = (await readJson(request)) as { priceCents?: unknown }
      if (!Number.isInteger(priceCents))
        return { status: 400, body: { error: 'priceCents must be an integer' } }
      const product = await catalogue.changePrice(id, priceCents as number)
      return product === undefined ? NOT_FOUND : { status: 200, body: product }
    }
    const { value, from } = await catalogue.product(id)
    return value === undefined ? { ...NOT_FOUND, from } : { status: 200, body: value, from }
  }

  return createServer((request, response) => {
    answer(request).then(
      (result) => send(response, result),
      (error: unknown) => {
        console.error(error)
        send(response, { status: 500, body: { error: 'internal error' } })
      },
    )
  })
}

function send(response: ServerResponse, { status, body, from }: Answer): void {
  const headers = { 'content-type': 'application/json', ...(from === undefined ? {} : { 'x-from': from }) }
  response.writeHead(status, headers).end(JSON.stringify(body))
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  let text = ''
  for await (const chunk of request) {
    text += chunk
    if (text.length > BODY_BYTES_MAX) throw new RangeError('the request body is too large')
  }
  return JSON.parse(text)
}
