/**
 * Hands over the partitions that this node leads and the ring wants led elsewhere, a few at a time: each is held off for some
 * milliseconds while that happens (src/replication/primary-moves.ts).
 *
 * Copies come first: while any are made, commits queue, and a partition would be held off for as long as they do. So handovers
 * wait until no copy has been completed for a while, for one may be stuck.
 *
 * What is to be handed over follows from the record alone (`wantedHandover`), so nothing has to be remembered; what does not
 * succeed is tried again.
 */

import { onDemand, type Scheduler, type SleepingTimer } from '../kernel/scheduler.ts'
import { wantedHandover } from '../rebalance/plan.ts'
import { copiesToBuild } from '../rebalance/progress.ts'
import { wantedPlacement } from '../topology/placement.ts'
import type { NodeIndex, Topology } from '../topology/topology.ts'

export interface HandoverPorts {
  readonly scheduler: Scheduler
  topology(): Topology
  /** This node's position; −1: it has no role. */
  self(): NodeIndex
  /** @returns false when it can't be begun now */
  move(partition: number, node: NodeIndex): boolean
}

/** Each time is a commit, which costs every node and every client. */
const INTERVAL_MS = 5000
/** Begun in one interval. */
const MOVES_MAX = 32
/** Intervals to wait for the next copy to be completed: 30 s. After that, one partition at a time. */
const PATIENCE = 6

export class Handovers {
  readonly #ports: HandoverPorts
  readonly #timer: SleepingTimer
  #seen: Topology | undefined
  #pending: (readonly [partition: number, node: NodeIndex])[] = []
  /** Copies that are still to be made. */
  #copiesLeft = 0
  #waited = 0

  constructor(ports: HandoverPorts) {
    this.#ports = ports
    this.#timer = onDemand(ports.scheduler, INTERVAL_MS, () => this.#step())
    this.#timer.wake()
  }

  /** There is a newer topology. */
  adopted(): void {
    this.#timer.wake()
  }

  close(): void {
    this.#timer.cancel()
  }

  /** @returns whether to go on */
  #step(): boolean {
    const topology = this.#ports.topology()
    if (topology !== this.#seen) {
      this.#seen = topology
      const wanted = wantedPlacement(topology)
      this.#pending = pendingHandovers(topology, this.#ports.self(), wanted)
      const left = this.#pending.length > 0 ? copiesToBuild(topology, wanted) : 0
      if (left < this.#copiesLeft) this.#waited = 0
      this.#copiesLeft = left
    }
    if (this.#pending.length === 0) {
      this.#waited = 0
      return false
    }
    const isCopying = this.#copiesLeft > 0
    if (!isCopying) this.#waited = 0
    else if (++this.#waited < PATIENCE) return true
    const most = isCopying ? 1 : MOVES_MAX
    let begun = 0
    for (const [partition, node] of this.#pending) {
      if (begun === most) break
      if (this.#ports.move(partition, node)) begun++
    }
    return true
  }
}

function pendingHandovers(
  topology: Topology,
  self: NodeIndex,
  wanted: readonly (readonly NodeIndex[])[],
): (readonly [number, NodeIndex])[] {
  if (self < 0) return []
  const pending: (readonly [number, NodeIndex])[] = []
  topology.partitions.forEach(({ primary }, partition) => {
    if (primary !== self) return
    const node = wantedHandover(topology, partition, wanted)
    if (node !== undefined) pending.push([partition, node])
  })
  return pending
}
