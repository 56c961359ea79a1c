/** Reaches this process's own node without a socket and all other nodes over the network. */

import type { Scheduler } from '../../kernel/scheduler.ts'
import { LoopbackNetwork } from '../../wire/loopback.ts'
import type { Accept, Dialer, DialOptions, FrameHandler, FrameStream } from '../../wire/transport.ts'

export class CompositeDialer implements Dialer {
  readonly #address: string
  readonly #own: Dialer
  readonly #others: Dialer

  /** @param others is not closed with this dialer: the node uses it, too. */
  constructor(address: string, accept: Accept, scheduler: Scheduler, others: Dialer) {
    const loopback = new LoopbackNetwork(scheduler)
    loopback.listen(address, accept)
    this.#address = address
    this.#own = loopback.dialer()
    this.#others = others
  }

  open(address: string, options: DialOptions, handler: FrameHandler): FrameStream {
    const dialer = address === this.#address ? this.#own : this.#others
    return dialer.open(address, options, handler)
  }

  close(): void {
    this.#own.close()
  }
}
