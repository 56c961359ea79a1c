/**
 * A ledger: each write goes to a key of its own, and what was acknowledged is kept and read back, at random during the run and
 * all of it at the end. A key that is missing or differs at the end is an acknowledged write that was lost.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Cache } from '../../../src/client/cache.ts'
import type { CacheError } from '../../../src/kernel/errors.ts'
import { integerBetween, type Random, SeededRandom } from '../../../src/kernel/random.ts'
import type { LedgerCounts, LedgerVerdict, ReadMode } from './messages.ts'
import type { CallOutcome, OpenLoopCall } from './open-loop.ts'

const BATCH = 100
const READ_ATTEMPTS = 10
const STALE_KEPT = 100

export class Ledger {
  readonly #cache: Cache
  readonly #random: Random
  readonly #client: number
  readonly #read: ReadMode
  readonly #acknowledged: number[] = []
  readonly #staleReads: string[] = []
  #written = 0
  #calls = 0
  #unknown = 0
  #refused = 0

  constructor(cache: Cache, client: number, seed: number, read: ReadMode) {
    this.#cache = cache
    this.#client = client
    this.#read = read
    this.#random = new SeededRandom(seed + 7919 * (client + 1))
  }

  get counts(): LedgerCounts {
    return {
      acknowledged: this.#acknowledged.length,
      unknown: this.#unknown,
      refused: this.#refused,
      staleReads: this.#staleReads,
    }
  }

  /** Writes and reads in turn. */
  readonly next = (): OpenLoopCall => {
    const writes = this.#calls++ % 2 === 0 || this.#acknowledged.length === 0
    return { group: 255, run: (note) => (writes ? this.#write(note) : this.#readOne(note)) }
  }

  /** Reads all that was acknowledged. */
  async verify(): Promise<LedgerVerdict> {
    const lost: string[] = []
    const unread: string[] = []
    for (let from = 0; from < this.#acknowledged.length; from += BATCH) {
      const numbers = this.#acknowledged.slice(from, from + BATCH)
      const keys = numbers.map((number) => this.#key(number))
      const values = await this.#readAll(keys)
      if (values === undefined) unread.push(...keys)
      else
        for (const [at, number] of numbers.entries()) if (values[at] !== number) lost.push(keys[at] as string)
    }
    return { checked: this.#acknowledged.length, lost, unread }
  }

  async #readAll(keys: readonly string[]): Promise<readonly unknown[] | undefined> {
    for (let attempt = 0; attempt < READ_ATTEMPTS; attempt++) {
      try {
        return await this.#cache.mget(keys, { read: this.#read as 'primary' })
      } catch {
        await sleep(500)
      }
    }
    return undefined
  }

  async #write(note: (error: string) => void): Promise<CallOutcome> {
    const number = this.#written++
    try {
      await this.#cache.set(this.#key(number), number, { durability: 'quorum' })
      this.#acknowledged.push(number)
      return 'ok'
    } catch (error) {
      note(codeOf(error))
      if ((error as Partial<CacheError>).outcome === 'none') {
        this.#refused++
        return 'failed'
      }
      this.#unknown++
      return 'unknown'
    }
  }

  async #readOne(note: (error: string) => void): Promise<CallOutcome> {
    const number = this.#acknowledged[
      integerBetween(this.#random, 0, this.#acknowledged.length - 1)
    ] as number
    const key = this.#key(number)
    try {
      const value = await this.#cache.get(key, { read: this.#read as 'primary' })
      if (value !== number && this.#staleReads.length < STALE_KEPT)
        this.#staleReads.push(`${key}: ${JSON.stringify(value)} instead of ${number}`)
      return 'ok'
    } catch (error) {
      note(codeOf(error))
      return 'failed'
    }
  }

  #key(number: number): string {
    return `ledger-${this.#client}-${number}`
  }
}

/** Errors come from dist, where CacheError is another class than the one of src. */
export function codeOf(error: unknown): string {
  const { code } = error as Partial<CacheError>
  return typeof code === 'string' ? code : String(error)
}
