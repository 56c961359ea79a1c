/**
 * Runs the API. Without arguments the cache lives in this process; with the addresses of a cluster (`npm start` runs one)
 * any number of these processes share it:
 *
 *   npx tsx examples/catalogue/main.ts
 *   PORT=8080 npx tsx examples/catalogue/main.ts 127.0.0.1:7401 127.0.0.1:7402
 *
 *   curl -i localhost:8080/products/7      the first time from the source, then from the cache
 *   curl -i 'localhost:8080/products?ids=7,8,9'
 *   curl -X PUT -d '{"priceCents": 999}' localhost:8080/products/7/price
 *   curl -X POST localhost:8080/products/7/views
 */

import { connect } from 'ringcache'
import { Catalogue } from './catalogue.ts'
import { ProductSource } from './product-source.ts'
import { createApi } from './server.ts'

const nodes = process.argv.slice(2)
const port = Number(process.env['PORT'] ?? 8080)

/** In a cluster, cluster.yaml names the regions; see examples/catalogue/cluster.yaml. */
const regions = [
  { name: 'products', size: '64mb', policy: 'lru' },
  { name: 'views', maxEntries: 100_000 },
  { name: 'limits', maxEntries: 100_000 },
] as const

const cache = await connect(nodes.length > 0 ? { nodes } : { embedded: { regions } })
const server = createApi(new Catalogue(cache, new ProductSource(10_000, 50)), cache)
server.listen(port, '127.0.0.1', () => {
  const where = nodes.length > 0 ? `the cluster at ${nodes.join(', ')}` : 'a cache in this process'
  console.log(`http://127.0.0.1:${port}/products/1 serves through ${where}`)
})

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, async () => {
    server.closeAllConnections()
    server.close()
    await cache.close()
  })
}
