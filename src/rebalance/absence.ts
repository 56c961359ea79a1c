/**
 * How long a failed node is waited for before its replicas are placed elsewhere. A restart then costs what it missed, not a
 * copy of everything. A node that fails again soon after it returned is waited for twice as long, for each copy made in the
 * meantime was for nothing.
 */

export interface AbsenceOptions {
  readonly replaceAfterMs: number
  /** The longest wait; a node that stayed for as long counts as steady again. */
  readonly replaceAfterMaxMs: number
}

interface Seen {
  waitMs: number
  /** Since when it has been failed; undefined while it is not. */
  failedMs: number | undefined
  returnedMs: number
}

export class Absence {
  readonly #options: AbsenceOptions
  readonly #nodes = new Map<string, Seen>()

  constructor(options: AbsenceOptions) {
    this.#options = options
  }

  /** Tells which nodes of the cluster are failed now. Nodes that are not named any more are forgotten. */
  observe(nodes: ReadonlyMap<string, boolean>, nowMs: number): void {
    const { replaceAfterMs, replaceAfterMaxMs } = this.#options
    for (const [nodeId, failed] of nodes) {
      const seen = this.#nodes.get(nodeId)
      if (failed && seen === undefined) {
        this.#nodes.set(nodeId, { waitMs: replaceAfterMs, failedMs: nowMs, returnedMs: 0 })
      } else if (failed && seen !== undefined && seen.failedMs === undefined) {
        const steady = nowMs - seen.returnedMs >= replaceAfterMaxMs
        seen.waitMs = steady ? replaceAfterMs : Math.min(2 * seen.waitMs, replaceAfterMaxMs)
        seen.failedMs = nowMs
      } else if (!failed && seen?.failedMs !== undefined) {
        seen.failedMs = undefined
        seen.returnedMs = nowMs
      }
    }
    for (const nodeId of this.#nodes.keys()) if (!nodes.has(nodeId)) this.#nodes.delete(nodeId)
  }

  /** Whether it has been away for so long that others are to hold what it held. */
  isOver(nodeId: string, nowMs: number): boolean {
    const seen = this.#nodes.get(nodeId)
    return seen?.failedMs !== undefined && nowMs - seen.failedMs >= seen.waitMs
  }
}
