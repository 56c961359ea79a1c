/** What the state machine has to say: effects of the event at hand, and news that is passed on bit by bit. */

import type { Random } from '../kernel/random.ts'
import {
  GOSSIP_UPDATES_MAX,
  type GossipMessage,
  type GossipUpdate,
  type TopologyMark,
} from '../wire/gossip-frames.ts'
import { Dissemination, retransmitLimit } from './dissemination.ts'
import type { MembershipEffect } from './events.ts'
import type { MembershipOptions } from './options.ts'
import { shuffled } from './prober.ts'

/** News that may save time is passed on at once, but not more often than this. */
const URGENT_MS = 10

export class Outbox {
  topology: TopologyMark = { epoch: 0, hash: 0 }
  readonly #options: MembershipOptions
  readonly #random: Random
  readonly #news: Dissemination
  #effects: MembershipEffect[] = []
  #gossipedMs = Number.NEGATIVE_INFINITY
  #dueMs = Number.POSITIVE_INFINITY

  constructor(options: MembershipOptions, random: Random) {
    this.#options = options
    this.#random = random
    this.#news = new Dissemination(options.queueMax)
  }

  /** When `gossip` is wanted; Infinity while there is nothing new. */
  get dueMs(): number {
    return this.#dueMs
  }

  get newsSize(): number {
    return this.#news.size
  }

  get newsDropped(): number {
    return this.#news.dropped
  }

  effect(effect: MembershipEffect): void {
    this.#effects.push(effect)
  }

  send(to: string, message: GossipMessage): void {
    this.#effects.push({ type: 'send', to, topology: this.topology, message })
  }

  reply(to: string, message: GossipMessage): void {
    this.#effects.push({ type: 'reply', to, topology: this.topology, message })
  }

  takeEffects(): MembershipEffect[] {
    const effects = this.#effects
    this.#effects = []
    return effects
  }

  tell(update: GossipUpdate, nowMs: number, urgent = false): void {
    this.#news.add(update)
    const spacingMs = urgent ? URGENT_MS : this.#options.gossipIntervalMs
    this.#dueMs = Math.min(this.#dueMs, Math.max(nowMs, this.#gossipedMs + spacingMs))
  }

  /** News for one frame, behind what stands `first` in it. */
  updates(memberCount: number, first: readonly GossipUpdate[] = []): GossipUpdate[] {
    const limit = retransmitLimit(this.#options.retransmitMultiplier, memberCount)
    return [...first, ...this.#news.take(GOSSIP_UPDATES_MAX - first.length, limit)]
  }

  /** Passes news on to some of `peers`. */
  gossip(peers: readonly string[], memberCount: number, nowMs: number): void {
    this.#gossipedMs = nowMs
    const chosen = shuffled([...peers], this.#random).slice(0, this.#options.gossipFanOut)
    for (const peer of chosen) {
      const updates = this.updates(memberCount)
      if (updates.length > 0) this.send(peer, { type: 'updates', updates })
    }
    const hasMore = this.#news.size > 0 && chosen.length > 0
    this.#dueMs = hasMore ? nowMs + this.#options.gossipIntervalMs : Number.POSITIVE_INFINITY
  }
}
