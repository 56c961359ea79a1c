/**
 * Which keys are hot at a moment: a small set that changes with each period, so that the history of each key stays short enough
 * to be checked. All clients of a run agree on it by the clock. A key on which this client had several unknown outcomes is
 * left alone for the rest of its period: each of them may take effect at any later time, and a checker has to try them all.
 */

import { integerBetween, type Random } from '../../../src/kernel/random.ts'

export interface HotKey {
  readonly key: string
  readonly kind: 'value' | 'counter'
  unknowns: number
  /** What this client saw last, for conditional writes. */
  version: { readonly partitionEpoch: number; readonly sequence: number } | undefined
}

const UNKNOWNS_MAX = 4
/** One key of so many is a counter. */
const COUNTER_EVERY = 4

export class HotKeys {
  readonly #count: number
  readonly #periodNs: number
  readonly #startNs: number
  #period = -1
  #keys: HotKey[] = []

  constructor(count: number, periodMs: number, startNs: number) {
    this.#count = count
    this.#periodNs = periodMs * 1e6
    this.#startNs = startNs
  }

  /** One of them, or undefined when all are left alone until the next period. */
  choose(random: Random, nowNs: number): HotKey | undefined {
    const period = Math.floor((nowNs - this.#startNs) / this.#periodNs)
    if (period !== this.#period) this.#begin(period)
    const usable = this.#keys.filter((key) => key.unknowns < UNKNOWNS_MAX)
    return usable[integerBetween(random, 0, Math.max(0, usable.length - 1))]
  }

  #begin(period: number): void {
    this.#period = period
    this.#keys = Array.from({ length: this.#count }, (_, at): HotKey => {
      const kind = at % COUNTER_EVERY === COUNTER_EVERY - 1 ? 'counter' : 'value'
      return { key: `hot-${period}-${at}`, kind, unknowns: 0, version: undefined }
    })
  }
}
