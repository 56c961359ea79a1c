/** A client and a fake cluster on virtual time, without a network. */

import { type CacheClient, openClient } from '../../src/client/cache-client.ts'
import { type ConnectOptions, resolveSettings } from '../../src/client/options.ts'
import { SeededRandom } from '../../src/kernel/random.ts'
import { VirtualTime } from '../../src/testing/virtual-time.ts'
import { LoopbackNetwork } from '../../src/wire/loopback.ts'
import { FakeCluster, type FakeClusterOptions } from './fake-node.ts'

export interface Bench {
  readonly time: VirtualTime
  readonly network: LoopbackNetwork
  readonly cluster: FakeCluster
  readonly cache: CacheClient
  /** Runs virtual time until the promise settles. */
  run<T>(promise: Promise<T>): Promise<T>
  /** As `run`, for what must reject: returns the error. */
  failure(promise: Promise<unknown>): Promise<unknown>
  connect(options?: ConnectOptions): Promise<CacheClient>
}

export async function openBench(
  options: ConnectOptions = {},
  cluster: FakeClusterOptions = {},
): Promise<Bench> {
  const bench = makeBench(cluster)
  const cache = await bench.connect(options)
  return { ...bench, cache }
}

/** A cluster without a client yet. */
export function makeBench(options: FakeClusterOptions = {}): Omit<Bench, 'cache'> {
  const time = new VirtualTime()
  const network = new LoopbackNetwork(time)
  const cluster = new FakeCluster(network, { wallMs: () => time.wallMs(), ...options })
  let clients = 0
  const connect = (connectOptions: ConnectOptions = {}): Promise<CacheClient> => {
    const ports = {
      clock: time,
      scheduler: time,
      random: new SeededRandom(++clients),
      dialer: network.dialer(),
    }
    const settings = resolveSettings({ nodes: [cluster.addresses[0] as string], ...connectOptions })
    return time.until(openClient(ports, settings))
  }
  return {
    time,
    network,
    cluster,
    connect,
    run: (promise) => time.until(promise),
    failure: (promise) =>
      time.until(
        promise.then(
          (value) => {
            throw new Error(`expected a failure, not ${String(value)}`)
          },
          (error: unknown) => error,
        ),
      ),
  }
}
