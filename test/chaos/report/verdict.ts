/**
 * What the history of a run comes to.
 *
 * With linearizable reads the whole history must be linearizable. Where the client has primary reads only, a weaker rule holds for
 * them: an answer may be a write that no quorum holds yet, and a primary that was cut off may be behind. Then the history
 * without reads (and without what failed conditions said they met) must be linearizable, and each read must have given a value
 * that somebody had asked to write before the read ended, or none.
 */

import type { HistoryOperation } from '../../../src/testing/history.ts'
import {
  checkLinearizability,
  describeViolation,
  type Verdict,
} from '../../../src/testing/linearizability.ts'
import type { ReadMode } from '../client/messages.ts'

export interface HistoryVerdict {
  readonly rule: string
  readonly verdict: Verdict
  readonly operations: number
  readonly keys: number
  readonly steps: number
  readonly undecided: readonly string[]
  readonly violations: readonly string[]
  /** Violations of which the operation that does not fit is a read. */
  readonly staleReads: number
}

const SHOWN = 10

export function judge(history: readonly HistoryOperation[], read: ReadMode): HistoryVerdict {
  const whole = read === 'linearizable'
  const checked = whole ? history : history.filter((operation) => operation.op !== 'get').map(withoutFound)
  const report = checkLinearizability(checked)
  const violations = report.violations.map(describeViolation)
  const invented = whole ? [] : inventedReads(history)
  return {
    rule: whole
      ? 'all operations linearizable'
      : 'writes and conditions linearizable; primary reads give only values that were asked to be written',
    verdict: invented.length > 0 ? 'violation' : report.verdict,
    operations: report.operations,
    keys: report.keys,
    steps: report.steps,
    undecided: report.undecided,
    violations: [...violations, ...invented].slice(0, SHOWN),
    staleReads: report.violations.filter(({ operation }) => operation.op === 'get').length,
  }
}

function withoutFound(operation: HistoryOperation): HistoryOperation {
  if (operation.output.found === undefined) return operation
  const { found: _, foundVersion: __, ...output } = operation.output
  return { ...operation, output }
}

/** Reads of values that nobody had asked to write. Sums of counters can't be known here. */
function inventedReads(history: readonly HistoryOperation[]): string[] {
  const asked = new Map<string, number>()
  for (const { op, key, input, call } of history) {
    if (op === 'set' || op === 'cas') asked.set(`${key} ${JSON.stringify(input.value)}`, call)
  }
  return history
    .filter(({ op, key, output, outcome, ...operation }) => {
      if (op !== 'get' || outcome !== 'ok' || typeof output.value !== 'string') return false
      const call = asked.get(`${key} ${JSON.stringify(output.value)}`)
      return call === undefined || call > (operation.return ?? Number.POSITIVE_INFINITY)
    })
    .map((operation) => `a read of a value that nobody had written: ${JSON.stringify(operation)}`)
}
