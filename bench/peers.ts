/**
 * `npm run bench -- peers`: ringcache beside Redis and memcached with the clients Node.js applications use, same work, same
 * values, one after the other (docs/benchmarks.md says how and what each row means).
 *
 * Servers of all peers are started once and are idle while others are measured. Each cell (workload, concurrency) is
 * measured for every peer before the next cell, first in one order, then in the reverse, so that what drifts on the
 * machine meets all of them alike.
 */

import { writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { resolve } from 'node:path'
import { runCommand } from './command.ts'
import { findAvailable } from './peers/availability.ts'
import { type JobOptions, runJob } from './peers/jobs.ts'
import { measureLargeValues } from './peers/large-cells.ts'
import { libraryVersion } from './peers/library.ts'
import type { Measurement } from './peers/measure.ts'
import { type PeersOptions, parseOptions, USAGE } from './peers/options.ts'
import type { PeerName, ServerKind, Servers, WorkloadName } from './peers/peer.ts'
import { busyCores } from './peers/process-usage.ts'
import { topFunctions } from './peers/profile.ts'
import { PEERS, startServers } from './peers/registry.ts'
import { type Cell, joinPasses, type Report, ratiosOf, soakTable, tableOf } from './peers/report.ts'
import { SOAK_CONCURRENCY, SOAK_REGION_BYTES, type SoakResult } from './peers/soak.ts'
import { isBatch } from './peers/workload.ts'

/** The load by which servers get ready, in calls and in batches under way. */
const WARMUP_CONCURRENCY = { single: 256, batch: 8 } as const

/** Beyond what the job itself takes: starting a process, making the data, connecting. */
const JOB_MARGIN_MS = 60_000

/** What else runs on the machine before anything is started. */
const BUSY_LOOK_MS = 500
const BUSY_CORES_MAX = 0.2

/** @returns the exit code: 0; 1 when a cell failed or a value was wrong; 2 for wrong arguments. */
export function run(args: readonly string[]): Promise<number> {
  return runCommand(args, {
    usage: USAGE,
    parse: parseOptions,
    run: async (options) => {
      const bench = new PeersBench(options)
      try {
        return await bench.run()
      } finally {
        await bench.stop()
      }
    },
  })
}

class PeersBench {
  readonly #options: PeersOptions
  readonly #servers: Map<ServerKind, Servers> = new Map()
  readonly #failures: string[] = []

  constructor(options: PeersOptions) {
    this.#options = options
  }

  async run(): Promise<number> {
    const { json, peers, install } = this.#options
    const { available, skipped } = await findAvailable(peers, install)
    for (const [peer, reason] of Object.entries(skipped)) console.log(`skipped: ${peer}: ${reason}`)
    const busy = await busyCores(BUSY_LOOK_MS)
    if (busy > BUSY_CORES_MAX) {
      console.log(
        `other processes keep ${busy.toFixed(1)} of ${cpus().length} cores busy: figures will be lower`,
      )
    }
    const cells = await this.#measureAll(available)
    let soaked: SoakResult | undefined
    if (available.includes('ringcache')) {
      cells.push(...(await this.#large()))
      soaked = await this.#soak()
    }
    const ratios = ratiosOf(cells)
    const versions = this.#versions(available)
    const report: Report = { cells, ratios, versions, ...(soaked && { soak: soaked }), skipped }
    if (cells.length > 0) console.log(`\n${tableOf(cells, ratios)}\n`)
    if (soaked !== undefined) console.log(`${soakTable(soaked)}\n`)
    for (const peer of available) console.log(`${peer}: ${PEERS[peer].about}`)
    const { copies, durability } = this.#options
    if (copies !== 3 || durability !== 'quorum') {
      console.log(`ringcache was run otherwise: --copies ${copies} --durability ${durability}`)
    }
    console.log(JSON.stringify(versions))
    if (json !== undefined) writeFileSync(json, `${JSON.stringify(report, undefined, 2)}\n`)
    for (const failure of this.#failures) console.error(`FAILED ${failure}`)
    return this.#failures.length > 0 ? 1 : 0
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#servers.values()].map((servers) => servers.stop()))
    for (const { profiles = [] } of this.#servers.values()) {
      for (const file of profiles) console.log([`\n${file}`, ...topFunctions(file)].join('\n'))
    }
    this.#servers.clear()
  }

  async #measureAll(available: readonly PeerName[]): Promise<Cell[]> {
    const { workloads, concurrencyOf } = this.#options
    const cells: Cell[] = []
    for (const workload of workloads) {
      const peers = available.filter((peer) => PEERS[peer].workloads.includes(workload))
      await this.#startAndLoad(peers, workload)
      for (const concurrency of concurrencyOf(workload)) {
        cells.push(...(await this.#measureCells(peers, workload, concurrency)))
      }
    }
    return cells
  }

  /** A server that compiles its code as it runs is not measured while it does; all get the same. */
  async #startAndLoad(peers: readonly PeerName[], workload: WorkloadName): Promise<void> {
    const { keys, portBase, profileFolder, copies, durability } = this.#options
    const settings = { copies, durability, ...(profileFolder === undefined ? {} : { profileFolder }) }
    for (const name of peers) {
      const kind = PEERS[name].servers
      if (this.#servers.has(kind)) continue
      console.log(`starting ${kind}`)
      const servers = await startServers(kind, portBase, settings)
      this.#servers.set(kind, servers)
      const job = { kind: 'load', peer: name, addresses: servers.addresses, keys } as const
      await runJob(job, { timeoutMs: JOB_MARGIN_MS })
      await this.#warmUp(name, servers, workload)
    }
  }

  async #warmUp(peer: PeerName, servers: Servers, workload: WorkloadName): Promise<void> {
    const { keys, serverWarmupSeconds: seconds } = this.#options
    if (seconds === 0) return
    const concurrency = WARMUP_CONCURRENCY[isBatch(workload) ? 'batch' : 'single']
    const { addresses, pids: serverPids } = servers
    const work = { keys, workload, concurrency, seconds, warmupSeconds: 0, profileFile: undefined }
    const job = { kind: 'measure', peer, addresses, serverPids, ...work } as const
    await runJob(job, { timeoutMs: seconds * 2_000 + JOB_MARGIN_MS })
  }

  async #measureCells(
    peers: readonly PeerName[],
    workload: WorkloadName,
    concurrency: number,
  ): Promise<Cell[]> {
    const passes = new Map<PeerName, Measurement[]>(peers.map((peer) => [peer, []]))
    for (let pass = 0; pass < this.#options.passes; pass++) {
      for (const peer of pass % 2 === 0 ? peers : [...peers].reverse()) {
        const measurement = await this.#measure(peer, workload, concurrency)
        if (measurement !== undefined) passes.get(peer)?.push(measurement)
      }
    }
    return [...passes]
      .filter(([, measured]) => measured.length > 0)
      .map(([peer, measured]) => joinPasses(peer, workload, concurrency, measured))
  }

  async #measure(
    peer: PeerName,
    workload: WorkloadName,
    concurrency: number,
  ): Promise<Measurement | undefined> {
    const { seconds, warmupSeconds, keys, profileFolder } = this.#options
    const what = `${workload} × ${concurrency} ${peer}`
    const servers = this.#servers.get(PEERS[peer].servers) as Servers
    const profileFile =
      profileFolder === undefined
        ? undefined
        : resolve(profileFolder, `${peer}-${workload}-${concurrency}.cpuprofile`)
    const limits: JobOptions = { timeoutMs: (seconds + warmupSeconds) * 2_000 + JOB_MARGIN_MS }
    try {
      const measurement = await runJob(
        {
          kind: 'measure',
          peer,
          addresses: servers.addresses,
          serverPids: servers.pids,
          ...{ keys, workload, concurrency, seconds, warmupSeconds, profileFile },
        },
        limits,
      )
      if (measurement.mismatches > 0) {
        const { mismatches, verified } = measurement
        this.#failures.push(`${what}: ${mismatches} values were not what was stored (${verified} compared)`)
      }
      console.log(
        `${what}: ${Math.round(measurement.calls / measurement.seconds).toLocaleString('en-US')} op/s`,
      )
      if (profileFile !== undefined) console.log(topFunctions(profileFile).join('\n'))
      return measurement
    } catch (error) {
      this.#failures.push(`${what}: ${error instanceof Error ? error.message : String(error)}`)
      return undefined
    }
  }

  async #large(): Promise<Cell[]> {
    if (!this.#options.special.includes('large')) return []
    try {
      await this.#startAndLoad(['ringcache'], 'A')
      const servers = this.#servers.get('ringcache') as Servers
      return await measureLargeValues(servers, this.#options, (failure) => this.#failures.push(failure))
    } catch (error) {
      this.#failures.push(`large: ${error instanceof Error ? error.message : String(error)}`)
      return []
    }
  }

  /** On nodes of its own, whose region holds less than is written. */
  async #soak(): Promise<SoakResult | undefined> {
    const { special, portBase, soakSeconds } = this.#options
    if (!special.includes('soak')) return undefined
    try {
      await this.#servers.get('ringcache')?.stop()
      const servers = await startServers('ringcache', portBase, { regionBytes: SOAK_REGION_BYTES })
      this.#servers.set('ringcache', servers)
      console.log(`soak: ${soakSeconds} s`)
      const { addresses, pids: serverPids } = servers
      return await runJob(
        { kind: 'soak', addresses, serverPids, seconds: soakSeconds, concurrency: SOAK_CONCURRENCY },
        { timeoutMs: soakSeconds * 2_000 + 3 * JOB_MARGIN_MS },
      )
    } catch (error) {
      this.#failures.push(`soak: ${error instanceof Error ? error.message : String(error)}`)
      return undefined
    }
  }

  #versions(available: readonly PeerName[]): Record<string, string> {
    const versions: Record<string, string> = {
      node: process.version,
      machine: `${process.platform} ${process.arch}, ${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown'}`,
    }
    for (const peer of available) {
      const { library, servers } = PEERS[peer]
      const version = library === undefined ? undefined : libraryVersion(library)
      if (library !== undefined && version !== undefined) versions[library] = version
      Object.assign(versions, this.#servers.get(servers)?.versions)
    }
    return versions
  }
}
