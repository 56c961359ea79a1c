/**
 * One application process of a simulation: writes and reads a few keys, one operation at a time, retries what it does not
 * know the outcome of under the same operation id, and notes what it was told.
 */

import { ByteReader, type ByteWriter } from '../../../src/kernel/bytes.ts'
import { encodeKey, partitionOf } from '../../../src/kernel/key.ts'
import { integerBetween, randomHex, type SeededRandom, uniform } from '../../../src/kernel/random.ts'
import type { SimulatedHost } from '../../../src/testing/simulated-host.ts'
import type { TestCluster, TestNode } from '../../../src/testing/test-cluster.ts'
import { Opcode, writeOperationStart, writeTarget } from '../../../src/wire/operations.ts'
import { Status } from '../../../src/wire/results.ts'
import { RawClient, type RawResult, type WriteFields } from '../../support/raw-client.ts'

/** What a run noted about one key. */
export interface KeyHistory {
  readonly key: string
  readonly partition: number
  /** Versions that acknowledged writes reported. */
  readonly versions: Set<string>
  /** Sums that acknowledged increments reported. */
  readonly sums: number[]
  unknownIncrements: number
  /** Versions that an acknowledged compare-and-set replaced. */
  readonly replaced: Set<string>
}

export interface Acknowledged {
  readonly key: string
  readonly partition: number
  readonly sequence: number
}

export interface WorkerEvents {
  acknowledged(write: Acknowledged): void
  violation(what: string): void
  retried(answeredFromTable: boolean): void
}

const ATTEMPTS = 8

export class Worker {
  readonly #cluster: TestCluster
  readonly #host: SimulatedHost
  readonly #random: SeededRandom
  readonly #name: string
  readonly #histories: ReadonlyMap<string, KeyHistory>
  readonly #events: WorkerEvents
  readonly #session: string
  readonly #clients = new Map<string, RawClient>()
  #counter = 0
  #streams = 0
  /** The last acknowledged value of this worker's own key, when no unknown write came after it. */
  #own: { value: number; certain: boolean } = { value: -1, certain: false }
  operations = 0
  unknown = 0
  rejected = 0
  stop = false

  constructor(
    name: string,
    cluster: TestCluster,
    random: SeededRandom,
    histories: ReadonlyMap<string, KeyHistory>,
    events: WorkerEvents,
  ) {
    this.#name = name
    this.#cluster = cluster
    this.#host = cluster.clientHost(name)
    this.#random = random
    this.#histories = histories
    this.#events = events
    this.#session = randomHex(random, 16)
  }

  async run(operations: number): Promise<void> {
    for (let i = 0; i < operations && !this.stop; i++) {
      await this.#pause(uniform(this.#random) * 10)
      await this.#one()
      this.operations++
    }
  }

  async #one(): Promise<void> {
    const keys = [...this.#histories.values()].filter((one) => one.key.startsWith('shared'))
    const history = keys[integerBetween(this.#random, 0, keys.length - 1)] as KeyHistory
    const dice = uniform(this.#random)
    if (dice < 0.3) await this.#increment(history.key.replace('shared', 'counter'))
    else if (dice < 0.5) await this.#compareAndSet(history)
    else if (dice < 0.6) await this.#write(history, (client, fields) => client.delete(history.key, fields))
    else if (dice < 0.75) await this.#ownSet()
    else if (dice < 0.85) await this.#ownGet()
    else if (dice < 0.9) await this.#large(history)
    else
      await this.#set(
        history,
        uniform(this.#random) < 0.3 ? integerBetween(this.#random, 20, 400) : undefined,
      )
  }

  async #set(history: KeyHistory, ttlMs?: number): Promise<void> {
    const value = new Uint8Array(integerBetween(this.#random, 0, 300)).fill(this.#random.uint32())
    await this.#write(history, (client, fields) =>
      client.set(history.key, value, ttlMs === undefined ? fields : { ...fields, ttlMs }),
    )
  }

  async #large(history: KeyHistory): Promise<void> {
    const value = new Uint8Array(integerBetween(this.#random, 66_000, 150_000)).fill(7)
    await this.#write(history, (client, fields) => client.setLarge(history.key, value, fields), 'bulk')
  }

  async #increment(key: string): Promise<void> {
    const history = this.#histories.get(key) as KeyHistory
    const result = await this.#write(history, (client, fields) => client.increment(key, 1, fields))
    if (result === undefined) history.unknownIncrements++
    else if (result.status === Status.ok) history.sums.push(result.reader.float64())
  }

  async #compareAndSet(history: KeyHistory): Promise<void> {
    const read = await this.#attempt(history, (client) =>
      client.request((w) => writeGetEntry(w, history.key)),
    )
    if (read === undefined || read.status !== Status.ok) return
    const epoch = read.reader.varint()
    const sequence = read.reader.varint()
    const value = new Uint8Array(10).fill(this.#random.uint32())
    const result = await this.#write(history, (client, fields) =>
      client.set(history.key, value, { ...fields, condition: { epoch, sequence } }),
    )
    if (result?.status !== Status.ok) return
    const replaced = `${epoch}/${sequence}`
    if (history.replaced.has(replaced))
      this.#events.violation(`two writes replaced version ${replaced} of ${history.key}`)
    history.replaced.add(replaced)
  }

  async #ownSet(): Promise<void> {
    const history = this.#histories.get(`own-${this.#name}`) as KeyHistory
    const value = this.#own.value + 1
    this.#own = { value, certain: false }
    const result = await this.#write(history, (client, fields) =>
      client.set(history.key, numberBytes(value), fields),
    )
    this.#own = { value, certain: result?.status === Status.ok }
  }

  async #ownGet(): Promise<void> {
    if (!this.#own.certain) return
    const history = this.#histories.get(`own-${this.#name}`) as KeyHistory
    const result = await this.#attempt(history, (client) => client.get(history.key))
    if (result === undefined || result.error !== undefined || result.status < 0) return
    if (result.status !== Status.ok) {
      this.#events.violation(`${history.key} is gone after an acknowledged write`)
      return
    }
    result.reader.uint8()
    const seen = new DataView(result.reader.blob().slice().buffer).getFloat64(0)
    if (seen !== this.#own.value)
      this.#events.violation(`${history.key} reads ${seen}, was set to ${this.#own.value}`)
  }

  /** @returns the result, or undefined when the outcome stayed unknown. */
  async #write(
    history: KeyHistory,
    send: (client: RawClient, fields: WriteFields) => Promise<RawResult>,
    lane: 'operations' | 'bulk' = 'operations',
  ): Promise<RawResult | undefined> {
    const counter = ++this.#counter
    let mayHaveHappened = false
    for (let attempt = 0; attempt < ATTEMPTS && !this.stop; attempt++) {
      const client = await this.#client(this.#primaryOf(history.partition), lane)
      if (client !== undefined) {
        client.firstIncomplete = counter
        const result = await send(client, { counter, timeoutMs: 300 })
        if (result.error === undefined) {
          if (attempt > 0) this.#events.retried(mayHaveHappened)
          this.#note(history, result)
          return result
        }
        if (result.error.outcome === 'unknown' || result.status < 0) mayHaveHappened = true
      }
      await this.#pause(50 + uniform(this.#random) * 100)
    }
    if (mayHaveHappened) {
      this.unknown++
      return undefined
    }
    this.rejected++
    return { status: Status.error, error: undefined, reader: EMPTY }
  }

  #note(history: KeyHistory, result: RawResult): void {
    // An increment returns the sum alone.
    if (result.status !== Status.ok || history.key.startsWith('counter')) return
    const { reader } = result
    const start = reader.at
    if (reader.remaining >= 2) {
      const epoch = reader.varint()
      const sequence = reader.varint()
      const version = `${epoch}/${sequence}`
      if (history.versions.has(version))
        this.#events.violation(`version ${version} of ${history.key} was given twice`)
      history.versions.add(version)
      this.#events.acknowledged({ key: history.key, partition: history.partition, sequence })
    }
    reader.at = start
  }

  async #attempt(
    history: KeyHistory,
    send: (client: RawClient) => Promise<RawResult>,
  ): Promise<RawResult | undefined> {
    const client = await this.#client(this.#primaryOf(history.partition), 'operations')
    return client === undefined ? undefined : send(client)
  }

  #primaryOf(partition: number): TestNode {
    return this.#cluster.nodes[partition % this.#cluster.nodes.length] as TestNode
  }

  async #client(node: TestNode, lane: 'operations' | 'bulk'): Promise<RawClient | undefined> {
    const name = `${node.nodeId}/${lane}`
    let client = this.#clients.get(name)
    if (client === undefined || client.ended) {
      client = new RawClient(
        this.#cluster.network.dialer(this.#host),
        node.address,
        this.#session,
        lane,
        ++this.#streams,
      )
      this.#clients.set(name, client)
    }
    const opened = client
    const ok = await Promise.race([opened.opened(), this.#pause(500).then(() => false)])
    return ok && !opened.ended ? opened : undefined
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.#host.after(ms, resolve))
  }
}

const EMPTY = new ByteReader(new Uint8Array(0))

function writeGetEntry(w: ByteWriter, key: string): void {
  const bytes = new Uint8Array(key.length * 3)
  const length = encodeKey(key, bytes, 0)
  writeOperationStart(w, Opcode.getEntry, 0, 0)
  writeTarget(w, 0, 0, bytes, 0, length)
}

function numberBytes(value: number): Uint8Array {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setFloat64(0, value)
  return bytes
}

export function keyHistory(key: string, partitions: number): KeyHistory {
  const bytes = new Uint8Array(key.length * 3)
  const partition = partitionOf(bytes, 0, encodeKey(key, bytes, 0), 0, partitions)
  return { key, partition, versions: new Set(), sums: [], unknownIncrements: 0, replaced: new Set() }
}
