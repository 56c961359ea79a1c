/** A fingerprint of the record: two nodes at one epoch with different ones have met a bug, and say so. */

import { xxh32 } from '../../kernel/hash.ts'

/** 64 bits as 16 hex digits. @param encoded as nodes hold it (encodeTopology for 'node') */
export function recordHash(encoded: Uint8Array): string {
  const high = xxh32(encoded, 0, encoded.length, 0x5eed_0001)
  const low = xxh32(encoded, 0, encoded.length, 0x5eed_0002)
  return (high >>> 0).toString(16).padStart(8, '0') + (low >>> 0).toString(16).padStart(8, '0')
}
