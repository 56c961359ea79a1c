/**
 * A cluster reduced to its record: whatever is proposed is committed, primaries settle, promote whoever they bring up and hand
 * over as the ring wants. Time passes in steps of 100 ms.
 */

import { expect } from 'vitest'
import type { Incarnation } from '../../src/kernel/ids.ts'
import { wantedHandover } from '../../src/rebalance/plan.ts'
import { RebalanceDriver, type RebalanceOptions } from '../../src/rebalance/rebalance-driver.ts'
import { applyAll } from '../../src/topology/apply-transform.ts'
import { firstPartitions, firstRing, wantedPlacement } from '../../src/topology/placement.ts'
import { isUp, type NodeRecord, type Topology } from '../../src/topology/topology.ts'
import type { Transform } from '../../src/topology/transforms.ts'
import { isBlocked } from '../../src/topology/validity.ts'
import { makeTopology, nodeNamed, type TopologyShape } from './topologies.ts'

const STEP_MS = 100

export class RebalanceCluster {
  topology: Topology
  nowMs = 0
  driver: RebalanceDriver
  /** Learners promoted so far. */
  copies = 0
  /** Primaries that bring nobody up. */
  stalled = false
  readonly #options: Partial<RebalanceOptions>
  #starts = 1

  constructor(shape: TopologyShape, options: Partial<RebalanceOptions> = {}) {
    const topology = makeTopology(shape)
    const ring = firstRing(topology.ring.nodes, topology.groups)
    this.topology = { ...topology, ring, partitions: firstPartitions(ring.placement) }
    this.#options = options
    this.driver = new RebalanceDriver(options)
  }

  /** The driver dies; another one takes over, knowing nothing but the record. */
  replaceDriver(): void {
    this.driver = new RebalanceDriver(this.#options)
  }

  step(): void {
    this.nowMs += STEP_MS
    const { nodes } = this.topology
    const isAlive = (nodeId: string, incarnation: string): boolean =>
      nodes.some((node) => node.nodeId === nodeId && node.incarnation === incarnation && isUp(node.state))
    this.commit(...this.driver.changes(this.topology, isAlive, this.nowMs))
    this.#settle()
    if (!this.stalled) this.#promote()
    this.#handOver()
  }

  /** Steps until nothing has happened for a while. @returns how long it took */
  run(forMs?: number): number {
    const startMs = this.nowMs
    for (let quiet = 0; forMs === undefined ? quiet < 30 : this.nowMs < startMs + forMs; ) {
      const before = this.topology.epoch
      this.step()
      quiet = this.topology.epoch === before ? quiet + 1 : 0
      expect(this.nowMs - startMs).toBeLessThan(3_600_000)
    }
    return this.nowMs - startMs
  }

  commit(...transforms: Transform[]): void {
    if (transforms.length > 0) this.topology = applyAll(this.topology, transforms).topology
  }

  node(name: string): NodeRecord {
    const node = this.topology.nodes.find(({ nodeId, state }) => nodeId === name && state !== 'gone')
    if (node === undefined) throw new Error(`no node ${name}`)
    return node
  }

  process(name: string): Pick<NodeRecord, 'nodeId' | 'incarnation'> {
    const { nodeId, incarnation } = this.node(name)
    return { nodeId, incarnation }
  }

  join(name: string): void {
    this.commit({ kind: 'NodeJoined', node: nodeNamed(name, `${name}.${++this.#starts}`) })
  }

  fail(name: string): void {
    this.commit({ kind: 'NodeFailed', process: this.process(name) })
  }

  back(name: string): void {
    this.commit({ kind: 'NodeJoined', node: this.node(name) })
  }

  restart(name: string): void {
    const node = { ...this.node(name), incarnation: `${name}.${++this.#starts}` as Incarnation }
    this.commit({ kind: 'NodeRestarted', old: this.process(name), node })
  }

  /** Copies in sync on a node. */
  held(name: string): number {
    const at = this.topology.nodes.indexOf(this.node(name))
    return this.topology.partitions.filter(({ inSync }) => inSync.includes(at)).length
  }

  /** Whether the table is what the ring wants. */
  get isDone(): boolean {
    const wanted = wantedPlacement(this.topology)
    return this.topology.partitions.every(
      ({ primary, inSync, learners }, p) =>
        learners.length === 0 &&
        primary === wanted[p]?.[0] &&
        inSync.length === wanted[p]?.length &&
        inSync.every((node) => wanted[p]?.includes(node)),
    )
  }

  #settle(): void {
    const partitions = this.topology.partitions.flatMap((record, partition) =>
      record.unsettled.length > 0 &&
      !isBlocked(this.topology, record) &&
      record.inSync.every((node) => isUp(this.topology.nodes[node]?.state))
        ? [{ partition, partitionEpoch: record.partitionEpoch }]
        : [],
    )
    if (partitions.length > 0) this.commit({ kind: 'Settled', partitions })
  }

  #promote(): void {
    const learners = this.topology.partitions.flatMap(({ partitionEpoch, learners }, partition) =>
      learners.slice(0, 1).map((learner) => ({ partition, partitionEpoch, ...learner })),
    )
    this.copies += learners.length
    if (learners.length > 0) this.commit({ kind: 'LearnerPromoted', learners })
  }

  #handOver(): void {
    const moves = this.topology.partitions.flatMap(({ partitionEpoch }, partition) => {
      const node = wantedHandover(this.topology, partition)
      return node === undefined ? [] : [{ partition, partitionEpoch, node }]
    })
    if (moves.length > 0) this.commit({ kind: 'PrimaryMoved', moves })
  }
}
