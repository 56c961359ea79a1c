/**
 * Keys as bytes. A key is a JavaScript string of 1 to `keyBytesMax` bytes of UTF-8; a lone surrogate has no UTF-8 form
 * and is refused, so that two different strings never share a key.
 *
 * A partition is chosen by XXH32, seeded with the region's number, of the key's hashtag if it has one, else of the
 * whole key. The hashtag is what stands between the first `{` and the first `}` after it, unless that is empty
 * (the rule of Redis Cluster's specification, "Hash tags"): keys that share one live in one partition.
 */

import { xxh32 } from './hash.ts'

/** Longest key, in bytes of UTF-8. */
export const KEY_BYTES_MAX = 1024

const OPEN = 0x7b
const CLOSE = 0x7d

/**
 * Writes `key` as UTF-8 into `target` at `at`, which must have room for 3 bytes per UTF-16 unit.
 * @returns the number of bytes written, or −1 when the key holds a lone surrogate.
 */
export function encodeKey(key: string, target: Uint8Array, at: number): number {
  let to = at
  const { length } = key
  for (let i = 0; i < length; i++) {
    const unit = key.charCodeAt(i)
    if (unit < 0x80) {
      target[to++] = unit
    } else if (unit < 0x800) {
      target[to++] = 0xc0 | (unit >> 6)
      target[to++] = 0x80 | (unit & 0x3f)
    } else if (unit < 0xd800 || unit > 0xdfff) {
      target[to++] = 0xe0 | (unit >> 12)
      target[to++] = 0x80 | ((unit >> 6) & 0x3f)
      target[to++] = 0x80 | (unit & 0x3f)
    } else {
      const low = i + 1 < length ? key.charCodeAt(++i) : 0
      if (unit > 0xdbff || low < 0xdc00 || low > 0xdfff) return -1
      const point = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00)
      target[to++] = 0xf0 | (point >> 18)
      target[to++] = 0x80 | ((point >> 12) & 0x3f)
      target[to++] = 0x80 | ((point >> 6) & 0x3f)
      target[to++] = 0x80 | (point & 0x3f)
    }
  }
  return to - at
}

/** The partition, 0..partitionCount − 1, of the key in `bytes[start..end)` in this region. */
export function partitionOf(
  bytes: Uint8Array,
  start: number,
  end: number,
  regionId: number,
  partitionCount: number,
): number {
  for (let open = start; open < end; open++) {
    if (bytes[open] !== OPEN) continue
    for (let close = open + 1; close < end; close++) {
      if (bytes[close] !== CLOSE) continue
      if (close > open + 1) return xxh32(bytes, open + 1, close, regionId) % partitionCount
      break
    }
    break
  }
  return xxh32(bytes, start, end, regionId) % partitionCount
}
