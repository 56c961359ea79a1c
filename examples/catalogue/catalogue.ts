/**
 * Products behind a cache. Three things that most applications need of one:
 *
 * - Reads ask the cache first and fill it on a miss; that a product does not exist is remembered, too, for a shorter time.
 * - A change is written to the source first, then to the cache.
 * - The source is the truth: when the cache fails, reads go to the source and the application goes on.
 */

import type { Cache } from 'ringcache'
import type { Product, ProductSource } from './product-source.ts'

const PRODUCT_TTL = '10m'
const ABSENT_TTL = '5s'

/** `null` stands for "there is no such product". */
type Cached = Product | null

export interface Found<T> {
  readonly value: T
  readonly from: 'cache' | 'source'
}

export class Catalogue {
  readonly #cache: Cache<Cached>
  readonly #views: Cache<number>
  readonly #source: ProductSource

  constructor(cache: Cache, source: ProductSource) {
    this.#cache = cache.region<Cached>('products')
    this.#views = cache.region<number>('views')
    this.#source = source
  }

  async product(id: string): Promise<Found<Product | undefined>> {
    const cached = await this.#cache.get(id).catch(() => undefined)
    if (cached !== undefined) return { value: cached ?? undefined, from: 'cache' }
    const product = await this.#source.find(id)
    await this.#remember(id, product ?? null)
    return { value: product, from: 'source' }
  }

  /** In the order of the ids, without those that do not exist. One query for all that the cache has not. */
  async products(ids: readonly string[]): Promise<Found<Product[]>> {
    const cached: readonly (Cached | undefined)[] = await this.#cache.mget(ids).catch(() => [])
    const missing = ids.filter((_, index) => cached[index] === undefined)
    if (missing.length === 0) return { value: cached.filter(isProduct), from: 'cache' }
    const loaded = new Map((await this.#source.findMany(missing)).map((product) => [product.id, product]))
    await Promise.all(missing.map((id) => this.#remember(id, loaded.get(id) ?? null)))
    const all = ids.map((id, index) => cached[index] ?? loaded.get(id))
    return { value: all.filter(isProduct), from: 'source' }
  }

  async changePrice(id: string, priceCents: number): Promise<Product | undefined> {
    const product = await this.#source.changePrice(id, priceCents)
    if (product !== undefined) await this.#cache.set(id, product, { ttl: PRODUCT_TTL })
    return product
  }

  /** Counts a view in the cluster and returns how many there were. */
  view(id: string): Promise<number> {
    return this.#views.increment(id)
  }

  /** A product that can't be cached is still a product. */
  async #remember(id: string, product: Cached): Promise<void> {
    const ttl = product === null ? ABSENT_TTL : PRODUCT_TTL
    await this.#cache.set(id, product, { ttl }).catch(() => {})
  }
}

function isProduct(value: Cached | undefined): value is Product {
  return value !== null && value !== undefined
}
