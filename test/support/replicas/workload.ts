/** Clients that read and write a few keys, one operation at a time, and note what they were told. */

import { integerBetween, randomHex, type SeededRandom, uniform } from '../../../src/kernel/random.ts'
import type { HistoryRecorder, HistoryValue, OpenOperation } from '../../../src/testing/history.ts'
import type { SimulatedHost } from '../../../src/testing/simulated-host.ts'
import { Codec, ReadCode } from '../../../src/wire/operations.ts'
import { Status } from '../../../src/wire/results.ts'
import { partitionOfKey, text } from '../cluster-bench.ts'
import type { RawClient, RawResult, WriteFields } from '../raw-client.ts'
import type { ReplicaCluster } from './replica-cluster.ts'

export interface Acknowledged {
  readonly partition: number
  readonly partitionEpoch: number
  readonly sequence: number
}

export interface WorkloadPorts {
  readonly history: HistoryRecorder
  acknowledged(write: Acknowledged): void
}

type Send = (client: RawClient, fields: WriteFields) => Promise<RawResult>

const GIVE_UP_MS = 2500
const ATTEMPT_MS = 400

export class WorkloadClient {
  readonly #cluster: ReplicaCluster
  readonly #host: SimulatedHost
  readonly #process: number
  readonly #random: SeededRandom
  readonly #partitions: number
  readonly #keys: readonly string[]
  readonly #ports: WorkloadPorts
  readonly #session: string
  readonly #clients = new Map<string, RawClient>()
  #counter = 0
  #value = 0
  operations = 0
  answered = 0
  lastOkMs = 0

  constructor(
    cluster: ReplicaCluster,
    host: SimulatedHost,
    process: number,
    random: SeededRandom,
    keys: readonly string[],
    partitions: number,
    ports: WorkloadPorts,
  ) {
    this.#cluster = cluster
    this.#host = host
    this.#process = process
    this.#random = random
    this.#keys = keys
    this.#partitions = partitions
    this.#ports = ports
    this.#session = randomHex(random, 16)
  }

  async run(untilMs: number): Promise<void> {
    while (this.#host.monotonicMs() < untilMs) {
      await this.#pause(uniform(this.#random) < 0.2 ? 30 * uniform(this.#random) : 6 * uniform(this.#random))
      await this.#one()
      this.operations++
    }
  }

  /** Reads every key, for what the history must explain in the end. */
  async readAll(): Promise<void> {
    for (const key of this.#keys) await this.#read(key)
  }

  async #one(): Promise<void> {
    const key = this.#keys[integerBetween(this.#random, 0, this.#keys.length - 1)] as string
    const dice = uniform(this.#random)
    if (dice < 0.4) await this.#read(key)
    else if (key.startsWith('count')) {
      if (dice < 0.9) await this.#increment(key)
      else await this.#delete(key)
    } else if (dice < 0.65) await this.#set(key)
    else if (dice < 0.8) await this.#setWhen(key)
    else if (dice < 0.9) await this.#expire(key)
    else await this.#delete(key)
  }

  async #read(key: string): Promise<void> {
    const open = this.#ports.history.begin(this.#process, key, 'get')
    const deadlineMs = this.#host.monotonicMs() + GIVE_UP_MS
    while (this.#host.monotonicMs() < deadlineMs) {
      const client = await this.#client(partitionOfKey(key, this.#partitions))
      const result = client && (await this.#within(client.get(key, ReadCode.linearizable << 2)))
      if (result?.status === Status.ok || result?.status === Status.absent) {
        open.ok({ value: shownValue(result) })
        this.#ok()
        return
      }
      await this.#pause(5 + 30 * uniform(this.#random))
    }
    open.fail()
  }

  async #set(key: string): Promise<void> {
    const value = `${this.#process}.${++this.#value}`
    const open = this.#ports.history.begin(this.#process, key, 'set', { value })
    const all = uniform(this.#random) < 0.1
    const result = await this.#write(key, open, (client, fields) =>
      client.set(key, text(value), all ? { ...fields, durability: 3 } : fields),
    )
    if (result?.status !== Status.ok) return
    this.#acknowledged(key, result)
    open.ok({})
  }

  async #setWhen(key: string): Promise<void> {
    const value = `${this.#process}.${++this.#value}`
    const when = uniform(this.#random) < 0.5 ? 'absent' : 'present'
    const open = this.#ports.history.begin(this.#process, key, 'set', { value, when })
    const result = await this.#write(key, open, (client, fields) =>
      client.set(key, text(value), { ...fields, condition: when }),
    )
    if (result === undefined) return
    if (result.status === Status.ok) this.#acknowledged(key, result)
    open.ok({ applied: result.status === Status.ok })
  }

  async #delete(key: string): Promise<void> {
    const open = this.#ports.history.begin(this.#process, key, 'delete')
    const result = await this.#write(key, open, (client, fields) => client.delete(key, fields))
    if (result !== undefined) open.ok({ existed: result.status === Status.ok })
  }

  /** Of no account to what is read: it lasts for longer than the run. */
  async #expire(key: string): Promise<void> {
    const client = await this.#client(partitionOfKey(key, this.#partitions))
    if (client !== undefined)
      await this.#within(
        client.expire(key, integerBetween(this.#random, 1e6, 9e6), { timeoutMs: ATTEMPT_MS }),
      )
  }

  async #increment(key: string): Promise<void> {
    const open = this.#ports.history.begin(this.#process, key, 'increment', { by: 1 })
    const result = await this.#write(key, open, (client, fields) => client.increment(key, 1, fields))
    if (result?.status === Status.ok) open.ok({ value: result.reader.float64() })
  }

  /** Tries until it is answered. @returns undefined when it ended otherwise, which is noted */
  async #write(key: string, open: OpenOperation, send: Send): Promise<RawResult | undefined> {
    const counter = ++this.#counter
    const deadlineMs = this.#host.monotonicMs() + GIVE_UP_MS
    let maybe = false
    while (this.#host.monotonicMs() < deadlineMs) {
      const client = await this.#client(partitionOfKey(key, this.#partitions))
      if (client !== undefined) {
        client.firstIncomplete = counter
        const result = await this.#within(send(client, { counter, timeoutMs: ATTEMPT_MS }))
        if (result !== undefined && result.status >= 0 && result.error === undefined) {
          this.#ok()
          return result
        }
        // What did not come, or came as unknown, may have been applied; a definite refusal was not.
        if (result?.error === undefined || result.status < 0 || result.error.outcome === 'unknown')
          maybe = true
      }
      await this.#pause(5 + 40 * uniform(this.#random))
    }
    if (maybe) open.unknown()
    else open.fail()
    return undefined
  }

  #acknowledged(key: string, { reader }: RawResult): void {
    const partitionEpoch = reader.varint()
    const sequence = reader.varint()
    const partition = partitionOfKey(key, this.#partitions)
    this.#ports.acknowledged({ partition, partitionEpoch, sequence })
  }

  #ok(): void {
    this.answered++
    this.lastOkMs = this.#host.monotonicMs()
  }

  /** A stream to a node that is, was, or may be primary. */
  async #client(partition: number): Promise<RawClient | undefined> {
    const { nodes } = this.#cluster
    const known = this.#cluster.primaryOf(partition)
    const at =
      known >= 0 && uniform(this.#random) < 0.7 ? known : integerBetween(this.#random, 0, nodes.length - 1)
    const node = nodes[at]
    if (node === undefined) return undefined
    const name = `${at}/${node.incarnation}`
    let client = this.#clients.get(name)
    if (client === undefined || client.ended) {
      client = this.#cluster.open(at, this.#host, this.#session)
      this.#clients.set(name, client)
    }
    const opened = client
    const ok = await Promise.race([opened.opened(), this.#pause(200).then(() => false)])
    return ok && !opened.ended ? opened : undefined
  }

  async #within(call: Promise<RawResult>): Promise<RawResult | undefined> {
    return Promise.race([call, this.#pause(ATTEMPT_MS + 200).then(() => undefined)])
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.#host.after(ms, resolve))
  }
}

function shownValue(result: RawResult): HistoryValue {
  if (result.status === Status.absent) return null
  const { reader } = result
  const codec = reader.uint8()
  const bytes = reader.blob()
  if ((codec & Codec.mask) === Codec.counter)
    return new DataView(bytes.buffer, bytes.byteOffset, 8).getFloat64(0, true)
  return Buffer.from(bytes).toString()
}
