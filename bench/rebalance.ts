/**
 * `npm run bench -- rebalance`: what clients see while a cluster of three nodes becomes one of five and again one of three, under
 * a steady load, and how much moves for it. Real processes of dist; the driver is another one, so that its own work and that of the
 * bench don't hide each other.
 *
 * Phases: *before*, three nodes at rest; *start*, two more processes start and join; *grow*, data moves to them; *five*, at rest;
 * *shrink*, both are decommissioned; *after*. What `start` costs is shown by itself, since on one machine it is the start of two
 * programs, not the moving of data. Every limit that does not hold is named, and makes the exit code 1 (bench/rebalance/report.ts).
 */

import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { AdminChannel } from '../src/adapters/grpc/admin-channel.ts'
import { adminServiceOf, loadProtos } from '../src/adapters/grpc/proto.ts'
import { adminClient } from '../src/admin/admin-client.ts'
import type { AdminApi } from '../src/wire/admin.ts'
import { TopologyWatch } from '../test/chaos/client/topology-watch.ts'
import { ChaosCluster } from '../test/chaos/cluster/chaos-cluster.ts'
import { CommandLine } from '../test/chaos/command-line.ts'
import { nowMs } from '../test/chaos/monotonic.ts'
import { DirectNetwork } from '../test/chaos/network/direct-network.ts'
import { RemoteProcess } from '../test/chaos/remote.ts'
import { runCommand } from './command.ts'
import { Holdings, type Moved, type NodeLoad } from './rebalance/holdings.ts'
import type { DriverMethods } from './rebalance/messages.ts'
import { parseOptions, type RebalanceBenchOptions, USAGE } from './rebalance/options.ts'
import {
  idealForJoin,
  idealForLeave,
  imbalanceOf,
  type MoveFigures,
  type RebalanceReport,
  render,
  reportOf,
} from './rebalance/report.ts'

const DRIVER_PROCESS = fileURLToPath(new URL('./rebalance/driver-process.ts', import.meta.url))
const CLIENT = 'client1'
const NODES = 3
const MORE_NODES = 2
const COPIES = 3
const UPDATE_SHARE = 0.05
const MAX_SECONDS = 5
const WARMUP_SECONDS = 3
const START_TIMEOUT_MS = 60_000
const REST_TIMEOUT_MS = 30_000
const OBSERVE_MS = 25
const ASK_MS = 250
const ADMIN_TIMEOUT_MS = 5_000
const MEMORY_PER_ENTRY_BYTES = 300
const MEMORY_BASE_BYTES = 512 * 2 ** 20
/** What a primary logs when the making of a copy has to begin again (src/replication/sync-source.ts). */
const BEGUN_ANEW = 'a learner is to be brought up anew'

/** @returns the exit code: 0; 1 when a limit does not hold; 2 for wrong arguments. */
export function run(args: readonly string[]): Promise<number> {
  return runCommand(args, { usage: USAGE, parse: parseOptions, run: measure })
}

async function measure(options: RebalanceBenchOptions): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'ringcache-rebalance-'))
  try {
    const report = await measureIn(folder, options)
    for (const line of render(report)) console.log(line)
    if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(report, undefined, 2)}\n`)
    return report.broken.length === 0 ? 0 : 1
  } finally {
    if (options.logFolder !== undefined) cpSync(folder, options.logFolder, { recursive: true })
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
  }
}

async function measureIn(folder: string, options: RebalanceBenchOptions): Promise<RebalanceReport> {
  const { entries, valueBytes, build, partitions, seconds } = options
  const restMs = seconds * 1000
  await using network = new DirectNetwork(options.firstPort)
  const memoryBytes = MEMORY_BASE_BYTES + entries * (MEMORY_PER_ENTRY_BYTES + valueBytes)
  await using cluster = await ChaosCluster.start({
    ...{ nodes: NODES, spares: MORE_NODES, network, build, folder, partitions },
    smallDisk: false,
    falseClock: false,
    memoryLimit: `${Math.ceil(memoryBytes / 2 ** 20)}mb`,
  })
  await using driver = new RemoteProcess<DriverMethods>(network, CLIENT, DRIVER_PROCESS)
  await driver.call('connect', {
    addresses: cluster.addresses,
    build,
    entries,
    valueBytes,
    updateShare: UPDATE_SHARE,
  })
  say(`stored ${entries} entries in ${(await driver.call('fill', null)).seconds.toFixed(1)} s`)
  let maxPerSecond: number | undefined
  if (options.perSecond === undefined) {
    const { concurrency } = options
    const { callsPerSecond } = await driver.call('saturate', { seconds: MAX_SECONDS, concurrency })
    maxPerSecond = callsPerSecond
    say(`at most ${Math.round(callsPerSecond)} calls per second`)
  }
  const perSecond = options.perSecond ?? Math.max(1, Math.round(options.load * (maxPerSecond ?? 0)))
  await using bench = await MovingCluster.open(cluster, folder, options)
  await driver.call('open', { perSecond, phase: 'warm-up' })
  const phase = (name: string): Promise<null> => {
    say(name)
    return driver.call('phase', { name })
  }
  await sleep(WARMUP_SECONDS * 1000)
  await phase('before')
  await sleep(restMs)

  const moves: MoveFigures[] = []
  await phase('start')
  await bench.join()
  await phase('grow')
  moves.push(await bench.moved('grow', bench.idealForJoin()))
  await phase('five')
  await sleep(restMs)
  const ideal = bench.idealForLeave()
  await phase('shrink')
  await bench.leave()
  moves.push(await bench.moved('shrink', ideal))
  await phase('after')
  await sleep(restMs)
  const samples = await driver.call('stop', null)
  const names = { before: 'before', during: ['grow', 'shrink'] }
  return reportOf({ entries, valueBytes, maxPerSecond, perSecond }, samples, moves, names)
}

/** The cluster as it grows and shrinks. */
class MovingCluster implements AsyncDisposable {
  readonly #cluster: ChaosCluster
  readonly #folder: string
  readonly #options: RebalanceBenchOptions
  readonly #watch: TopologyWatch
  readonly #holdings: Holdings
  readonly #channels: readonly AdminChannel[]
  readonly #admin: AdminApi
  readonly #timer: NodeJS.Timeout
  #startedMs = 0
  #begunAnew = 0

  private constructor(
    cluster: ChaosCluster,
    folder: string,
    options: RebalanceBenchOptions,
    watch: TopologyWatch,
  ) {
    this.#cluster = cluster
    this.#folder = folder
    this.#options = options
    this.#watch = watch
    this.#holdings = new Holdings(watch.topology, options.entries, options.valueBytes)
    const definition = adminServiceOf(loadProtos())
    this.#channels = cluster.addresses.map((address) => new AdminChannel(address, definition))
    this.#admin = adminClient(this.#channels, ADMIN_TIMEOUT_MS)
    this.#timer = setInterval(() => this.#holdings.observe(watch.topology), OBSERVE_MS)
  }

  static async open(
    cluster: ChaosCluster,
    folder: string,
    options: RebalanceBenchOptions,
  ): Promise<MovingCluster> {
    const watch = await TopologyWatch.open(options.build, cluster.addresses)
    return new MovingCluster(cluster, folder, options, watch)
  }

  /** Resolves once the new nodes have their place on the ring. */
  async join(): Promise<void> {
    await Promise.all(this.#cluster.spares.map((node) => node.start()))
    await this.#until('the new nodes are on the ring', START_TIMEOUT_MS, async () => {
      const { loads } = await this.#admin.rebalance({ action: 'SHOW', includeDrained: false })
      return loads.filter(({ copiesWanted }) => copiesWanted > 0).length === NODES + MORE_NODES
    })
    this.#begin()
  }

  async leave(): Promise<void> {
    this.#begin()
    await Promise.all(
      this.#names.map((nodeId) => this.#admin.decommissionNode({ nodeId, undo: false, force: false })),
    )
  }

  idealForJoin(): Moved {
    const { partitions, totalBytes } = this.#holdings
    const all = { copies: COPIES * partitions, bytes: COPIES * totalBytes }
    return idealForJoin(all, MORE_NODES, NODES + MORE_NODES)
  }

  idealForLeave(): Moved {
    return idealForLeave(this.#loads, this.#names)
  }

  /** Waits until nothing is left to move. */
  async moved(name: string, ideal: Moved): Promise<MoveFigures> {
    await this.#until('nothing is left to move', this.#options.moveTimeoutSeconds * 1000, async () => {
      const { state } = (await this.#admin.rebalance({ action: 'SHOW', includeDrained: false })).progress
      if (state !== 'idle') return false
      const { nodes } = await this.#admin.listNodes({})
      return nodes.every((node) => node.state !== 'leaving')
    })
    const seconds = (nowMs() - this.#startedMs) / 1000
    let check = { code: 1, output: '' }
    await this.#until('all is well', REST_TIMEOUT_MS, async () => {
      const { findings } = await this.#admin.clusterCheck({})
      return findings.every(({ severity }) => severity === 'info')
    }).catch((error: unknown) => say(String(error)))
    check = await new CommandLine(this.#cluster, CLIENT).run(
      ...['cluster', 'check', '--address', this.#cluster.addresses.join()],
    )
    this.#holdings.observe(this.#watch.topology)
    const loads = this.#loads
    return {
      name,
      seconds,
      moved: this.#holdings.moved,
      ideal,
      begunAnew: this.#countBegunAnew() - this.#begunAnew,
      imbalance: imbalanceOf(loads),
      loads,
      check: check.output,
      isWell: check.code === 0,
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer)
    for (const channel of this.#channels) channel.close()
    await this.#watch.close()
  }

  get #names(): readonly string[] {
    return this.#cluster.spares.map(({ id }) => id)
  }

  get #loads(): NodeLoad[] {
    return this.#holdings.loads(this.#watch.topology)
  }

  #begin(): void {
    this.#startedMs = nowMs()
    this.#holdings.restart()
    this.#begunAnew = this.#countBegunAnew()
  }

  #countBegunAnew(): number {
    const nodes = [...this.#cluster.nodes, ...this.#cluster.spares]
    return nodes.reduce((sum, { id }) => {
      const log = readFileSync(join(this.#folder, `${id}.log`), 'utf8')
      return sum + log.split(BEGUN_ANEW).length - 1
    }, 0)
  }

  async #until(what: string, timeoutMs: number, isTrue: () => Promise<boolean>): Promise<void> {
    const giveUpAt = nowMs() + timeoutMs
    while (!(await isTrue())) {
      if (nowMs() > giveUpAt) throw new Error(`${what}: not after ${timeoutMs} ms`)
      await sleep(ASK_MS)
    }
  }
}

function say(line: string): void {
  console.error(line)
}
