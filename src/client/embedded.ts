/** What an embedded node is told, and how it is checked: as in cluster.yaml, where mistakes are named, too. */

import { CacheError } from '../kernel/errors.ts'
import { type Bytes, type Duration, parseBytes } from '../kernel/units.ts'
import type { EvictionPolicyName } from '../topology/topology.ts'
import { parseTtlMs, refuseUnknown } from './options.ts'

/** A region of an embedded node. Sizes and times as in cluster.yaml. */
export interface EmbeddedRegion {
  readonly name: string
  readonly size?: Bytes
  readonly maxEntries?: number
  readonly ttl?: Duration
  readonly policy?: EvictionPolicyName
}

export interface EmbeddedOptions {
  /** Regions besides `default`. A region named `default` replaces it. */
  readonly regions?: readonly EmbeddedRegion[]
  /** Memory the node may hold. Default 1 GiB, at least 16 MiB. */
  readonly memory?: Bytes
}

/** An EmbeddedRegion, checked and complete. */
export interface EmbeddedRegionSettings {
  readonly name: string
  /** 0: no limit of its own; `maxEntries` likewise, `ttlMs` 0: no expiry. */
  readonly sizeBytes: number
  readonly maxEntries: number
  readonly ttlMs: number
  readonly policy: EvictionPolicyName
}

const POLICIES: readonly string[] = ['lru', 'fifo'] satisfies EvictionPolicyName[]
const MEMORY_BYTES_MIN = 16 * 1024 * 1024

/** The regions, `default` among them. @throws CacheError INVALID_ARGUMENT naming what is wrong. */
export function resolveRegions(embedded: EmbeddedOptions): EmbeddedRegionSettings[] {
  refuseUnknown(embedded, ['regions', 'memory'], 'embedded')
  const regions = (embedded.regions ?? []).map(resolveRegion)
  const names = regions.map((region) => region.name)
  const twice = names.find((name, i) => names.indexOf(name) !== i)
  if (twice !== undefined) throw invalid(`two embedded regions are named ${JSON.stringify(twice)}`)
  return names.includes('default') ? regions : [resolveRegion({ name: 'default' }), ...regions]
}

/** Undefined when nothing is said. @throws CacheError INVALID_ARGUMENT. */
export function resolveMemoryBytes(embedded: EmbeddedOptions): number | undefined {
  if (embedded.memory === undefined) return undefined
  const bytes = parseBytes(embedded.memory, 'memory')
  if (bytes < MEMORY_BYTES_MIN)
    throw invalid(`memory is ${JSON.stringify(embedded.memory)}; give at least '16mb'`)
  return bytes
}

function resolveRegion(region: EmbeddedRegion): EmbeddedRegionSettings {
  const { name, size, maxEntries = 0, ttl, policy = 'lru' } = region
  if (typeof name !== 'string' || name === '' || name.length > 64)
    throw invalid(`an embedded region needs a name of 1 to 64 characters, not ${JSON.stringify(name)}`)
  const what = `region ${name}`
  refuseUnknown(region, ['name', 'size', 'maxEntries', 'ttl', 'policy'], what)
  if (!Number.isSafeInteger(maxEntries) || maxEntries < 0)
    throw invalid(`maxEntries of ${what} is ${maxEntries}; give a count, or 0 for no limit`)
  if (!POLICIES.includes(policy))
    throw invalid(`policy of ${what} is ${JSON.stringify(policy)}; give 'lru' or 'fifo'`)
  return {
    name,
    sizeBytes: size === undefined ? 0 : parseBytes(size, `size of ${what}`),
    maxEntries,
    ttlMs: ttl === undefined ? 0 : parseTtlMs(ttl),
    policy,
  }
}

function invalid(message: string): CacheError {
  return new CacheError('INVALID_ARGUMENT', message)
}
