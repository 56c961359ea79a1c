/** What a fault is, and what it has to work with. */

import { integerBetween, type Random } from '../../../src/kernel/random.ts'
import type { ChaosCluster } from '../cluster/chaos-cluster.ts'
import type { ChaosNode } from '../cluster/chaos-node.ts'
import type { CommandLine } from '../command-line.ts'
import type { ChaosNetwork, End } from '../network/network.ts'

export interface FaultContext {
  readonly cluster: ChaosCluster
  readonly network: ChaosNetwork
  readonly clients: readonly End[]
  readonly random: Random
  readonly commandLine: CommandLine
  /** Nodes that are the primary of some partition. */
  leaders(): Promise<readonly End[]>
  /** Waits until every partition is served and fully replicated. @throws when that takes too long. */
  untilSafe(): Promise<void>
}

export interface Fault {
  /** One line for the documentation and the report. */
  readonly about: string
  /** Why it can't be injected in this run, or undefined when it can. */
  problem(context: FaultContext): string | undefined
  /** Injects it, holds it and ends it. @returns what was done to whom, in words. */
  inject(context: FaultContext): Promise<string>
}

/** A fault's own failure to do its work: the run fails, whatever the cluster did. */
export class FaultError extends Error {}

/** One that runs; more often than not a primary, for that is where faults hurt. */
export async function anyNode({ cluster, random, leaders }: FaultContext): Promise<ChaosNode> {
  const leading = await leaders()
  const primaries = cluster.running.filter(({ id }) => leading.includes(id))
  const wantsPrimary = integerBetween(random, 0, 3) > 0 && primaries.length > 0
  return pick(random, wantsPrimary ? primaries : cluster.running)
}

export function pick<T>(random: Random, list: readonly T[]): T {
  if (list.length === 0) throw new FaultError('there is nothing to choose from')
  return list[integerBetween(random, 0, list.length - 1)] as T
}

export function between(random: Random, minMs: number, maxMs: number): number {
  return integerBetween(random, minMs, maxMs)
}

export function always(): undefined {
  return undefined
}

export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}
