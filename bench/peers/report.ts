/**
 * Measurements as people and programs read them: passes of one cell joined (calls and times added, histograms merged, so
 * that percentiles are of all calls), ratios of ringcache to each peer, a table and the JSON document.
 */

import { LatencyHistogram } from './latency-histogram.ts'
import type { Measurement } from './measure.ts'
import type { PeerName } from './peer.ts'
import type { SoakResult } from './soak.ts'
import { BATCH_KEYS, isBatch } from './workload.ts'

/** An operation is one call: for mget100 and mset100 a batch of 100 keys. */
export interface Cell {
  readonly peer: PeerName
  readonly workload: string
  readonly concurrency: number
  readonly opsPerSecond: number
  readonly p50Us: number
  readonly p99Us: number
  readonly p999Us: number
  readonly clientCpuUsPerOp: number
  readonly serverCpuUsPerOp: number
  /** System calls that write, where they are counted (Linux): about as many messages were sent. */
  readonly clientWritesPerOp?: number
  readonly serverWritesPerOp?: number
  /** Batches only. */
  readonly keysPerSecond?: number
  /** Large values only: payload bytes per second / 10^6. */
  readonly megabytesPerSecond?: number
  /** Operations per second of each pass, in order of time: how far two measurements of the same thing lie apart. */
  readonly passes: readonly number[]
}

/** ringcache / peer. `throughput` above 1: ringcache does more; `p50` below 1: ringcache answers sooner. */
export interface Ratio {
  readonly workload: string
  readonly concurrency: number
  readonly against: PeerName
  readonly throughput: number
  readonly p50: number
}

export interface Report {
  readonly cells: readonly Cell[]
  readonly ratios: readonly Ratio[]
  readonly versions: Readonly<Record<string, string>>
  readonly soak?: SoakResult
  /** Peers that were asked for and not measured, with the reason. */
  readonly skipped: Readonly<Record<string, string>>
}

export function joinPasses(
  peer: PeerName,
  workload: string,
  concurrency: number,
  passes: readonly Measurement[],
  valueBytes = 0,
): Cell {
  const histogram = new LatencyHistogram()
  let calls = 0
  let seconds = 0
  let clientCpuUs = 0
  let serverCpuUs = 0
  let clientWrites = 0
  let serverWrites = 0
  for (const pass of passes) {
    histogram.add(pass.latencies)
    calls += pass.calls
    seconds += pass.seconds
    clientCpuUs += pass.clientCpuUs
    serverCpuUs += pass.serverCpuUs
    clientWrites += pass.clientWrites ?? 0
    serverWrites += pass.serverWrites ?? 0
  }
  const opsPerSecond = calls / seconds
  return {
    peer,
    workload,
    concurrency,
    opsPerSecond: round(opsPerSecond, opsPerSecond < 1000 ? 2 : 0),
    p50Us: round(histogram.percentileUs(0.5), 1),
    p99Us: round(histogram.percentileUs(0.99), 1),
    p999Us: round(histogram.percentileUs(0.999), 1),
    clientCpuUsPerOp: round(clientCpuUs / calls, 2),
    serverCpuUsPerOp: round(serverCpuUs / calls, 2),
    ...(clientWrites > 0 ? { clientWritesPerOp: round(clientWrites / calls, 3) } : {}),
    ...(serverWrites > 0 ? { serverWritesPerOp: round(serverWrites / calls, 3) } : {}),
    ...(isBatch(workload) ? { keysPerSecond: round(opsPerSecond * BATCH_KEYS, 0) } : {}),
    ...(valueBytes > 0 ? { megabytesPerSecond: round((opsPerSecond * valueBytes) / 1e6, 1) } : {}),
    passes: passes.map((pass) => round(pass.calls / pass.seconds, 0)),
  }
}

export function ratiosOf(cells: readonly Cell[]): Ratio[] {
  const ratios: Ratio[] = []
  for (const ours of cells.filter((cell) => cell.peer === 'ringcache')) {
    for (const theirs of cells) {
      const same = theirs.workload === ours.workload && theirs.concurrency === ours.concurrency
      if (theirs.peer === 'ringcache' || !same) continue
      ratios.push({
        workload: ours.workload,
        concurrency: ours.concurrency,
        against: theirs.peer,
        throughput: round(ours.opsPerSecond / theirs.opsPerSecond, 3),
        p50: round(ours.p50Us / theirs.p50Us, 3),
      })
    }
  }
  return ratios
}

const HEADINGS = [
  'workload',
  'conc',
  'peer',
  'op/s',
  'keys/s',
  'MB/s',
  'p50 µs',
  'p99 µs',
  'p99.9 µs',
] as const
const CPU_HEADINGS = ['client µs/op', 'server µs/op', '× op/s', '× p50'] as const

/** The table in Markdown, which also reads well on a terminal. The last two columns: ringcache / that peer. */
export function tableOf(cells: readonly Cell[], ratios: readonly Ratio[]): string {
  const rows: string[][] = [[...HEADINGS, ...CPU_HEADINGS]]
  for (const cell of cells) {
    const ratio = ratios.find(
      (each) =>
        each.workload === cell.workload &&
        each.concurrency === cell.concurrency &&
        each.against === cell.peer,
    )
    rows.push([
      cell.workload,
      String(cell.concurrency),
      cell.peer,
      grouped(cell.opsPerSecond),
      cell.keysPerSecond === undefined ? '' : grouped(cell.keysPerSecond),
      cell.megabytesPerSecond === undefined ? '' : grouped(cell.megabytesPerSecond),
      ...[cell.p50Us, cell.p99Us, cell.p999Us].map((us) => grouped(us < 100 ? us : Math.round(us))),
      cell.clientCpuUsPerOp.toFixed(2),
      cell.serverCpuUsPerOp.toFixed(2),
      ratio === undefined ? '' : ratio.throughput.toFixed(2),
      ratio === undefined ? '' : ratio.p50.toFixed(2),
    ])
  }
  return markdown(rows, [0, 2])
}

export function soakTable(result: SoakResult): string {
  const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(1)
  const table = markdown(
    [
      ['process', 'RSS at half time, MiB', 'RSS at the end, MiB', 'growth'],
      ...result.processes.map((each) => [
        each.name,
        mib(each.middleBytes),
        mib(each.endBytes),
        `${(100 * each.growth).toFixed(2)} %`,
      ]),
    ],
    [0],
  )
  const perSecond = grouped(Math.round(result.calls / result.seconds))
  const hitShare = ((100 * result.hits) / result.calls).toFixed(1)
  return `${table}\n\nsoak: ${perSecond} calls/s for ${result.seconds} s, ${hitShare} % found; the others were written anew`
}

/** @param left numbers of the columns that are not numbers. */
function markdown(rows: readonly (readonly string[])[], left: readonly number[]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? '').length)),
  )
  const lines = rows.map((row) => {
    const padded = widths.map((width, column) => {
      const text = row[column] ?? ''
      return left.includes(column) ? text.padEnd(width) : text.padStart(width)
    })
    return `| ${padded.join(' | ')} |`
  })
  const rule = widths.map((width, column) =>
    left.includes(column) ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`,
  )
  return [lines[0], `| ${rule.join(' | ')} |`, ...lines.slice(1)].join('\n')
}

function grouped(value: number): string {
  return value.toLocaleString('en-US')
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits))
}
