/**
 * What the voter that drives sees to by itself: that there are as many voters as there should be, that the table of partitions becomes
 * what the ring wants (rebalance-driver.ts), and that partitions of which too much was lost start over where the policy says so
 * (docs/protocol.md, "Losing too much of a partition").
 */

import type { Clock } from '../kernel/clock.ts'
import { RebalanceDriver } from '../rebalance/rebalance-driver.ts'
import { isUp, type NodeIndex, type PartitionRecord, type Topology } from '../topology/topology.ts'
import type { NodeAt, Transform } from '../topology/transforms.ts'
import { isBlocked, lacksValidSet } from '../topology/validity.ts'
import { nextVoterChange } from '../topology/voters.ts'
import type { Liveness } from './liveness.ts'
import type { Memories } from './memories.ts'
import type { NodeOptions } from './options.ts'

/** A voter that failed keeps its vote so long: it may come back with its disk. */
const REPLACE_VOTER_MS = 30_000
/** Members that are not known to be gone for good are waited for so long. */
const RETURN_MS = 10_000
const CHECK_MS = 100
/** Moves are planned so long after a commit of many partitions: what nodes make of that comes first. */
const PLAN_AFTER_MS_PER_PARTITION = 0.05
const PLAN_AFTER_MS_MAX = 50

export class DriverDuties {
  readonly #options: NodeOptions
  readonly #clock: Clock
  readonly #liveness: Liveness
  readonly #memories: Memories
  readonly #isLinked: (nodeId: string) => boolean
  readonly #rebalance: RebalanceDriver
  /** Since when a voter's node has been failed. */
  readonly #failedMs = new Map<string, number>()
  /** Since when a partition has lacked a valid set. */
  readonly #lackingMs = new Map<number, number>()
  #checkedMs = Number.NEGATIVE_INFINITY
  #epoch = 0
  #adoptedMs = 0

  /** @param isLinked whether a node, whatever process of it, is there */
  constructor(
    options: NodeOptions,
    clock: Clock,
    liveness: Liveness,
    memories: Memories,
    isLinked: (nodeId: string) => boolean,
  ) {
    this.#options = options
    this.#memories = memories
    this.#isLinked = isLinked
    this.#clock = clock
    this.#liveness = liveness
    this.#rebalance = new RebalanceDriver(options.rebalance)
  }

  /** To be called often by the node that drives. */
  changes(topology: Topology): Transform[] {
    const nowMs = this.#clock.monotonicMs()
    if (topology.epoch === this.#epoch && nowMs - this.#checkedMs < CHECK_MS) return []
    this.#checkedMs = nowMs
    if (topology.epoch !== this.#epoch) this.#adoptedMs = nowMs
    this.#epoch = topology.epoch
    const changes: Transform[] = []
    const voter = this.#voterChange(topology, nowMs)
    if (voter !== undefined) changes.push(voter)
    const recovered = this.#recovered(topology, nowMs)
    if (recovered !== undefined) changes.push(recovered)
    const isAlive = (nodeId: string, incarnation: string): boolean =>
      this.#liveness.verdict(nodeId, incarnation) === 'alive'
    const planAfterMs = Math.floor(PLAN_AFTER_MS_PER_PARTITION * topology.partitions.length)
    if (nowMs - this.#adoptedMs >= Math.min(PLAN_AFTER_MS_MAX, planAfterMs))
      changes.push(...this.#rebalance.changes(topology, isAlive, nowMs))
    return changes
  }

  #voterChange(topology: Topology, nowMs: number): Transform | undefined {
    const failed = new Set<string>()
    for (const voter of topology.voters) {
      const node = topology.nodes.find((one) => one.nodeId === voter.nodeId && one.state === 'failed')
      if (node === undefined) continue
      failed.add(voter.nodeId)
      if (!this.#failedMs.has(voter.nodeId)) this.#failedMs.set(voter.nodeId, nowMs)
    }
    for (const nodeId of this.#failedMs.keys()) if (!failed.has(nodeId)) this.#failedMs.delete(nodeId)
    return nextVoterChange(topology, (voter) => {
      const sinceMs = this.#failedMs.get(voter.nodeId)
      return sinceMs !== undefined && nowMs - sinceMs >= REPLACE_VOTER_MS
    })
  }

  #recovered(topology: Topology, nowMs: number): Transform | undefined {
    this.#memories.keep(topology)
    if (this.#options.onMajorityLoss === 'block') return undefined
    const partitions: NodeAt[] = []
    const lacking = new Set<number>()
    const primaries = new Array<number>(topology.nodes.length).fill(0)
    for (const { primary } of topology.partitions) primaries[primary] = (primaries[primary] ?? 0) + 1
    let rememberMs: number | undefined
    topology.partitions.forEach((partition, p) => {
      if (!lacksValidSet(topology, partition)) return
      lacking.add(p)
      const sinceMs = this.#lackingMs.get(p) ?? nowMs
      this.#lackingMs.set(p, sinceMs)
      // A primary that serves leaves out by itself whoever is lost; one that has yet to take over may need them for ever.
      const mustWait = !isBlocked(topology, partition) || mayReturn(topology, partition, this.#liveness)
      if (mustWait && nowMs - sinceMs < RETURN_MS) return
      if (this.#options.snapshots !== undefined && !hasSurvivor(topology, partition)) {
        rememberMs ??= this.#memories.waitMs(topology, this.#isLinked)
        if (nowMs - sinceMs < rememberMs) return
      }
      const node = heirOf(topology, p, primaries, this.#memories)
      if (node === undefined) return
      primaries[node] = (primaries[node] ?? 0) + 1
      partitions.push({ partition: p, partitionEpoch: partition.partitionEpoch, node })
    })
    for (const p of this.#lackingMs.keys()) if (!lacking.has(p)) this.#lackingMs.delete(p)
    return partitions.length === 0 ? undefined : { kind: 'Recovered', partitions }
  }
}

/** Whether a member that is away could come back with what it holds. */
function mayReturn(topology: Topology, partition: PartitionRecord, liveness: Liveness): boolean {
  return partition.inSync.some((index) => {
    const node = topology.nodes[index]
    return (
      node !== undefined && node.state === 'failed' && !liveness.isProvenDead(node.nodeId, node.incarnation)
    )
  })
}

function hasSurvivor(topology: Topology, partition: PartitionRecord): boolean {
  return partition.inSync.some((index) => isUp(topology.nodes[index]?.state))
}

/**
 * The primary if it is up, another member that survived, else whoever brought back the newest content, else whoever has the least to do.
 * @param primaries how many partitions each node is primary of
 */
export function heirOf(
  topology: Topology,
  partition: number,
  primaries: readonly number[],
  memories: Memories,
): NodeIndex | undefined {
  const record = topology.partitions[partition]
  if (record === undefined) return undefined
  if (isUp(topology.nodes[record.primary]?.state)) return record.primary
  let candidates = record.inSync.filter((index) => isUp(topology.nodes[index]?.state))
  if (candidates.length === 0) {
    const active = topology.nodes.flatMap((node, index) => (node.state === 'active' ? [index] : []))
    const holders = memories.newest(topology, partition, active)
    candidates = holders.length > 0 ? holders : active
  }
  let best: NodeIndex | undefined
  for (const index of candidates) {
    if (best === undefined || (primaries[index] ?? 0) < (primaries[best] ?? 0)) best = index
  }
  return best
}
