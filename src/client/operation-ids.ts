/**
 * The ids of one session's writes (as in RIFL, Lee et al., SOSP 2015): a counter per write, and the watermark below which
 * every write is finished. A node forgets the outcomes below the watermark, so it must rise steadily; it does so in
 * constant time per write.
 */

import { CacheError } from '../kernel/errors.ts'

/** Writes that may lie between the oldest unfinished one and the newest. */
const SPAN_MAX = 1 << 22

export class OperationIds {
  /** 64 random bits as 16 hex digits. */
  readonly session: string
  #next = 1
  #firstIncomplete = 1
  /** A ring over [firstIncomplete, next): 1 where the write is finished. Its length is a power of two. */
  #finished: Uint8Array = new Uint8Array(1024)

  constructor(session: string) {
    this.session = session
  }

  /** The smallest counter whose write is not finished. */
  get firstIncomplete(): number {
    return this.#firstIncomplete
  }

  /** Draws the counter of a new write. Each must be finished once, whatever comes of it. */
  next(): number {
    if (this.#next - this.#firstIncomplete === this.#finished.length) this.#grow()
    const counter = this.#next++
    this.#finished[counter & (this.#finished.length - 1)] = 0
    return counter
  }

  /** The write will never be sent again. */
  finish(counter: number): void {
    if (counter < this.#firstIncomplete || counter >= this.#next) return
    const finished = this.#finished
    const mask = finished.length - 1
    finished[counter & mask] = 1
    while (this.#firstIncomplete < this.#next && finished[this.#firstIncomplete & mask] === 1)
      this.#firstIncomplete++
  }

  #grow(): void {
    const old = this.#finished
    if (old.length === SPAN_MAX) {
      throw new CacheError(
        'OVERLOADED',
        'one write has been pending while millions followed it; wait for it to end',
      )
    }
    this.#finished = new Uint8Array(old.length * 2)
    for (let counter = this.#firstIncomplete; counter < this.#next; counter++) {
      this.#finished[counter & (this.#finished.length - 1)] = old[counter & (old.length - 1)] as number
    }
  }
}
