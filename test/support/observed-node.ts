/** What a node tells operators about itself, asked over the network as their commands do. */

import { AdminChannel } from '../../src/adapters/grpc/admin-channel.ts'
import { adminServiceOf, loadProtos } from '../../src/adapters/grpc/proto.ts'
import type { EventMessage, GetMetricsReply, ListEventsReply } from '../../src/wire/admin-observability.ts'

const TIMEOUT_MS = 5000

export class ObservedNode implements Disposable {
  readonly #channel: AdminChannel

  constructor(address: string) {
    this.#channel = new AdminChannel(address, adminServiceOf(loadProtos()))
  }

  /** @param kinds none: all */
  async events(...kinds: string[]): Promise<readonly EventMessage[]> {
    const request = { afterId: 0, withinMs: 0, kinds }
    const reply = (await this.#channel.call('listEvents', request, TIMEOUT_MS)) as ListEventsReply
    return reply.events
  }

  /** Undefined: there is no such series. */
  async figure(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number | undefined> {
    const { families } = (await this.#channel.call('getMetrics', {}, TIMEOUT_MS)) as GetMetricsReply
    const samples = families.find((family) => family.name === name)?.samples ?? []
    return samples.find((one) => Object.entries(labels).every(([key, value]) => one.labels[key] === value))
      ?.value
  }

  [Symbol.dispose](): void {
    this.#channel.close()
  }
}
