/**
 * What nodes brought back from their snapshots, as they tell each other once it is loaded: where the log of each partition stood. Whoever
 * drives chooses by it who starts a partition over of which no in-sync member survived (docs/protocol.md, "Losing too much of a
 * partition"): the one whose log ends last, as in a takeover. It says nothing about who is in sync, and counts for nothing else.
 *
 * Bounded: one list for each node of the topology, of one process each.
 */

import type { LogEnd } from '../replication/takeover.ts'
import { isUp, type NodeIndex, type Topology } from '../topology/topology.ts'
import type { Remembered } from '../wire/control-frames.ts'

/** A node that is away is waited for so long: the cluster can do without it. */
const AWAY_MS = 10_000
/** One that is there, and loads: longer than that may take (warm-start.ts). */
const LOADING_MS = 30_000

interface Memory {
  readonly incarnation: string
  readonly ends: ReadonlyMap<number, LogEnd>
}

export class Memories {
  /** By node. */
  readonly #heard = new Map<string, Memory>()

  heard(nodeId: string, incarnation: string, remembered: readonly Remembered[]): void {
    const ends = remembered.map(({ partition, epoch, sequence }) => [partition, { epoch, sequence }] as const)
    this.#heard.set(nodeId, { incarnation, ends: new Map(ends) })
  }

  /** Nodes that are no part of the topology any more. */
  keep(topology: Topology): void {
    for (const nodeId of this.#heard.keys())
      if (!topology.nodes.some((node) => node.nodeId === nodeId && node.state !== 'gone'))
        this.#heard.delete(nodeId)
  }

  /** Those of the nodes that have the newest content of a partition; none: nobody has any. */
  newest(topology: Topology, partition: number, nodes: readonly NodeIndex[]): NodeIndex[] {
    let best: LogEnd = { epoch: 0, sequence: 0 }
    let holders: NodeIndex[] = []
    for (const index of nodes) {
      const end = this.#memoryOf(topology, index)?.ends.get(partition)
      if (end === undefined) continue
      const order = end.epoch - best.epoch || end.sequence - best.sequence
      if (order > 0) holders = []
      if (order >= 0) {
        best = end
        holders.push(index)
      }
    }
    return holders
  }

  /** How long to wait for nodes that have not told, from the moment on in which they were needed. 0: all have. */
  waitMs(topology: Topology, isLinked: (nodeId: string) => boolean): number {
    let waitMs = 0
    topology.nodes.forEach(({ nodeId, state }, index) => {
      if (state === 'gone' || (isUp(state) && this.#memoryOf(topology, index) !== undefined)) return
      waitMs = Math.max(waitMs, isLinked(nodeId) ? LOADING_MS : AWAY_MS)
    })
    return waitMs
  }

  #memoryOf(topology: Topology, index: NodeIndex): Memory | undefined {
    const node = topology.nodes[index]
    const memory = node && this.#heard.get(node.nodeId)
    return memory?.incarnation === node?.incarnation ? memory : undefined
  }
}
