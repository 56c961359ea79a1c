/**
 * What a partition holds, in 64 buckets of 64 bits: each the XOR, over the entries whose hash's top six bits name
 * the bucket, of a hash of (key hash, version). Replicas that hold the same versions of the same keys have equal digests; where
 * they differ, the bucket tells which 64th part to compare.
 */

import { mix32 } from '../kernel/hash.ts'

export const DIGEST_BUCKETS = 64

/** Puts an entry into the digest, or takes it out again. `highs`: the sequence's high 16 bits. */
export function toggleDigest(
  digest: Uint32Array,
  hash: number,
  epoch: number,
  sequenceLow: number,
  sequenceHigh: number,
): void {
  const at = (hash >>> 26) << 1
  const when = mix32(sequenceLow ^ Math.imul(epoch, 0x9e3779b1) ^ Math.imul(sequenceHigh, 0x85ebca77))
  digest[at] = (digest[at] as number) ^ mix32(hash + when)
  digest[at + 1] =
    (digest[at + 1] as number) ^ mix32(Math.imul(hash, 0xc2b2ae3d) ^ mix32(when + epoch + 0x27d4eb2f))
}
