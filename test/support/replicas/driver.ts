/**
 * What keeps a cluster whole, in short: whoever reaches the register proposes what its record lacks. It stands for failure
 * detection, rejoining and rebalancing, with their delays and mistakes.
 */

import { integerBetween, type SeededRandom, uniform } from '../../../src/kernel/random.ts'
import { isUp, type NodeRecord, type PartitionRecord } from '../../../src/topology/topology.ts'
import type { Transform } from '../../../src/topology/transforms.ts'
import { lacksValidSet } from '../../../src/topology/validity.ts'
import type { ReplicaCluster } from './replica-cluster.ts'

export interface DriverOptions {
  readonly replicas: number
  /** How long a process is missed before it is held dead, in milliseconds. */
  readonly failAfterMs: number
  /** How long a partition has no valid set before it starts over. */
  readonly recoverAfterMs: number
}

export class Driver {
  readonly #cluster: ReplicaCluster
  readonly #random: SeededRandom
  readonly #options: DriverOptions
  readonly #missingSince = new Map<string, number>()
  readonly #lostSince = new Map<number, number>()
  recoveries = 0
  /** Adds a replica too many now and then. */
  restless = true
  stopped = false

  constructor(cluster: ReplicaCluster, random: SeededRandom, options: DriverOptions) {
    this.#cluster = cluster
    this.#random = random
    this.#options = options
    this.#schedule()
  }

  #schedule(): void {
    this.#cluster.time.after(20 + 60 * uniform(this.#random), () => {
      if (this.stopped) return
      this.#act()
      this.#schedule()
    })
  }

  #act(): void {
    const { register, nodes } = this.#cluster
    const alive = nodes.filter((node) => node !== undefined && !node.host.paused)
    const by = alive[integerBetween(this.#random, 0, Math.max(0, alive.length - 1))]
    if (by === undefined || !register.reaches(by.host)) return
    const transforms = [...this.#ofNodes(), ...this.#ofPartitions()]
    for (const transform of transforms) register.propose(by.host, [transform])
  }

  #ofNodes(): Transform[] {
    const { register, nodes, time } = this.#cluster
    const transforms: Transform[] = []
    const nowMs = time.monotonicMs()
    for (const record of register.topology.nodes) {
      const process = nodes.find((node) => node?.incarnation === record.incarnation)
      const name = `${record.nodeId}/${record.incarnation}`
      if (process !== undefined && register.reaches(process.host) && !process.host.paused) {
        this.#missingSince.delete(name)
        if (record.state === 'failed') transforms.push({ kind: 'NodeJoined', node: withoutState(record) })
        continue
      }
      const since = this.#missingSince.get(name)
      if (since === undefined) this.#missingSince.set(name, nowMs)
      else if (nowMs - since > this.#options.failAfterMs && isUp(record.state))
        transforms.push({ kind: 'NodeFailed', process: record })
    }
    for (const node of nodes) {
      if (node === undefined || register.topology.nodes.some((one) => one.incarnation === node.incarnation))
        continue
      const old = register.topology.nodes.find((one) => one.nodeId === node.nodeId && one.state !== 'gone')
      const record = {
        nodeId: node.name.nodeId,
        incarnation: node.name.incarnation,
        diskId: '',
        address: node.address,
        zone: '',
        weight: 1,
      }
      if (old === undefined) transforms.push({ kind: 'NodeJoined', node: record })
      else transforms.push({ kind: 'NodeRestarted', old, node: record })
    }
    return transforms
  }

  #ofPartitions(): Transform[] {
    const { topology } = this.#cluster.register
    const transforms: Transform[] = []
    topology.partitions.forEach((record, partition) => {
      const transform =
        this.#recover(record, partition) ??
        this.#replicate(record, partition) ??
        this.#move(record, partition)
      if (transform !== undefined) transforms.push(transform)
    })
    return transforms
  }

  #recover(record: PartitionRecord, partition: number): Transform | undefined {
    const { register, time } = this.#cluster
    const { topology } = register
    if (!lacksValidSet(topology, record)) {
      this.#lostSince.delete(partition)
      return undefined
    }
    const since = this.#lostSince.get(partition) ?? time.monotonicMs()
    this.#lostSince.set(partition, since)
    // A primary that serves would have shrunk its set by now; one that takes over may lack whom it has to hear.
    const waitMs = this.#options.recoverAfterMs + (isUp(topology.nodes[record.primary]?.state) ? 2500 : 0)
    if (time.monotonicMs() - since < waitMs) return undefined
    const up = topology.nodes.flatMap((node, i) => (isUp(node.state) ? [i] : []))
    const survivors = record.inSync.filter((node) => up.includes(node))
    const node = this.#pick(survivors.length > 0 ? survivors : up)
    if (node === undefined) return undefined
    this.recoveries++
    const { partitionEpoch } = record
    return { kind: 'Recovered', partitions: [{ partition, partitionEpoch, node }] }
  }

  #replicate(record: PartitionRecord, partition: number): Transform | undefined {
    const { topology } = this.#cluster.register
    const { partitionEpoch, inSync, learners } = record
    const wanted = this.#options.replicas + (this.restless && uniform(this.#random) < 0.03 ? 1 : 0)
    if (inSync.length + learners.length < wanted) {
      const free = topology.nodes.flatMap((node, i) =>
        node.state === 'active' && !inSync.includes(i) && !learners.some((one) => one.node === i) ? [i] : [],
      )
      const node = this.#pick(free)
      if (node !== undefined) return { kind: 'LearnerAdded', learners: [{ partition, partitionEpoch, node }] }
    }
    if (inSync.length > this.#options.replicas) {
      const node = this.#pick(inSync.slice(1)) as number
      return { kind: 'ReplicaRemoved', replicas: [{ partition, partitionEpoch, node }] }
    }
    return undefined
  }

  #move(record: PartitionRecord, partition: number): Transform | undefined {
    if (!this.restless || uniform(this.#random) > 0.03 || record.inSync.length < 2) return undefined
    const node = this.#pick(record.inSync.slice(1)) as number
    return {
      kind: 'PrimaryMoved',
      moves: [{ partition, partitionEpoch: record.partitionEpoch, node }],
    }
  }

  #pick<T>(list: readonly T[]): T | undefined {
    return list[integerBetween(this.#random, 0, Math.max(0, list.length - 1))]
  }
}

function withoutState(record: NodeRecord): Omit<NodeRecord, 'state'> {
  const { nodeId, incarnation, diskId, address, zone, weight } = record
  return { nodeId, incarnation, diskId, address, zone, weight }
}
