/** What a run found, as data (report.json) and as a text for people. */

import type { LedgerVerdict, WorkloadResult } from '../client/messages.ts'
import type { FaultName } from '../faults/catalogue.ts'
import type { HistoryVerdict } from './verdict.ts'
import { outside, quantile, type Span, type WindowSummary, windowIn } from './windows.ts'

/** One fault that was injected. Times are milliseconds of the run's clock. */
export interface FaultRecord {
  readonly name: FaultName
  readonly what: string
  readonly startMs: number
  /** When the fault itself was over. */
  readonly endMs: number
  /** When the cluster was whole again; undefined: it was not, in the time allowed. */
  readonly safeMs: number | undefined
  readonly problem: string | undefined
}

export interface RunRecord {
  readonly seed: number
  readonly nodes: number
  readonly seconds: number
  readonly network: string
  readonly read: string
  readonly safety: string
  readonly faults: readonly FaultRecord[]
  /** Fault → why it was left out. */
  readonly leftOut: Readonly<Record<string, string>>
  readonly clients: readonly WorkloadResult[]
  readonly ledger: readonly LedgerVerdict[]
  readonly history: HistoryVerdict
  readonly surprises: readonly string[]
  /** What kept the run from going on as planned. */
  readonly problems: readonly string[]
  readonly stallMs: number
  /** Any error a client saw fails the run. */
  readonly strict: boolean
}

export interface FaultReport extends WindowSummary {
  readonly name: FaultName
  readonly what: string
  readonly atSeconds: number
  readonly heldMs: number
  /** From the end of the fault until the cluster was whole. */
  readonly healedMs: number | undefined
}

export interface ChaosReport {
  readonly passed: boolean
  /** Why not. */
  readonly failures: readonly string[]
  readonly seed: number
  readonly nodes: number
  readonly seconds: number
  readonly network: string
  readonly read: string
  readonly safety: string
  readonly operations: {
    readonly checked: number
    readonly ledger: number
    readonly failed: number
    readonly unknown: number
    readonly errors: Readonly<Record<string, number>>
  }
  readonly faults: readonly FaultReport[]
  readonly leftOut: Readonly<Record<string, string>>
  readonly outsideFaults: {
    readonly calls: number
    readonly errors: number
    readonly unknown: number
    readonly unknownShare: number
    readonly p50Ms: number
    readonly p99Ms: number
  }
  readonly ledger: {
    readonly acknowledged: number
    readonly lost: number
    readonly unread: number
    readonly staleReads: number
    readonly examples: readonly string[]
  }
  readonly history: HistoryVerdict
  readonly surprises: readonly string[]
}

const UNKNOWN_SHARE_MAX = 0.01
const EXAMPLES = 10
/** What follows a fault immediately still counts as its doing. */
const AFTER_MS = 1_000

export function makeReport(run: RunRecord): ChaosReport {
  const samples = run.clients.map((client) => client.samples)
  const firstMs = Math.min(
    ...samples.flatMap(({ dueMs }) => (dueMs.length === 0 ? [] : [dueMs[0] as number])),
  )
  const spanOf = (fault: FaultRecord): Span => ({
    fromMs: fault.startMs,
    toMs: (fault.safeMs ?? fault.endMs) + AFTER_MS,
  })
  const faults = run.faults.map((fault): FaultReport => {
    const { name, what, startMs, endMs, safeMs } = fault
    return {
      name,
      what,
      atSeconds: (startMs - firstMs) / 1000,
      heldMs: endMs - startMs,
      healedMs: safeMs === undefined ? undefined : safeMs - endMs,
      ...windowIn(samples, spanOf(fault), run.stallMs),
    }
  })
  const spans = run.faults.map(spanOf)
  const { calls, errors, unknown } = outside(samples, spans)
  const latencies = samples
    .flatMap(({ dueMs, endMs, outcome }) => {
      const quiet: number[] = []
      for (let at = 0; at < dueMs.length; at++) {
        const [due, end] = [dueMs[at] as number, endMs[at] as number]
        const isQuiet = !spans.some(({ fromMs, toMs }) => end >= fromMs && due <= toMs)
        if (isQuiet && outcome[at] === 0) quiet.push(end - due)
      }
      return quiet
    })
    .sort((a, b) => a - b)
  const lost = run.ledger.flatMap((verdict) => verdict.lost)
  const unread = run.ledger.flatMap((verdict) => verdict.unread)
  const staleReads = run.clients.flatMap((client) => client.ledger.staleReads)
  const report: Omit<ChaosReport, 'passed' | 'failures'> = {
    seed: run.seed,
    nodes: run.nodes,
    seconds: run.seconds,
    network: run.network,
    read: run.read,
    safety: run.safety,
    operations: {
      checked: sum(run.clients.map((client) => client.operations)),
      ledger: sum(samples.map(({ dueMs }) => dueMs.length)),
      failed: sum(run.clients.map((client) => client.failed)),
      unknown: sum(run.clients.map((client) => client.unknown)),
      errors: together(run.clients.flatMap((client) => [client.codes, client.samples.errors])),
    },
    faults,
    leftOut: run.leftOut,
    outsideFaults: {
      calls,
      errors,
      unknown,
      unknownShare: calls === 0 ? 0 : unknown / calls,
      p50Ms: quantile(latencies, 0.5),
      p99Ms: quantile(latencies, 0.99),
    },
    ledger: {
      acknowledged: sum(run.clients.map((client) => client.ledger.acknowledged)),
      lost: lost.length,
      unread: unread.length,
      staleReads: staleReads.length,
      examples: [...lost, ...unread, ...staleReads].slice(0, EXAMPLES),
    },
    history: run.history,
    surprises: run.surprises,
  }
  const failures = failuresOf(report, run)
  return { passed: failures.length === 0, failures, ...report }
}

function failuresOf(report: Omit<ChaosReport, 'passed' | 'failures'>, run: RunRecord): string[] {
  const { history, ledger, outsideFaults } = report
  const failures: string[] = [...run.problems]
  for (const fault of run.faults) {
    if (fault.problem !== undefined) failures.push(`${fault.name} (${fault.what}): ${fault.problem}`)
  }
  if (history.verdict === 'violation') failures.push('the history is not linearizable')
  if (history.verdict === 'undecided')
    failures.push(`the history of ${history.undecided.join(', ')} could not be decided`)
  if (history.operations === 0) failures.push('nothing was checked: the history is empty')
  if (ledger.lost > 0) failures.push(`${ledger.lost} acknowledged writes are lost`)
  if (ledger.unread > 0) failures.push(`${ledger.unread} acknowledged writes could not be read in the end`)
  if (run.read === 'linearizable' && ledger.staleReads > 0)
    failures.push(`${ledger.staleReads} linearizable reads did not show what had been acknowledged before`)
  if (outsideFaults.unknownShare > UNKNOWN_SHARE_MAX)
    failures.push(`${percent(outsideFaults.unknownShare)} unknown outcomes outside faults`)
  const seen = sum(Object.values(report.operations.errors))
  if (run.strict && seen > 0) failures.push(`clients saw ${seen} errors`)
  failures.push(...report.surprises)
  failures.push(...run.clients.flatMap((client) => client.problems))
  return failures
}

export function renderReport(report: ChaosReport): string {
  const { operations, outsideFaults, ledger, history } = report
  const rows = report.faults.map((fault) => [
    fault.atSeconds.toFixed(1),
    fault.name,
    fault.what,
    ms(fault.heldMs),
    fault.healedMs === undefined ? 'never' : ms(fault.healedMs),
    ms(fault.windowMs),
    ms(fault.longestMs),
    String(fault.errors),
    String(fault.unknown),
    String(fault.stalled),
  ])
  const head = [
    'at s',
    'fault',
    'what',
    'held',
    'whole after',
    'window',
    'longest',
    'errors',
    'unknown',
    'stalled',
  ]
  return [
    `seed ${report.seed}, ${report.nodes} nodes, ${report.seconds.toFixed(0)} s; ${report.network}; reads: ${report.read}`,
    `whole: ${report.safety}`,
    '',
    ...table([head, ...rows]),
    '',
    ...Object.entries(report.leftOut).map(([name, why]) => `left out: ${name}: ${why}`),
    `operations: ${operations.checked} checked, ${operations.ledger} at a fixed rate; ${operations.failed} checked ones failed, ${operations.unknown} have unknown outcomes`,
    `errors: ${JSON.stringify(operations.errors)}`,
    `outside faults: ${outsideFaults.calls} calls, ${outsideFaults.errors} errors, ${outsideFaults.unknown} unknown (${percent(outsideFaults.unknownShare)}); p50 ${outsideFaults.p50Ms.toFixed(2)} ms, p99 ${outsideFaults.p99Ms.toFixed(2)} ms`,
    `ledger: ${ledger.acknowledged} acknowledged writes, ${ledger.lost} lost, ${ledger.unread} unread in the end, ${ledger.staleReads} stale reads`,
    ...ledger.examples.map((example) => `  ${example}`),
    `history: ${history.verdict} (${history.rule}); ${history.operations} operations on ${history.keys} keys, ${history.steps} steps; stale reads: ${history.staleReads}`,
    ...history.violations,
    '',
    report.passed ? 'PASSED' : ['FAILED', ...report.failures.map((failure) => `  ${failure}`)].join('\n'),
  ].join('\n')
}

export function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? []
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}

function ms(value: number): string {
  return `${value.toFixed(0)} ms`
}

function percent(share: number): string {
  return `${(share * 100).toFixed(2)} %`
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}

function together(counts: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const total: Record<string, number> = {}
  for (const one of counts) {
    for (const [name, count] of Object.entries(one)) total[name] = (total[name] ?? 0) + count
  }
  return total
}
