/** node-redis on a cluster. It pipelines the calls of one turn by itself; 100 keys of many slots are 100 calls. */

import { decode, encode } from '../codec.ts'
import { loadLibrary } from '../library.ts'
import type { Entry, Peer, PeerClient } from '../peer.ts'
import type { UserRecord } from '../records.ts'

interface NodeRedisLibrary {
  readonly createCluster: (options: { rootNodes: { url: string }[] }) => NodeRedisCluster
  readonly RESP_TYPES: { readonly BLOB_STRING: number }
}

interface NodeRedisCluster {
  on(event: 'error', listener: (error: Error) => void): unknown
  connect(): Promise<unknown>
  withTypeMapping(mapping: Record<number, unknown>): NodeRedisCluster
  get(key: string): Promise<Buffer | null>
  set(key: string, value: Buffer): Promise<unknown>
  destroy(): void
}

export const nodeRedisCluster: Peer = {
  name: 'node-redis-cluster',
  servers: 'redis-cluster',
  library: 'redis',
  workloads: ['A', 'B', 'C', 'mget100', 'mset100'],
  about: 'node-redis, Redis Cluster of 3 masters; 100 keys are 100 pipelined calls',
  connect: async (addresses) => {
    const { createCluster, RESP_TYPES } = loadLibrary<NodeRedisLibrary>('redis')
    const cluster = createCluster({ rootNodes: addresses.map((address) => ({ url: `redis://${address}` })) })
    cluster.on('error', () => {}) // calls report what they meet
    await cluster.connect()
    return new NodeRedisClient(cluster, cluster.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer }))
  },
}

class NodeRedisClient implements PeerClient {
  readonly #cluster: NodeRedisCluster
  readonly #buffers: NodeRedisCluster

  constructor(cluster: NodeRedisCluster, buffers: NodeRedisCluster) {
    this.#cluster = cluster
    this.#buffers = buffers
  }

  async get(key: string): Promise<UserRecord | undefined> {
    const bytes = await this.#buffers.get(key)
    return bytes === null ? undefined : decode(bytes)
  }

  set(key: string, value: UserRecord): Promise<unknown> {
    return this.#buffers.set(key, encode(value))
  }

  mget(keys: readonly string[]): Promise<(UserRecord | undefined)[]> {
    return Promise.all(keys.map((key) => this.get(key)))
  }

  mset(entries: readonly Entry[]): Promise<unknown> {
    return Promise.all(entries.map(([key, value]) => this.set(key, value)))
  }

  async close(): Promise<void> {
    this.#cluster.destroy()
  }
}
