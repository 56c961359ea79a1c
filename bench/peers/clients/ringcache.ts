/**
 * ringcache through its public client, as an application uses it: default serializer, default (primary) reads, quorum writes,
 * no near cache. It is loaded from dist, which is what users install.
 */

import type { Entry, Peer, PeerClient } from '../peer.ts'
import type { UserRecord } from '../records.ts'

/** What the bench uses of the client. */
export interface RingcacheClient<V> {
  get(key: string): Promise<V | undefined>
  set(key: string, value: V): Promise<unknown>
  mget(keys: readonly string[]): Promise<(V | undefined)[]>
  mset(entries: readonly (readonly [string, V])[]): Promise<Map<string, unknown>>
  close(): Promise<void>
}

interface RingcacheLibrary {
  connect<V>(options: { nodes: readonly string[]; timeout: string }): Promise<RingcacheClient<V>>
}

export const ringcache: Peer = {
  name: 'ringcache',
  servers: 'ringcache',
  library: undefined,
  workloads: ['A', 'B', 'C', 'mget100', 'mset100'],
  about: 'ringcache, 3 nodes, 3 copies, quorum writes, primary reads, no near cache',
  connect: async (addresses) => new RingcachePeer(await connectRingcache<UserRecord>(addresses)),
}

export async function connectRingcache<V>(addresses: readonly string[]): Promise<RingcacheClient<V>> {
  const exports: unknown = await import(new URL('../../../dist/index.js', import.meta.url).href)
  // dist is not there when this file is checked; the members used are described above.
  return (exports as RingcacheLibrary).connect<V>({ nodes: addresses, timeout: '10s' })
}

class RingcachePeer implements PeerClient {
  readonly #cache: RingcacheClient<UserRecord>

  constructor(cache: RingcacheClient<UserRecord>) {
    this.#cache = cache
  }

  get(key: string): Promise<UserRecord | undefined> {
    return this.#cache.get(key)
  }

  set(key: string, value: UserRecord): Promise<unknown> {
    return this.#cache.set(key, value)
  }

  mget(keys: readonly string[]): Promise<readonly (UserRecord | undefined)[]> {
    return this.#cache.mget(keys)
  }

  async mset(entries: readonly Entry[]): Promise<unknown> {
    const outcomes = await this.#cache.mset(entries)
    for (const outcome of outcomes.values()) if (outcome instanceof Error) throw outcome
    return outcomes
  }

  close(): Promise<void> {
    return this.#cache.close()
  }
}
