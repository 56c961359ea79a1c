/**
 * How much this node has reason to doubt itself (Lifeguard, "local health multiplier"). 0: it is well. Missed acks, missed
 * nacks, an event loop that lags and being suspected raise it, answered probes lower it. A node in doubt probes more slowly,
 * and so accuses others less.
 */
export class Awareness {
  readonly #max: number
  #score = 0

  constructor(max: number) {
    this.#max = max
  }

  get score(): number {
    return this.#score
  }

  /** @param delta negative when something went well. */
  change(delta: number): void {
    this.#score = Math.max(0, Math.min(this.#max, this.#score + delta))
  }

  stretch(ms: number): number {
    return ms * (this.#score + 1)
  }
}
