/** Answers operators about events and metrics of this node. */

import type { Clock } from '../../kernel/clock.ts'
import type { NodeEvent } from '../../observability/event-log.ts'
import type * as api from '../../wire/admin-observability.ts'
import type { NodeCore } from '../node-core.ts'

export class ObservabilityAdmin implements api.ObservabilityApi {
  readonly #core: NodeCore
  readonly #clock: Clock

  constructor(core: NodeCore, clock: Clock) {
    this.#core = core
    this.#clock = clock
  }

  async listEvents({ afterId, withinMs, kinds }: api.ListEventsRequest): Promise<api.ListEventsReply> {
    const { observer, options, incarnation } = this.#core
    const sinceMs = withinMs > 0 ? this.#clock.wallMs() - withinMs : 0
    const events = observer.events.list({ afterId, sinceMs, kinds }).map(eventView)
    return { nodeId: options.nodeId, incarnation, events }
  }

  async getMetrics(): Promise<api.GetMetricsReply> {
    const { options, incarnation } = this.#core
    return { nodeId: options.nodeId, incarnation, families: this.#core.metrics() }
  }
}

function eventView(event: NodeEvent): api.EventMessage {
  return { ...event, details: JSON.stringify(event.details) }
}
