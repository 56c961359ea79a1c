/**
 * Figures of a run, what is demanded of them, and the tables.
 *
 * The least that has to move: nodes that come have nothing and are to hold their share, `come / all` of the copies of all partitions;
 * nodes that leave hold what they hold, and each of those copies must be made elsewhere.
 */

import { table } from '../../test/chaos/report/report.ts'
import { LatencyHistogram, type SparseHistogram } from '../peers/latency-histogram.ts'
import type { Moved, NodeLoad } from './holdings.ts'
import type { LoadSamples, PhaseSamples, SecondSample } from './messages.ts'

export interface PhaseFigures {
  readonly name: string
  readonly seconds: number
  readonly reads: number
  readonly p50Us: number
  readonly p99Us: number
  readonly p999Us: number
  readonly maxMs: number
  readonly writeP99Us: number
  /** The driver's own lateness, contained in the others. */
  readonly lateP99Us: number
  readonly errors: number
}

export interface Imbalance {
  readonly copies: number
  readonly primaries: number
  readonly bytes: number
}

export interface MoveFigures {
  readonly name: string
  readonly seconds: number
  readonly moved: Moved
  readonly ideal: Moved
  /** Copies whose making was begun anew, counted by what the nodes logged. */
  readonly begunAnew: number
  readonly imbalance: Imbalance
  readonly loads: readonly NodeLoad[]
  /** What `ringcache cluster check` said once nothing was left to move. */
  readonly check: string
  readonly isWell: boolean
}

export interface RebalanceReport {
  readonly entries: number
  readonly valueBytes: number
  readonly maxPerSecond: number | undefined
  readonly perSecond: number
  readonly phases: readonly PhaseFigures[]
  readonly moves: readonly MoveFigures[]
  readonly errors: Readonly<Record<string, number>>
  readonly timeline: readonly SecondSample[]
  /** Limits that do not hold, in words. */
  readonly broken: readonly string[]
}

/** Reads during a move may have this many times the p99 they had before, or `P99_FLOOR_MS`, whichever is more. */
const P99_FACTOR = 3
const P99_FLOOR_MS = 5
const IMBALANCE_MAX = 1.06
const MOVED_MAX = 1.1

function phaseFigures(phase: PhaseSamples): PhaseFigures {
  const reads = histogramOf(phase.reads)
  return {
    name: phase.name,
    seconds: phase.seconds,
    reads: reads.total,
    p50Us: reads.percentileUs(0.5),
    p99Us: reads.percentileUs(0.99),
    p999Us: reads.percentileUs(0.999),
    maxMs: phase.readMaxMs,
    writeP99Us: histogramOf(phase.writes).percentileUs(0.99),
    lateP99Us: histogramOf(phase.late).percentileUs(0.99),
    errors: phase.errors,
  }
}

/** Of the nodes that hold something; all weigh the same. */
export function imbalanceOf(loads: readonly NodeLoad[]): Imbalance {
  const of = (figure: (load: NodeLoad) => number): number => {
    const figures = loads.map(figure)
    const mean = figures.reduce((sum, one) => sum + one, 0) / Math.max(1, figures.length)
    return mean === 0 ? 1 : Math.max(...figures) / mean
  }
  return {
    copies: of(({ copies }) => copies),
    primaries: of(({ primaries }) => primaries),
    bytes: of(({ bytes }) => bytes),
  }
}

/** What nodes that come have to get. */
export function idealForJoin(all: Moved, come: number, nodes: number): Moved {
  return { copies: (all.copies * come) / nodes, bytes: (all.bytes * come) / nodes }
}

/** What nodes that leave have to pass on. */
export function idealForLeave(loads: readonly NodeLoad[], leave: readonly string[]): Moved {
  const left = loads.filter(({ nodeId }) => leave.includes(nodeId))
  return {
    copies: left.reduce((sum, { copies }) => sum + copies, 0),
    bytes: left.reduce((sum, { bytes }) => sum + bytes, 0),
  }
}

/** @param before the phase that the moves are measured by; @param during those that are measured */
export function brokenLimits(
  phases: readonly PhaseFigures[],
  moves: readonly MoveFigures[],
  before: string,
  during: readonly string[],
): string[] {
  const broken: string[] = []
  for (const { name, errors } of phases) if (errors > 0) broken.push(`${name}: ${errors} calls failed`)
  const p99BeforeUs = phases.find(({ name }) => name === before)?.p99Us ?? 0
  const p99MaxUs = Math.max(P99_FACTOR * p99BeforeUs, P99_FLOOR_MS * 1000)
  for (const { name, p99Us } of phases) {
    if (during.includes(name) && p99Us > p99MaxUs)
      broken.push(`${name}: p99 of reads ${msOf(p99Us)} ms, at most ${msOf(p99MaxUs)} ms are wanted`)
  }
  for (const { name, moved, ideal, begunAnew, imbalance, isWell, check } of moves) {
    for (const [what, value] of Object.entries(imbalance)) {
      if (value > IMBALANCE_MAX) broken.push(`${name}: imbalance of ${what} ${value.toFixed(3)}`)
    }
    const copiesRatio = (moved.copies + begunAnew) / Math.max(1, ideal.copies)
    if (copiesRatio > MOVED_MAX)
      broken.push(`${name}: ${copiesRatio.toFixed(2)} times the copies of the ideal`)
    const bytesRatio = moved.bytes / Math.max(1, ideal.bytes)
    if (bytesRatio > MOVED_MAX) broken.push(`${name}: ${bytesRatio.toFixed(2)} times the bytes of the ideal`)
    if (!isWell) broken.push(`${name}: cluster check says: ${check}`)
  }
  return broken
}

export function reportOf(
  about: Pick<RebalanceReport, 'entries' | 'valueBytes' | 'maxPerSecond' | 'perSecond'>,
  samples: LoadSamples,
  moves: readonly MoveFigures[],
  names: { readonly before: string; readonly during: readonly string[] },
): RebalanceReport {
  const phases = samples.phases.map(phaseFigures)
  const { errors, timeline } = samples
  const broken = brokenLimits(phases, moves, names.before, names.during)
  return { ...about, phases, moves, errors, timeline, broken }
}

export function render(report: RebalanceReport): string[] {
  const { phases, moves, errors, maxPerSecond, perSecond, broken } = report
  const most = maxPerSecond === undefined ? '' : ` of at most ${Math.round(maxPerSecond)}`
  return [
    `${report.entries} entries of ${report.valueBytes} bytes, ${Math.round(perSecond)}${most} calls per second`,
    '',
    ...table([
      [
        'phase',
        's',
        'reads',
        'p50 ms',
        'p99 ms',
        'p99.9 ms',
        'max ms',
        'set p99 ms',
        'driver late p99',
        'errors',
      ],
      ...phases.map((phase) => [
        phase.name,
        phase.seconds.toFixed(1),
        String(phase.reads),
        ...[phase.p50Us, phase.p99Us, phase.p999Us].map(msOf),
        phase.maxMs.toFixed(1),
        ...[phase.writeP99Us, phase.lateP99Us].map(msOf),
        String(phase.errors),
      ]),
    ]),
    '',
    ...table([
      ['move', 's', 'copies', 'ideal', 'begun anew', 'MB', 'ideal', 'max/mean copies', 'primaries', 'bytes'],
      ...moves.map(({ name, seconds, moved, ideal, begunAnew, imbalance }) => [
        name,
        seconds.toFixed(1),
        String(moved.copies),
        ideal.copies.toFixed(0),
        String(begunAnew),
        (moved.bytes / 1e6).toFixed(1),
        (ideal.bytes / 1e6).toFixed(1),
        ...[imbalance.copies, imbalance.primaries, imbalance.bytes].map((ratio) => ratio.toFixed(3)),
      ]),
    ]),
    ...moves.map(({ name, check }) => `${name}: cluster check: ${check}`),
    ...(Object.keys(errors).length === 0 ? [] : [`errors: ${JSON.stringify(errors)}`]),
    ...broken.map((limit) => `BROKEN ${limit}`),
  ]
}

function histogramOf(sparse: SparseHistogram): LatencyHistogram {
  const histogram = new LatencyHistogram()
  histogram.add(sparse)
  return histogram
}

function msOf(us: number): string {
  return (us / 1000).toFixed(2)
}
