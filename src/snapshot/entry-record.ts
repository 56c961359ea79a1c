/**
 * Entries in a snapshot: each with the hash it had, so that a snapshot can be checked without the cluster's secret, its version
 * and the set that would store it, in the log's language (replication/effects.ts).
 *
 * `entry := hash:u32 epoch:varint sequence:u48 set`
 *
 * A large value is not among them: in the place of its stage stands its length, and its bytes are the records that follow
 * this one, in the order of the entries.
 */

import type { Engine, EntryIndex, LargeValue } from '../engine/engine.ts'
import { type ByteReader, ByteWriter } from '../kernel/bytes.ts'
import { CacheError } from '../kernel/errors.ts'
import { Effect, EffectKind, readEffect } from '../replication/effects.ts'
import { EntryEncoder } from '../replication/entry-encoder.ts'

/** Bytes of a large value in one record. */
export const PIECE_BYTES: number = 256 * 1024

/** Entries that become one record, and the large values among them. */
export class EntryBatch {
  readonly writer: ByteWriter = new ByteWriter(320 * 1024)
  readonly large: LargeValue[] = []
  largeBytes = 0
  entries = 0
  readonly #engine: Engine
  readonly #encoder: EntryEncoder

  constructor(engine: Engine) {
    this.#engine = engine
    this.#encoder = new EntryEncoder(engine)
  }

  /** Bytes of the record so far. */
  get bytes(): number {
    return this.writer.length
  }

  /** Its large value stays as it is until `clear`. */
  add(e: EntryIndex): void {
    const engine = this.#engine
    const large = engine.largeValue(e)
    const w = this.writer
    w.uint32(engine.hash(e))
    w.varint(engine.versionEpoch(e))
    w.uint48(engine.versionSequence(e))
    this.#encoder.writeSet(e, w, large?.totalBytes)
    this.entries++
    if (large === undefined) return
    this.large.push(large.retain())
    this.largeBytes += large.totalBytes
  }

  /** Hands the large values over, to be released by the caller. */
  takeLarge(): LargeValue[] {
    this.largeBytes = 0
    return this.large.splice(0)
  }

  clear(): void {
    this.writer.clear()
    for (const value of this.takeLarge()) value.release()
    this.entries = 0
  }
}

/** One entry of a record. The reader fills one instance again and again; offsets are into `bytes`. */
export class StoredEntry {
  bytes: Uint8Array = new Uint8Array(0)
  hash = 0
  versionEpoch = 0
  versionSequence = 0
  /** Region, key, codec, times, tags and, of a small entry, value. */
  readonly set: Effect = new Effect()

  /** The length of its large value; undefined when it has a small one. */
  get largeBytes(): number | undefined {
    return this.set.staged ? this.set.stageId : undefined
  }
}

/** Reads the next entry. @throws CacheError PROTOCOL_ERROR when it is malformed. */
export function readStoredEntry(r: ByteReader, entry: StoredEntry): void {
  entry.bytes = r.bytes
  entry.hash = r.uint32()
  entry.versionEpoch = r.varint()
  entry.versionSequence = r.uint48()
  readEffect(r, entry.set)
  if (entry.set.kind !== EffectKind.set || entry.set.hasId)
    throw new CacheError('PROTOCOL_ERROR', 'an entry that is none')
}

/** How many records hold a large value. */
export function piecesOf(largeBytes: number): number {
  return Math.ceil(largeBytes / PIECE_BYTES)
}
