/**
 * The end of the log that this node orders: what an operation came to is written into `effect`, applied as the partition's next
 * operation and logged, all in one turn. The primary applies the bytes that its backups will get through the same code as they,
 * so the two cannot differ.
 *
 * A partition's clock never goes back, whichever node orders: an effect bears the wall's time, or that of the effect before it where the
 * wall is behind.
 */

import { ByteWriter } from '../kernel/bytes.ts'
import type { Clock } from '../kernel/clock.ts'
import type { Applier } from './applier.ts'
import { EffectKind, writeEffectStart } from './effects.ts'
import type { Outcome } from './outcome.ts'
import type { Replica } from './replica.ts'
import type { StagedValue } from './stage-outbox.ts'

export interface EffectLogPorts {
  readonly applier: Applier
  readonly clock: Clock
  /** Logs an applied effect: gives it to the backlog and, at the end of the turn, to the peers. */
  logged(replica: Replica, effect: Uint8Array, effectBytes: number, large: StagedValue | undefined): void
}

/** The `number` of effects that have none. */
export const NO_NUMBER: number = Number.NaN

export class EffectLog {
  /** The effect to be logged next; to be cleared before it is written. */
  readonly effect: ByteWriter = new ByteWriter(4096)
  readonly #ports: EffectLogPorts

  constructor(ports: EffectLogPorts) {
    this.#ports = ports
  }

  /** The time that the replica's next effect bears, in milliseconds. */
  timeMs(replica: Replica): number {
    return Math.floor(Math.max(this.#ports.clock.wallMs(), replica.clockMs))
  }

  /** Logs an entry that does nothing, with which a primary's term begins. */
  beginTerm(replica: Replica): void {
    const w = this.effect
    w.clear()
    writeEffectStart(w, EffectKind.batch, undefined, NO_NUMBER)
    w.varint(0)
    w.varint(0)
    this.append(replica, undefined, this.timeMs(replica), undefined)
  }

  /** Applies the effect as the partition's next operation and logs it. */
  append(
    replica: Replica,
    outcome: Outcome | undefined,
    nowMs: number,
    staged: StagedValue | undefined,
  ): void {
    const w = this.effect
    const sequence = replica.lastSequence + 1
    this.#ports.applier.apply(
      replica,
      w.bytes,
      0,
      w.length,
      replica.partitionEpoch,
      sequence,
      this.#ports.clock.monotonicMs(),
      staged === undefined ? undefined : () => staged.value,
    )
    replica.lastSequence = sequence
    replica.lastEpoch = replica.partitionEpoch
    replica.clockMs = nowMs
    this.#ports.logged(replica, w.bytes, w.length, staged)
    if (outcome !== undefined) {
      outcome.sequence = sequence
      outcome.waitSequence = sequence
    }
  }
}
