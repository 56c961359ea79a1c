/**
 * Applies another node's log to a replica of this one, in order, and keeps it in the backlog: the backup's half of replication,
 * also used for the tail that a new primary fetches.
 *
 * Invariant: a replica's records in the backlog are the newest of its log, as at the primary, so that this node can bring
 * others up when it becomes primary.
 */

import type { LargeValue } from '../engine/engine.ts'
import type { Clock } from '../kernel/clock.ts'
import { CacheError } from '../kernel/errors.ts'
import type { NodeIndex } from '../topology/topology.ts'
import type { Applier } from './applier.ts'
import type { Replica } from './replica.ts'
import type { StageInbox } from './stage-inbox.ts'

/** A backup keeps a session's outcomes longer than its primary: else it would meet counters without their watermark. */
export const SESSION_GRACE_MS = 30_000

export interface LogFollowerPorts {
  readonly applier: Applier
  readonly stages: StageInbox
  readonly clock: Clock
  /** Keeps what was applied: `large` is the value of a staged effect. */
  keep(
    replica: Replica,
    bytes: Uint8Array,
    start: number,
    end: number,
    versionEpoch: number,
    large: LargeValue | undefined,
  ): void
}

/**
 * - `gap`: it is not the next one.
 * - `notStaged`: the large value it names has not arrived.
 * - `full`: the memory is.
 * - `later`: it names a region that this node has yet to learn of.
 */
export type FollowResult = 'applied' | 'repeated' | 'gap' | 'notStaged' | 'full' | 'later'

export class LogFollower {
  readonly #ports: LogFollowerPorts

  constructor(ports: LogFollowerPorts) {
    this.#ports = ports
  }

  /** @throws CacheError PROTOCOL_ERROR when the effect is malformed. */
  apply(
    replica: Replica,
    from: NodeIndex,
    bytes: Uint8Array,
    start: number,
    end: number,
    versionEpoch: number,
    sequence: number,
    clockMs: number,
  ): FollowResult {
    if (sequence <= replica.lastSequence) return 'repeated'
    if (sequence !== replica.lastSequence + 1) return 'gap'
    const { applier, stages, clock } = this.#ports
    const stageId = applier.stageOf(bytes, start, end)
    const large = stageId >= 0 ? stages.peek(from, stageId) : undefined
    if (stageId >= 0 && large === undefined) return 'notStaged'
    try {
      applier.apply(
        replica,
        bytes,
        start,
        end,
        versionEpoch,
        sequence,
        clock.monotonicMs() + SESSION_GRACE_MS,
        large === undefined ? undefined : () => large,
      )
    } catch (error) {
      if (!(error instanceof CacheError)) throw error
      if (error.code === 'OVERLOADED') return 'full'
      if (error.code === 'UNKNOWN_REGION') return 'later'
      throw error
    }
    replica.lastSequence = sequence
    replica.lastEpoch = versionEpoch
    if (clockMs > replica.clockMs) replica.clockMs = clockMs
    this.#ports.keep(replica, bytes, start, end, versionEpoch, large)
    if (stageId >= 0) stages.take(from, stageId)
    return 'applied'
  }
}
