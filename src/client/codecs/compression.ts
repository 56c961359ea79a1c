/**
 * LZ4 blocks. Form: the raw length as a varint, then the block (https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md).
 * lz4-napi puts the raw length in front of a block as four little-endian bytes; that is cut off and put back here.
 */

import { compressSync, uncompressSync } from 'lz4-napi'
import { type ByteReader, ByteWriter, varintBytes } from '../../kernel/bytes.ts'
import { CacheError } from '../../kernel/errors.ts'

const PREFIX_BYTES = 4
/** An LZ4 block can't stand for more than 255 times its length. */
const EXPANSION_MAX = 255

/**
 * Larger values are tried by samples first: to compress images or archives in vain costs a buffer of their size and about
 * a millisecond per MiB, in which nothing else happens.
 */
const SAMPLED_FROM_BYTES = 128 * 1024
const SAMPLES = 4
const SAMPLE_BYTES = 16 * 1024
/** A sample that shrinks by less says that the value is not worth it. */
const SAMPLE_SAVING_MIN = 1 / 32

/** The compressed form of `raw`, or undefined when it would not be smaller, or a large value hardly so. */
export function compress(raw: Uint8Array): Uint8Array | undefined {
  if (raw.length >= SAMPLED_FROM_BYTES && !mayShrink(raw)) return undefined
  const block = compressSync(asBuffer(raw))
  const length = varintBytes(raw.length)
  // From 256 MiB on there would be no room for the length; what is as large can't be read back either.
  if (block.length - PREFIX_BYTES + length >= raw.length || length > PREFIX_BYTES) return undefined
  // In place of lz4-napi's own prefix.
  const w = new ByteWriter(PREFIX_BYTES * 2)
  w.varint(raw.length)
  const start = PREFIX_BYTES - length
  block.set(w.bytes.subarray(0, length), start)
  return block.subarray(start)
}

/** Whether one of several pieces of it becomes smaller. */
function mayShrink(raw: Uint8Array): boolean {
  const step = Math.floor((raw.length - SAMPLE_BYTES) / (SAMPLES - 1))
  for (let start = 0; start + SAMPLE_BYTES <= raw.length; start += step) {
    const sample = asBuffer(raw.subarray(start, start + SAMPLE_BYTES))
    if (compressSync(sample).length < SAMPLE_BYTES * (1 - SAMPLE_SAVING_MIN)) return true
  }
  return false
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
