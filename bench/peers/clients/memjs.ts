/** memjs on one memcached. It has no call for many keys: 100 keys are 100 calls at once. */

import { decode, encode } from '../codec.ts'
import { loadLibrary } from '../library.ts'
import type { Entry, Peer, PeerClient } from '../peer.ts'
import type { UserRecord } from '../records.ts'

interface MemjsLibrary {
  readonly Client: { create(servers: string, options: object): MemjsConnection }
}

interface MemjsConnection {
  get(key: string): Promise<{ readonly value: Buffer | null }>
  set(key: string, value: Buffer, options: { expires: number }): Promise<boolean>
  close(): void
}

const OPTIONS = { expires: 0 }

export const memjs: Peer = {
  name: 'memjs',
  servers: 'memcached',
  library: 'memjs',
  workloads: ['A', 'B', 'C', 'mget100', 'mset100'],
  about: 'memjs, one memcached; 100 keys are 100 calls',
  connect: async (addresses) => {
    const { Client } = loadLibrary<MemjsLibrary>('memjs')
    const connection = Client.create(addresses.join(','), { timeout: 5, conntimeout: 5 })
    await connection.get('connected')
    return new MemjsClient(connection)
  },
}

class MemjsClient implements PeerClient {
  readonly #connection: MemjsConnection

  constructor(connection: MemjsConnection) {
    this.#connection = connection
  }

  async get(key: string): Promise<UserRecord | undefined> {
    const { value } = await this.#connection.get(key)
    return value === null ? undefined : decode(value)
  }

  set(key: string, value: UserRecord): Promise<unknown> {
    return this.#connection.set(key, encode(value), OPTIONS)
  }

  mget(keys: readonly string[]): Promise<(UserRecord | undefined)[]> {
    return Promise.all(keys.map((key) => this.get(key)))
  }

  mset(entries: readonly Entry[]): Promise<unknown> {
    return Promise.all(entries.map(([key, value]) => this.set(key, value)))
  }

  async close(): Promise<void> {
    this.#connection.close()
  }
}
