/** The cells of `--workload large` (large.ts says what is measured), each in driver processes of its own. */

import { runJob } from './jobs.ts'
import { LARGE_SIZES, type LargeOptions, type SmallLatencies } from './large.ts'
import type { Servers } from './peer.ts'
import { type Cell, joinPasses } from './report.ts'

/** Values under way at once when throughput is measured. */
const CONCURRENCY = 4
const MARGIN_MS = 60_000

export interface LargeCellsOptions {
  readonly seconds: number
  readonly warmupSeconds: number
}

/** @param fail told of each wrong value. */
export async function measureLargeValues(
  servers: Servers,
  options: LargeCellsOptions,
  fail: (failure: string) => void,
): Promise<Cell[]> {
  const common: LargeOptions & { readonly addresses: readonly string[] } = {
    addresses: servers.addresses,
    serverPids: servers.pids,
    concurrency: CONCURRENCY,
    seconds: options.seconds,
    warmupSeconds: options.warmupSeconds,
  }
  const limits = { timeoutMs: (options.seconds + options.warmupSeconds) * 2_000 + MARGIN_MS }
  const cells: Cell[] = []
  for (const [name, bytes] of LARGE_SIZES) {
    for (const direction of ['write', 'read'] as const) {
      const workload = `large-${direction}-${name}`
      const measured = await runJob({ kind: 'large', ...common, direction, bytes }, limits)
      if (measured.mismatches > 0) fail(`${workload}: ${measured.mismatches} values were wrong`)
      const cell = joinPasses('ringcache', workload, CONCURRENCY, [measured], bytes)
      console.log(`${workload}: ${cell.megabytesPerSecond} MB/s`)
      cells.push(cell)
    }
  }
  const small = (alsoLarge: boolean): Promise<SmallLatencies> =>
    runJob({ kind: 'small', ...common, alsoLarge }, limits)
  cells.push(...smallCells('alone', await small(false)))
  cells.push(...smallCells('beside-16m-same-client', await small(true)))
  // Longer than the probe takes, which starts its own process beside it.
  const seconds = options.seconds + options.warmupSeconds + 2
  const [beside] = await Promise.all([
    small(false),
    runJob({ kind: 'write-largest', addresses: servers.addresses, seconds }, limits),
  ])
  cells.push(...smallCells('beside-16m-other-client', beside))
  return cells
}

function smallCells(name: string, { get, set }: SmallLatencies): Cell[] {
  return [
    joinPasses('ringcache', `small-get-${name}`, 1, [get]),
    joinPasses('ringcache', `small-set-${name}`, 1, [set]),
  ]
}
