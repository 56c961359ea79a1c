/**
 * A client of a chaos run as a process of its own, on the library of dist as applications use it. Does what the runner asks
 * (messages.ts) and ends with it.
 */

import { createWriteStream, type WriteStream } from 'node:fs'
import type { Cache } from '../../../src/client/cache.ts'
import type { ConnectOptions } from '../../../src/client/options.ts'
import { HistoryRecorder, historyLine } from '../../../src/testing/history.ts'
import { nowNs } from '../monotonic.ts'
import { serveMethods } from '../remote.ts'
import { CheckedWorkload } from './checked-workload.ts'
import { codeOf, Ledger } from './ledger.ts'
import type { ClientMethods, ClientSettings, ReadMode, WorkloadResult, WorkloadSettings } from './messages.ts'
import { OpenLoop } from './open-loop.ts'
import { fromDist, TopologyWatch } from './topology-watch.ts'

type Connect = (options: ConnectOptions) => Promise<Cache>

/** Keys of a probe: enough to meet every primary. */
const PROBES = 128

class ChaosClient {
  #cache: Cache | undefined
  #watch: TopologyWatch | undefined
  #settings: ClientSettings | undefined
  #read: ReadMode = 'primary'
  #ledger: Ledger | undefined
  #run:
    | { workload: CheckedWorkload; loop: OpenLoop; recorder: HistoryRecorder; file: WriteStream }
    | undefined
  #probes = 0

  async connect(settings: ClientSettings): Promise<{ read: ReadMode }> {
    this.#settings = settings
    const { connect } = await fromDist<{ connect: Connect }>(settings.build, 'index.js')
    this.#watch = await TopologyWatch.open(settings.build, settings.addresses)
    this.#cache = await connect({
      nodes: settings.addresses,
      timeout: settings.timeoutMs,
      connectTimeout: 20_000,
      name: `chaos-${settings.client}`,
    })
    this.#read = await this.#bestRead()
    return { read: this.#read }
  }

  async run(settings: WorkloadSettings): Promise<null> {
    const { client, seed } = this.#require(this.#settings)
    const cache = this.#require(this.#cache)
    const file = createWriteStream(settings.historyFile)
    const recorder = new HistoryRecorder(nowNs, (operation) => file.write(`${historyLine(operation)}\n`))
    const workload = new CheckedWorkload(cache, recorder, settings, { client, seed, read: this.#read })
    this.#ledger = new Ledger(cache, client, seed, this.#read)
    const loop = new OpenLoop(2 * settings.ledgerRate, this.#ledger.next)
    workload.start()
    this.#run = { workload, loop, recorder, file }
    return null
  }

  async stop(): Promise<WorkloadResult> {
    const { workload, loop, recorder, file } = this.#require(this.#run)
    const [samples] = await Promise.all([loop.stop(), workload.stop()])
    recorder.close()
    await new Promise<void>((resolve) => file.end(resolve))
    return {
      operations: workload.operations,
      unknown: workload.unknown,
      failed: workload.failed,
      codes: Object.fromEntries(workload.codes),
      samples,
      ledger: this.#require(this.#ledger).counts,
      problems: workload.problems.slice(0, 20),
    }
  }

  readLedger(): Promise<ClientMethods['readLedger']['result']> {
    return this.#require(this.#ledger).verify()
  }

  async probe({ timeoutMs }: { timeoutMs: number }): Promise<{ problem: string | undefined }> {
    const cache = this.#require(this.#cache)
    const missing = this.#require(this.#watch).problem()
    if (missing !== undefined) return { problem: missing }
    const round = this.#probes++
    const entries = Array.from({ length: PROBES }, (_, at) => [`probe-${round}-${at}`, at] as const)
    try {
      const results = await cache.mset(entries, { durability: 'all', ttl: 10_000, timeout: timeoutMs })
      const failed = [...results.values()].find((result) => 'code' in result)
      return { problem: failed === undefined ? undefined : writeProblem(failed) }
    } catch (error) {
      return { problem: writeProblem(error) }
    }
  }

  async leaders(): Promise<readonly string[]> {
    return this.#require(this.#watch).leaders()
  }

  async close(): Promise<null> {
    await Promise.all([this.#cache?.close(), this.#watch?.close()])
    return null
  }

  async #bestRead(): Promise<ReadMode> {
    try {
      await this.#require(this.#cache).get('which-read', { read: 'linearizable' as 'primary' })
      return 'linearizable'
    } catch (error) {
      const code = codeOf(error)
      if (code === 'UNSUPPORTED' || code === 'INVALID_ARGUMENT') return 'primary'
      throw error
    }
  }

  #require<T>(part: T | undefined): T {
    if (part === undefined) throw new Error('asked out of order')
    return part
  }
}

function writeProblem(error: unknown): string {
  return `a write to all replicas ends ${codeOf(error)}`
}

const client = new ChaosClient()
serveMethods<ClientMethods>({
  connect: (settings) => client.connect(settings),
  run: (settings) => client.run(settings),
  stop: () => client.stop(),
  readLedger: () => client.readLedger(),
  probe: (params) => client.probe(params),
  leaders: () => client.leaders(),
  close: () => client.close(),
})
