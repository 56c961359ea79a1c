/** The command line of `npm run bench -- peers`. Lists are given as `--x a,b` or as `--x a --x b`. */

import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { numberOf, UsageError, wholeNumberOf } from '../command.ts'
import {
  DURABILITIES,
  type Durability,
  PEER_NAMES,
  type PeerName,
  WORKLOAD_NAMES,
  type WorkloadName,
} from './peer.ts'
import { PORTS_USED } from './registry.ts'
import { isBatch } from './workload.ts'

export const SPECIAL_WORKLOADS = ['large', 'soak'] as const
export type SpecialWorkload = (typeof SPECIAL_WORKLOADS)[number]

export interface PeersOptions {
  /** ringcache first, unless left out. */
  readonly peers: readonly PeerName[]
  readonly workloads: readonly WorkloadName[]
  readonly special: readonly SpecialWorkload[]
  /** Given ones hold for every workload. */
  readonly concurrencyOf: (workload: WorkloadName) => readonly number[]
  readonly seconds: number
  /** Of each cell. */
  readonly warmupSeconds: number
  /** Of servers that were just started, before anything is measured. */
  readonly serverWarmupSeconds: number
  readonly soakSeconds: number
  readonly passes: number
  readonly keys: number
  readonly portBase: number
  readonly json: string | undefined
  readonly profileFolder: string | undefined
  /** How ringcache replicates, to see what that costs. */
  readonly copies: number
  readonly durability: Durability
  readonly install: boolean
}

const SINGLE_CONCURRENCY = [1, 32, 256, 1024] as const
const BATCH_CONCURRENCY = [1, 8] as const

export const USAGE: string = `npm run bench -- peers [options]

  --workload LIST      of ${[...WORKLOAD_NAMES, ...SPECIAL_WORKLOADS].join(', ')} (all)
  --concurrency LIST   calls under way at once (${SINGLE_CONCURRENCY.join(',')}; for mget100 and mset100 ${BATCH_CONCURRENCY.join(',')})
  --against LIST       peers to compare with, of ${PEER_NAMES.slice(1).join(', ')} (all)
  --without-ringcache  measure only the others
  --seconds N          measured time of each cell and pass (3)
  --server-warmup N    seconds of calls that servers get once they are loaded (10; 1 if --quick)
  --soak-seconds N     length of the soak (60)
  --passes N           how often each cell is measured, the order of peers turning round each time (2)
  --keys N             records stored (100000)
  --json FILE          also write the results there
  --profile DIR        write CPU profiles of the measured client processes and of ringcache's nodes there
  --copies N           copies ringcache keeps of each entry, 1 to 3 (3)
  --durability D       what its writes wait for: quorum, one, all (quorum)
  --port-base N        first of the ${PORTS_USED} loopback ports used (7700)
  --no-install         don't install missing client libraries
  --quick              a short look: workload B, mget100, concurrency 32 and 1, half a second, one pass
`

export function parseOptions(args: readonly string[]): PeersOptions | 'help' {
  const { values } = parse(args)
  if (values.help) return 'help'
  const quick = values.quick === true
  const chosen = list(values.workload, [...WORKLOAD_NAMES, ...SPECIAL_WORKLOADS], '--workload')
  const workloads =
    chosen ?? (quick ? (['B', 'mget100'] as const) : [...WORKLOAD_NAMES, ...SPECIAL_WORKLOADS])
  const against = list(values.against, PEER_NAMES.slice(1), '--against') ?? PEER_NAMES.slice(1)
  const concurrency = values.concurrency
    ?.flatMap(split)
    .map((text) => wholeNumberOf(text, '--concurrency', 1, 65_536))
  const seconds = numberOf(values.seconds ?? (quick ? '0.5' : '3'), '--seconds', 0.05, 3_600)
  return {
    peers: values['without-ringcache'] ? against : ['ringcache', ...against],
    workloads: WORKLOAD_NAMES.filter((name) => workloads.includes(name)),
    special: SPECIAL_WORKLOADS.filter((name) => workloads.includes(name)),
    concurrencyOf: (workload) => {
      if (concurrency !== undefined) return concurrency
      if (quick) return isBatch(workload) ? [1] : [32]
      return isBatch(workload) ? BATCH_CONCURRENCY : SINGLE_CONCURRENCY
    },
    seconds,
    warmupSeconds: Math.min(2, seconds),
    serverWarmupSeconds: numberOf(
      values['server-warmup'] ?? (quick ? '1' : '10'),
      '--server-warmup',
      0,
      3_600,
    ),
    soakSeconds: wholeNumberOf(values['soak-seconds'] ?? '60', '--soak-seconds', 4, 86_400),
    passes: wholeNumberOf(values.passes ?? (quick ? '1' : '2'), '--passes', 1, 100),
    keys: wholeNumberOf(values.keys ?? (quick ? '10000' : '100000'), '--keys', 1_000, 10_000_000),
    portBase: wholeNumberOf(values['port-base'] ?? '7700', '--port-base', 1_024, 65_535 - PORTS_USED),
    json: values.json,
    profileFolder: values.profile === undefined ? undefined : resolve(values.profile),
    copies: wholeNumberOf(values.copies ?? '3', '--copies', 1, 3),
    durability: list([values.durability ?? 'quorum'], DURABILITIES, '--durability')?.[0] ?? 'quorum',
    install: !values['no-install'],
  }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        workload: { type: 'string', multiple: true },
        concurrency: { type: 'string', multiple: true },
        against: { type: 'string', multiple: true },
        'without-ringcache': { type: 'boolean' },
        seconds: { type: 'string' },
        'server-warmup': { type: 'string' },
        'soak-seconds': { type: 'string' },
        passes: { type: 'string' },
        keys: { type: 'string' },
        json: { type: 'string' },
        profile: { type: 'string' },
        copies: { type: 'string' },
        durability: { type: 'string' },
        'port-base': { type: 'string' },
        'no-install': { type: 'boolean' },
        quick: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    })
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
}

function split(text: string): string[] {
  return text.split(',').filter((part) => part !== '')
}

function list<T extends string>(
  given: readonly string[] | undefined,
  allowed: readonly T[],
  option: string,
): readonly T[] | undefined {
  return given?.flatMap(split).map((name) => {
    const found = allowed.find((each) => each === name)
    if (found === undefined) throw new UsageError(`${option} ${name}: choose of ${allowed.join(', ')}`)
    return found
  })
}
