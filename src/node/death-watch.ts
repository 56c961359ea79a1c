/**
 * Which deaths are worth a change of the topology. A verdict of gossip is one node's view; it becomes a proposal only where that view
 * counts:
 *
 * - a process that is certainly dead, or has said goodbye, is reported at once;
 * - one that is merely silent only by a node that is itself held up, has been in contact with a majority of the voters for a while
 *   without a gap, and has held it dead for a moment, in which it could have contradicted. Who was cut off holds everybody dead, and
 *   must not have its way in the moment the cut heals;
 * - no voter has a process failed that it holds alive itself, whoever asks for it.
 */

import { isUp, type NodeIndex, type Topology } from '../topology/topology.ts'
import type { ProcessName, Transform } from '../topology/transforms.ts'
import type { Liveness } from './liveness.ts'

/** Contact that is older than this is lost. */
const CONTACT_FRESH_MS = 2000
/** For how long contact must have lasted: gossip has corrected by then what was held during the gap. */
const CONTACT_STEADY_MS = 1500
/** News of a death may be old: a process that lives contradicts it within a round of gossip or two. */
const CONTRADICTION_MS = 500

export class DeathWatch {
  readonly #liveness: Liveness
  /** Since when there has been contact without a gap. */
  #contactSinceMs: number | undefined
  /** Since when this node has held a process dead, without proof. */
  readonly #deadSinceMs = new Map<string, number>()

  constructor(liveness: Liveness) {
    this.#liveness = liveness
  }

  /** Call often. @param contactMs when contact with a majority of the voters was last proven */
  observe(contactMs: number, nowMs: number): void {
    if (nowMs - contactMs > CONTACT_FRESH_MS) this.#contactSinceMs = undefined
    else this.#contactSinceMs ??= nowMs
  }

  /** What to propose now. @param self this process's position */
  reports(topology: Topology, self: NodeIndex, nowMs: number): Transform[] {
    this.#note(topology, nowMs)
    if (!isUp(topology.nodes[self]?.state)) return []
    return topology.nodes.flatMap(({ nodeId, incarnation, state }, index): Transform[] => {
      if (index === self || !isUp(state)) return []
      const process = { nodeId, incarnation }
      return this.#isReportable(process, nowMs) ? [{ kind: 'NodeFailed', process }] : []
    })
  }

  /** Whether this node, as a voter, takes part in making the change. */
  approves(change: Transform): boolean {
    if (change.kind !== 'NodeFailed') return true
    const { nodeId, incarnation } = change.process
    return this.#liveness.verdict(nodeId, incarnation) !== 'alive'
  }

  #note(topology: Topology, nowMs: number): void {
    const dead = new Set<string>()
    for (const process of topology.nodes) {
      if (this.#liveness.verdict(process.nodeId, process.incarnation) !== 'dead') continue
      const key = keyOf(process)
      dead.add(key)
      if (!this.#deadSinceMs.has(key)) this.#deadSinceMs.set(key, nowMs)
    }
    for (const key of this.#deadSinceMs.keys()) if (!dead.has(key)) this.#deadSinceMs.delete(key)
  }

  #isReportable(process: ProcessName, nowMs: number): boolean {
    const { nodeId, incarnation } = process
    const verdict = this.#liveness.verdict(nodeId, incarnation)
    if (verdict === 'left' || this.#liveness.isProvenDead(nodeId, incarnation)) return true
    const contactMs = this.#contactSinceMs
    const deadMs = this.#deadSinceMs.get(keyOf(process))
    if (contactMs === undefined || deadMs === undefined) return false
    return nowMs - contactMs >= CONTACT_STEADY_MS && nowMs - deadMs >= CONTRADICTION_MS
  }
}

function keyOf({ nodeId, incarnation }: ProcessName): string {
  return `${nodeId}/${incarnation}`
}
