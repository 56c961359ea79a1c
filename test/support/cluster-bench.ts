/** A cluster on virtual time with raw clients, for tests of what nodes do together. */

import { ByteReader } from '../../src/kernel/bytes.ts'
import { encodeKey, partitionOf } from '../../src/kernel/key.ts'
import type { Replica } from '../../src/replication/replica.ts'
import { TestCluster, type TestClusterOptions, type TestNode } from '../../src/testing/test-cluster.ts'
import { Opcode, writeOperationStart, writeTarget } from '../../src/wire/operations.ts'
import { RawClient, type RawResult } from './raw-client.ts'

const PARTITIONS = 8

export class ClusterBench {
  readonly cluster: TestCluster
  #clients = 0
  #streams = 0

  private constructor(cluster: TestCluster) {
    this.cluster = cluster
  }

  static async start(options: TestClusterOptions = {}): Promise<ClusterBench> {
    const bench = new ClusterBench(
      new TestCluster({
        network: { slowShare: 0 },
        ...options,
        node: { partitionCount: PARTITIONS, ...options.node },
      }),
    )
    await bench.cluster.start()
    return bench
  }

  node(at: number): TestNode {
    const node = this.cluster.nodes[at]
    if (node === undefined) throw new RangeError(`node ${at}`)
    return node
  }

  /** A client's stream to a node; `session` of 16 hex digits, else one of its own. */
  async client(at: number, session?: string, lane: 'operations' | 'bulk' = 'operations'): Promise<RawClient> {
    const name = session ?? `5e55${String(++this.#clients).padStart(12, '0')}`
    const client = new RawClient(
      this.cluster.network.dialer(this.cluster.clientHost('client')),
      this.node(at).address,
      name,
      lane,
      ++this.#streams,
    )
    await this.cluster.time.until(client.opened())
    return client
  }

  /** What the call comes to, on virtual time. */
  run<T>(promise: Promise<T>, limitMs = 20_000): Promise<T> {
    return this.cluster.time.until(promise, limitMs)
  }

  /** A key whose partition has node `at` as its primary; another for each `n`. */
  keyOf(at: number, n = 0, prefix = 'key'): string {
    for (let i = 0, left = n; ; i++) {
      const key = `${prefix}-${i}`
      const primary = this.primaryOf(partitionOfKey(key))
      if (primary === at && left-- === 0) return key
    }
  }

  /** Which node is primary of the partition. */
  primaryOf(partition: number): number {
    const topology = this.cluster.nodes.find((node) => node.core?.dataPlane !== undefined)?.core?.dataPlane
      ?.topology
    const record = topology?.partitions[partition]
    const id = record === undefined ? undefined : topology?.nodes[record.primary]?.nodeId
    return this.cluster.nodes.findIndex((node) => node.nodeId === id)
  }

  replica(at: number, key: string): Replica {
    const replica = this.node(at).core?.dataPlane?.replicator.replica(partitionOfKey(key))
    if (replica === undefined) throw new RangeError(`node ${at} has no replica of ${key}`)
    return replica
  }

  /** Reads a key from every node's copy: its bytes, or 'absent', or an error's code. */
  async copies(key: string): Promise<string[]> {
    const found: string[] = []
    for (let at = 0; at < this.cluster.nodes.length; at++) {
      if (this.node(at).core === undefined) continue
      const client = await this.client(at)
      found.push(shown(await this.run(client.get(key, 2 << 2))))
      client.close()
    }
    return found
  }

  /** Cuts both directions between two nodes. */
  cut(a: number, b: number): void {
    const { network } = this.cluster
    network.cut(this.node(a).nodeId, this.node(b).nodeId)
    network.cut(this.node(b).nodeId, this.node(a).nodeId)
  }

  heal(): void {
    this.cluster.network.healAll()
  }
}

export function partitionOfKey(key: string, partitions: number = PARTITIONS, regionId = 0): number {
  const bytes = new Uint8Array(key.length * 3)
  return partitionOf(bytes, 0, encodeKey(key, bytes, 0), regionId, partitions)
}

/** A get's result as text. */
export function shown(result: RawResult): string {
  if (result.error !== undefined) return result.error.code
  if (result.status === 1) return 'absent'
  if (result.status !== 0) return `status ${result.status}`
  const r = new ByteReader(result.reader.bytes, result.reader.at, result.reader.end)
  r.uint8()
  return Buffer.from(r.blob()).toString()
}

/** What a set came to: its version's sequence, or an error's code, or 'condition failed'. */
export function written(result: RawResult): number | string {
  if (result.error !== undefined) return result.error.code
  if (result.status === 2) return 'condition failed'
  if (result.status !== 0) return `status ${result.status}`
  const r = new ByteReader(result.reader.bytes, result.reader.at, result.reader.end)
  r.varint()
  return r.varint()
}

export function text(value: string): Uint8Array {
  return new TextEncoder().encode(value)
}

export function ttlOf(client: RawClient, key: string, flags = 0): Promise<RawResult> {
  return client.request((w) => {
    const bytes = new Uint8Array(key.length * 3)
    writeOperationStart(w, Opcode.ttl, flags, 0)
    writeTarget(w, 0, 0, bytes, 0, encodeKey(key, bytes, 0))
  })
}
