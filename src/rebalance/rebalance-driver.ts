/**
 * Keeps the ring in step with the nodes and the table in step with the ring. A machine without clock or network: the node that
 * drives calls `changes` every now and then with the newest topology and proposes what it returns.
 *
 *     const driver = new RebalanceDriver()
 *     // every 100 ms or so, and after each commit, on the live voter with the lowest id:
 *     for (const change of driver.changes(topology, (nodeId, incarnation) => isAlive(nodeId, incarnation), nowMs)) propose(change)
 *
 * It needs nothing to go on where another left off: all but the waits for failed nodes is in the record, and those begin
 * anew. What it proposes may be proposed twice, for each change names what it expects.
 *
 * - A node that joined gets onto the ring, all that join within `joinSettleMs` at once.
 * - One that leaves is taken off it, and out of the record once nothing is left on it.
 * - One that failed is taken off after `replaceAfterMs`, if enough others are left, and back when it returns.
 * - One that restarted is brought up again for all that the ring wants on it.
 */

import { isNamed } from '../topology/apply-nodes.ts'
import type { NodeIndex, RingNode, Topology } from '../topology/topology.ts'
import type { Transform } from '../topology/transforms.ts'
import { Absence, type AbsenceOptions } from './absence.ts'
import { nextMoves, type TransferLimits } from './plan.ts'
import { fullRing, ringChange } from './ring-change.ts'

export interface RebalanceOptions extends AbsenceOptions, TransferLimits {
  /** A node that joins waits so long for others that join, so that data moves once. */
  readonly joinSettleMs: number
  /** What has not been seen committed for so long is proposed again. */
  readonly repeatMs: number
  /** Planning again sooner than this is not worth its cost. */
  readonly planIntervalMs: number
}

const REBALANCE_DEFAULTS: RebalanceOptions = {
  replaceAfterMs: 30_000,
  replaceAfterMaxMs: 600_000,
  movesPerNodeMax: 2,
  repairsPerNodeMax: 8,
  joinSettleMs: 1000,
  repeatMs: 1000,
  planIntervalMs: 50,
}

export type IsAlive = (nodeId: string, incarnation: string) => boolean

export class RebalanceDriver {
  readonly #options: RebalanceOptions
  readonly #absence: Absence
  /** Nodes that are to come onto the ring, and when the last of them was first seen. */
  #joining = ''
  #joiningMs = 0
  #plannedEpoch = -1
  #plannedMs = Number.NEGATIVE_INFINITY
  #proposedMs = Number.NEGATIVE_INFINITY

  constructor(options: Partial<RebalanceOptions> = {}) {
    this.#options = { ...REBALANCE_DEFAULTS, ...options }
    this.#absence = new Absence(this.#options)
  }

  /** What to propose now; mostly nothing. */
  changes(topology: Topology, isAlive: IsAlive, nowMs: number): Transform[] {
    const { planIntervalMs, repeatMs } = this.#options
    if (nowMs - this.#plannedMs < planIntervalMs) return []
    this.#plannedMs = nowMs
    const { nodes } = topology
    this.#absence.observe(
      new Map(
        nodes
          .filter(({ state }) => state !== 'gone')
          .map(({ nodeId, state }) => [nodeId, state === 'failed']),
      ),
      nowMs,
    )
    const ring = ringChange(topology, this.#nextRing(topology, nowMs))
    // While the same record stands, what was proposed is still under way.
    if (topology.epoch === this.#plannedEpoch && nowMs - this.#proposedMs < repeatMs) return []
    const isReachable = (node: NodeIndex): boolean => {
      const record = nodes[node]
      return record !== undefined && isAlive(record.nodeId, record.incarnation)
    }
    const changes = nextMoves(topology, this.#options, isReachable)
    if (ring !== undefined) changes.unshift(ring)
    changes.push(...emptied(topology))
    if (changes.length > 0) {
      this.#plannedEpoch = topology.epoch
      this.#proposedMs = nowMs
    }
    return changes
  }

  #nextRing(topology: Topology, nowMs: number): readonly RingNode[] {
    const { nodes, ring } = topology
    const state = new Map(
      nodes.filter((node) => node.state !== 'gone').map((node) => [node.nodeId, node.state]),
    )
    const listed = new Set(ring.nodes.map(({ nodeId }) => nodeId))
    const joining = nodes.filter((node) => node.state === 'active' && !listed.has(node.nodeId))
    const names = joining.map(({ nodeId, incarnation }) => `${nodeId}/${incarnation}`).join()
    if (names !== this.#joining) {
      this.#joining = names
      this.#joiningMs = nowMs
    }
    const joined = joining.length > 0 && nowMs - this.#joiningMs >= this.#options.joinSettleMs
    const next = (joined ? fullRing(topology, 'keep') : ring.nodes).filter(({ nodeId }) => state.has(nodeId))
    const left = next.map((node) => (state.get(node.nodeId) === 'leaving' ? { ...node, weight: 0 } : node))
    const kept = this.#withoutAbsent(topology, left, nowMs)
    return kept.some(({ weight }) => weight > 0) ? kept : ring.nodes
  }

  /** Leaves out nodes that have been away for long, while those left can hold all copies without them. */
  #withoutAbsent(topology: Topology, ring: readonly RingNode[], nowMs: number): readonly RingNode[] {
    const copies = Math.max(1, ...topology.groups.map(({ replicationFactor }) => replicationFactor))
    const gone = ring.filter(({ nodeId, weight }) => weight > 0 && this.#absence.isOver(nodeId, nowMs))
    const stay = ring.filter((node) => !gone.includes(node))
    return stay.filter(({ weight }) => weight > 0).length >= copies ? stay : ring
  }
}

/** Nodes that leave and of which nothing is left. */
function emptied({ nodes, partitions, voters }: Topology): Transform[] {
  return nodes.flatMap(({ nodeId, incarnation, state }, i): Transform[] => {
    if (state !== 'leaving' || voters.some((voter) => voter.nodeId === nodeId)) return []
    return isNamed(partitions, i) ? [] : [{ kind: 'NodeRemoved', process: { nodeId, incarnation } }]
  })
}
