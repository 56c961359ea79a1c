/**
 * The driver: 500 sets and 500 gets per second, say, each due at its moment whatever became of those before, through the client
 * that an application would use, with its defaults.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import type { ConnectOptions } from '../../src/client/options.ts'
import { codeOf } from '../../test/chaos/client/ledger.ts'
import type { Samples } from '../../test/chaos/client/messages.ts'
import { type CallOutcome, OpenLoop, type OpenLoopCall } from '../../test/chaos/client/open-loop.ts'
import { fromDist, TopologyWatch } from '../../test/chaos/client/topology-watch.ts'
import { serveMethods } from '../../test/chaos/remote.ts'
import { type IoredisConnection, type IoredisLibrary, ready, splitAddress } from '../peers/clients/ioredis.ts'
import { loadLibrary } from '../peers/library.ts'
import type { DriverMethods, DriverSettings, TopologyView } from './messages.ts'

const START_ATTEMPTS_MAX = 50
const START_PAUSE_MS = 200

interface Client {
  get(key: string): Promise<unknown>
  set(key: string, value: string): Promise<unknown>
}

class Driver {
  #settings: DriverSettings | undefined
  #client: Client | undefined
  #watch: TopologyWatch | undefined
  #loop: OpenLoop | undefined
  #calls = 0

  async connect(settings: DriverSettings): Promise<null> {
    this.#settings = settings
    if (settings.kind === 'ringcache') {
      const { connect } = await fromDist<{ connect: (options: ConnectOptions) => Promise<Client> }>(
        settings.build,
        'index.js',
      )
      this.#client = await connect({
        nodes: settings.addresses,
        timeout: settings.timeoutMs,
        connectTimeout: 20_000,
      })
      this.#watch = await TopologyWatch.open(settings.build, settings.addresses)
    } else {
      const { Cluster } = loadLibrary<IoredisLibrary>('ioredis')
      const redis = await ready(
        new Cluster(settings.addresses.map(splitAddress), { enableAutoPipelining: true }),
      )
      this.#client = new RedisClient(redis)
    }
    for (const key of settings.keys) await patiently(() => this.#require(this.#client).set(key, 'first'))
    return null
  }

  async run(): Promise<null> {
    const { perSecond } = this.#require(this.#settings)
    this.#loop = new OpenLoop(2 * perSecond, () => this.#next())
    return null
  }

  async view(): Promise<TopologyView> {
    const { keys } = this.#require(this.#settings)
    const watch = this.#require(this.#watch)
    return { owners: watch.owners(keys), isWhole: watch.problem() === undefined }
  }

  stop(): Promise<Samples> {
    return this.#require(this.#loop).stop()
  }

  #next(): OpenLoopCall {
    const { keys } = this.#require(this.#settings)
    const number = this.#calls++
    // A key is set and got in turn, and the keys follow one another in steps of their count's golden section.
    const at = (Math.floor(number / 2) * 127) % keys.length
    return { group: at, run: (note) => this.#call(number, keys[at] as string, note) }
  }

  async #call(number: number, key: string, note: (error: string) => void): Promise<CallOutcome> {
    const client = this.#require(this.#client)
    try {
      await (number % 2 === 0 ? client.set(key, `value ${number}`) : client.get(key))
      return 'ok'
    } catch (error) {
      note(kindOf(error))
      return (error as { outcome?: string }).outcome === 'unknown' ? 'unknown' : 'failed'
    }
  }

  #require<T>(part: T | undefined): T {
    if (part === undefined) throw new Error('asked out of order')
    return part
  }
}

class RedisClient implements Client {
  readonly #redis: IoredisConnection

  constructor(redis: IoredisConnection) {
    this.#redis = redis
  }

  get(key: string): Promise<unknown> {
    return this.#redis.getBuffer(key)
  }

  set(key: string, value: string): Promise<unknown> {
    return this.#redis.set(key, Buffer.from(value))
  }
}

/** A cluster that was just started may not have all copies connected. */
async function patiently(call: () => Promise<unknown>): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await call()
      return
    } catch (error) {
      if (attempt === START_ATTEMPTS_MAX) throw error
      await sleep(START_PAUSE_MS)
    }
  }
}

/** Redis names slots and addresses in its errors. */
function kindOf(error: unknown): string {
  return codeOf(error).replaceAll(/\d[\d.:]*/g, '#')
}

const driver = new Driver()
serveMethods<DriverMethods>({
  connect: (settings) => driver.connect(settings),
  run: () => driver.run(),
  view: () => driver.view(),
  stop: () => driver.stop(),
})
