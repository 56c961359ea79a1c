/**
 * What a partition holds, in 64 buckets of 64 bits: each the XOR, over the entries whose hash's top six bits name
 * the bucket, of a hash of (key hash, version). Replicas that hold the same versions of the same keys have equal digests; where
 * they differ, the bucket tells which 64th part to compare.
 */

import { mix32 } from '../kernel/hash.ts'

export const DIGEST_BUCKETS = 64

/** Puts an entry into the digest, or takes it out again. `sequenceHigh`: its bits above the low 32. */
export function toggleDigest(
  digest: Uint32Array,
  hash: number,
  epoch: number,
  sequenceLow: number,
  sequenceHigh: number,
): void {
  const at = (hash >>> 26) << 1
  const when = moment(epoch, sequenceLow, sequenceHigh)
  digest[at] = (digest[at] as number) ^ lowWord(hash, when)
  digest[at + 1] = (digest[at + 1] as number) ^ highWord(hash, when, epoch)
}

/** The 64 bits that one entry adds to its bucket, as two unsigned words in `into`. */
export function digestTerm(hash: number, epoch: number, sequence: number, into: Uint32Array): void {
  const when = moment(epoch, sequence >>> 0, Math.floor(sequence / 0x1_0000_0000))
  into[0] = lowWord(hash, when)
  into[1] = highWord(hash, when, epoch)
}

function moment(epoch: number, sequenceLow: number, sequenceHigh: number): number {
  return mix32(sequenceLow ^ Math.imul(epoch, 0x9e3779b1) ^ Math.imul(sequenceHigh, 0x85ebca77))
}

function lowWord(hash: number, when: number): number {
  return mix32(hash + when)
}

function highWord(hash: number, when: number, epoch: number): number {
  return mix32(Math.imul(hash, 0xc2b2ae3d) ^ mix32(when + epoch + 0x27d4eb2f))
}
