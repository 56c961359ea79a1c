/**
 * What happened on one node that an operator may want to know: a ring of the newest EVENTS_MAX events, in memory. Nobody has to fetch
 * them in time for the node's sake, and none outlives the process; its log has them, too.
 *
 * What fails again and again for the same reason is one event: as long as it is in the ring and nobody said that it is over (`settle`),
 * another one of its kind, subject and reason only raises its count. Numbers in a message make no other reason of it, for a disk that
 * fills has less room each time.
 */

import type { Clock } from '../kernel/clock.ts'
import { EVENT_KINDS, type EventKind, type Severity } from './event-kinds.ts'

export type Details = Readonly<Record<string, string | number | boolean>>

export interface NodeEvent {
  /** From 1, rising; a process that starts counts anew. */
  readonly id: number
  /** Wall clock of the node. */
  readonly timeMs: number
  readonly nodeId: string
  readonly kind: EventKind
  readonly severity: Severity
  readonly message: string
  /** Of the last time. */
  readonly details: Details
  /** How often it happened, and when it last did. */
  readonly count: number
  readonly lastMs: number
}

export interface EventReport {
  readonly message: string
  readonly details?: Details
  /** What it is about, such as the name of a job: events of different subjects are never one. */
  readonly subject?: string
}

export interface EventQuery {
  /** Those with a greater id. Default 0: all. */
  readonly afterId?: number
  /** Those that happened, or happened again, since then. */
  readonly sinceMs?: number
  /** Kinds, or beginnings of them up to a dot; none: all. */
  readonly kinds?: readonly string[]
}

export const EVENTS_MAX = 1000
const MESSAGE_LENGTH_MAX = 1000

interface Kept {
  event: NodeEvent
  readonly subject: string
  readonly key: string
}

export class EventLog {
  readonly #nodeId: string
  readonly #clock: Clock
  /** Oldest first. */
  readonly #ring: Kept[] = []
  /** Those that may happen again, by kind, subject and reason. */
  readonly #open = new Map<string, Kept>()
  #lastId = 0

  constructor(nodeId: string, clock: Clock) {
    this.#nodeId = nodeId
    this.#clock = clock
  }

  raise(kind: EventKind, { message, details = {}, subject = '' }: EventReport): void {
    const { severity } = EVENT_KINDS[kind]
    const nowMs = this.#clock.wallMs()
    const said = message.slice(0, MESSAGE_LENGTH_MAX)
    const key = JSON.stringify([kind, subject, reasonOf(said)])
    const open = this.#open.get(key)
    if (open !== undefined) {
      open.event = { ...open.event, details, count: open.event.count + 1, lastMs: nowMs }
      return
    }
    const at = { id: ++this.#lastId, timeMs: nowMs, nodeId: this.#nodeId }
    const event = { ...at, kind, severity, message: said, details, count: 1, lastMs: nowMs }
    const kept = { event, subject, key }
    this.#ring.push(kept)
    if (severity !== 'info') this.#open.set(key, kept)
    if (this.#ring.length <= EVENTS_MAX) return
    const oldest = this.#ring.shift()
    if (oldest !== undefined && this.#open.get(oldest.key) === oldest) this.#open.delete(oldest.key)
  }

  /** What went wrong with this subject is over: the next time is an event of its own. */
  settle(kind: EventKind, subject = ''): void {
    for (const [key, { event, subject: about }] of this.#open)
      if (event.kind === kind && about === subject) this.#open.delete(key)
  }

  /** Oldest first. */
  list({ afterId = 0, sinceMs = 0, kinds = [] }: EventQuery = {}): readonly NodeEvent[] {
    return this.#ring
      .map(({ event }) => event)
      .filter(
        ({ id, lastMs, kind }) =>
          id > afterId &&
          lastMs >= sinceMs &&
          (kinds.length === 0 || kinds.some((one) => isOfKind(kind, one))),
      )
  }
}

/** @param asked a kind, or the beginning of some: `snapshot` */
export function isOfKind(kind: string, asked: string): boolean {
  return kind === asked || kind.startsWith(`${asked}.`)
}

function reasonOf(message: string): string {
  return message.replaceAll(/\b\d[\w.,]*/g, '#')
}
