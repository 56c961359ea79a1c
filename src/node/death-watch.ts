/**
 * Which deaths are worth a change of the topology. A verdict of gossip is one node's view; it becomes a proposal only where that view
 * counts:
 *
 * - a process that is certainly dead, or has said goodbye, is reported at once;
 * - one that is merely silent only by a node that is itself held up and has been in contact with a majority of the voters for a while
 *   without a gap. Who was cut off holds everybody dead, and must not have its way in the moment the cut heals;
 * - no voter has a process failed that it holds alive itself, whoever asks for it.
 */

import { isUp, type NodeIndex, type Topology } from '../topology/topology.ts'
import type { ProcessName, Transform } from '../topology/transforms.ts'
import type { Liveness } from './liveness.ts'

/** Contact that is older than this is lost. */
const CONTACT_FRESH_MS = 2000
/** For how long contact must have lasted: gossip has corrected by then what was held during the gap. */
const CONTACT_STEADY_MS = 1500

export class DeathWatch {
  readonly #liveness: Liveness
  /** Since when there has been contact without a gap. */
  #contactSinceMs: number | undefined

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

  #isReportable({ nodeId, incarnation }: ProcessName, nowMs: number): boolean {
    const verdict = this.#liveness.verdict(nodeId, incarnation)
    if (verdict === 'left' || this.#liveness.isProvenDead(nodeId, incarnation)) return true
    const sinceMs = this.#contactSinceMs
    return verdict === 'dead' && sinceMs !== undefined && nowMs - sinceMs >= CONTACT_STEADY_MS
  }
}
