/**
 * HTTP/2 pings for connections on which nothing arrives: they find a node that hangs or was cut off within
 * `KEEPALIVE_TIME_MS + KEEPALIVE_TIMEOUT_MS` of the last it sent. One timer serves all connections of a dialer, so that an idle
 * process is woken once for all of them; where anything else arrives, that is proof enough.
 */

import { KEEPALIVE_TIME_MS } from './channel-options.ts'

export interface Watched {
  /** Whether anything arrived since this was asked last. */
  takeHeard(): boolean
  ping(): void
}

const CHECKS = 4

export class Keepalive {
  /** With the number of checks for which each has been silent. */
  readonly #silent = new Map<Watched, number>()
  #timer: NodeJS.Timeout | undefined

  watch(connection: Watched): void {
    this.#silent.set(connection, 0)
    this.#timer ??= setInterval(() => this.#check(), KEEPALIVE_TIME_MS / CHECKS)
  }

  unwatch(connection: Watched): void {
    this.#silent.delete(connection)
    if (this.#silent.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #check(): void {
    for (const [connection, checks] of this.#silent) {
      const silent = connection.takeHeard() ? 0 : checks + 1
      this.#silent.set(connection, silent)
      // The last that arrived may have come right after a check.
      if (silent === CHECKS - 1) connection.ping()
    }
  }
}
