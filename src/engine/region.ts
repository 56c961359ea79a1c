/**
 * What the engine knows of a region: its share of the budget on this node, and what counts against it. Only entries of
 * partitions this node is primary for count: a budget is logical, one copy.
 */

import type { EntryIndex } from './entry-table.ts'
import type { EvictionPolicy } from './eviction/policy.ts'

export interface RegionStats {
  /** Entries and bytes of partitions this node is primary for, as budgets count them. */
  readonly entries: number
  readonly bytes: number
  readonly budgetEntries: number
  readonly budgetBytes: number
  /** Entries removed since the start, by reason, over all partitions. */
  readonly evicted: number
  readonly expired: number
}

export class Region {
  readonly id: number
  /** Place in the engine's list; stored with each record. */
  readonly slot: number
  readonly policy: EvictionPolicy
  /** 0: none. */
  budgetBytes = 0
  budgetEntries = 0
  entries = 0
  bytes = 0
  evicted = 0
  expired = 0

  constructor(id: number, slot: number, policy: EvictionPolicy) {
    this.id = id
    this.slot = slot
    this.policy = policy
  }

  get overBudget(): boolean {
    return (
      (this.budgetBytes > 0 && this.bytes > this.budgetBytes) ||
      (this.budgetEntries > 0 && this.entries > this.budgetEntries)
    )
  }

  /** Counts an entry this node is primary for. */
  link(e: EntryIndex, bytes: number): void {
    this.entries++
    this.bytes += bytes
    this.policy.inserted(e)
  }

  unlink(e: EntryIndex, bytes: number): void {
    this.entries--
    this.bytes -= bytes
    this.policy.removed(e)
  }

  get stats(): RegionStats {
    const { entries, bytes, budgetEntries, budgetBytes, evicted, expired } = this
    return { entries, bytes, budgetEntries, budgetBytes, evicted, expired }
  }
}
