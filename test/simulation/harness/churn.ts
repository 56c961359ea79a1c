/**
 * Writes to a region that is too small for them: entries expire, are evicted, cleared, and some are large. Nothing of it is
 * noted; the digests of the replicas must agree all the same.
 */

import type { Cache } from '../../../src/client/cache.ts'
import { CacheError } from '../../../src/kernel/errors.ts'
import { integerBetween, type SeededRandom, uniform } from '../../../src/kernel/random.ts'
import type { SimulatedHost } from '../../../src/testing/simulated-host.ts'

const KEYS = 30
const UNEXPECTED = new Set([
  'INTERNAL',
  'PROTOCOL_ERROR',
  'STALE_OPERATION',
  'SERIALIZATION',
  'WRONG_CLUSTER',
])

export class Churn {
  readonly #cache: Cache
  readonly #host: SimulatedHost
  readonly #random: SeededRandom
  readonly #violation: (what: string) => void

  constructor(cache: Cache, host: SimulatedHost, random: SeededRandom, violation: (what: string) => void) {
    this.#cache = cache
    this.#host = host
    this.#random = random
    this.#violation = violation
  }

  async run(enough: () => boolean): Promise<void> {
    while (!enough()) {
      await new Promise<void>((resolve) => this.#host.after(uniform(this.#random) * 120, resolve))
      try {
        await this.#one(`churn-${this.#between(1, KEYS)}`)
      } catch (error) {
        if (!(error instanceof CacheError) || UNEXPECTED.has(error.code))
          this.#violation(
            `a call on the churned region ended ${error instanceof Error ? error.stack : String(error)}`,
          )
      }
    }
  }

  async #one(key: string): Promise<unknown> {
    const cache = this.#cache
    const dice = uniform(this.#random)
    if (dice < 0.3) return cache.set(key, 'x'.repeat(this.#between(0, 300)))
    if (dice < 0.5) return cache.set(key, 1, { ttl: this.#between(20, 2000), tags: ['a', 'b'] })
    if (dice < 0.6) return cache.touch(key)
    if (dice < 0.65) return cache.expire(key, this.#between(20, 900))
    if (dice < 0.72) return cache.delete(key)
    if (dice < 0.78) return cache.set(key, new Uint8Array(this.#between(66_000, 150_000)).fill(7))
    if (dice < 0.8) return cache.clear()
    return cache.get(key)
  }

  #between(min: number, max: number): number {
    return integerBetween(this.#random, min, max)
  }
}
