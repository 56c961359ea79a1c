/**
 * Durable storage, as a port: a small ordered set of keys and values of one data directory. Its first user is the topology
 * register, whose promises must outlive the process before anybody hears of them.
 *
 * A batch is atomic: after a crash all of it is there or nothing. With `sync` its promise settles once the batch is on the
 * medium; without, it may be lost in a crash (a later batch never survives an earlier one that was lost).
 */

export interface DurableChange {
  readonly key: string
  /** undefined: the key is removed. */
  readonly value: Uint8Array | undefined
}

export interface DurableStore {
  /** Undefined where there is nothing. What it returns is the caller's to keep. */
  get(key: string): Promise<Uint8Array | undefined>
  /** Entries whose keys start with `prefix`, in the order of the keys. */
  entries(prefix: string): Promise<readonly (readonly [string, Uint8Array])[]>
  /** @throws CacheError INTERNAL when the disk is full or broken: nothing of the batch may be relied on then. */
  write(changes: readonly DurableChange[], options: { readonly sync: boolean }): Promise<void>
  close(): Promise<void>
}
