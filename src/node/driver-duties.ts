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
import type { NodeOptions } from './options.ts'

/** A voter that failed keeps its vote so long: it may come back with its disk. */
const REPLACE_VOTER_MS = 30_000
/** Members that are not known to be gone for good are waited for so long. */
const RETURN_MS = 10_000
const CHECK_MS = 100

export class DriverDuties {
  readonly #options: NodeOptions
  readonly #clock: Clock
  readonly #liveness: Liveness
  readonly #rebalance: RebalanceDriver
  /** Since when a voter's node has been failed. */
  readonly #failedMs = new Map<string, number>()
  /** Since when a partition has lacked a valid set. */
  readonly #lackingMs = new Map<number, number>()
  #checkedMs = Number.NEGATIVE_INFINITY
  #epoch = 0

  constructor(options: NodeOptions, clock: Clock, liveness: Liveness) {
    this.#options = options
    this.#clock = clock
    this.#liveness = liveness
    this.#rebalance = new RebalanceDriver(options.rebalance)
  }

  /** To be called often by the node that drives. */
  changes(topology: Topology): Transform[] {
    const nowMs = this.#clock.monotonicMs()
    if (topology.epoch === this.#epoch && nowMs - this.#checkedMs < CHECK_MS) return []
    this.#checkedMs = nowMs
    this.#epoch = topology.epoch
    const changes: Transform[] = []
    const voter = this.#voterChange(topology, nowMs)
    if (voter !== undefined) changes.push(voter)
    const recovered = this.#recovered(topology, nowMs)
    if (recovered !== undefined) changes.push(recovered)
    const isAlive = (nodeId: string, incarnation: string): boolean =>
      this.#liveness.verdict(nodeId, incarnation) === 'alive'
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
    if (this.#options.onMajorityLoss === 'block') return undefined
    const partitions: NodeAt[] = []
    const lacking = new Set<number>()
    const primaries = new Array<number>(topology.nodes.length).fill(0)
    for (const { primary } of topology.partitions) primaries[primary] = (primaries[primary] ?? 0) + 1
    topology.partitions.forEach((partition, p) => {
      if (!lacksValidSet(topology, partition)) return
      lacking.add(p)
      const sinceMs = this.#lackingMs.get(p) ?? nowMs
      this.#lackingMs.set(p, sinceMs)
      // A primary that serves leaves out by itself whoever is lost; one that has yet to take over may need them for ever.
      const mustWait = !isBlocked(topology, partition) || mayReturn(topology, partition, this.#liveness)
      if (mustWait && nowMs - sinceMs < RETURN_MS) return
      const node = heir(topology, partition, primaries)
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

/** The primary if it is up, another member that survived, else whoever has the least to do. */
function heir(
  topology: Topology,
  partition: PartitionRecord,
  primaries: readonly number[],
): NodeIndex | undefined {
  if (isUp(topology.nodes[partition.primary]?.state)) return partition.primary
  const survivors = partition.inSync.filter((index) => isUp(topology.nodes[index]?.state))
  const candidates =
    survivors.length > 0
      ? survivors
      : topology.nodes.flatMap((node, index) => (node.state === 'active' ? [index] : []))
  let best: NodeIndex | undefined
  for (const index of candidates) {
    if (best === undefined || (primaries[index] ?? 0) < (primaries[best] ?? 0)) best = index
  }
  return best
}
