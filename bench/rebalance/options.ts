/** The command line of `npm run bench -- rebalance`. */

import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { numberOf, UsageError, wholeNumberOf } from '../command.ts'

export interface RebalanceBenchOptions {
  readonly entries: number
  readonly valueBytes: number
  /** Share of the maximum that is asked for while data moves. */
  readonly load: number
  /** Calls per second in place of that share. */
  readonly perSecond: number | undefined
  /** Of each phase in which nothing moves. */
  readonly seconds: number
  readonly concurrency: number
  readonly partitions: number
  readonly moveTimeoutSeconds: number
  readonly firstPort: number
  readonly build: string
  readonly json: string | undefined
  readonly logFolder: string | undefined
}

const root = resolve(import.meta.dirname, '../..')

export const USAGE: string = `npm run bench -- rebalance [options]

  --entries N        entries stored (1000000)
  --value-bytes N    bytes of each value (100)
  --load SHARE       of the measured maximum, asked for while data moves (0.2)
  --rate N           calls per second instead, and no maximum is measured
  --seconds N        length of each phase in which nothing moves: before, between and after (10)
  --concurrency N    calls under way at once for the maximum (256)
  --partitions N     of the cluster (1024)
  --move-timeout N   seconds that each of the two moves may take (600)
  --port-base N      first of the five loopback ports used (7950)
  --build DIR        the checkout whose dist is run (this one)
  --logs DIR         keep what the nodes wrote there
  --json FILE        also write the results there
`

const TEXT_OPTIONS = [
  ...['entries', 'value-bytes', 'load', 'rate', 'seconds', 'concurrency', 'partitions'],
  ...['move-timeout', 'port-base', 'build', 'logs', 'json'],
] as const

/** @throws UsageError */
export function parseOptions(args: readonly string[]): RebalanceBenchOptions | 'help' {
  let values: Readonly<Record<string, string | boolean | undefined>>
  try {
    const texts = Object.fromEntries(TEXT_OPTIONS.map((name) => [name, { type: 'string' } as const]))
    values = parseArgs({ args: [...args], options: { ...texts, help: { type: 'boolean' } } }).values
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
  if (values['help'] === true) return 'help'
  const given = (name: string): string | undefined => {
    const value = values[name]
    return typeof value === 'string' ? value : undefined
  }
  const whole = (name: string, otherwise: number, min: number, max: number): number =>
    wholeNumberOf(given(name) ?? String(otherwise), `--${name}`, min, max)
  return {
    entries: whole('entries', 1_000_000, 1_000, 20_000_000),
    valueBytes: whole('value-bytes', 100, 1, 60_000),
    load: numberOf(given('load') ?? '0.2', '--load', 0.01, 1),
    perSecond: given('rate') === undefined ? undefined : whole('rate', 0, 1, 1_000_000),
    seconds: numberOf(given('seconds') ?? '10', '--seconds', 0.2, 3_600),
    concurrency: whole('concurrency', 256, 1, 65_536),
    partitions: whole('partitions', 1_024, 8, 16_384),
    moveTimeoutSeconds: whole('move-timeout', 600, 5, 36_000),
    firstPort: whole('port-base', 7_950, 1_024, 65_000),
    build: resolve(given('build') ?? root),
    json: given('json'),
    logFolder: given('logs'),
  }
}
