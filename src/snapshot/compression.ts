/**
 * Compression of records, as a port: on a node it happens on another thread (adapters/lz4), in a simulation at once.
 *
 * A packed record is lz4-napi's form: the raw length as four little-endian bytes, then an LZ4 block
 * (https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md).
 */

import { compressSync, uncompressSync } from 'lz4-napi'

export interface Packed {
  readonly bytes: Uint8Array
  /** The bytes are not needed any more: their memory may be used again. */
  release(): void
}

export interface Compression {
  /** `raw` must not change until it settles. @returns undefined when packed it would not be smaller */
  pack(raw: Uint8Array): Promise<Packed | undefined>
  /** @throws whatever tells that the bytes are no such form */
  unpack(packed: Uint8Array): Promise<Uint8Array>
}

/** On the calling thread. */
export const immediateCompression: Compression = {
  pack: async (raw) => {
    const bytes = compressSync(Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength))
    return bytes.length < raw.length ? { bytes, release: () => {} } : undefined
  },
  unpack: async (packed) => uncompressSync(packed),
}
