/**
 * Hashes over byte ranges, in 32-bit integer arithmetic, without allocation.
 *
 * - `xxh32`: XXH32 (https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md). Public and unkeyed: it decides which
 *   partition a key belongs to, on clients and nodes alike.
 * - `halfSipHash`: HalfSipHash-1-3 with a 64-bit key (Aumasson & Bernstein, SipHash, 2012, and its 32-bit variant).
 *   Keyed with a secret, so that nobody outside can choose keys that collide in an index.
 */

const PRIME_1 = 0x9e3779b1
const PRIME_2 = 0x85ebca77
const PRIME_3 = 0xc2b2ae3d
const PRIME_4 = 0x27d4eb2f
const PRIME_5 = 0x165667b1

/** XXH32 of `bytes[start..end)`, as an unsigned 32-bit integer. */
export function xxh32(bytes: Uint8Array, start: number, end: number, seed: number): number {
  let at = start
  let h: number
  const length = end - start
  if (length >= 16) {
    let a = (seed + PRIME_1 + PRIME_2) | 0
    let b = (seed + PRIME_2) | 0
    let c = seed | 0
    let d = (seed - PRIME_1) | 0
    for (const limit = end - 16; at <= limit; at += 16) {
      a = lane(a, word(bytes, at))
      b = lane(b, word(bytes, at + 4))
      c = lane(c, word(bytes, at + 8))
      d = lane(d, word(bytes, at + 12))
    }
    h = (rotl(a, 1) + rotl(b, 7) + rotl(c, 12) + rotl(d, 18)) | 0
  } else {
    h = (seed + PRIME_5) | 0
  }
  h = (h + length) | 0
  for (; at + 4 <= end; at += 4)
    h = Math.imul(rotl((h + Math.imul(word(bytes, at), PRIME_3)) | 0, 17), PRIME_4)
  for (; at < end; at++) h = Math.imul(rotl((h + Math.imul(bytes[at] as number, PRIME_5)) | 0, 11), PRIME_1)
  h = Math.imul(h ^ (h >>> 15), PRIME_2)
  h = Math.imul(h ^ (h >>> 13), PRIME_3)
  return (h ^ (h >>> 16)) >>> 0
}

/** The secret of a keyed hash: two 32-bit halves. */
export interface HashKey {
  readonly low: number
  readonly high: number
}

/**
 * HalfSipHash-1-3 of a 32-bit `prefix` followed by `bytes[start..end)`, as an unsigned 32-bit integer. The prefix
 * separates key spaces (regions); it counts as the first word of the message.
 */
export function halfSipHash(
  key: HashKey,
  prefix: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): number {
  let v0 = key.low | 0
  let v1 = key.high | 0
  let v2 = key.low ^ 0x6c796765
  let v3 = key.high ^ 0x74656462
  const length = end - start
  // The rounds are written out: a call per word costs more than the round itself.
  let at = start
  let m = prefix | 0
  const words = length >> 2
  for (let i = -1; ; i++) {
    v3 ^= m
    v0 = (v0 + v1) | 0
    v1 = rotl(v1, 5) ^ v0
    v0 = rotl(v0, 16)
    v2 = (v2 + v3) | 0
    v3 = rotl(v3, 8) ^ v2
    v0 = (v0 + v3) | 0
    v3 = rotl(v3, 7) ^ v0
    v2 = (v2 + v1) | 0
    v1 = rotl(v1, 13) ^ v2
    v2 = rotl(v2, 16)
    v0 ^= m
    if (i + 1 > words) break
    if (i + 1 < words) {
      m = word(bytes, at)
      at += 4
      continue
    }
    // The last word: what is left of the message, and its length (prefix included) in the top byte.
    m = (length + 4) << 24
    if (at < end) m |= bytes[at] as number
    if (at + 1 < end) m |= (bytes[at + 1] as number) << 8
    if (at + 2 < end) m |= (bytes[at + 2] as number) << 16
  }
  v2 ^= 0xff
  for (let i = 0; i < 3; i++) {
    v0 = (v0 + v1) | 0
    v1 = rotl(v1, 5) ^ v0
    v0 = rotl(v0, 16)
    v2 = (v2 + v3) | 0
    v3 = rotl(v3, 8) ^ v2
    v0 = (v0 + v3) | 0
    v3 = rotl(v3, 7) ^ v0
    v2 = (v2 + v1) | 0
    v1 = rotl(v1, 13) ^ v2
    v2 = rotl(v2, 16)
  }
  return (v1 ^ v3) >>> 0
}

/** Murmur3's 32-bit finaliser: a bijection in which every input bit changes each output bit with probability ½. */
export function mix32(x: number): number {
  let h = x | 0
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

function word(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] as number) |
    ((bytes[at + 1] as number) << 8) |
    ((bytes[at + 2] as number) << 16) |
    ((bytes[at + 3] as number) << 24)
  )
}

function lane(accumulator: number, input: number): number {
  return Math.imul(rotl((accumulator + Math.imul(input, PRIME_2)) | 0, 13), PRIME_1)
}

function rotl(x: number, bits: number): number {
  return (x << bits) | (x >>> (32 - bits))
}
