/**
 * The driver, a process of its own: YCSB's B (95 % reads, 5 % updates, keys by its scrambled Zipf distribution) through the client
 * that an application would use, with its defaults. Every key is stored, so a read that finds nothing counts as an error.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Cache } from '../../src/client/cache.ts'
import type { ConnectOptions } from '../../src/client/options.ts'
import { SeededRandom, uniform } from '../../src/kernel/random.ts'
import { codeOf } from '../../test/chaos/client/ledger.ts'
import { fromDist } from '../../test/chaos/client/topology-watch.ts'
import { nowMs } from '../../test/chaos/monotonic.ts'
import { serveMethods } from '../../test/chaos/remote.ts'
import { zipf } from '../peers/workload.ts'
import { type DriverMethods, type DriverSettings, keyOf, type LoadSamples, NOT_FOUND } from './messages.ts'
import { SteadyLoad, type TimedCall } from './steady-load.ts'

/** A power of two: a position is masked, not divided. */
const DRAWS = 2 ** 20
const VALUES = 256
const FILL_BATCH = 200
const FILL_AT_ONCE = 8
const FILL_ATTEMPTS_MAX = 50
const FILL_PAUSE_MS = 200
const WARMUP_SHARE = 0.3

class Driver {
  readonly #cache: Cache
  readonly #settings: DriverSettings
  readonly #values: readonly Uint8Array[]
  readonly #keys: readonly string[]
  readonly #draws: Uint32Array
  readonly #updates: Uint8Array
  #at = 0

  private constructor(cache: Cache, settings: DriverSettings) {
    this.#cache = cache
    this.#settings = settings
    const random = new SeededRandom(3)
    this.#values = Array.from({ length: VALUES }, () =>
      Uint8Array.from({ length: settings.valueBytes }, () => Math.floor(uniform(random) * 256)),
    )
    this.#keys = Array.from({ length: settings.entries }, (_, index) => keyOf(index))
    const draw = zipf(settings.entries, random)
    this.#draws = Uint32Array.from({ length: DRAWS }, draw)
    this.#updates = Uint8Array.from({ length: DRAWS }, () => (uniform(random) < settings.updateShare ? 1 : 0))
  }

  static async open(settings: DriverSettings): Promise<Driver> {
    const { connect } = await fromDist<{ connect: (options: ConnectOptions) => Promise<Cache> }>(
      settings.build,
      'index.js',
    )
    return new Driver(await connect({ nodes: settings.addresses, connectTimeout: 20_000 }), settings)
  }

  async fill(): Promise<{ seconds: number }> {
    const startMs = nowMs()
    let next = 0
    const worker = async (): Promise<void> => {
      while (next < this.#settings.entries) {
        const from = next
        next += FILL_BATCH
        const batch = this.#keys
          .slice(from, next)
          .map((key, at) => [key, this.#values[(from + at) % VALUES] as Uint8Array] as const)
        await this.#store(batch)
      }
    }
    await Promise.all(Array.from({ length: FILL_AT_ONCE }, worker))
    return { seconds: (nowMs() - startMs) / 1000 }
  }

  async change(every: number): Promise<void> {
    const keys = this.#keys.filter((_, index) => index % every === 0)
    for (let from = 0; from < keys.length; from += FILL_BATCH) {
      const batch = keys
        .slice(from, from + FILL_BATCH)
        .map((key, at) => [key, this.#values[(from + at + 1) % VALUES] as Uint8Array] as const)
      await this.#store(batch)
    }
  }

  /** A cluster that was just started may not have all copies connected. */
  async #store(batch: readonly (readonly [string, Uint8Array])[]): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      const outcomes = await this.#cache.mset(batch)
      const failure = [...outcomes.values()].find((outcome) => outcome instanceof Error)
      if (failure === undefined) return
      if (attempt === FILL_ATTEMPTS_MAX) throw failure
      await sleep(FILL_PAUSE_MS)
    }
  }

  async saturate(seconds: number, concurrency: number): Promise<{ callsPerSecond: number; errors: number }> {
    let [calls, errors, stopped] = [0, 0, false]
    const worker = async (): Promise<void> => {
      while (!stopped) {
        if ((await this.next().run()) !== undefined) errors++
        calls++
      }
    }
    const workers = Array.from({ length: concurrency }, worker)
    await sleep(WARMUP_SHARE * seconds * 1000)
    const startMs = nowMs()
    const before = calls
    await sleep(seconds * 1000)
    const callsPerSecond = ((calls - before) * 1000) / (nowMs() - startMs)
    stopped = true
    await Promise.all(workers)
    return { callsPerSecond, errors }
  }

  next(): TimedCall {
    const at = this.#at++ & (DRAWS - 1)
    const key = this.#keys[this.#draws[at] as number] as string
    if (this.#updates[at] === 0) return { isRead: true, run: () => this.#read(key) }
    return { isRead: false, run: () => this.#write(key, this.#values[at % VALUES] as Uint8Array) }
  }

  async #read(key: string): Promise<string | undefined> {
    try {
      const value = await this.#cache.get(key)
      const isWhole = value instanceof Uint8Array && value.length === this.#settings.valueBytes
      return isWhole ? undefined : NOT_FOUND
    } catch (error) {
      return codeOf(error)
    }
  }

  async #write(key: string, value: Uint8Array): Promise<string | undefined> {
    try {
      await this.#cache.set(key, value)
      return undefined
    } catch (error) {
      return codeOf(error)
    }
  }
}

let driver: Driver | undefined
let load: SteadyLoad | undefined

function known<T>(part: T | undefined): T {
  if (part === undefined) throw new Error('asked out of order')
  return part
}

serveMethods<DriverMethods>({
  connect: async (settings) => {
    driver = await Driver.open(settings)
    return null
  },
  fill: () => known(driver).fill(),
  change: async ({ every }) => {
    await known(driver).change(every)
    return null
  },
  saturate: ({ seconds, concurrency }) => known(driver).saturate(seconds, concurrency),
  open: async ({ perSecond, phase }) => {
    const from = known(driver)
    load = new SteadyLoad(perSecond, phase, () => from.next())
    return null
  },
  phase: async ({ name }) => {
    known(load).phase(name)
    return null
  },
  stop: (): Promise<LoadSamples> => known(load).stop(),
})
