/**
 * Entries that a primary removes on its own decision: past their time, over a region's budget, while memory is short, of dropped
 * regions, or older than a cleanup wants them. Each removal goes through the log like a write, for replicas never decide.
 *
 * Bounded: whoever calls says how many, or a page or a constant does; what is left follows with the next writes and with maintenance.
 */

import { type Engine, type EntryIndex, NO_ENTRY } from '../engine/engine.ts'
import type { Clock } from '../kernel/clock.ts'
import { CacheError } from '../kernel/errors.ts'
import type { MemoryAccount } from '../kernel/memory-account.ts'
import { type EffectLog, NO_NUMBER } from './effect-log.ts'
import { EffectKind, writeEffectStart, writeKey } from './effects.ts'
import type { Replica } from './replica.ts'

export interface RemovalsPorts {
  readonly engine: Engine
  readonly clock: Clock
  readonly memory: MemoryAccount
  readonly log: EffectLog
  regionIds(): Iterable<number>
  replica(partition: number): Replica | undefined
  /** An entry was removed. */
  removed(regionId: number, why: 'evicted' | 'expired'): void
}

/** Entries evicted for one write at most. */
export const EVICTIONS_PER_WRITE = 64
const CLEARS_PER_TICK = 64

export class Removals {
  readonly #ports: RemovalsPorts

  constructor(ports: RemovalsPorts) {
    this.#ports = ports
  }

  /** Removes entries past their time; at most `limit`. Returns how many. */
  expireDue(limit: number): number {
    const { engine, clock } = this.#ports
    return engine.expireDue(clock.wallMs(), limit, (entry) => {
      const regionId = engine.regionId(entry)
      this.#remove(entry, EffectKind.expired)
      this.#ports.removed(regionId, 'expired')
    })
  }

  /**
   * Removes entries of one partition that were written before `beforeMs`, a page of its index at a time, in the order of their hash.
   * @param isWanted whether those of a region are to be looked at
   * @param dryRun counts them and leaves them there
   * @returns undefined when this node may not order writes of the partition now
   */
  removeOlder(
    partition: number,
    fromHash: number,
    beforeMs: number,
    isWanted: (regionId: number) => boolean,
    dryRun: boolean,
  ): { readonly nextHash: number; readonly seen: number; readonly removed: number } | undefined {
    const { engine } = this.#ports
    const replica = this.#ports.replica(partition)
    if (replica?.role !== 'primary' || replica.frozen || !engine.isPrimary(partition)) return undefined
    const entries: EntryIndex[] = []
    const nextHash = engine.collectFrom(partition, fromHash, entries)
    let removed = 0
    for (const entry of entries) {
      const regionId = engine.regionId(entry)
      if (!isWanted(regionId) || engine.createdAtMs(entry) >= beforeMs) continue
      removed++
      if (dryRun) continue
      this.#remove(entry, EffectKind.expired)
      this.#ports.removed(regionId, 'expired')
    }
    return { nextHash, seen: entries.length, removed }
  }

  /** Removes what is left of regions that were dropped, a few at a time. */
  clearDropped(regionIds: readonly number[], primaries: readonly Replica[]): void {
    let left = CLEARS_PER_TICK
    for (const regionId of regionIds) {
      for (const replica of primaries) {
        if (left-- <= 0) return
        this.#clear(replica, regionId)
      }
    }
  }

  /** Evicts what regions hold over their budget, and while memory is short; at most `limit`. Returns how many. */
  evict(limit: number): number {
    const { engine, memory } = this.#ports
    let count = 0
    for (const regionId of this.#ports.regionIds()) {
      while (count < limit && engine.overBudget(regionId) && this.#evictOne(regionId)) count++
    }
    while (count < limit && memory.level !== 'normal') {
      const regionId = engine.fullestRegion()
      if (regionId === undefined || !this.#evictOne(regionId)) break
      count++
    }
    return count
  }

  /** To be called behind each write that adds to the region. */
  makeRoom(regionId: number): void {
    const { engine, memory } = this.#ports
    for (let i = 0; i < EVICTIONS_PER_WRITE && engine.overBudget(regionId); i++) {
      if (!this.#evictOne(regionId)) break
    }
    // Two for one: memory shrinks while writes go on.
    for (let i = 0; i < 2 && memory.level !== 'normal'; i++) {
      const fullest = engine.fullestRegion()
      if (fullest === undefined || !this.#evictOne(fullest)) break
    }
  }

  #evictOne(regionId: number): boolean {
    const entry = this.#ports.engine.victim(regionId)
    if (entry === NO_ENTRY) return false
    this.#remove(entry, EffectKind.evicted)
    this.#ports.removed(regionId, 'evicted')
    return true
  }

  #clear(replica: Replica, regionId: number): void {
    const { engine, log } = this.#ports
    if (replica.role !== 'primary' || !engine.holdsRegion(replica.partition, regionId)) return
    const w = log.effect
    w.clear()
    writeEffectStart(w, EffectKind.clear, undefined, NO_NUMBER)
    writeKey(w, regionId, w.bytes, 0, 0)
    this.#append(replica)
  }

  #remove(entry: EntryIndex, kind: number): void {
    const { engine, log } = this.#ports
    const replica = this.#ports.replica(engine.partition(entry))
    if (replica === undefined || replica.role !== 'primary') {
      throw new CacheError(
        'INTERNAL',
        'an entry of a partition this node is not primary of was to be removed',
      )
    }
    const w = log.effect
    w.clear()
    writeEffectStart(w, kind, undefined, NO_NUMBER)
    w.varint(engine.regionId(entry))
    w.varint(engine.keyBytes(entry))
    engine.copyKey(entry, w)
    this.#append(replica)
  }

  #append(replica: Replica): void {
    const { log } = this.#ports
    log.append(replica, undefined, log.timeMs(replica), undefined)
    if (replica.quorum === 1) replica.advance()
  }
}
