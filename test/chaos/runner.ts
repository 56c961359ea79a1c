/**
 * One chaos run: nodes and clients are started, faults follow one another while the clients work, then everything is read back and
 * judged. One fault at a time: the next one comes when the cluster is whole again, for a cluster that has lost a node need not
 * survive the loss of a second.
 */

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { SeededRandom } from '../../src/kernel/random.ts'
import { parseHistory } from '../../src/testing/history.ts'
import type { ClientMethods, LedgerVerdict, ReadMode, WorkloadResult } from './client/messages.ts'
import { ChaosCluster } from './cluster/chaos-cluster.ts'
import { SmallDisk } from './cluster/small-disk.ts'
import { CommandLine } from './command-line.ts'
import { FAULTS } from './faults/catalogue.ts'
import type { FaultContext } from './faults/fault.ts'
import { FaultSchedule } from './faults/schedule.ts'
import { nowMs, nowNs } from './monotonic.ts'
import { DirectNetwork } from './network/direct-network.ts'
import { NamespaceNetwork } from './network/namespace-network.ts'
import type { ChaosNetwork, NetworkKind } from './network/network.ts'
import { ProxyNetwork } from './network/proxy-network.ts'
import type { ChaosOptions } from './options.ts'
import { RemoteProcess } from './remote.ts'
import { type ChaosReport, type FaultRecord, makeReport } from './report/report.ts'
import { judge } from './report/verdict.ts'
import { Safety } from './safety.ts'
import { say } from './say.ts'

const CLIENT_PROCESS = fileURLToPath(new URL('./client/client-process.ts', import.meta.url))
const HISTORY_PERIOD_MS = 60_000
const WARM_UP_MS = 2_000

/** Writes histories, logs and report.json to `folder`. */
export async function runChaos(options: ChaosOptions, folder: string): Promise<ChaosReport> {
  mkdirSync(folder, { recursive: true })
  await using network = await openNetwork(options.network, options.firstPort)
  const ends = Array.from({ length: options.clients }, (_, at) => `client${at + 1}`)
  for (const end of ends) await network.addClient(end)
  await using cluster = await ChaosCluster.start({
    nodes: options.nodes,
    spares: options.faults.includes('members') ? 1 : 0,
    network,
    build: options.build,
    folder,
    partitions: options.partitions,
    smallDisk: options.faults.includes('disk') && SmallDisk.problem() === undefined,
    falseClock: options.faults.includes('clock'),
  })
  await using clients = new Clients(ends.map((end) => new RemoteProcess(network, end, CLIENT_PROCESS)))
  const read = await clients.connect(options, cluster.addresses)
  const commandLine = new CommandLine(cluster, clients.first.end)
  const safety = new Safety(cluster, clients.first, commandLine, options.healMs)
  await safety.detect()
  await safety.wait()
  say(`${options.nodes} nodes serve; ${network.about}; reads: ${read}; files in ${folder}`)

  const historyFiles = ends.map((end) => join(folder, `history-${end}.jsonl`))
  const startedMs = nowMs()
  await clients.run(options, historyFiles)
  await sleep(WARM_UP_MS)
  const { faults, leftOut, problems } = await injectFaults(options, {
    cluster,
    network,
    clients: ends,
    random: new SeededRandom(options.seed),
    commandLine,
    untilSafe: () => safety.wait(),
    leaders: () => clients.first.call('leaders', null),
  })
  const results = await clients.stop()
  const ledger = await clients.readLedger()
  const seconds = (nowMs() - startedMs) / 1000

  say('checking the history …')
  const text = historyFiles.map((file) => readFileSync(file, 'utf8')).join('')
  writeFileSync(join(folder, 'history.jsonl'), text)
  const report = makeReport({
    seed: options.seed,
    nodes: options.nodes,
    seconds,
    network: `${network.kind}: ${network.about}`,
    read,
    safety: safety.how,
    faults,
    leftOut,
    clients: results,
    ledger,
    history: judge(parseHistory(text), read),
    surprises: cluster.surprises,
    problems,
    stallMs: options.stallMs,
    strict: options.strict,
  })
  writeFileSync(join(folder, 'report.json'), `${JSON.stringify(report, undefined, 2)}\n`)
  return report
}

async function openNetwork(kind: NetworkKind, firstPort: number): Promise<ChaosNetwork> {
  switch (kind) {
    case 'direct':
      return new DirectNetwork(firstPort)
    case 'proxy':
      return new ProxyNetwork(firstPort)
    case 'namespaces': {
      const problem = await NamespaceNetwork.problem()
      if (problem !== undefined) throw new Error(`--network namespaces: ${problem}`)
      return NamespaceNetwork.open()
    }
  }
}

interface Injected {
  readonly faults: readonly FaultRecord[]
  readonly leftOut: Readonly<Record<string, string>>
  readonly problems: readonly string[]
}

async function injectFaults(options: ChaosOptions, context: FaultContext): Promise<Injected> {
  const leftOut: Record<string, string> = {}
  const possible = options.faults.filter((name) => {
    const problem = FAULTS[name].problem(context)
    if (problem !== undefined) leftOut[name] = problem
    return problem === undefined
  })
  const faults: FaultRecord[] = []
  const problems: string[] = []
  if (possible.length === 0) {
    // A run without faults is of use: it shows what is normal.
    await sleep(options.durationMs)
    return { faults, leftOut, problems }
  }
  const schedule = new FaultSchedule(possible, context.random)
  const endAt = nowMs() + options.durationMs
  while (nowMs() < endAt) {
    const fault = await injectOne(schedule.next(), context)
    faults.push(fault)
    const { name, what, problem } = fault
    say(`${name.padEnd(10)} ${what}${problem === undefined ? '' : `: ${problem}`}`)
    if (fault.safeMs === undefined) {
      problems.push('the run was ended early, for the cluster did not heal')
      break
    }
    await sleep(Math.max(0, Math.min(options.quietMs, endAt - nowMs())))
  }
  return { faults, leftOut, problems }
}

async function injectOne(name: FaultRecord['name'], context: FaultContext): Promise<FaultRecord> {
  const startMs = nowMs()
  let what = ''
  try {
    what = await FAULTS[name].inject(context)
    const endMs = nowMs()
    await context.untilSafe()
    return { name, what, startMs, endMs, safeMs: nowMs(), problem: undefined }
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error)
    return { name, what, startMs, endMs: nowMs(), safeMs: undefined, problem }
  }
}

/** All client processes. */
class Clients implements AsyncDisposable {
  readonly #clients: readonly RemoteProcess<ClientMethods>[]

  constructor(clients: readonly RemoteProcess<ClientMethods>[]) {
    this.#clients = clients
  }

  get first(): RemoteProcess<ClientMethods> {
    return this.#clients[0] as RemoteProcess<ClientMethods>
  }

  /** @returns how all of them can read. */
  async connect(options: ChaosOptions, addresses: readonly string[]): Promise<ReadMode> {
    const { seed, build, timeoutMs } = options
    const connected = await Promise.all(
      this.#clients.map((handle, client) =>
        handle.call('connect', { client, seed, build, addresses, timeoutMs }),
      ),
    )
    return connected.every(({ read }) => read === 'linearizable') ? 'linearizable' : 'primary'
  }

  async run(options: ChaosOptions, historyFiles: readonly string[]): Promise<void> {
    const { workers, thinkMs, hotKeys, ledgerRate } = options
    const startNs = nowNs()
    await Promise.all(
      this.#clients.map((handle, at) =>
        handle.call('run', {
          ...{ workers, thinkMs, hotKeys, ledgerRate, startNs },
          periodMs: HISTORY_PERIOD_MS,
          historyFile: historyFiles[at] as string,
        }),
      ),
    )
  }

  stop(): Promise<WorkloadResult[]> {
    return Promise.all(this.#clients.map((handle) => handle.call('stop', null)))
  }

  readLedger(): Promise<LedgerVerdict[]> {
    return Promise.all(this.#clients.map((handle) => handle.call('readLedger', null)))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#clients.map((handle) => handle[Symbol.asyncDispose]()))
  }
}
