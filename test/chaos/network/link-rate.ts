/** How many bytes a second a link carries, of all connections over it together. */

export class LinkRate {
  readonly #bytesPerSecond: number
  /** Monotonic time up to which what was sent takes. */
  #busyUntilMs = 0

  constructor(bytesPerSecond: number) {
    this.#bytesPerSecond = bytesPerSecond
  }

  /** Sends bytes. @returns milliseconds until the link is free again */
  spend(bytes: number, nowMs: number): number {
    this.#busyUntilMs = Math.max(this.#busyUntilMs, nowMs) + (bytes * 1000) / this.#bytesPerSecond
    return this.#busyUntilMs - nowMs
  }
}
