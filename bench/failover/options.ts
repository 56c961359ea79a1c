/** The command line of `npm run bench -- failover`. */

import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { UsageError, wholeNumberOf } from '../command.ts'

export type TargetName = 'ringcache' | 'redis' | 'redis-2s'
export type FaultKind = 'kill' | 'stop' | 'cut'

export interface FailoverOptions {
  readonly targets: readonly TargetName[]
  readonly faults: readonly FaultKind[]
  readonly count: number
  readonly perSecond: number
  readonly timeoutMs: number | undefined
  readonly stallMs: number
  /** How long a node hangs or is cut off. */
  readonly holdMs: number
  /** How long a killed node stays down. */
  readonly downMs: number
  readonly firstPort: number
  readonly build: string
  readonly json: string | undefined
  readonly logFolder: string | undefined
}

const TARGETS: readonly TargetName[] = ['ringcache', 'redis', 'redis-2s']
const KINDS: readonly FaultKind[] = ['kill', 'stop', 'cut']
const root = resolve(import.meta.dirname, '../..')

export const USAGE: string = `npm run bench -- failover [options]

  --target LIST    of ${TARGETS.join(', ')}: Redis Cluster 3+3 with its node timeout of 15 s, and with 2 s (ringcache)
  --fault LIST     of ${KINDS.join(', ')}: kill -9 of a primary, SIGSTOP, all its traffic lost (needs root) (kill)
  --count N        faults of each kind (20)
  --rate N         sets, and as many gets, per second (500)
  --timeout MS     of calls of the ringcache client (its default, 2000, for kills; 6000 for the others)
  --stall MS       from when on a call counts as stalled (100)
  --hold MS        how long a node hangs or is cut off (8000; Redis with 15 s: 25000)
  --down MS        how long a killed node stays down at least; at most until another took over (2000)
  --port-base N    first of the loopback ports used (8200)
  --build DIR      the checkout whose dist is run (this one)
  --logs DIR       keep what the nodes wrote there
  --json FILE      also write the results there
`

export function parseOptions(args: readonly string[]): FailoverOptions | 'help' {
  const text = { type: 'string' } as const
  const list = { type: 'string', multiple: true } as const
  let values: { [name: string]: string | string[] | boolean | undefined }
  try {
    values = parseArgs({
      args: [...args],
      options: {
        target: list,
        fault: list,
        count: text,
        rate: text,
        timeout: text,
        stall: text,
        hold: text,
        down: text,
        'port-base': text,
        build: text,
        json: text,
        logs: text,
        help: { type: 'boolean' },
      },
    }).values
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
  if (values['help'] === true) return 'help'
  const given = (name: string): string | undefined => {
    const value = values[name]
    return typeof value === 'string' ? value : undefined
  }
  const number = (name: string, otherwise: number, min: number, max: number): number => {
    const text = given(name)
    return text === undefined ? otherwise : wholeNumberOf(text, `--${name}`, min, max)
  }
  const chosen = <T extends string>(
    name: string,
    allowed: readonly T[],
    otherwise: readonly T[],
  ): readonly T[] => {
    const given = values[name]
    if (!Array.isArray(given)) return otherwise
    return given
      .flatMap((part) => part.split(','))
      .map((word) => {
        const found = allowed.find((each) => each === word)
        if (found === undefined) throw new UsageError(`--${name} ${word}: choose of ${allowed.join(', ')}`)
        return found
      })
  }
  return {
    targets: chosen('target', TARGETS, ['ringcache']),
    faults: chosen('fault', KINDS, ['kill']),
    count: number('count', 20, 1, 1000),
    perSecond: number('rate', 500, 1, 20_000),
    timeoutMs: given('timeout') === undefined ? undefined : number('timeout', 0, 100, 30_000),
    stallMs: number('stall', 100, 10, 10_000),
    holdMs: number('hold', 8_000, 100, 120_000),
    downMs: number('down', 2_000, 100, 120_000),
    firstPort: number('port-base', 8_200, 1_024, 65_000),
    build: resolve(given('build') ?? root),
    json: given('json'),
    logFolder: given('logs'),
  }
}
