/**
 * How late this process runs its timers. Acks carry it, so that a peer can tell a stalled process from a slow network.
 * The greatest lag of the last while counts: the ack that follows a stall is the one that was late because of it.
 */
export class LoopLag {
  readonly #windowMs: number
  #worstMs = 0
  #notedMs = Number.NEGATIVE_INFINITY

  /** @param windowMs how long a lag is remembered. */
  constructor(windowMs: number) {
    this.#windowMs = windowMs
  }

  note(lagMs: number, nowMs: number): void {
    if (lagMs < this.recent(nowMs)) return
    this.#worstMs = lagMs
    this.#notedMs = nowMs
  }

  recent(nowMs: number): number {
    return nowMs - this.#notedMs <= this.#windowMs ? this.#worstMs : 0
  }
}
