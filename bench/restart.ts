/**
 * `npm run bench -- restart`: what the restart of one node of three costs with its snapshots, and without, in one run. Real processes
 * of dist; between every two nodes a TCP proxy that counts bytes and holds what goes to the node that restarts to a rate. A driver of its
 * own reads at a steady rate all the while, past the proxies.
 *
 * Phases: *before*; *away*, the node is killed and one in a hundred entries is stored anew; *warm*, it starts with its snapshots;
 * *whole*; *away again*, it is killed and its snapshots are removed; *cold*, it starts with nothing and gets a full copy; *after*.
 * A restart ends when the node is in sync in every partition. Every limit that does not hold is named, and makes the exit code 1.
 */

import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { TopologyWatch } from '../test/chaos/client/topology-watch.ts'
import { ChaosCluster } from '../test/chaos/cluster/chaos-cluster.ts'
import type { ChaosNode } from '../test/chaos/cluster/chaos-node.ts'
import { nowMs } from '../test/chaos/monotonic.ts'
import { DirectNetwork } from '../test/chaos/network/direct-network.ts'
import { ProxyNetwork } from '../test/chaos/network/proxy-network.ts'
import { RemoteProcess } from '../test/chaos/remote.ts'
import { runCommand } from './command.ts'
import type { DriverMethods, LoadSamples, PhaseSamples } from './rebalance/messages.ts'
import { parseOptions, type RestartBenchOptions, USAGE } from './restart/options.ts'

const DRIVER_PROCESS = fileURLToPath(new URL('./rebalance/driver-process.ts', import.meta.url))
const NODES = 3
const POLL_MS = 20
const SNAPSHOT_TIMEOUT_MS = 180_000
const MEMORY_PER_ENTRY_BYTES = 300
const MEMORY_BASE_BYTES = 512 * 2 ** 20
/** As said in docs/guarantees.md. */
const BYTES_SHARE_MAX = 0.05
const TIME_SHARE_MAX = 0.25

/** One restart, from the start of the process to the last partition in sync. */
interface Restart {
  readonly seconds: number
  /** Of them, until it asked for a role: the start of the program, and loading. */
  readonly loadingSeconds: number
  /** Between it and the other nodes. */
  readonly toBytes: number
  readonly fromBytes: number
}

interface RestartReport {
  readonly entries: number
  readonly valueBytes: number
  readonly changedEvery: number
  readonly linkBytesPerSecond: number
  readonly warm: Restart
  readonly cold: Restart
  readonly bytesShare: number
  readonly timeShare: number
  readonly phases: readonly { name: string; reads: number; misses: number; errors: number; maxMs: number }[]
  readonly problems: LoadSamples['errors']
  readonly broken: readonly string[]
}

/** @returns the exit code: 0; 1 when a limit does not hold; 2 for wrong arguments. */
export function run(args: readonly string[]): Promise<number> {
  return runCommand(args, { usage: USAGE, parse: parseOptions, run: measure })
}

async function measure(options: RestartBenchOptions): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'ringcache-restart-'))
  try {
    const report = await measureRestarts(folder, options)
    for (const line of render(report)) console.log(line)
    if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(report, undefined, 2)}\n`)
    return report.broken.length === 0 ? 0 : 1
  } finally {
    if (options.logFolder !== undefined)
      cpSync(folder, options.logFolder, { recursive: true, filter: (path) => !path.includes('/data') })
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
  }
}

export async function measureRestarts(folder: string, options: RestartBenchOptions): Promise<RestartReport> {
  const { entries, valueBytes, changedEvery, linkBytesPerSecond, build } = options
  const restMs = 1000 * options.restSeconds
  const memoryBytes = MEMORY_BASE_BYTES + entries * (MEMORY_PER_ENTRY_BYTES + valueBytes)
  await using network = new ProxyNetwork(options.firstPort)
  await using cluster = await ChaosCluster.start({
    ...{ nodes: NODES, spares: 0, network, build, folder, partitions: options.partitions },
    smallDisk: false,
    falseClock: false,
    memoryLimit: `${Math.ceil(memoryBytes / 2 ** 20)}mb`,
    snapshots: { interval: `${options.snapshotSeconds}s`, bytesPerSecond: '1gb' },
  })
  const node = cluster.nodes[NODES - 1] as ChaosNode
  await using driver = new RemoteProcess<DriverMethods>(new DirectNetwork(0), 'client1', DRIVER_PROCESS)
  await driver.call('connect', { addresses: cluster.addresses, build, entries, valueBytes, updateShare: 0 })
  say(`stored ${entries} entries in ${(await driver.call('fill', null)).seconds.toFixed(1)} s`)
  const bench = new Restarts(
    node,
    network,
    folder,
    options,
    await TopologyWatch.open(build, cluster.addresses),
  )
  try {
    await bench.snapshot()
    await driver.call('open', { perSecond: options.readsPerSecond, phase: 'warm-up' })
    const phase = async (name: string): Promise<void> => {
      say(name)
      await driver.call('phase', { name })
    }
    await sleep(restMs)
    await phase('before')
    await sleep(restMs)
    await phase('away')
    await bench.end()
    await driver.call('change', { every: changedEvery })
    await phase('warm')
    const warm = await bench.restart()
    await phase('whole')
    await sleep(restMs)
    await phase('away again')
    await bench.end()
    bench.removeSnapshots()
    await phase('cold')
    const cold = await bench.restart()
    await phase('after')
    await sleep(restMs)
    return reportOf(
      { entries, valueBytes, changedEvery, linkBytesPerSecond },
      warm,
      cold,
      await driver.call('stop', null),
    )
  } finally {
    await bench.close()
  }
}

/** The node that restarts. */
class Restarts {
  readonly #node: ChaosNode
  readonly #network: ProxyNetwork
  readonly #folder: string
  readonly #options: RestartBenchOptions
  readonly #watch: TopologyWatch

  constructor(
    node: ChaosNode,
    network: ProxyNetwork,
    folder: string,
    options: RestartBenchOptions,
    watch: TopologyWatch,
  ) {
    this.#node = node
    this.#network = network
    this.#folder = folder
    this.#options = options
    this.#watch = watch
  }

  close(): Promise<void> {
    return this.#watch.close()
  }

  /** Resolves once the node's newest snapshot has all entries. */
  async snapshot(): Promise<void> {
    const { entries } = this.#options
    const isSnapshot = (line: string): boolean =>
      line.includes('"snapshot"') && line.includes(`"entries":${entries},`)
    await this.#until('a snapshot has all entries', SNAPSHOT_TIMEOUT_MS, () => this.#lines.some(isSnapshot))
    say(this.#lines.findLast(isSnapshot) ?? '')
  }

  async end(): Promise<void> {
    if (this.#options.end === 'kill') await this.#node.kill()
    else await this.#node.stop()
    await this.#until('the others go on without it', SNAPSHOT_TIMEOUT_MS, () =>
      this.#watch.topology.partitions.every(({ inSync }) => inSync.length === NODES - 1),
    )
  }

  removeSnapshots(): void {
    rmSync(join(this.#node.dataDir, 'snapshots'), { recursive: true })
  }

  async restart(): Promise<Restart> {
    const { linkBytesPerSecond, timeoutSeconds } = this.#options
    const before = this.#network.bytesOf(this.#node.id)
    const linesBefore = this.#lines.length
    this.#network.limitTo(this.#node.id, linkBytesPerSecond)
    const startMs = nowMs()
    let loadedMs = startMs
    await this.#node.start()
    await this.#until('it is in sync in every partition', timeoutSeconds * 1000, () => {
      const { nodes, partitions } = this.#watch.topology
      const at = nodes.findIndex(({ nodeId, state }) => nodeId === this.#node.id && state === 'active')
      if (at < 0) loadedMs = nowMs()
      return at >= 0 && partitions.every(({ inSync }) => inSync.includes(at))
    })
    const seconds = (nowMs() - startMs) / 1000
    this.#network.limitTo(this.#node.id, undefined)
    const after = this.#network.bytesOf(this.#node.id)
    for (const line of this.#lines.slice(linesBefore)) if (line.includes('loaded from snapshots')) say(line)
    return {
      seconds,
      loadingSeconds: (loadedMs - startMs) / 1000,
      toBytes: after.to - before.to,
      fromBytes: after.from - before.from,
    }
  }

  get #lines(): string[] {
    return readFileSync(join(this.#folder, `${this.#node.id}.log`), 'utf8').split('\n')
  }

  async #until(what: string, timeoutMs: number, isTrue: () => boolean): Promise<void> {
    const giveUpAt = nowMs() + timeoutMs
    while (!isTrue()) {
      if (nowMs() > giveUpAt) throw new Error(`${what}: not after ${timeoutMs} ms`)
      await sleep(POLL_MS)
    }
  }
}

function reportOf(
  about: Pick<RestartReport, 'entries' | 'valueBytes' | 'changedEvery' | 'linkBytesPerSecond'>,
  warm: Restart,
  cold: Restart,
  samples: LoadSamples,
): RestartReport {
  const bytesShare = (warm.toBytes + warm.fromBytes) / (cold.toBytes + cold.fromBytes)
  const timeShare = warm.seconds / cold.seconds
  const phases = samples.phases.map(figuresOf)
  const broken: string[] = []
  if (bytesShare > BYTES_SHARE_MAX) broken.push(`bytes: ${percent(bytesShare)} of a full copy's`)
  if (timeShare > TIME_SHARE_MAX) broken.push(`time: ${percent(timeShare)} of a full copy's`)
  for (const { name, misses } of phases) if (misses > 0) broken.push(`${name}: ${misses} reads found nothing`)
  return { ...about, warm, cold, bytesShare, timeShare, phases, problems: samples.errors, broken }
}

function figuresOf({
  name,
  misses,
  errors,
  readMaxMs,
  reads,
}: PhaseSamples): RestartReport['phases'][number] {
  return { name, reads: reads.reduce((sum, [, count]) => sum + count, 0), misses, errors, maxMs: readMaxMs }
}

function render({
  warm,
  cold,
  bytesShare,
  timeShare,
  phases,
  problems,
  broken,
  ...about
}: RestartReport): string[] {
  const row = (name: string, one: Restart): string =>
    `${name}: ${one.seconds.toFixed(1)} s, ${one.loadingSeconds.toFixed(1)} of them until it asked for a role; ` +
    `${megabytes(one.toBytes)} to it, ${megabytes(one.fromBytes)} from it`
  return [
    `${about.entries} entries of ${about.valueBytes} bytes, one in ${about.changedEvery} changed meanwhile; ` +
      `link of ${megabytes(about.linkBytesPerSecond)} a second`,
    row('with its snapshots', warm),
    row('full copy', cold),
    `bytes ${percent(bytesShare)}, time ${percent(timeShare)} of a full copy's`,
    ...phases.map(
      ({ name, reads, misses, errors, maxMs }) =>
        `${name}: ${reads} reads, ${misses} found nothing, ${errors - misses} failed, longest ${maxMs.toFixed(0)} ms`,
    ),
    ...(Object.keys(problems).length === 0 ? [] : [`problems: ${JSON.stringify(problems)}`]),
    broken.length === 0 ? 'all limits hold' : `limits that do not hold: ${broken.join('; ')}`,
  ]
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`
}

function percent(share: number): string {
  return `${(share * 100).toFixed(2)} %`
}

function say(line: string): void {
  console.error(line)
}
