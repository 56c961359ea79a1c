/**
 * Results in bytes, inside a RESPONSE frame (docs/protocol.md, "Results").
 *
 * ```
 * RESPONSE := type(0x82) answers:u32 result*
 * result := requestId:u32 status:u8 payload
 * ```
 * `answers` is the number of the request frame whose immediate results these are, 0 for results that had to wait (for a
 * quorum, a lock). What a payload holds depends on the status and on the operation asked; with `ok`:
 *
 * | operation | payload |
 * |---|---|
 * | get | codec:u8 value:blob |
 * | getEntry | entry meta, tag count:varint, tags:text…, codec:u8 value:blob |
 * | has, delete, expire, touch | none; `absent` when there was no such entry |
 * | ttl | f64: milliseconds left, −1 for an entry that does not expire |
 * | set, setUploaded | version: two varints |
 * | increment | f64: the counter's new value |
 * | atomic | see wire/atomic.ts |
 * | scan | next bucket:varint (64: the partition is finished), count:varint, stored keys:blob… |
 * | clear | varint: entries removed |
 * | stats | text: one JSON object |
 */

import type { ByteReader, ByteWriter } from '../kernel/bytes.ts'
import { CacheError, ERROR_KINDS, type ErrorCode, errorCodeFromWire } from '../kernel/errors.ts'

export const Status = {
  /** Done; the payload is the operation's. */
  ok: 0,
  /** There is no such entry. No payload. */
  absent: 1,
  /** The condition did not hold. Set, delete: a byte 1 and the entry as GET_ENTRY returns it, a byte 2 and the entry without
   * its value when that is too large to travel here, or a byte 0 when absent. Atomic: varint index of the check that failed. */
  conditionFailed: 2,
  /** Get, getEntry: the value is too large to travel here; ask again on a bulk stream. Payload: varint of its length. */
  large: 3,
  /** On a bulk stream: as `ok`, but only the value's length stands in its place; the bytes follow in VALUE frames. */
  chunked: 4,
  /** From here: 0x80 + the error's wire number. Payload: a text. */
  error: 0x80,
} as const

/** Metadata that goes with a value in GET_ENTRY. Times are wall-clock milliseconds; 0: none. */
export interface EntryMeta {
  partitionEpoch: number
  sequence: number
  createdAtMs: number
  expiresAtMs: number
  staleAtMs: number
}

export function writeResult(w: ByteWriter, requestId: number, status: number): void {
  w.uint32(requestId)
  w.uint8(status)
}

export function writeErrorResult(w: ByteWriter, requestId: number, code: ErrorCode, message: string): void {
  w.uint32(requestId)
  w.uint8(Status.error + ERROR_KINDS[code].wire)
  w.text(message)
}

/** The error behind a status of at least `Status.error`; `r` stands behind the status. */
export function readErrorResult(r: ByteReader, status: number, node: string): CacheError {
  return new CacheError(errorCodeFromWire(status - Status.error), r.text(), { node })
}

/** version:(varint, varint) createdAt:f64 expiresAt:f64 staleAt:f64; tags and the value follow. */
export function writeEntryMeta(w: ByteWriter, meta: EntryMeta): void {
  w.varint(meta.partitionEpoch)
  w.varint(meta.sequence)
  w.float64(meta.createdAtMs)
  w.float64(meta.expiresAtMs)
  w.float64(meta.staleAtMs)
}

export function readEntryMeta(r: ByteReader): EntryMeta {
  return {
    partitionEpoch: r.varint(),
    sequence: r.varint(),
    createdAtMs: r.float64(),
    expiresAtMs: r.float64(),
    staleAtMs: r.float64(),
  }
}
