/** Entries as GET_ENTRY returns them, and versions. */

import type { ByteReader } from '../kernel/bytes.ts'
import { CacheError } from '../kernel/errors.ts'
import type { Version } from '../kernel/ids.ts'
import { TAG_BYTES_MAX, TAGS_MAX } from '../wire/operations.ts'
import { type EntryMeta, readEntryMeta } from '../wire/results.ts'

/** A value with what the cluster knows about it. Times are milliseconds since the Unix epoch, by the node's clock. */
export interface Entry<V> {
  readonly value: V
  readonly version: Version
  readonly createdAt: number
  /** undefined: the entry does not expire. */
  readonly expiresAt: number | undefined
  /** Milliseconds, at least 0, by this process's clock. undefined: the entry does not expire. */
  readonly ttlRemaining: number | undefined
  readonly tags: readonly string[]
  /** Whether the entry is past its freshness (returned only with `allowStale`). */
  readonly stale: boolean
}

/** What stands before the value. */
export interface EntryHead {
  readonly meta: EntryMeta
  readonly tags: readonly string[]
}

export function readEntryHead(r: ByteReader): EntryHead {
  const meta = readEntryMeta(r)
  const count = r.varint()
  if (count > TAGS_MAX) throw new CacheError('PROTOCOL_ERROR', `an entry has ${count} tags`)
  const tags: string[] = []
  for (let i = 0; i < count; i++) tags.push(r.text(TAG_BYTES_MAX))
  return { meta, tags }
}

export function readVersion(r: ByteReader): Version {
  return { partitionEpoch: r.varint(), sequence: r.varint() }
}

export function makeEntry<V>(head: EntryHead, value: V, wallMs: number): Entry<V> {
  const { meta, tags } = head
  const expires = meta.expiresAtMs !== 0
  return {
    value,
    version: { partitionEpoch: meta.partitionEpoch, sequence: meta.sequence },
    createdAt: meta.createdAtMs,
    expiresAt: expires ? meta.expiresAtMs : undefined,
    ttlRemaining: expires ? Math.max(0, meta.expiresAtMs - wallMs) : undefined,
    tags,
    stale: meta.staleAtMs !== 0 && meta.staleAtMs <= wallMs,
  }
}
