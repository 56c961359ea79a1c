/**
 * ioredis with automatic pipelining, as its documentation recommends for many small calls: on a cluster (100 keys of many
 * slots are 100 calls that it pipelines by itself) and on one server (where MGET and MSET take any keys).
 */

import { decode, decodeFound, encode } from '../codec.ts'
import { loadLibrary } from '../library.ts'
import type { Entry, Peer, PeerClient } from '../peer.ts'
import type { UserRecord } from '../records.ts'

export interface IoredisLibrary {
  readonly Redis: new (options: IoredisOptions) => IoredisConnection
  readonly Cluster: new (nodes: readonly IoredisAddress[], options: object) => IoredisConnection
}

export interface IoredisAddress {
  readonly host: string
  readonly port: number
}

export interface IoredisOptions extends IoredisAddress {
  readonly enableAutoPipelining?: boolean
}

export interface IoredisConnection {
  readonly status: string
  getBuffer(key: string): Promise<Buffer | null>
  set(key: string, value: Buffer): Promise<unknown>
  mgetBuffer(keys: readonly string[]): Promise<(Buffer | null)[]>
  mset(flat: readonly (string | Buffer)[]): Promise<unknown>
  wait(replicas: number, timeoutMs: number): Promise<number>
  pipeline(): IoredisPipeline
  once(event: 'ready' | 'error', listener: (error?: Error) => void): unknown
  on(event: 'error', listener: (error: Error) => void): unknown
  disconnect(): void
}

export interface IoredisPipeline {
  set(key: string, value: Buffer): unknown
  wait(replicas: number, timeoutMs: number): unknown
  exec(): Promise<[error: Error | null, result: unknown][] | null>
}

export const ioredisCluster: Peer = {
  name: 'ioredis-cluster',
  servers: 'redis-cluster',
  library: 'ioredis',
  workloads: ['A', 'B', 'C', 'mget100', 'mset100'],
  about: 'ioredis, auto-pipelining, Redis Cluster of 3 masters; 100 keys are 100 pipelined calls',
  connect: async (addresses) => {
    const { Cluster } = loadLibrary<IoredisLibrary>('ioredis')
    return new ClusterClient(
      await ready(new Cluster(addresses.map(splitAddress), { enableAutoPipelining: true })),
    )
  },
}

export const ioredisSingle: Peer = {
  name: 'ioredis-single',
  servers: 'redis-single',
  library: 'ioredis',
  workloads: ['A', 'B', 'C', 'mget100', 'mset100'],
  about: 'ioredis, auto-pipelining, one Redis; 100 keys are one MGET or MSET',
  connect: async (addresses) => {
    const { Redis } = loadLibrary<IoredisLibrary>('ioredis')
    const redis = new Redis({ ...splitAddress(addresses[0] as string), enableAutoPipelining: true })
    return new SingleClient(await ready(redis))
  },
}

export function splitAddress(address: string): IoredisAddress {
  const [host, port] = address.split(':')
  return { host: host as string, port: Number(port) }
}

/** Resolves once the connection serves commands. */
export async function ready(connection: IoredisConnection): Promise<IoredisConnection> {
  await new Promise<void>((resolve, reject) => {
    connection.once('ready', () => resolve())
    connection.once('error', (error) => reject(error))
  })
  connection.on('error', () => {}) // calls report what they meet
  return connection
}

/** Calls on single keys, which are the same on a cluster and on one server. */
class SingleKeyClient {
  protected readonly redis: IoredisConnection

  constructor(redis: IoredisConnection) {
    this.redis = redis
  }

  async get(key: string): Promise<UserRecord | undefined> {
    const bytes = await this.redis.getBuffer(key)
    return bytes === null ? undefined : decode(bytes)
  }

  set(key: string, value: UserRecord): Promise<unknown> {
    return this.redis.set(key, encode(value))
  }

  async close(): Promise<void> {
    this.redis.disconnect()
  }
}

class ClusterClient extends SingleKeyClient implements PeerClient {
  mget(keys: readonly string[]): Promise<(UserRecord | undefined)[]> {
    return Promise.all(keys.map((key) => this.get(key)))
  }

  mset(entries: readonly Entry[]): Promise<unknown> {
    return Promise.all(entries.map(([key, value]) => this.redis.set(key, encode(value))))
  }
}

class SingleClient extends SingleKeyClient implements PeerClient {
  async mget(keys: readonly string[]): Promise<(UserRecord | undefined)[]> {
    return (await this.redis.mgetBuffer(keys)).map(decodeFound)
  }

  mset(entries: readonly Entry[]): Promise<unknown> {
    const flat: (string | Buffer)[] = []
    for (const [key, value] of entries) flat.push(key, encode(value))
    return this.redis.mset(flat)
  }
}
