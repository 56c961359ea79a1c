/**
 * Random changes, with replicas that hold writes: whatever is committed in whatever order, the record stays consistent and a
 * set that takes over holds every write that was acknowledged, unless the partition was recovered from nothing.
 */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Epoch, Incarnation } from '../../../src/kernel/ids.ts'
import type { BrokenRules } from '../../../src/kernel/rule-switch.ts'
import { applyAll } from '../../../src/topology/apply-transform.ts'
import { decodeTopology, encodeTopology } from '../../../src/topology/codec.ts'
import {
  isUp,
  majorityOf,
  type NodeRecord,
  type PartitionRecord,
  type Topology,
} from '../../../src/topology/topology.ts'
import { decodeTransforms, encodeTransforms } from '../../../src/topology/transform-codec.ts'
import type { NodeAt, Transform } from '../../../src/topology/transforms.ts'
import { isBlocked, isKept, lacksValidSet } from '../../../src/topology/validity.ts'
import { makeTopology, nodeNamed } from '../../support/topologies.ts'

type Step = readonly [action: number, a: number, b: number]

/** Writes by number, per process and partition. */
class World {
  topology: Topology
  readonly broken: BrokenRules | undefined
  /** What each process holds of each partition. */
  readonly held = new Map<string, Set<number>>()
  /** Acknowledged writes by partition. */
  readonly acknowledged: Set<number>[]
  /** The partition epoch at which its primary began to serve, by partition. */
  readonly serving: number[]
  /** What a primary held when it began to serve. */
  readonly begun: Set<number>[]
  /** Who ordered writes at (partition, epoch). */
  readonly primaries = new Map<string, string>()
  promotions = 0
  takeovers = 0
  blocked = 0
  recoveries = 0
  #writes = 0
  #starts = 0

  constructor(nodes: number, broken?: BrokenRules) {
    this.topology = makeTopology({ nodes, partitions: 4 })
    this.broken = broken
    this.acknowledged = this.topology.partitions.map(() => new Set())
    this.serving = this.topology.partitions.map(({ partitionEpoch }) => partitionEpoch)
    this.begun = this.topology.partitions.map(() => new Set())
  }

  step([action, a, b]: Step): void {
    const p = a % this.topology.partitions.length
    const partition = this.topology.partitions[p] as PartitionRecord
    const at = b % this.topology.nodes.length
    const node = this.topology.nodes[at]
    if (node === undefined) return
    const late = a % 7 === 0 ? 1 : 0
    const here = { partition: p, partitionEpoch: partition.partitionEpoch - late } as NodeAt
    const member = partition.inSync[b % partition.inSync.length] as number
    const learner = partition.learners[b % Math.max(1, partition.learners.length)]
    const process = { nodeId: node.nodeId, incarnation: node.incarnation }
    switch (action) {
      case 0:
      case 1:
      case 2:
        this.#write(p, b)
        return
      case 3:
      case 4:
        this.#takeOver(p)
        return
      case 5:
        this.commit([{ kind: 'NodeFailed', process }])
        return
      case 6:
        if (node.state !== 'failed') return
        this.commit([{ kind: 'NodeJoined', node: withoutState(node) }])
        return
      case 7:
        // At once in the record, or a while after it was held dead.
        this.commit([{ kind: 'NodeRestarted', old: process, node: this.#again(node.nodeId) }])
        return
      case 8:
        this.commit([{ kind: 'LearnerAdded', learners: [{ ...here, node: at }] }])
        return
      case 9:
      case 10:
        this.#promote(p, learner?.node, late)
        return
      case 11:
        if (!this.#serves(p)) return
        this.commit([{ kind: 'InSyncShrunk', members: [{ ...here, node: member }] }])
        return
      case 12:
        if (!this.#serves(p)) return
        // New writes are frozen and the target has reached the last one.
        this.#holds(member, p, this.#of(partition.primary, p))
        this.commit([{ kind: 'PrimaryMoved', moves: [{ ...here, node: member }] }])
        return
      case 13:
        this.commit([{ kind: 'ReplicaRemoved', replicas: [{ ...here, node: member }] }])
        return
      case 14:
        this.#settle(p, b)
        return
      case 15:
        this.commit([{ kind: 'NodeLeaving', process, leaving: a % 2 === 0 }])
        return
      case 16:
        this.commit([{ kind: 'NodeRemoved', process }])
        return
      case 17:
        this.commit([{ kind: 'NodeJoined', node: this.#again(`m${b % 3}`) }])
        return
      case 18:
        this.#recover(p)
        return
      case 20:
      case 21:
      case 22:
        // What heals goes its way more often than what breaks.
        this.#takeOver(p)
        this.#settle(p, b)
        this.#promote(p, learner?.node)
        return
      case 23:
      case 24: {
        const failed = this.topology.nodes.find(({ state }) => state === 'failed')
        if (failed !== undefined) this.commit([{ kind: 'NodeJoined', node: withoutState(failed) }])
        return
      }
      default:
        this.commit([
          { kind: 'NodeFailed', process },
          { kind: 'LearnerAdded', learners: [{ ...here, node: member }] },
          { kind: 'RingPaused', paused: a % 2 === 0 },
        ])
    }
  }

  commit(transforms: readonly Transform[]): boolean {
    const before = this.topology
    expect(decodeTransforms(encodeTransforms(transforms))).toEqual(transforms)
    const { topology, applied } = applyAll(before, transforms, this.broken)
    if (applied === 0) {
      expect(topology).toBe(before)
      return false
    }
    expect(topology.epoch).toBe(before.epoch + 1)
    expect(decodeTopology(encodeTopology(topology, 'node'))).toEqual(topology)
    this.topology = topology
    this.#check(before)
    return true
  }

  /** Whether the members of each set that may serve hold, together, all that was acknowledged. */
  lost(): number | undefined {
    for (const [p, partition] of this.topology.partitions.entries()) {
      if (partition.inSync.some((member) => !isUp(this.topology.nodes[member]?.state))) continue
      const together = new Set(partition.inSync.flatMap((member) => [...this.#of(member, p)]))
      for (const write of this.acknowledged[p] ?? []) if (!together.has(write)) return write
    }
    return undefined
  }

  #check(before: Topology): void {
    const { nodes, partitions } = this.topology
    for (const [p, partition] of partitions.entries()) {
      const { partitionEpoch, primary, inSync, learners } = partition
      expect(inSync[0]).toBe(primary)
      expect(new Set([...inSync, ...learners.map(({ node }) => node)]).size).toBe(
        inSync.length + learners.length,
      )
      for (const { node } of learners) expect(isUp(nodes[node]?.state)).toBe(true)
      // Who is not up has left every set that can do without it.
      if (inSync.some((member) => nodes[member]?.state === 'gone') && this.broken === undefined)
        expect(isBlocked(this.topology, partition) || lacksValidSet(this.topology, partition)).toBe(true)
      if (isBlocked(this.topology, partition)) this.blocked++
      const earlier = before.partitions[p] as PartitionRecord
      this.#forget(p, partition, earlier)
      expect(partitionEpoch).toBeGreaterThanOrEqual(earlier.partitionEpoch)
      const name = `${nodes[primary]?.nodeId}/${nodes[primary]?.incarnation} ${inSync.join()}`
      const key = `${p}/${partitionEpoch}`
      // An epoch is one primary and one set, for ever: versions are never used twice.
      expect(this.primaries.get(key) ?? name).toBe(name)
      this.primaries.set(key, name)
    }
  }

  /** A session begins with nothing, and whoever the record does not name any more keeps nothing. */
  #forget(p: number, partition: PartitionRecord, earlier: PartitionRecord): void {
    for (const { node, session } of partition.learners)
      if (!earlier.learners.some((one) => one.node === node && one.session === session))
        this.held.delete(this.#key(node, p))
    this.topology.nodes.forEach((_, node) => {
      const named =
        partition.inSync.includes(node) ||
        partition.learners.some((learner) => learner.node === node) ||
        isKept(partition, node)
      if (!named) this.held.delete(this.#key(node, p))
    })
  }

  #serves(p: number): boolean {
    const partition = this.topology.partitions[p] as PartitionRecord
    return this.serving[p] === partition.partitionEpoch && !isBlocked(this.topology, partition)
  }

  /** A write that the primary and as many backups hold as make a majority. */
  #write(p: number, pick: number): void {
    if (!this.#serves(p)) return
    const { inSync } = this.topology.partitions[p] as PartitionRecord
    const write = ++this.#writes
    const [primary, ...backups] = inSync as [number, ...number[]]
    const from = pick % Math.max(1, backups.length)
    const holders = [primary, ...backups.slice(from), ...backups.slice(0, from)].slice(
      0,
      majorityOf(inSync.length),
    )
    if (holders.some((node) => !isUp(this.topology.nodes[node]?.state))) return
    for (const node of holders) this.#holds(node, p, new Set([write]))
    this.acknowledged[p]?.add(write)
  }

  /** The primary hears every member and takes over the longest log; it continues at once where it was primary before. */
  #takeOver(p: number): void {
    const { inSync, primary, partitionEpoch } = this.topology.partitions[p] as PartitionRecord
    if (inSync.some((node) => !isUp(this.topology.nodes[node]?.state))) return
    for (const node of inSync) this.#holds(primary, p, this.#of(node, p))
    if (this.serving[p] === partitionEpoch) return
    this.takeovers++
    this.serving[p] = partitionEpoch
    this.begun[p] = new Set(this.#of(primary, p))
  }

  /** Once a quorum holds what the primary began this epoch with. */
  #settle(p: number, pick: number): void {
    if (!this.#serves(p)) return
    const { inSync, partitionEpoch } = this.topology.partitions[p] as PartitionRecord
    const [, ...backups] = inSync
    const from = pick % Math.max(1, backups.length)
    const others = [...backups.slice(from), ...backups.slice(0, from)].slice(0, majorityOf(inSync.length) - 1)
    if (others.some((node) => !isUp(this.topology.nodes[node]?.state))) return
    for (const node of others) this.#holds(node, p, this.begun[p] ?? new Set())
    this.commit([{ kind: 'Settled', partitions: [{ partition: p, partitionEpoch }] }])
  }

  /** A learner that is whole: it holds what the primary holds. */
  #promote(p: number, node: number | undefined, late = 0): void {
    const { learners, partitionEpoch, primary } = this.topology.partitions[p] as PartitionRecord
    const learner = learners.find((one) => one.node === node)
    if (learner === undefined || !this.#serves(p)) return
    this.#holds(learner.node, p, this.#of(primary, p))
    const at = { partition: p, partitionEpoch: partitionEpoch - late } as NodeAt
    if (this.commit([{ kind: 'LearnerPromoted', learners: [{ ...at, ...learner }] }])) this.promotions++
  }

  /** From the first member that survived, or from anybody. */
  #recover(p: number): void {
    const { partitionEpoch, inSync } = this.topology.partitions[p] as PartitionRecord
    const { nodes } = this.topology
    const survivor = inSync.find((member) => isUp(nodes[member]?.state))
    const node = survivor ?? nodes.findIndex(({ state }) => isUp(state))
    if (node < 0) return
    if (!this.commit([{ kind: 'Recovered', partitions: [{ partition: p, partitionEpoch, node }] }])) return
    this.recoveries++
    this.acknowledged[p] = new Set()
  }

  #again(name: string): Omit<NodeRecord, 'state'> {
    return withoutState(nodeNamed(name, `r${++this.#starts}`))
  }

  #key(node: number, p: number): string {
    return `${this.topology.nodes[node]?.nodeId}/${this.topology.nodes[node]?.incarnation as Incarnation}/${p}`
  }

  #of(node: number, p: number): Set<number> {
    return this.held.get(this.#key(node, p)) ?? new Set()
  }

  #holds(node: number, p: number, writes: ReadonlySet<number>): void {
    this.held.set(this.#key(node, p), new Set([...this.#of(node, p), ...writes]))
  }
}

function withoutState({ state: _, ...node }: NodeRecord): Omit<NodeRecord, 'state'> {
  return node
}

const steps = fc.array(fc.tuple(fc.nat(25), fc.nat(1000), fc.nat(1000)), { minLength: 40, maxLength: 120 })

describe('whatever changes are committed in whatever order', () => {
  it('the record stays consistent, and what takes over holds all that was acknowledged', () => {
    const seen = { promotions: 0, takeovers: 0, blocked: 0, recoveries: 0 }
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 5 }), steps, (nodes, list) => {
        const world = new World(nodes)
        for (const step of list) {
          world.step(step)
          expect(world.lost()).toBeUndefined()
        }
        seen.promotions += world.promotions
        seen.takeovers += world.takeovers
        seen.blocked += world.blocked
        seen.recoveries += world.recoveries
      }),
      { numRuns: 400 },
    )
    expect(Math.min(...Object.values(seen))).toBeGreaterThan(20)
  })

  it('writes are lost once earlier sets are not kept', () => {
    const random = fc.sample(steps, { numRuns: 2000, seed: 1 })
    const broken: BrokenRules = new Set(['unsettled-sets'])
    const losing = random.some((list) => {
      const world = new World(5, broken)
      return list.some((step) => {
        world.step(step)
        return world.lost() !== undefined
      })
    })
    expect(losing).toBe(true)
  })
})

describe('a session', () => {
  it('is named by the commit that adds the learner', () => {
    const topology = makeTopology({ nodes: 4 })
    const { partitionEpoch } = topology.partitions[0] as PartitionRecord
    const learners = [{ partition: 0, partitionEpoch, node: 3 }]
    const applied = applyAll(topology, [
      { kind: 'RingPaused', paused: true },
      { kind: 'LearnerAdded', learners },
    ])
    expect(applied.topology.partitions[0]?.learners).toEqual([{ node: 3, session: applied.topology.epoch }])
    const promote = (session: number): number =>
      applyAll(applied.topology, [
        { kind: 'LearnerPromoted', learners: learners.map((one) => ({ ...one, session: session as Epoch })) },
      ]).applied
    expect([promote(1), promote(2), promote(3)]).toEqual([0, 1, 0])
  })
})
