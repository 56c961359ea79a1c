/**
 * What a key of the store holds: one record with its checksum.
 *
 * ```
 * crc:u32 kind:u8 packing:u8 rawBytes:u32 body
 * ```
 * The CRC-32 covers the key, the rest of the head and the body as stored: a record that was changed, cut or put in another's
 * place is told from a good one.
 */

import { crc32 } from 'node:zlib'
import { CacheError } from '../kernel/errors.ts'

export const RecordKind = {
  /** Entries, one after the other (entry-record.ts). */
  entries: 1,
  /** The next bytes of a large value. */
  piece: 2,
  /** Digest terms of all that is alive, by bucket. */
  terms: 3,
  /** What is said about a partition, in JSON. */
  partition: 4,
  /** What is said about the snapshot, in JSON. */
  manifest: 5,
} as const
export type RecordKind = (typeof RecordKind)[keyof typeof RecordKind]

const Packing = { none: 0, lz4: 1 } as const

export const HEAD_BYTES = 10
/** No record is larger before it is packed. One hash's entries stay together, so that there is some room. */
const RAW_BYTES_MAX = 64 * 1024 * 1024

export interface StoredRecord {
  readonly kind: number
  /** Set: the body is packed, and this long otherwise. */
  readonly packed: boolean
  readonly rawBytes: number
  readonly crc: number
  readonly body: Uint8Array
}

/** The record's bytes, in `into`, which is HEAD_BYTES longer than the body. */
export function frameRecord(
  key: string,
  kind: RecordKind,
  rawBytes: number,
  body: Uint8Array,
  packed: boolean,
  into: Uint8Array,
): { readonly bytes: Uint8Array; readonly crc: number } {
  const head = new DataView(into.buffer, into.byteOffset, HEAD_BYTES)
  head.setUint8(4, kind)
  head.setUint8(5, packed ? Packing.lz4 : Packing.none)
  head.setUint32(6, rawBytes, true)
  into.set(body, HEAD_BYTES)
  const crc = crc32(into.subarray(4), crc32(key))
  head.setUint32(0, crc, true)
  return { bytes: into, crc }
}

/** @throws CacheError DATA_LOSS when the bytes are not those that were written under this key. */
export function openRecord(key: string, bytes: Uint8Array): StoredRecord {
  if (bytes.length < HEAD_BYTES) throw damaged(key, 'it is cut off')
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const crc = view.getUint32(0, true)
  if (crc32(bytes.subarray(4), crc32(key)) !== crc) throw damaged(key, 'its checksum is wrong')
  const rawBytes = view.getUint32(6, true)
  const packing = view.getUint8(5)
  if (packing > Packing.lz4 || rawBytes > RAW_BYTES_MAX) throw damaged(key, 'it is of no known form')
  return {
    kind: view.getUint8(4),
    packed: packing === Packing.lz4,
    rawBytes,
    crc,
    body: bytes.subarray(HEAD_BYTES),
  }
}

export function damaged(key: string, why: string, cause?: unknown): CacheError {
  return new CacheError(
    'DATA_LOSS',
    `the record ${key} is damaged: ${why}. Use another snapshot, or let the node take this partition from its peers`,
    cause === undefined ? {} : { cause },
  )
}

/** Adds a record's checksum to that of a sequence of records. */
export function chainCrc(chain: number, crc: number): number {
  return crc32(Uint8Array.of(crc, crc >>> 8, crc >>> 16, crc >>> 24), chain)
}
