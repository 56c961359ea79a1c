/**
 * The replicas this node leads: those it is primary of, and those it is about to be, because it takes them over.
 *
 * Both lists follow the roles. Many partitions change theirs in one turn, so the lists are made anew once, at its end; a newly
 * committed topology is taken up whole, so it makes them anew itself.
 */

import type { CacheError } from '../kernel/errors.ts'
import type { Scheduler } from '../kernel/scheduler.ts'
import type { Replica } from './replica.ts'

export interface LedReplicasPorts {
  readonly scheduler: Scheduler
  /** By partition. */
  readonly replicas: readonly (Replica | undefined)[]
  /** The lists were made anew. */
  listed(primaries: readonly Replica[]): void
}

export class LedReplicas {
  readonly #ports: LedReplicasPorts
  #primaries: Replica[] = []
  readonly #all = new Set<Replica>()
  #isDue = false
  #closed = false

  constructor(ports: LedReplicasPorts) {
    this.#ports = ports
  }

  get primaries(): readonly Replica[] {
    return this.#primaries
  }

  /** With those that are being taken over. */
  get all(): ReadonlySet<Replica> {
    return this.#all
  }

  /** A role changed, and others may in this turn. */
  listSoon(): void {
    if (this.#isDue) return
    this.#isDue = true
    this.#ports.scheduler.endOfTurn(() => {
      if (this.#isDue && !this.#closed) this.list()
    })
  }

  list(): void {
    this.#isDue = false
    this.#primaries = []
    this.#all.clear()
    for (const replica of this.#ports.replicas) {
      if (replica?.role === 'primary') this.#primaries.push(replica)
      if (replica?.role === 'primary' || replica?.role === 'taking-over') this.#all.add(replica)
    }
    this.#ports.listed(this.#primaries)
  }

  /** Fails what has waited past its deadline. @returns whether anything still waits */
  expire(nowMs: number): boolean {
    let isAwaited = false
    for (const replica of this.#primaries) {
      if (replica.waiting === 0) continue
      replica.expire(nowMs)
      isAwaited ||= replica.waiting > 0
    }
    return isAwaited
  }

  /** The lists stay as they are. */
  close(): void {
    this.#closed = true
  }

  /** Fails all that waits. */
  abandon(error: CacheError): void {
    for (const replica of this.#primaries) replica.abandon(error)
  }
}
