/** Figures of a region, summed over the nodes. */

import { CacheError } from '../kernel/errors.ts'

const COUNTERS = [
  'hits',
  'misses',
  'entries',
  'bytes',
  'evictions',
  'expirations',
  'sets',
  'deletes',
] as const
type Counter = (typeof COUNTERS)[number]

export type NodeStats = { readonly node: string } & { readonly [name in Counter]: number }

export type Stats = { readonly [name in Counter]: number } & {
  /** Hits in all reads, 0..1; 0 when there were none. */
  readonly hitRate: number
  readonly nodes: readonly NodeStats[]
  /** Nodes that did not answer: their share is missing in the sums. */
  readonly missing: readonly string[]
}

/** @throws CacheError PROTOCOL_ERROR when the text is not a JSON object. */
export function parseNodeStats(node: string, text: string): NodeStats {
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch (cause) {
    throw new CacheError('PROTOCOL_ERROR', `node ${node} sent statistics that are not JSON`, { cause, node })
  }
  if (typeof parsed !== 'object' || parsed === null) {
    throw new CacheError('PROTOCOL_ERROR', `node ${node} sent statistics that are no object`, { node })
  }
  const source = parsed as Record<string, unknown>
  const counters = COUNTERS.map((name) => [name, typeof source[name] === 'number' ? source[name] : 0])
  return { node, ...(Object.fromEntries(counters) as Record<Counter, number>) }
}

export function sumStats(nodes: readonly NodeStats[], missing: readonly string[]): Stats {
  const sum = Object.fromEntries(
    COUNTERS.map((name) => [name, nodes.reduce((total, node) => total + node[name], 0)]),
  ) as Record<Counter, number>
  const reads = sum.hits + sum.misses
  return { ...sum, hitRate: reads === 0 ? 0 : sum.hits / reads, nodes, missing }
}
