import type { EntryIndex } from '../entry-table.ts'

/**
 * Which entry of a region goes first. A policy hears of each entry that this node is primary for; entries of
 * backups are removed only when their primary says so. All calls take constant time.
 */
export interface EvictionPolicy {
  /** The entry was stored: a new one, or a new value of one that was `removed` just before. */
  inserted(e: EntryIndex): void
  /** The entry was read. */
  touched(e: EntryIndex): void
  /** The entry goes, or gets a new value. */
  removed(e: EntryIndex): void
  /** The entry to evict next, NIL when there is none. It stays until `removed`. */
  victim(): EntryIndex
}

export const EVICTION_POLICIES = ['lru', 'fifo'] as const
export type EvictionPolicyName = (typeof EVICTION_POLICIES)[number]
