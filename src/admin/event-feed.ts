/**
 * The events of all nodes as one list, asked for again and again: each event is handed out once. A process that started anew counts its
 * events from 1, so it is asked for all of them.
 */

import type { EventMessage, ListEventsReply, ListEventsRequest } from '../wire/admin-observability.ts'

export interface FeedOptions {
  /** Only events so old at most, of each node when it is first asked; 0: all. */
  readonly withinMs: number
  /** None: all. */
  readonly kinds: readonly string[]
}

interface Heard {
  readonly incarnation: string
  readonly lastId: number
}

export class EventFeed {
  readonly #options: FeedOptions
  /** By node. */
  readonly #heard = new Map<string, Heard>()

  constructor(options: FeedOptions) {
    this.#options = options
  }

  requestFor(nodeId: string): ListEventsRequest {
    const { withinMs, kinds } = this.#options
    const heard = this.#heard.get(nodeId)
    return { afterId: heard?.lastId ?? 0, withinMs: heard === undefined ? withinMs : 0, kinds }
  }

  /** @returns what is new, in order of time */
  take(replies: readonly ListEventsReply[]): readonly EventMessage[] {
    const fresh: EventMessage[] = []
    for (const { nodeId, incarnation, events } of replies) {
      const before = this.#heard.get(nodeId)
      const isOther = before !== undefined && before.incarnation !== incarnation
      const heardId = before?.lastId ?? 0
      // It was asked for what comes after an event of another process; or for all, by an address of which nobody could tell whose it is.
      if (!isOther) fresh.push(...events.filter(({ id }) => id > heardId))
      const lastId = isOther ? 0 : Math.max(heardId, events.at(-1)?.id ?? 0)
      this.#heard.set(nodeId, { incarnation, lastId })
    }
    return fresh.sort((a, b) => a.timeMs - b.timeMs || compare(a.nodeId, b.nodeId) || a.id - b.id)
  }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b)
}
