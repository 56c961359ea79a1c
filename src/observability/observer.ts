/**
 * To whom the parts of a node tell what becomes of their work, as a port: events for operators, counters for graphs. Telling costs
 * little and never fails; no part asks what it told before.
 */

import type { Clock } from '../kernel/clock.ts'
import { EVENT_KINDS, type EventKind } from './event-kinds.ts'
import { EventLog, type EventReport } from './event-log.ts'
import { Counters, type Labels } from './metric-families.ts'
import type { CounterName } from './metrics.ts'

export interface Observer {
  /** Something happened. Repeated for the same reason it is one event; see EventLog. */
  raise(kind: EventKind, report: EventReport): void
  /** What went wrong is over. */
  settle(kind: EventKind, subject?: string): void
  count(name: CounterName, labels?: Labels, by?: number): void
}

/** The observer of one node. */
export class NodeObserver implements Observer {
  readonly events: EventLog
  readonly counters: Counters = new Counters()

  constructor(nodeId: string, clock: Clock) {
    this.events = new EventLog(nodeId, clock)
  }

  raise(kind: EventKind, report: EventReport): void {
    this.counters.add('ringcache_events_total', { severity: EVENT_KINDS[kind].severity })
    this.events.raise(kind, report)
  }

  settle(kind: EventKind, subject?: string): void {
    this.events.settle(kind, subject)
  }

  count(name: CounterName, labels?: Labels, by?: number): void {
    this.counters.add(name, labels, by)
  }
}
