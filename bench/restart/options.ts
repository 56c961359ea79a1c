/** The command line of `npm run bench -- restart`. */

import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { numberOf, UsageError, wholeNumberOf } from '../command.ts'

export interface RestartBenchOptions {
  readonly entries: number
  readonly valueBytes: number
  /** One in so many entries is stored anew while the node is away. */
  readonly changedEvery: number
  /** What the other two nodes together may send to the one that restarts, in bytes a second. */
  readonly linkBytesPerSecond: number
  readonly readsPerSecond: number
  readonly partitions: number
  readonly end: 'kill' | 'stop'
  /** Of each phase in which nothing happens. */
  readonly restSeconds: number
  readonly snapshotSeconds: number
  readonly timeoutSeconds: number
  readonly firstPort: number
  readonly build: string
  readonly json: string | undefined
  readonly logFolder: string | undefined
}

const root = resolve(import.meta.dirname, '../..')

export const USAGE: string = `npm run bench -- restart [options]

  --entries N        entries stored (1000000)
  --value-bytes N    bytes of each value (1000)
  --changed-every N  one in so many is stored anew while the node is away (100)
  --link-mb N        megabytes a second that the others together may send to it (25)
  --reads N          reads per second meanwhile (1000)
  --partitions N     of the cluster (1024)
  --end kill|stop    how the node ends (kill)
  --rest N           seconds of each phase in which nothing happens (2)
  --interval N       seconds between two snapshots of a node (30)
  --timeout N        seconds that each restart may take (300)
  --port-base N      first of the loopback ports used (9800)
  --build DIR        the checkout whose dist is run (this one)
  --logs DIR         keep what the nodes wrote there
  --json FILE        also write the results there
`

const TEXT_OPTIONS = [
  ...[
    'entries',
    'value-bytes',
    'changed-every',
    'link-mb',
    'reads',
    'partitions',
    'end',
    'rest',
    'interval',
    'timeout',
  ],
  ...['port-base', 'build', 'logs', 'json'],
] as const

/** @throws UsageError */
export function parseOptions(args: readonly string[]): RestartBenchOptions | 'help' {
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
  const end = given('end') ?? 'kill'
  if (end !== 'kill' && end !== 'stop') throw new UsageError(`--end ${end}: give kill or stop`)
  return {
    entries: whole('entries', 1_000_000, 100, 20_000_000),
    valueBytes: whole('value-bytes', 1000, 1, 60_000),
    changedEvery: whole('changed-every', 100, 1, 1_000_000),
    linkBytesPerSecond: 1e6 * numberOf(given('link-mb') ?? '25', '--link-mb', 0.1, 10_000),
    readsPerSecond: whole('reads', 1000, 1, 1_000_000),
    partitions: whole('partitions', 1024, 8, 16_384),
    end,
    restSeconds: numberOf(given('rest') ?? '2', '--rest', 0.1, 600),
    snapshotSeconds: whole('interval', 30, 1, 3_600),
    timeoutSeconds: whole('timeout', 300, 5, 36_000),
    firstPort: whole('port-base', 9800, 1024, 65_000),
    build: resolve(given('build') ?? root),
    json: given('json'),
    logFolder: given('logs'),
  }
}
