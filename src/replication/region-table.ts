/**
 * The regions of the topology as this node uses them: which there are, which partition a key of one belongs to, and what share of a
 * region's size this node enforces. A budget is cluster-wide, one copy: each node has the share of the partitions it is primary of.
 *
 * Numbers of regions are given once. One that is below the next to be given and in no record was dropped; it may still be in logs
 * and copies, until the primaries have removed its entries through the log.
 */

import type { Engine } from '../engine/engine.ts'
import { type GroupRecord, groupOf, locate, type RegionRecord, type Topology } from '../topology/topology.ts'
import type { Replica } from './replica.ts'

export class RegionTable {
  readonly #engine: Engine
  #regions: (RegionRecord | undefined)[] = []
  /** By region: the group it lives in. */
  #groups: (GroupRecord | undefined)[] = []
  /** By region: this node's share of its size, in bytes; 0: no limit. */
  #budgetBytes: number[] = []
  #nextRegionId = 0
  ids: readonly number[] = []

  constructor(engine: Engine) {
    this.#engine = engine
  }

  adopt(topology: Topology): void {
    this.#regions = []
    this.#groups = []
    this.#budgetBytes = []
    this.#nextRegionId = topology.nextRegionId
    this.ids = topology.regions.map((region) => region.regionId)
    for (const region of topology.regions) {
      this.#regions[region.regionId] = region
      this.#groups[region.regionId] = groupOf(topology, region)
      if (!this.#engine.hasRegion(region.regionId))
        this.#engine.addRegion(region.regionId, { policy: region.policy })
    }
  }

  get(regionId: number): RegionRecord | undefined {
    return this.#regions[regionId]
  }

  budgetBytes(regionId: number): number {
    return this.#budgetBytes[regionId] ?? 0
  }

  /** The partition of a key; −1 when there is no such region. */
  locate(regionId: number, key: Uint8Array, start: number, end: number): number {
    const group = this.#groups[regionId]
    return group === undefined ? -1 : locate(group, regionId, key, start, end)
  }

  /** Takes a region that the memory does not know into it, if it is one that was dropped. */
  admitDropped(regionId: number): boolean {
    if (regionId >= this.#nextRegionId) return false
    this.#engine.addRegion(regionId, { policy: 'lru' })
    return true
  }

  /** Dropped regions of which this node still holds entries as primary. */
  dropped(): number[] {
    const engine = this.#engine
    return engine
      .regionIds()
      .filter((regionId) => this.#regions[regionId] === undefined && engine.regionStats(regionId).entries > 0)
  }

  setBudgets(primaries: readonly Replica[]): void {
    for (const regionId of this.ids) {
      const region = this.#regions[regionId]
      const group = this.#groups[regionId]
      if (region === undefined || group === undefined) continue
      const end = group.firstPartition + group.partitionCount
      let own = 0
      for (const { partition } of primaries) if (partition >= group.firstPartition && partition < end) own++
      const share = own / group.partitionCount
      const bytes = region.sizeBytes > 0 ? Math.max(1, Math.floor(region.sizeBytes * share)) : 0
      this.#budgetBytes[regionId] = bytes
      const entries = region.maxEntries > 0 ? Math.max(1, Math.round(region.maxEntries * share)) : 0
      this.#engine.setBudget(regionId, bytes, entries)
    }
  }
}
