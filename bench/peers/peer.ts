/**
 * What the bench compares: a *peer* is one client library talking to one kind of server, behind the smallest interface that
 * covers the work. Every peer gets and returns decoded values; how they become bytes is the same for all (codec.ts;
 * ringcache's own client does the same by itself).
 *
 * Servers are started once and shared by the peers that use the same kind; clients live in a child process per measured
 * cell (driver.ts).
 */

import type { UserRecord } from './records.ts'

export type Entry = readonly [key: string, value: UserRecord]

/** A connected client. `get` of an absent key gives undefined; calls reject when the server answers with an error. */
export interface PeerClient {
  get(key: string): Promise<UserRecord | undefined>
  set(key: string, value: UserRecord): Promise<unknown>
  /** In the order of `keys`. */
  mget(keys: readonly string[]): Promise<readonly (UserRecord | undefined)[]>
  mset(entries: readonly Entry[]): Promise<unknown>
  close(): Promise<void>
}

export const PEER_NAMES = [
  'ringcache',
  'ioredis-cluster',
  'node-redis-cluster',
  'valkey-glide-cluster',
  'ioredis-cluster-wait1',
  'ioredis-cluster-wait-batch',
  'ioredis-single',
  'memjs',
] as const
export type PeerName = (typeof PEER_NAMES)[number]

export const SERVER_KINDS = [
  'ringcache',
  'redis-cluster',
  'redis-cluster-replicas',
  'redis-single',
  'memcached',
] as const
export type ServerKind = (typeof SERVER_KINDS)[number]

export const WORKLOAD_NAMES = ['A', 'B', 'C', 'mget100', 'mset100'] as const
export type WorkloadName = (typeof WORKLOAD_NAMES)[number]

/** What ringcache's writes wait for. */
export const DURABILITIES = ['quorum', 'one', 'all'] as const
export type Durability = (typeof DURABILITIES)[number]

export interface Peer {
  readonly name: PeerName
  readonly servers: ServerKind
  /** The npm package of the client, in bench/peers/package.json; undefined: ringcache itself. */
  readonly library: string | undefined
  /** What it takes part in. */
  readonly workloads: readonly WorkloadName[]
  /** One line for the legend under the table. */
  readonly about: string
  /** Returns once every node is connected. `addresses` are `host:port`. */
  connect(addresses: readonly string[]): Promise<PeerClient>
}

/** Running servers of one kind. */
export interface Servers {
  readonly kind: ServerKind
  /** `host:port`, what clients connect to. */
  readonly addresses: readonly string[]
  /** The processes whose CPU time counts as the server's. */
  readonly pids: readonly number[]
  /** Name and version of the server, for the report. */
  readonly versions: Readonly<Record<string, string>>
  /** Profiles that are there after `stop`. */
  readonly profiles?: readonly string[]
  stop(): Promise<void>
}
