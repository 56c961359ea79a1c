/**
 * Leases: a primary may answer from memory alone while it knows that nobody can have taken over (docs/protocol.md, "Leases").
 *
 * Each acknowledgement of a node grants the sender a lease of `leaseMs` on every partition whose epoch both hold. The holder counts
 * it from when it *sent* the frame that was acknowledged, and ends it a tenth early; the grantor counts from its answer. So
 * with clocks that drift by less than 5 % it is over for the holder before it is over for the grantor, who says in a takeover
 * how long its grant may still run.
 *
 * Only monotonic time is used. When it and the wall clock disagree by more than 500 ms between two looks, the machine may
 * have been suspended, which monotonic clocks may not count: grants from before are void.
 */

import type { Clock } from '../kernel/clock.ts'
import type { NodeIndex } from '../topology/topology.ts'

export const LEASE_MS = 1000
/** The share of a lease that its holder uses. */
export const LEASE_SHARE = 0.9
const CLOCKS_APART_MS = 500

/** What this node granted to others, per node. */
export class LeaseGrants {
  readonly #leaseMs: number
  readonly #untilMs = new Map<NodeIndex, number>()

  constructor(leaseMs: number) {
    this.#leaseMs = leaseMs
  }

  granted(node: NodeIndex, nowMs: number): void {
    this.#untilMs.set(node, nowMs + this.#leaseMs)
  }

  /** Monotonic time until which the lease may run that was granted to `node` last. */
  untilMs(node: NodeIndex): number {
    return this.#untilMs.get(node) ?? Number.NEGATIVE_INFINITY
  }
}

/** Notices that the machine slept. */
export class SteadyClock {
  readonly #clock: Clock
  #apartMs: number
  #steadySinceMs = Number.NEGATIVE_INFINITY

  constructor(clock: Clock) {
    this.#clock = clock
    this.#apartMs = clock.wallMs() - clock.monotonicMs()
  }

  /** Monotonic time since which both clocks have gone alike: what was granted before counts for nothing. */
  steadySinceMs(): number {
    const nowMs = this.#clock.monotonicMs()
    const apartMs = this.#clock.wallMs() - nowMs
    if (Math.abs(apartMs - this.#apartMs) > CLOCKS_APART_MS) this.#steadySinceMs = nowMs
    this.#apartMs = apartMs
    return this.#steadySinceMs
  }
}
