/**
 * The large values of the ranges that one learner is sent: on their way before their range, held until it is applied.
 *
 * At most one range waits for its values. Every stage begun here is ended here, once: with the range that is given up, when the range
 * that named it was applied, or with all others when the session begins anew.
 */

import type { LargeValue } from '../engine/engine.ts'
import { CacheError } from '../kernel/errors.ts'
import type { NodeIndex } from '../topology/topology.ts'
import type { StageOutbox } from './stage-outbox.ts'

/** A range whose large values are on their way to the learner. */
interface StagedRange {
  readonly fromHash: number
  readonly toHash: number
  readonly stages: Map<LargeValue, number>
  /** Values that are not sent, since the learner listed what has them. */
  readonly listed: ReadonlySet<LargeValue>
  waiting: number
  failed: boolean
}

export class RangeStages {
  readonly #outbox: StageOutbox
  readonly #node: NodeIndex
  /** Stages of ranges sent and not yet applied, by the range's number. */
  readonly #sent = new Map<number, readonly number[]>()
  #range: StagedRange | undefined

  constructor(outbox: StageOutbox, node: NodeIndex) {
    this.#outbox = outbox
    this.#node = node
  }

  /** The range that waits for its values. */
  get range(): StagedRange | undefined {
    return this.#range
  }

  /**
   * Puts the large values of a range on their way, instead of those of the range that waited.
   * @param listed values that the range only names
   * @param settled called when one of them has arrived, or can't
   */
  begin(
    fromHash: number,
    toHash: number,
    large: readonly LargeValue[],
    listed: ReadonlySet<LargeValue>,
    settled: () => void,
  ): void {
    this.#endRange()
    const range: StagedRange = { fromHash, toHash, stages: new Map(), listed, waiting: 0, failed: false }
    this.#range = range
    for (const value of large) {
      if (range.failed) continue
      range.waiting++
      try {
        const stageId = this.#outbox.begin(value, [this.#node], 1, (error) => {
          range.waiting--
          if (error !== undefined) range.failed = true
          settled()
        })
        range.stages.set(value, stageId)
      } catch (error) {
        if (!(error instanceof CacheError)) throw error
        range.waiting--
        range.failed = true
      }
    }
  }

  /** The range that waited goes out under this number. */
  sent(number: number): void {
    const range = this.#range
    if (range === undefined) return
    this.#range = undefined
    this.#sent.set(number, [...range.stages.values()])
  }

  /** The learner applied the range. */
  applied(number: number): void {
    for (const stageId of this.#sent.get(number) ?? []) this.#outbox.end(stageId)
    this.#sent.delete(number)
  }

  endAll(): void {
    for (const number of [...this.#sent.keys()]) this.applied(number)
    this.#endRange()
  }

  #endRange(): void {
    const range = this.#range
    this.#range = undefined
    for (const stageId of range?.stages.values() ?? []) this.#outbox.end(stageId)
  }
}
