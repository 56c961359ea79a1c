/** The constants of membership (docs/protocol.md, "Membership"). Durations in milliseconds. */

import { CacheError } from '../kernel/errors.ts'

export interface MembershipOptions {
  /** A member is probed this often, one at a time, in turn; awareness stretches it. 50..60,000. Default 500. */
  readonly probeIntervalMs: number
  /** No ack for this long: others are asked to probe. Below the interval. 10..30,000. Default 250. */
  readonly probeTimeoutMs: number
  /** How many others are asked. 0..16. Default 3. */
  readonly indirectProbes: number
  /** All that is known is exchanged with one other member this often. 1,000..3,600,000. Default 30,000. */
  readonly pushPullIntervalMs: number
  /** News is passed on this often, while there is any. 10..10,000. Default 200. */
  readonly gossipIntervalMs: number
  /** To how many members at a time. 1..16. Default 3. */
  readonly gossipFanOut: number
  /** Each piece of news is sent `retransmitMultiplier · ceil(log10(n + 1))` times. 1..16. Default 4. */
  readonly retransmitMultiplier: number
  /** See suspicion.ts. 3..16. Default 4. */
  readonly suspicionMultiplier: number
  /** Highest awareness score; see awareness.ts. 0..32. Default 8. */
  readonly awarenessMax: number
  /** How long a refused connection counts as evidence; it is renewed while connecting is refused. 1,000..600,000. Default 10,000. */
  readonly evidenceTtlMs: number
  /** Pieces of news waiting to be passed on. 16..100,000. Default 1,024. */
  readonly queueMax: number
  /** Processes that are remembered, those that ended included. 16..1,000. Default 512. */
  readonly membersMax: number
}

/** Name: [default, smallest, largest]. */
const RANGES: Readonly<Record<keyof MembershipOptions, readonly [number, number, number]>> = {
  probeIntervalMs: [500, 50, 60_000],
  probeTimeoutMs: [250, 10, 30_000],
  indirectProbes: [3, 0, 16],
  pushPullIntervalMs: [30_000, 1000, 3_600_000],
  gossipIntervalMs: [200, 10, 10_000],
  gossipFanOut: [3, 1, 16],
  retransmitMultiplier: [4, 1, 16],
  suspicionMultiplier: [4, 3, 16],
  awarenessMax: [8, 0, 32],
  evidenceTtlMs: [10_000, 1000, 600_000],
  queueMax: [1024, 16, 100_000],
  membersMax: [512, 16, 1000],
}

/** @throws CacheError CONFIGURATION naming the option that is out of range. */
export function resolveMembershipOptions(given: Partial<MembershipOptions> = {}): MembershipOptions {
  const names = Object.keys(RANGES) as (keyof MembershipOptions)[]
  const resolve = (name: keyof MembershipOptions): number => {
    const [preset, min, max] = RANGES[name]
    const value = given[name] ?? preset
    if (!(value >= min && value <= max)) {
      throw new CacheError(
        'CONFIGURATION',
        `membership.${name} is ${value}; choose a value from ${min} to ${max}`,
      )
    }
    return value
  }
  const options = Object.fromEntries(names.map((name) => [name, resolve(name)])) as Record<
    keyof MembershipOptions,
    number
  >
  if (options.probeTimeoutMs >= options.probeIntervalMs) {
    throw new CacheError(
      'CONFIGURATION',
      'membership.probeTimeoutMs must be below probeIntervalMs: the rest is for asking others',
    )
  }
  return options
}
