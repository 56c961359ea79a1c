/**
 * The operating system's randomness behind the Random port. Numbers are drawn a pool at a time: one call into the
 * generator costs about as much as filling the pool.
 */

import type { Random } from '../../kernel/random.ts'

const POOL_NUMBERS = 1024

class PooledRandom implements Random {
  readonly #pool: Uint32Array<ArrayBuffer> = new Uint32Array(POOL_NUMBERS)
  #next: number = POOL_NUMBERS

  uint32(): number {
    if (this.#next === POOL_NUMBERS) {
      crypto.getRandomValues(this.#pool)
      this.#next = 0
    }
    const value = this.#pool[this.#next] as number
    // A number handed out is not left behind in memory: some of them become secrets.
    this.#pool[this.#next++] = 0
    return value
  }
}

export const systemRandom: Random = new PooledRandom()
