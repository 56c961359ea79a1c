/**
 * The large value of a write, from its arrival at the primary until its operation is ordered or refused.
 *
 * It travels to the members first (stage-outbox.ts); the write is ordered once so many hold the bytes that its record, which only names
 * them, makes a quorum. An ordered record keeps the stage as long as it lies in the backlog, for whoever has to be brought up.
 */

import type { LargeValue } from '../engine/engine.ts'
import type { CacheError } from '../kernel/errors.ts'
import type { KeptLog } from './kept-log.ts'
import type { Replica } from './replica.ts'
import type { StagedValue, StageOutbox } from './stage-outbox.ts'

export class WriteStages {
  readonly #outbox: StageOutbox
  readonly #kept: KeptLog

  constructor(outbox: StageOutbox, kept: KeptLog) {
    this.#outbox = outbox
    this.#kept = kept
  }

  /**
   * Sends a large value to the replica's members; `ready` gets it once enough of them hold it for the write to be
   * ordered, perhaps before this returns. Returns how to give it up.
   * @throws CacheError OVERLOADED
   */
  begin(
    replica: Replica,
    value: LargeValue,
    ready: (staged: StagedValue | undefined, error: CacheError | undefined) => void,
  ): () => void {
    const nodes = replica.members.filter((one) => one.state !== 'lagging').map((one) => one.node)
    let stageId = -1
    let early: { error: CacheError | undefined } | undefined
    const tell = (error: CacheError | undefined): void => {
      if (error === undefined) ready({ stageId, value }, undefined)
      else ready(undefined, error)
    }
    stageId = this.#outbox.begin(value, nodes, Math.min(replica.quorum - 1, nodes.length), (error) => {
      if (stageId < 0) early = { error }
      else tell(error)
    })
    if (early !== undefined) tell((early as { error: CacheError | undefined }).error)
    return () => this.#outbox.end(stageId)
  }

  /** The write was carried out or refused: unless a record names the value, nobody needs its stage any more. */
  end(staged: StagedValue): void {
    if (!this.#kept.names(staged.stageId)) this.#outbox.end(staged.stageId)
  }
}
