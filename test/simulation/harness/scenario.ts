/** What kind of run a seed is: how large the cluster, how fast its network, how many clients, which faults. */

import { integerBetween, SeededRandom, uniform } from '../../../src/kernel/random.ts'
import type { BrokenRules } from '../../../src/kernel/rule-switch.ts'
import type { MembershipOptions } from '../../../src/membership/options.ts'

export interface ScenarioLimits {
  readonly nodesMin: number
  readonly nodesMax: number
}

/** Constants of membership in a hasty run. */
export const HASTY: Partial<MembershipOptions> = {
  probeIntervalMs: 150,
  probeTimeoutMs: 60,
  gossipIntervalMs: 100,
  suspicionMultiplier: 3,
}

export const ANY_SIZE: ScenarioLimits = { nodesMin: 3, nodesMax: 5 }

export interface Scenario {
  readonly seed: number
  readonly nodes: number
  readonly replicationFactor: number
  readonly partitions: number
  readonly backlogBytes: number
  readonly minInSync: number
  readonly latencyMaxMs: number
  readonly slowShare: number
  /** Clock rates of the nodes, 1 ± 0.05 at most. */
  readonly clockRates: readonly number[]
  readonly clients: number
  /** Operations of all clients together that are noted in histories. */
  readonly operations: number
  /** Longest pause of a client between two operations. */
  readonly thinkMaxMs: number
  readonly timeoutMs: number
  readonly keys: number
  /** Milliseconds between two faults, on average. */
  readonly faultEveryMs: number
  readonly faultsMin: number
  /** Whether nodes suspect each other after a tenth of a second. */
  readonly hasty: boolean
  /** Whether a region that evicts and expires is written to, beside the keys with histories. */
  readonly churn: boolean
}

/** The same seed and limits draw the same scenario. */
export function drawScenario(seed: number, limits: ScenarioLimits = ANY_SIZE): Scenario {
  const random = new SeededRandom(seed ^ 0x5ce9a210)
  const chance = (share: number): boolean => uniform(random) < share
  const between = (min: number, max: number): number => integerBetween(random, min, max)
  const nodes = between(limits.nodesMin, limits.nodesMax)
  const replicationFactor = Math.min(nodes, [2, 3, 3, 3, 3, 3, 4, 5][between(0, 7)] as number)
  return {
    seed,
    nodes,
    replicationFactor,
    partitions: between(4, 8),
    backlogBytes: chance(0.3) ? 4096 : 1024 * 1024,
    minInSync: chance(0.2) ? 2 : 1,
    latencyMaxMs: chance(0.3) ? 12 : 3,
    slowShare: chance(0.3) ? 0.1 : 0.01,
    clockRates: Array.from({ length: nodes }, () => (chance(0.4) ? 0.95 + uniform(random) * 0.1 : 1)),
    clients: between(4, 6),
    operations: 310,
    thinkMaxMs: between(5, 70),
    timeoutMs: between(400, 2000),
    keys: between(3, 6),
    faultEveryMs: between(120, 700),
    faultsMin: 5,
    churn: chance(0.3),
    hasty: chance(0.5),
  }
}

export interface RunOptions {
  readonly limits?: ScenarioLimits
  readonly brokenRules?: BrokenRules
  /** Called with a line for each thing that happens. */
  readonly trace?: (line: string) => void
  /** Whether every frame is a thing that happens. */
  readonly traceFrames?: boolean
}
