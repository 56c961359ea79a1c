/**
 * Keys that count up, written without a pause, and what of them was acknowledged when: so that after all processes have ended
 * it can be told for how long before that a key was lost.
 *
 * Beside them, keys that never change and keys that expire.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Cache } from '../../../src/client/cache.ts'
import { CacheError } from '../../../src/kernel/errors.ts'
import { compareVersions, type Version } from '../../../src/kernel/ids.ts'
import { integerBetween, type Random } from '../../../src/kernel/random.ts'
import { nowMs } from '../monotonic.ts'

interface Acknowledged {
  readonly number: number
  readonly ms: number
}

interface Counter {
  readonly key: string
  next: number
  /** Oldest first; older ones than the newest that any check can ask for are dropped. */
  acknowledged: Acknowledged[]
  newest: Version
}

const WORKERS = 8
/** That write what never changes again and again, so that snapshots have much to write. */
const REPEATERS = 2
const KEPT_MS = 60_000
const BATCH = 200
const TTL_MS = 3000
const TTL_KEYS = 50

export interface CounterOptions {
  readonly counters: number
  /** Entries that never change. */
  readonly still: number
  readonly stillBytes: number
}

export class Counters {
  readonly #cache: Cache
  readonly #random: Random
  readonly #options: CounterOptions
  readonly #counters: Counter[]
  #isWriting = false
  #workers: Promise<void>[] = []
  #expiring: { readonly keys: readonly string[]; readonly goneMs: number } | undefined
  #rounds = 0
  acknowledged = 0
  /** The longest time before the end of all processes in which a write was lost. */
  lostMsMax = 0
  readonly problems: string[] = []

  constructor(cache: Cache, random: Random, options: CounterOptions) {
    this.#cache = cache
    this.#random = random
    this.#options = options
    this.#counters = Array.from({ length: options.counters }, (_, at) => ({
      key: `counter-${at}`,
      next: 1,
      acknowledged: [],
      newest: { partitionEpoch: 0, sequence: 0 } as Version,
    }))
  }

  /** Writes what never changes. */
  async fill(): Promise<void> {
    const { still } = this.#options
    for (let from = 0; from < still; from += BATCH) {
      const numbers = numbersFrom(from, Math.min(still, from + BATCH))
      const results = await this.#cache.mset(
        numbers.map((at) => [`still-${at}`, this.#stillValue(at)] as const),
      )
      for (const result of results.values()) if (result instanceof Error) throw result
    }
  }

  start(): void {
    this.#isWriting = true
    this.#workers = [
      ...Array.from({ length: WORKERS }, (_, worker) => this.#work(worker)),
      ...Array.from({ length: REPEATERS }, () => this.#repeat()),
    ]
  }

  /** From now on nothing is acknowledged any more. */
  async stop(): Promise<void> {
    this.#isWriting = false
    await Promise.all(this.#workers)
  }

  /** Removes a third of what never changes, for a restore to bring back. */
  async dropStill(): Promise<void> {
    const { still } = this.#options
    for (let at = 0; at < still; at += 3) await this.#cache.delete(`still-${at}`)
  }

  /** Writes keys that have expired by the time of the next check, if that comes late enough. */
  async writeExpiring(): Promise<void> {
    const keys = numbersFrom(0, TTL_KEYS).map((at) => `expiring-${this.#rounds}-${at}`)
    this.#rounds++
    this.#expiring = { keys, goneMs: nowMs() + TTL_MS + 1000 }
    await this.#cache
      .mset(
        keys.map((key) => [key, key] as const),
        { ttl: TTL_MS },
      )
      .catch(() => {})
  }

  /**
   * Reads all back. @param floorMs what was acknowledged before has to be there
   * @param endedMs when all processes ended; undefined: some were there all the time
   */
  async check(floorMs: number, endedMs: number | undefined): Promise<void> {
    for (let from = 0; from < this.#counters.length; from += BATCH) {
      const counters = this.#counters.slice(from, from + BATCH)
      const values = await this.#read(counters.map(({ key }) => key))
      for (const [at, counter] of counters.entries()) this.#judge(counter, values[at], floorMs, endedMs)
    }
    await this.#checkStill()
    const expiring = this.#expiring
    if (expiring !== undefined && nowMs() > expiring.goneMs) {
      const values = await this.#read(expiring.keys)
      const left = values.filter((value) => value !== undefined).length
      if (left > 0) this.problems.push(`${left} keys are there that have expired`)
    }
  }

  #judge(counter: Counter, value: unknown, floorMs: number, endedMs: number | undefined): void {
    const { key, acknowledged } = counter
    const number = typeof value === 'number' ? value : 0
    const floor = acknowledged.findLast(({ ms }) => ms <= floorMs)?.number ?? 0
    if (number < floor)
      this.problems.push(
        `${key} is ${number}, and ${floor} was acknowledged ${text(floorMs, acknowledged, floor)}`,
      )
    if (number >= counter.next) this.problems.push(`${key} is ${number}, which was never written`)
    const firstLost = acknowledged.find((one) => one.number > number)
    if (endedMs !== undefined && firstLost !== undefined)
      this.lostMsMax = Math.max(this.lostMsMax, endedMs - firstLost.ms)
    counter.acknowledged = [{ number, ms: Number.NEGATIVE_INFINITY }]
  }

  async #checkStill(): Promise<void> {
    const { still } = this.#options
    let missing = 0
    for (let from = 0; from < still; from += BATCH) {
      const numbers = numbersFrom(from, Math.min(still, from + BATCH))
      const values = await this.#read(numbers.map((at) => `still-${at}`))
      for (const [i, at] of numbers.entries()) if (values[i] !== this.#stillValue(at)) missing++
    }
    if (missing > 0)
      this.problems.push(`${missing} of ${still} entries that never change are missing or changed`)
  }

  async #read(keys: readonly string[]): Promise<readonly unknown[]> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#cache.mget(keys)
      } catch (error) {
        if (attempt === 10) throw error
        await sleep(500)
      }
    }
  }

  async #work(worker: number): Promise<void> {
    while (this.#isWriting) {
      const at = integerBetween(this.#random, 0, Math.floor(this.#counters.length / WORKERS) - 1)
      const counter = this.#counters[at * WORKERS + worker]
      if (counter === undefined) continue
      const number = counter.next++
      try {
        const version = await this.#cache.set(counter.key, number)
        const ms = nowMs()
        this.acknowledged++
        if (compareVersions(version, counter.newest) <= 0)
          this.problems.push(`${counter.key}: a version that is no higher than one before`)
        counter.newest = version
        counter.acknowledged = counter.acknowledged.filter((one) => ms - one.ms < KEPT_MS)
        counter.acknowledged.push({ number, ms })
      } catch (error) {
        if (!(error instanceof CacheError)) throw error
        await sleep(20)
      }
    }
  }

  async #repeat(): Promise<void> {
    while (this.#isWriting) {
      const at = integerBetween(this.#random, 0, this.#options.still - 1)
      // What becomes of it shows when all is read.
      await this.#cache.set(`still-${at}`, this.#stillValue(at)).catch(() => sleep(20))
    }
  }

  /** Half of it can be packed. */
  #stillValue(at: number): string {
    const { stillBytes } = this.#options
    let state = at + 1
    let noise = ''
    while (noise.length < stillBytes / 2) {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
      noise += state.toString(36)
    }
    return noise.padEnd(stillBytes, `${at} `)
  }
}

function numbersFrom(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i)
}

function text(floorMs: number, acknowledged: readonly Acknowledged[], number: number): string {
  const ms = acknowledged.find((one) => one.number === number)?.ms ?? floorMs
  return `${Math.round(floorMs - ms)} ms before the time from which on writes may be lost`
}
