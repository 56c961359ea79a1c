/**
 * Where snapshots lie, as a port: an ordered set of keys and values far larger than memory. What differs from the register's
 * store (kernel/durable-store.ts): it is read in order piece by piece, and whole ranges are removed.
 *
 * A range is the keys from `from` on, below `to`, in the order of their UTF-16 code units (the keys are ASCII).
 */

import type { DurableChange } from '../kernel/durable-store.ts'

export interface SnapshotStore {
  /** Undefined where there is nothing. What it returns is the caller's to keep. */
  get(key: string): Promise<Uint8Array | undefined>
  /** The first key of a range. */
  firstKey(from: string, to: string): Promise<string | undefined>
  /** A range in order. At most about 1 MiB is read ahead; what it yields is the caller's to keep. */
  read(from: string, to: string): AsyncIterable<readonly [string, Uint8Array]>
  /**
   * Atomic: all of it or nothing. With `sync` it settles once this and *everything written before* is on the medium; without,
   * it may be lost in a crash, but never while a later batch survives. The values may be reused once it settled.
   * @throws CacheError STORAGE_FAILED when the disk is full or broken. Nothing of the batch may be relied on then.
   */
  write(changes: readonly DurableChange[], options: { readonly sync: boolean }): Promise<void>
  /**
   * Whether more should be written: the last of the disk is for what else the node writes there, and for removing what is here.
   * @throws CacheError STORAGE_FAILED when the disk is nearly full, or does not answer
   */
  checkRoom(): Promise<void>
  /** Removes a range, in parts: after a crash some of it may be left. */
  clear(from: string, to: string): Promise<void>
  /** Gives the space of what was removed in a range back to the disk. May take long. */
  compact(from: string, to: string): Promise<void>
  /** About how many bytes a range takes on the disk. */
  sizeBytes(from: string, to: string): Promise<number>
  close(): Promise<void>
}
