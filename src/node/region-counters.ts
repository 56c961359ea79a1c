/** Counts of what clients did, per region, on this node. */

import { Opcode } from '../wire/operations.ts'

export interface RegionCounts {
  hits: number
  misses: number
  sets: number
  deletes: number
  /** Entries this node removed as their primary: over budget or for memory, and past their time. */
  evictions: number
  expirations: number
}

const NONE: Readonly<RegionCounts> = { hits: 0, misses: 0, sets: 0, deletes: 0, evictions: 0, expirations: 0 }

export class RegionCounters {
  /** Indexed by region; only regions that exist are ever counted. */
  readonly #counts: (RegionCounts | undefined)[] = []

  hit(regionId: number): void {
    this.#of(regionId).hits++
  }

  miss(regionId: number): void {
    this.#of(regionId).misses++
  }

  written(regionId: number, opcode: number): void {
    if (opcode === Opcode.delete) this.#of(regionId).deletes++
    else if (opcode !== Opcode.clear) this.#of(regionId).sets++
  }

  removed(regionId: number, why: 'evicted' | 'expired'): void {
    if (why === 'evicted') this.#of(regionId).evictions++
    else this.#of(regionId).expirations++
  }

  counts(regionId: number): Readonly<RegionCounts> {
    return this.#counts[regionId] ?? NONE
  }

  #of(regionId: number): RegionCounts {
    let counts = this.#counts[regionId]
    if (counts === undefined) {
      counts = { hits: 0, misses: 0, sets: 0, deletes: 0, evictions: 0, expirations: 0 }
      this.#counts[regionId] = counts
    }
    return counts
  }
}
