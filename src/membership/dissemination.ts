/**
 * News waiting to be passed on. Each piece is sent `multiplier · ceil(log10(n + 1))` times, riding on probes and acks and in
 * frames of its own, the least often sent first; after that nearly everybody has it (SWIM, Das, Gupta, Motivala, DSN 2002).
 *
 * What is said later of a process replaces what was said before, so the queue holds one piece per process and one per refused
 * connection. It is bounded: what was sent most often gives way.
 */

import type { GossipUpdate } from '../wire/gossip-frames.ts'

export function retransmitLimit(multiplier: number, memberCount: number): number {
  return multiplier * Math.ceil(Math.log10(memberCount + 1))
}

interface Item {
  readonly update: GossipUpdate
  sent: number
}

export class Dissemination {
  readonly #queueMax: number
  readonly #items = new Map<string, Item>()
  #dropped = 0

  constructor(queueMax: number) {
    this.#queueMax = queueMax
  }

  get size(): number {
    return this.#items.size
  }

  /** Pieces that gave way to others before they were sent as often as they should. */
  get dropped(): number {
    return this.#dropped
  }

  add(update: GossipUpdate): void {
    const key = keyOf(update)
    this.#items.delete(key)
    if (this.#items.size >= this.#queueMax) this.#dropMostSent()
    this.#items.set(key, { update, sent: 0 })
  }

  /** Up to `max` pieces for one frame; each counts as sent once more and leaves at `limit`. */
  take(max: number, limit: number): GossipUpdate[] {
    if (this.#items.size === 0 || max <= 0) return []
    const chosen = [...this.#items].sort(([, a], [, b]) => a.sent - b.sent).slice(0, max)
    for (const [key, item] of chosen) if (++item.sent >= limit) this.#items.delete(key)
    return chosen.map(([, { update }]) => update)
  }

  #dropMostSent(): void {
    let worst: [string, number] | undefined
    for (const [key, { sent }] of this.#items) if (worst === undefined || sent > worst[1]) worst = [key, sent]
    if (worst === undefined) return
    this.#items.delete(worst[0])
    this.#dropped++
  }
}

function keyOf(update: GossipUpdate): string {
  return update.kind === 'member'
    ? `${update.record.nodeId}/${update.record.incarnation}`
    : `${update.nodeId}/${update.incarnation}/${update.by}`
}
