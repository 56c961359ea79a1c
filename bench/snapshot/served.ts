/**
 * `npm run bench -- snapshot --served`: what clients see of it while nodes write their snapshots. Three real processes of dist, each with
 * all entries; a driver of its own asks for a steady share of the maximum (95 % reads), in an open loop.
 *
 * Each node writes its first snapshot, a full one, at its turn, a third of an interval apart. The cluster is started behind the turn of
 * one, so that all is stored before the next. The bench sees a snapshot begin by the growth of its files and end by its log. What was
 * due while any node wrote belongs to the phase *writing*, what was due before the first to *before*.
 */

import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { ChaosCluster } from '../../test/chaos/cluster/chaos-cluster.ts'
import type { ChaosNode } from '../../test/chaos/cluster/chaos-node.ts'
import { nowMs } from '../../test/chaos/monotonic.ts'
import { DirectNetwork } from '../../test/chaos/network/direct-network.ts'
import { RemoteProcess } from '../../test/chaos/remote.ts'
import { LatencyHistogram } from '../peers/latency-histogram.ts'
import type { DriverMethods, PhaseSamples } from '../rebalance/messages.ts'

const DRIVER_PROCESS = fileURLToPath(new URL('../rebalance/driver-process.ts', import.meta.url))
const NODES = 3
/** From one node's turn to its start, so that it doesn't come twice. */
const AFTER_TURN_MS = 600
const UPDATE_SHARE = 0.05
const MAX_SECONDS = 3
const CONCURRENCY = 256
const WARMUP_MS = 2000
const POLL_MS = 20
const MEMORY_PER_ENTRY_BYTES = 300
const MEMORY_BASE_BYTES = 512 * 2 ** 20
/** What docs/guarantees.md says: twice as much as before, or this. */
const P99_MS = 5

export interface ServedOptions {
  readonly entries: number
  readonly valueBytes: number
  readonly partitions: number
  /** Share of the measured maximum that is asked for. */
  readonly load: number
  readonly intervalSeconds: number
  readonly bytesPerSecond: string
  readonly firstPort: number
  readonly build: string
}

export interface ServedFigures {
  readonly perSecond: number
  readonly before: ReadFigures
  readonly writing: ReadFigures
  /** How long each node took for its snapshot. */
  readonly snapshotMs: readonly number[]
  readonly holds: boolean
}

interface ReadFigures {
  readonly seconds: number
  readonly reads: number
  readonly p50Us: number
  readonly p99Us: number
  readonly maxMs: number
  /** Of these, how late the driver itself was. */
  readonly lateP99Us: number
  readonly errors: number
}

export async function measureServed(options: ServedOptions): Promise<ServedFigures> {
  const { entries, valueBytes, build, partitions } = options
  const folder = mkdtempSync(join(tmpdir(), 'ringcache-served-'))
  try {
    const turnsMs = (1000 * options.intervalSeconds) / NODES
    await sleep(turnsMs - (Date.now() % turnsMs) + AFTER_TURN_MS)
    await using network = new DirectNetwork(options.firstPort)
    const memoryBytes = MEMORY_BASE_BYTES + entries * (MEMORY_PER_ENTRY_BYTES + valueBytes)
    await using cluster = await ChaosCluster.start({
      ...{ nodes: NODES, spares: 0, network, build, folder, partitions },
      smallDisk: false,
      falseClock: false,
      memoryLimit: `${Math.ceil(memoryBytes / 2 ** 20)}mb`,
      snapshots: { interval: `${options.intervalSeconds}s`, bytesPerSecond: options.bytesPerSecond },
    })
    await using driver = new RemoteProcess<DriverMethods>(network, 'client1', DRIVER_PROCESS)
    const target = { addresses: cluster.addresses, build, entries, valueBytes, updateShare: UPDATE_SHARE }
    await driver.call('connect', target)
    console.error(`stored ${entries} entries in ${(await driver.call('fill', null)).seconds.toFixed(1)} s`)
    const { callsPerSecond } = await driver.call('saturate', {
      seconds: MAX_SECONDS,
      concurrency: CONCURRENCY,
    })
    const perSecond = Math.round(options.load * callsPerSecond)
    console.error(`at most ${Math.round(callsPerSecond)} calls per second, ${perSecond} are asked for`)
    const writers = cluster.nodes.map((node) => new Writer(node, folder))
    if (writers.some((writer) => writer.state !== 'waiting'))
      throw new Error('a node wrote a snapshot before the load began: give a longer --interval')
    await driver.call('open', { perSecond, phase: 'warm-up' })
    await sleep(WARMUP_MS)
    let phase = 'before'
    await driver.call('phase', { name: phase })
    const giveUpAt = nowMs() + 3000 * options.intervalSeconds
    for (;;) {
      for (const writer of writers) writer.look()
      if (writers.every(({ state }) => state === 'done')) break
      const isWriting = writers.some(({ state }) => state === 'writing')
      const name = isWriting ? 'writing' : phase === 'before' ? 'before' : 'between'
      if (name !== phase) await driver.call('phase', { name })
      phase = name
      if (nowMs() > giveUpAt) throw new Error('not every node wrote a snapshot')
      await sleep(POLL_MS)
    }
    const { phases } = await driver.call('stop', null)
    console.error(figuresOf(phases, 'between'))
    const before = figuresOf(phases, 'before')
    const writing = figuresOf(phases, 'writing')
    const holds = writing.p99Us <= Math.max(2 * before.p99Us, P99_MS * 1000) && writing.errors === 0
    return { perSecond, before, writing, snapshotMs: writers.map(({ tookMs }) => tookMs), holds }
  } finally {
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
  }
}

/** A node as its snapshots are seen from outside. */
class Writer {
  readonly #snapshots: string
  readonly #log: string
  readonly #bytesBefore: number
  state: 'waiting' | 'writing' | 'done' = 'waiting'
  tookMs = 0

  constructor(node: ChaosNode, folder: string) {
    this.#snapshots = join(node.dataDir, 'snapshots')
    this.#log = join(folder, `${node.id}.log`)
    this.#bytesBefore = this.#bytes
    this.look()
  }

  look(): void {
    if (this.state === 'waiting' && this.#bytes > this.#bytesBefore) this.state = 'writing'
    if (this.state === 'done') return
    const line = readFileSync(this.#log, 'utf8')
      .split('\n')
      .find((one) => one.includes('"snapshot"'))
    if (line !== undefined) {
      this.state = 'done'
      this.tookMs = (JSON.parse(line) as { ms: number }).ms
    }
  }

  get #bytes(): number {
    let bytes = 0
    for (const name of readdirSync(this.#snapshots)) {
      // LevelDB removes files as it goes.
      if (/\.(log|ldb)$/.test(name))
        bytes += statSync(join(this.#snapshots, name), { throwIfNoEntry: false })?.size ?? 0
    }
    return bytes
  }
}

function figuresOf(phases: readonly PhaseSamples[], name: string): ReadFigures {
  const reads = new LatencyHistogram()
  const late = new LatencyHistogram()
  let [seconds, maxMs, errors] = [0, 0, 0]
  for (const phase of phases) {
    if (phase.name !== name) continue
    reads.add(phase.reads)
    late.add(phase.late)
    seconds += phase.seconds
    errors += phase.errors
    maxMs = Math.max(maxMs, phase.readMaxMs)
  }
  return {
    seconds: Math.round(seconds * 10) / 10,
    reads: reads.total,
    p50Us: Math.round(reads.percentileUs(0.5)),
    p99Us: Math.round(reads.percentileUs(0.99)),
    maxMs: Math.round(maxMs * 10) / 10,
    lateP99Us: late.total === 0 ? 0 : Math.round(late.percentileUs(0.99)),
    errors,
  }
}
