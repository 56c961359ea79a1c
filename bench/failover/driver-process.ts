/**
 * The driver: 500 sets and 500 gets per second, say, each due at its moment whatever became of those before, through the client
 * that an application would use, with its defaults.
 */

import { pathToFileURL } from 'node:url'
import type { ClientCore, ClientPorts } from '../../src/client/client-core.ts'
import type { ClientSettings, ConnectOptions } from '../../src/client/options.ts'
import { partitionOf } from '../../src/kernel/key.ts'
import { codeOf } from '../../test/chaos/client/ledger.ts'
import type { Samples } from '../../test/chaos/client/messages.ts'
import { type CallOutcome, OpenLoop, type OpenLoopCall } from '../../test/chaos/client/open-loop.ts'
import { serveMethods } from '../../test/chaos/remote.ts'
import { type IoredisConnection, type IoredisLibrary, ready, splitAddress } from '../peers/clients/ioredis.ts'
import { loadLibrary } from '../peers/library.ts'
import type { DriverMethods, DriverSettings, TopologyView } from './messages.ts'

interface Client {
  get(key: string): Promise<unknown>
  set(key: string, value: string): Promise<unknown>
}

class Driver {
  #settings: DriverSettings | undefined
  #client: Client | undefined
  #watcher: ClientCore | undefined
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
      this.#watcher = await watchTopology(settings)
    } else {
      const { Cluster } = loadLibrary<IoredisLibrary>('ioredis')
      const redis = await ready(
        new Cluster(settings.addresses.map(splitAddress), { enableAutoPipelining: true }),
      )
      this.#client = new RedisClient(redis)
    }
    for (const key of settings.keys) await this.#client.set(key, 'first')
    return null
  }

  async run(): Promise<null> {
    const { perSecond } = this.#require(this.#settings)
    this.#loop = new OpenLoop(2 * perSecond, () => this.#next())
    return null
  }

  async view(): Promise<TopologyView> {
    const { keys } = this.#require(this.#settings)
    const { topology } = this.#require(this.#watcher).router
    const region = topology.regions.find(({ name }) => name === 'default')
    const group = topology.groups.find(({ name }) => name === region?.group)
    if (region === undefined || group === undefined) throw new Error('there is no default region')
    const { firstPartition, partitionCount, replicationFactor } = group
    const partitions = topology.partitions.slice(firstPartition, firstPartition + partitionCount)
    return {
      owners: keys.map((key) => {
        const bytes = Buffer.from(key)
        const at = partitionOf(bytes, 0, bytes.length, region.regionId, partitionCount)
        return topology.nodes[partitions[at]?.primary ?? -1]?.nodeId
      }),
      isWhole: partitions.every(
        ({ inSync, learners }) => inSync.length >= replicationFactor && learners.length === 0,
      ),
    }
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
      note(codeOf(error))
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

/** A second client, idle, which is only told of topologies. */
async function watchTopology({ build, addresses }: DriverSettings): Promise<ClientCore> {
  const [core, settings, ports] = await Promise.all([
    fromDist<{
      ClientCore: new (
        ports: ClientPorts,
        settings: ClientSettings,
        onClose: () => Promise<void>,
      ) => ClientCore
    }>(build, 'client/client-core.js'),
    fromDist<{ resolveSettings: (options: ConnectOptions) => ClientSettings }>(build, 'client/options.js'),
    machine(build),
  ])
  const watcher = new core.ClientCore(
    ports,
    settings.resolveSettings({ nodes: addresses, connectTimeout: 20_000 }),
    async () => {},
  )
  await watcher.contact()
  return watcher
}

async function machine(build: string): Promise<ClientPorts> {
  const [clock, scheduler, random, dialer] = await Promise.all([
    fromDist<{ systemClock: ClientPorts['clock'] }>(build, 'adapters/system/clock.js'),
    fromDist<{ systemScheduler: ClientPorts['scheduler'] }>(build, 'adapters/system/scheduler.js'),
    fromDist<{ systemRandom: ClientPorts['random'] }>(build, 'adapters/system/random.js'),
    fromDist<{ GrpcDialer: new () => ClientPorts['dialer'] }>(build, 'adapters/grpc/dialer.js'),
  ])
  return {
    clock: clock.systemClock,
    scheduler: scheduler.systemScheduler,
    random: random.systemRandom,
    dialer: new dialer.GrpcDialer(),
  }
}

/** dist is not there when this file is checked; callers say what they use of it. */
async function fromDist<T>(build: string, module: string): Promise<T> {
  return (await import(pathToFileURL(`${build}/dist/${module}`).href)) as T
}

const driver = new Driver()
serveMethods<DriverMethods>({
  connect: (settings) => driver.connect(settings),
  run: () => driver.run(),
  view: () => driver.view(),
  stop: () => driver.stop(),
})
