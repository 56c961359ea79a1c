/**
 * ioredis on a Redis Cluster with a replica per master, where a write counts once a replica has it: `WAIT 1` on the
 * connection that wrote. (Automatic pipelining on the cluster client would send WAIT, which has no key, to any master.)
 *
 * So there are two connections per master, chosen by the key's slot: one for writes, in two forms (every SET followed by a
 * WAIT of its own, and the SETs of one turn of the event loop followed by one WAIT for all), and one for reads, since WAIT
 * blocks its connection. Of the arrangements tried this one took the client the least time per call; a cluster client
 * with automatic pipelining for the reads took more.
 */

import { decode, encode } from '../codec.ts'
import { loadLibrary } from '../library.ts'
import type { Entry, Peer, PeerClient } from '../peer.ts'
import type { UserRecord } from '../records.ts'
import { type IoredisConnection, type IoredisLibrary, ready, splitAddress } from './ioredis.ts'

const REPLICAS = 1
const WAIT_TIMEOUT_MS = 2_000
const SLOTS = 16_384

export const ioredisWaitEach: Peer = {
  name: 'ioredis-cluster-wait1',
  servers: 'redis-cluster-replicas',
  library: 'ioredis',
  workloads: ['A', 'mset100'],
  about: 'ioredis, Redis Cluster of 3 masters + 3 replicas; WAIT 1 after every SET, on its connection',
  connect: (addresses) => connectWaiting(addresses, (connection) => new WaitEach(connection)),
}

export const ioredisWaitBatch: Peer = {
  name: 'ioredis-cluster-wait-batch',
  servers: 'redis-cluster-replicas',
  library: 'ioredis',
  workloads: ['A', 'mset100'],
  about: 'the same with one WAIT 1 for all SETs of one turn of the event loop to a master',
  connect: (addresses) => connectWaiting(addresses, (connection) => new WaitBatch(connection)),
}

/** Writes to one master, replicated when the promise resolves. */
interface MasterWriter {
  set(key: string, value: Buffer): Promise<unknown>
}

type SlotOf = (key: string) => number

/** `addresses` are the masters, in the order of their slots, which are spread evenly. */
async function connectWaiting(
  addresses: readonly string[],
  makeWriter: (connection: IoredisConnection) => MasterWriter,
): Promise<PeerClient> {
  const { Redis } = loadLibrary<IoredisLibrary>('ioredis')
  const slotOf = loadLibrary<SlotOf>('cluster-key-slot')
  const masters = await Promise.all(
    addresses.map(async (address): Promise<Master> => {
      const options = { ...splitAddress(address), enableAutoPipelining: true }
      const [reads, writes] = await Promise.all([ready(new Redis(options)), ready(new Redis(options))])
      return { reads, writes, writer: makeWriter(writes) }
    }),
  )
  return new WaitClient(masters, slotOf)
}

interface Master {
  readonly reads: IoredisConnection
  readonly writes: IoredisConnection
  readonly writer: MasterWriter
}

class WaitClient implements PeerClient {
  readonly #masters: readonly Master[]
  readonly #slotOf: SlotOf

  constructor(masters: readonly Master[], slotOf: SlotOf) {
    this.#masters = masters
    this.#slotOf = slotOf
  }

  async get(key: string): Promise<UserRecord | undefined> {
    const bytes = await this.#masterOf(key).reads.getBuffer(key)
    return bytes === null ? undefined : decode(bytes)
  }

  set(key: string, value: UserRecord): Promise<unknown> {
    return this.#masterOf(key).writer.set(key, encode(value))
  }

  mget(keys: readonly string[]): Promise<(UserRecord | undefined)[]> {
    return Promise.all(keys.map((key) => this.get(key)))
  }

  mset(entries: readonly Entry[]): Promise<unknown> {
    return Promise.all(entries.map(([key, value]) => this.set(key, value)))
  }

  async close(): Promise<void> {
    for (const { reads, writes } of this.#masters) {
      reads.disconnect()
      writes.disconnect()
    }
  }

  #masterOf(key: string): Master {
    const at = Math.floor((this.#slotOf(key) * this.#masters.length) / SLOTS)
    return this.#masters[at] as Master
  }
}

class WaitEach implements MasterWriter {
  readonly #connection: IoredisConnection

  constructor(connection: IoredisConnection) {
    this.#connection = connection
  }

  /** On a connection to one server automatic pipelining keeps the order, so the WAIT follows its SET. */
  async set(key: string, value: Buffer): Promise<void> {
    const written = this.#connection.set(key, value)
    const replicated = this.#connection.wait(REPLICAS, WAIT_TIMEOUT_MS)
    await written
    requireReplicas(await replicated)
  }
}

interface PendingSet {
  readonly key: string
  readonly value: Buffer
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/** Like automatic pipelining: one pipeline under way, what comes meanwhile goes with the next. */
class WaitBatch implements MasterWriter {
  readonly #connection: IoredisConnection
  #pending: PendingSet[] = []
  #running = false

  constructor(connection: IoredisConnection) {
    this.#connection = connection
  }

  set(key: string, value: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#pending.push({ key, value, resolve, reject })
      if (this.#pending.length === 1 && !this.#running) setImmediate(() => void this.#send())
    })
  }

  async #send(): Promise<void> {
    this.#running = true
    while (this.#pending.length > 0) {
      const batch = this.#pending
      this.#pending = []
      const pipeline = this.#connection.pipeline()
      for (const { key, value } of batch) pipeline.set(key, value)
      pipeline.wait(REPLICAS, WAIT_TIMEOUT_MS)
      try {
        const results = (await pipeline.exec()) ?? []
        requireReplicas(results[batch.length]?.[1])
        for (const [at, { resolve, reject }] of batch.entries()) {
          const error = results[at]?.[0]
          if (error) reject(error)
          else resolve()
        }
      } catch (error) {
        for (const { reject } of batch) reject(error)
      }
    }
    this.#running = false
  }
}

function requireReplicas(count: unknown): void {
  if (typeof count !== 'number' || count < REPLICAS) {
    throw new Error(`WAIT ${REPLICAS} was answered with ${String(count)}: the write is not replicated`)
  }
}
