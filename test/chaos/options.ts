/** The command line of `npm run chaos`. */

import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { FAULT_NAMES, FAULTS, type FaultName } from './faults/catalogue.ts'
import type { NetworkKind } from './network/network.ts'

export interface ChaosOptions {
  readonly durationMs: number
  readonly seed: number
  readonly nodes: number
  readonly clients: number
  /** Operations on hot keys under way at one time, per client. */
  readonly workers: number
  readonly thinkMs: number
  readonly hotKeys: number
  /** Ledger writes per second and client. */
  readonly ledgerRate: number
  readonly partitions: number
  readonly faults: readonly FaultName[]
  readonly network: NetworkKind
  readonly firstPort: number
  /** The checkout whose dist is run. */
  readonly build: string
  readonly outFolder: string | undefined
  readonly timeoutMs: number
  readonly stallMs: number
  /** How long the cluster may take to be whole again after a fault. */
  readonly healMs: number
  /** Any error a client sees fails the run. */
  readonly strict: boolean
  /** Quiet time between two faults. */
  readonly quietMs: number
}

export class UsageError extends Error {}

const HOT_KEYS_MAX = 20
const root = resolve(import.meta.dirname, '../..')

export const USAGE: string = `npm run chaos -- [options]

  --minutes N          how long faults are injected (5)
  --seed N             of the order and extent of faults and of the operations (1)
  --nodes N            3 to 7 (3)
  --faults LIST        of the faults below (all that are possible here)
  --network KIND       proxy: TCP proxies, needs no rights; namespaces: network namespaces, root on Linux; direct (proxy)
  --clients N          client processes (2)
  --workers N          operations on hot keys under way at one time, per client (4)
  --hot-keys N         keys per minute of history that are checked, at most ${HOT_KEYS_MAX} (20)
  --ledger-rate N      writes, and as many reads, per second and client, at a fixed rate (50)
  --partitions N       (64)
  --timeout MS         of client calls (6000)
  --stall MS           from when on a call counts as stalled (250)
  --heal SECONDS       how long the cluster may take to be whole after a fault (60)
  --strict             any error that a client sees fails the run
  --quiet SECONDS      between two faults (3)
  --build DIR          the checkout whose dist is run (this one)
  --out DIR            where histories, logs and the report go (.ringcache/chaos/<time>)
  --port-base N        first of the loopback ports used (8100)
  --kills N            something else: kills at random moments of snapshots; see --kills 1 --help

faults:
${Object.entries(FAULTS)
  .map(([name, { about }]) => `  ${name.padEnd(12)} ${about}`)
  .join('\n')}

Exit code: 0 all held, 1 something did not, 2 wrong usage.
`

export function parseOptions(args: readonly string[]): ChaosOptions | 'help' {
  const { values } = parse(args)
  if (values.help === true) return 'help'
  const faults = values.faults?.flatMap((text) => text.split(',')).filter((name) => name !== '')
  return {
    durationMs: number(values.minutes ?? '5', '--minutes', 0.05, 24 * 60) * 60_000,
    seed: whole(values.seed ?? '1', '--seed', 0, 2 ** 32 - 1),
    nodes: whole(values.nodes ?? '3', '--nodes', 3, 7),
    clients: whole(values.clients ?? '2', '--clients', 1, 8),
    workers: whole(values.workers ?? '4', '--workers', 1, 64),
    thinkMs: 20,
    hotKeys: whole(values['hot-keys'] ?? '20', '--hot-keys', 1, HOT_KEYS_MAX),
    ledgerRate: whole(values['ledger-rate'] ?? '50', '--ledger-rate', 1, 10_000),
    partitions: whole(values.partitions ?? '64', '--partitions', 1, 4096),
    faults: (faults ?? FAULT_NAMES).map((name) => {
      const found = FAULT_NAMES.find((each) => each === name)
      if (found === undefined) throw new UsageError(`--faults ${name}: choose of ${FAULT_NAMES.join(', ')}`)
      return found
    }),
    network: networkKind(values.network ?? 'proxy'),
    firstPort: whole(values['port-base'] ?? '8100', '--port-base', 1_024, 65_000),
    build: resolve(values.build ?? root),
    outFolder: values.out === undefined ? undefined : resolve(values.out),
    timeoutMs: whole(values.timeout ?? '6000', '--timeout', 100, 30_000),
    stallMs: whole(values.stall ?? '250', '--stall', 10, 10_000),
    strict: values.strict === true,
    healMs: number(values.heal ?? '60', '--heal', 1, 600) * 1000,
    quietMs: number(values.quiet ?? '3', '--quiet', 0, 600) * 1000,
  }
}

function parse(args: readonly string[]) {
  const text = { type: 'string' } as const
  try {
    return parseArgs({
      args: [...args],
      options: {
        minutes: text,
        seed: text,
        nodes: text,
        faults: { type: 'string', multiple: true },
        network: text,
        clients: text,
        workers: text,
        'hot-keys': text,
        'ledger-rate': text,
        partitions: text,
        timeout: text,
        stall: text,
        heal: text,
        quiet: text,
        build: text,
        out: text,
        'port-base': text,
        strict: { type: 'boolean' },
        help: { type: 'boolean' },
      },
    })
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
}

function networkKind(name: string): NetworkKind {
  if (name === 'proxy' || name === 'namespaces' || name === 'direct') return name
  throw new UsageError(`--network ${name}: choose of proxy, namespaces, direct`)
}

function number(text: string, option: string, min: number, max: number): number {
  const value = Number(text)
  if (text.trim() === '' || !(value >= min && value <= max))
    throw new UsageError(`${option} ${text}: give a number from ${min} to ${max}`)
  return value
}

export function whole(text: string, option: string, min: number, max: number): number {
  const value = number(text, option, min, max)
  if (!Number.isInteger(value)) throw new UsageError(`${option} ${text}: give a whole number`)
  return value
}
