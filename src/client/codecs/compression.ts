/**
 * LZ4 blocks. Form: the raw length as a varint, then the block (https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md).
 * lz4-napi puts the raw length in front of a block as four little-endian bytes; that is cut off and put back here.
 */

import { compressSync, uncompressSync } from 'lz4-napi'
import { type ByteReader, ByteWriter } from '../../kernel/bytes.ts'
import { CacheError } from '../../kernel/errors.ts'

const PREFIX_BYTES = 4
/** An LZ4 block can't stand for more than 255 times its length. */
const EXPANSION_MAX = 255

/** The compressed form of `raw`, or undefined when it would not be smaller. */
export function compress(raw: Uint8Array): Uint8Array | undefined {
  const block = compressSync(asBuffer(raw))
  const compressed = new ByteWriter(block.length + PREFIX_BYTES)
  compressed.varint(raw.length)
  compressed.raw(block, PREFIX_BYTES)
  return compressed.length < raw.length ? compressed.bytes.subarray(0, compressed.length) : undefined
}

/**
 * Reads up to the reader's end.
 * @throws CacheError SERIALIZATION when the bytes are no such block, or it would be larger than `rawBytesMax`.
 */
export function decompress(r: ByteReader, rawBytesMax: number): Uint8Array {
  const rawBytes = r.varint()
  if (rawBytes > rawBytesMax || rawBytes > r.remaining * EXPANSION_MAX) {
    throw new CacheError('SERIALIZATION', `a compressed value claims to be ${rawBytes} bytes long`)
  }
  const prefixed = Buffer.allocUnsafeSlow(PREFIX_BYTES + r.remaining)
  prefixed.writeUInt32LE(rawBytes, 0)
  prefixed.set(r.raw(r.remaining), PREFIX_BYTES)
  let raw: Uint8Array
  try {
    raw = uncompressSync(prefixed)
  } catch (cause) {
    throw new CacheError('SERIALIZATION', 'a compressed value is damaged', { cause })
  }
  if (raw.length !== rawBytes)
    throw new CacheError('SERIALIZATION', 'a compressed value has another length than it says')
  return raw
}

/** The same bytes as a Buffer, not a copy. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
