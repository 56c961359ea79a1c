/** The command line of `npm run chaos -- --kills N`. */

import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { UsageError, whole } from '../options.ts'
import type { KillOptions } from './kill-run.ts'

const root = resolve(import.meta.dirname, '../../..')

export const KILLS_USAGE: string = `npm run chaos -- --kills N [options]

Kills nodes, N in all, at random moments of their snapshots: one, all, or all and once more while they start over.

  --seed N             of the moments and nodes (1)
  --entries N          of 4 KiB that never change: they make snapshots last (3000)
  --build DIR          the checkout whose dist is run (this one)
  --out DIR            where data, logs and the report go (.ringcache/chaos/<time>)
  --port-base N        first of the loopback ports used (8100)
`

export function parseKillOptions(args: readonly string[], folder: string): KillOptions | 'help' {
  const { values } = parse(args)
  if (values.help === true) return 'help'
  return {
    kills: whole(values.kills ?? '200', '--kills', 1, 100_000),
    seed: whole(values.seed ?? '1', '--seed', 0, 2 ** 32 - 1),
    still: whole(values.entries ?? '3000', '--entries', 1, 100_000),
    firstPort: whole(values['port-base'] ?? '8100', '--port-base', 1_024, 65_000),
    build: resolve(values.build ?? root),
    folder: values.out === undefined ? folder : resolve(values.out),
  }
}

function parse(args: readonly string[]) {
  const text = { type: 'string' } as const
  const options = {
    kills: text,
    seed: text,
    entries: text,
    build: text,
    out: text,
    'port-base': text,
    help: { type: 'boolean' },
  } as const
  try {
    return parseArgs({ args: [...args], options })
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
}
