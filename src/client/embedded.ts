/** What an embedded node is told, and how it is checked: as in cluster.yaml, where mistakes are named, too. */

import { parseAddress } from '../kernel/address.ts'
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
  /** Memory the node may hold. Default 1 GiB, at least 16 MiB; at least 128 MiB for one that joins a cluster. */
  readonly memory?: Bytes
  /**
   * Addresses of nodes of a cluster: this process becomes a member of it, holds its share of the data and serves other clients, too.
   * `regions` are the cluster's then and can't be given.
   */
  readonly join?: readonly string[]
  /** With `join`: where this node listens and the others reach it, `host:port`. */
  readonly address?: string
  /** With `join`: the node's name, unique in the cluster and the same after a restart. By default made of `address`. */
  readonly nodeId?: string
  /** With `join`: the cluster's name. Default `ringcache`. */
  readonly cluster?: string
  /** With `join`: which nodes fail together; copies go to distinct zones first. Default `default`. */
  readonly zone?: string
  /** With `join`: folder for what the node keeps on disk. Default: nothing, it comes back as a new node each time. */
  readonly dataDir?: string
  /** With `join`: allows addresses beyond this machine, where everybody may read and change everything. */
  readonly insecure?: boolean
}

/** What a node that joins a cluster is told, in the shape of cluster.yaml. */
export interface MemberSettings {
  readonly nodeId: string
  readonly address: string
  readonly join: readonly string[]
  readonly config: object
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

const MEMBER_OPTIONS = ['address', 'nodeId', 'cluster', 'zone', 'dataDir', 'insecure'] as const
const EMBEDDED_OPTIONS = ['regions', 'memory', 'join', ...MEMBER_OPTIONS]
const POLICIES: readonly string[] = ['lru', 'fifo'] satisfies EvictionPolicyName[]
const MEMORY_BYTES_MIN = 16 * 1024 * 1024

/** The regions, `default` among them. @throws CacheError INVALID_ARGUMENT naming what is wrong. */
export function resolveRegions(embedded: EmbeddedOptions): EmbeddedRegionSettings[] {
  refuseUnknown(embedded, EMBEDDED_OPTIONS, 'embedded')
  const foreign = MEMBER_OPTIONS.find((name) => embedded[name] !== undefined)
  if (foreign !== undefined)
    throw invalid(`embedded.${foreign} is for a node that joins a cluster: give embedded.join, too`)
  const regions = (embedded.regions ?? []).map(resolveRegion)
  const names = regions.map((region) => region.name)
  const twice = names.find((name, i) => names.indexOf(name) !== i)
  if (twice !== undefined) throw invalid(`two embedded regions are named ${JSON.stringify(twice)}`)
  return names.includes('default') ? regions : [resolveRegion({ name: 'default' }), ...regions]
}

/** Undefined when the node is a cluster of its own. @throws CacheError INVALID_ARGUMENT naming what is wrong. */
export function resolveMember(embedded: EmbeddedOptions): MemberSettings | undefined {
  const { join, address, cluster, zone, dataDir, insecure } = embedded
  if (join === undefined) return undefined
  refuseUnknown(embedded, EMBEDDED_OPTIONS, 'embedded')
  if (
    !Array.isArray(join) ||
    join.length === 0 ||
    join.some((one) => parseAddress(String(one)) === undefined)
  )
    throw invalid("embedded.join needs addresses of nodes of the cluster, such as ['127.0.0.1:7401']")
  if (typeof address !== 'string' || parseAddress(address) === undefined)
    throw invalid(
      "a node that joins needs embedded.address, where the others reach it, such as '127.0.0.1:7405'",
    )
  if (embedded.regions !== undefined)
    throw invalid('a node that joins has the regions of its cluster: leave embedded.regions out')
  const nodeId = embedded.nodeId ?? address.replaceAll(/[^A-Za-z0-9]+/g, '-').replaceAll(/^-+|-+$/g, '')
  return {
    nodeId,
    address,
    join,
    config: {
      ...(cluster === undefined ? {} : { name: cluster }),
      nodes: [{ id: nodeId, address, dataDir: dataDir ?? 'none', ...(zone === undefined ? {} : { zone }) }],
      ...(insecure === undefined ? {} : { insecure }),
      ...(embedded.memory === undefined ? {} : { memory: { limit: embedded.memory } }),
      log: { level: 'silent' },
    },
  }
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
