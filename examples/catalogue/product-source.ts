/** Stands for the database of a shop: correct, shared, and slow. */

export interface Product {
  readonly id: string
  readonly name: string
  readonly priceCents: number
  readonly updatedAt: Date
}

export class ProductSource {
  readonly #products = new Map<string, Product>()
  readonly #latencyMs: number
  /** Queries so far: what the cache is there to keep low. */
  queries = 0

  constructor(productCount: number, latencyMs: number) {
    this.#latencyMs = latencyMs
    for (let n = 1; n <= productCount; n++) {
      const id = String(n)
      this.#products.set(id, { id, name: `Product ${n}`, priceCents: 100 + n, updatedAt: new Date() })
    }
  }

  async find(id: string): Promise<Product | undefined> {
    await this.#query()
    return this.#products.get(id)
  }

  async findMany(ids: readonly string[]): Promise<Product[]> {
    await this.#query()
    return ids.flatMap((id) => this.#products.get(id) ?? [])
  }

  /** @returns the product as stored, or undefined when there is none */
  async changePrice(id: string, priceCents: number): Promise<Product | undefined> {
    await this.#query()
    const product = this.#products.get(id)
    if (product === undefined) return undefined
    const changed = { ...product, priceCents, updatedAt: new Date() }
    this.#products.set(id, changed)
    return changed
  }

  #query(): Promise<void> {
    this.queries++
    return new Promise((resolve) => setTimeout(resolve, this.#latencyMs))
  }
}
