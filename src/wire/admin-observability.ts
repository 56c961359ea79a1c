/** The calls of proto/admin.proto about events and metrics, as plain objects and functions (see admin.ts). */

export interface ListEventsRequest {
  readonly afterId: number
  /** 0: all. */
  readonly withinMs: number
  readonly kinds: readonly string[]
}

export interface EventMessage {
  readonly id: number
  readonly timeMs: number
  readonly nodeId: string
  readonly kind: string
  readonly severity: string
  readonly message: string
  /** JSON. */
  readonly details: string
  readonly count: number
  readonly lastMs: number
}

export interface ListEventsReply {
  readonly nodeId: string
  readonly incarnation: string
  readonly events: readonly EventMessage[]
}

export interface MetricSampleMessage {
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

export interface MetricFamilyMessage {
  readonly name: string
  readonly type: string
  readonly help: string
  readonly samples: readonly MetricSampleMessage[]
}

export interface GetMetricsReply {
  readonly nodeId: string
  readonly incarnation: string
  readonly families: readonly MetricFamilyMessage[]
}

/** About the node that is asked, and no other. */
export interface ObservabilityApi {
  listEvents(request: ListEventsRequest): Promise<ListEventsReply>
  getMetrics(request: Readonly<Record<never, never>>): Promise<GetMetricsReply>
}

export const OBSERVABILITY_METHODS: readonly (keyof ObservabilityApi)[] = ['listEvents', 'getMetrics']
