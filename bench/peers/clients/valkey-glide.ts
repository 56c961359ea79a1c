/** valkey-glide (a native core) on a cluster. Its MGET and MSET take keys of any slots and split them by themselves. */

import { decode, decodeFound, encode } from '../codec.ts'
import { loadLibrary } from '../library.ts'
import type { Entry, Peer, PeerClient } from '../peer.ts'
import type { UserRecord } from '../records.ts'
import { splitAddress } from './ioredis.ts'

interface GlideLibrary {
  readonly Decoder: { readonly Bytes: number }
  readonly GlideClusterClient: { createClient(options: object): Promise<GlideCluster> }
}

interface GlideCluster {
  get(key: string): Promise<Buffer | null>
  set(key: string, value: Buffer): Promise<unknown>
  mget(keys: readonly string[]): Promise<(Buffer | null)[]>
  mset(entries: readonly { key: string; value: Buffer }[]): Promise<unknown>
  close(): void
}

/** Calls beyond this many under way are refused by the client; its default of 1,000 is below the bench's highest. */
const IN_FLIGHT_MAX = 8_192

export const valkeyGlideCluster: Peer = {
  name: 'valkey-glide-cluster',
  servers: 'redis-cluster',
  library: '@valkey/valkey-glide',
  workloads: ['A', 'B', 'C', 'mget100', 'mset100'],
  about: 'valkey-glide, Redis Cluster of 3 masters; its own MGET and MSET across slots',
  connect: async (addresses) => {
    const { Decoder, GlideClusterClient } = loadLibrary<GlideLibrary>('@valkey/valkey-glide')
    const cluster = await GlideClusterClient.createClient({
      addresses: addresses.map(splitAddress),
      defaultDecoder: Decoder.Bytes,
      inflightRequestsLimit: IN_FLIGHT_MAX,
      requestTimeout: 5_000,
    })
    return new GlideClient(cluster)
  },
}

class GlideClient implements PeerClient {
  readonly #cluster: GlideCluster

  constructor(cluster: GlideCluster) {
    this.#cluster = cluster
  }

  async get(key: string): Promise<UserRecord | undefined> {
    const bytes = await this.#cluster.get(key)
    return bytes === null ? undefined : decode(bytes)
  }

  set(key: string, value: UserRecord): Promise<unknown> {
    return this.#cluster.set(key, encode(value))
  }

  async mget(keys: readonly string[]): Promise<(UserRecord | undefined)[]> {
    return (await this.#cluster.mget(keys)).map(decodeFound)
  }

  mset(entries: readonly Entry[]): Promise<unknown> {
    return this.#cluster.mset(entries.map(([key, value]) => ({ key, value: encode(value) })))
  }

  async close(): Promise<void> {
    this.#cluster.close()
  }
}
