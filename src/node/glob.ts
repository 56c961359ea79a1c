/**
 * Glob patterns over the UTF-8 bytes of keys: `*` any run of bytes, `?` one character, `[abc]`, `[a-z]`, `[^a]` one byte of a
 * set, `\` takes the next byte as it is. Matching never backtracks further than the last `*`: at most key × pattern steps.
 */

const STAR = 0x2a
const QUESTION = 0x3f
const OPEN = 0x5b
const CLOSE = 0x5d
const CARET = 0x5e
const DASH = 0x2d
const BACKSLASH = 0x5c

/** Whether `key[start..end)` matches `pattern[from..to)`. An empty pattern matches everything. */
export function matchesGlob(
  pattern: Uint8Array,
  from: number,
  to: number,
  key: Uint8Array,
  start: number,
  end: number,
): boolean {
  if (from === to) return true
  let p = from
  let k = start
  let starPattern = -1
  let starKey = 0
  while (k < end) {
    if (p < to && pattern[p] === STAR) {
      starPattern = ++p
      starKey = k
      continue
    }
    const next = p < to ? step(pattern, p, to, key, k, end) : 0
    if (next !== 0) {
      p += next >>> 8
      k += next & 0xff
      continue
    }
    if (starPattern < 0) return false
    p = starPattern
    k = ++starKey
  }
  while (p < to && pattern[p] === STAR) p++
  return p === to
}

/** Pattern bytes (× 256) and key bytes that one element takes, or 0 when it does not match. */
function step(pattern: Uint8Array, p: number, to: number, key: Uint8Array, k: number, end: number): number {
  const byte = pattern[p] as number
  const subject = key[k] as number
  if (byte === QUESTION) {
    let bytes = 1
    while (k + bytes < end && ((key[k + bytes] as number) & 0xc0) === 0x80) bytes++
    return 0x100 | bytes
  }
  if (byte === BACKSLASH && p + 1 < to) return pattern[p + 1] === subject ? 0x201 : 0
  if (byte === OPEN) {
    const close = endOfSet(pattern, p, to)
    if (close > 0) {
      const taken = close - p + 1
      return taken <= 0xff_ffff && inSet(pattern, p + 1, close, subject) ? (taken << 8) | 1 : 0
    }
  }
  return byte === subject ? 0x101 : 0
}

function endOfSet(pattern: Uint8Array, p: number, to: number): number {
  for (let at = p + 2; at < to; at++) if (pattern[at] === CLOSE) return at
  return -1
}

function inSet(pattern: Uint8Array, from: number, close: number, subject: number): boolean {
  const negated = pattern[from] === CARET
  let found = false
  for (let at = negated ? from + 1 : from; at < close; at++) {
    const low = pattern[at] as number
    if (at + 2 < close && pattern[at + 1] === DASH) {
      const high = pattern[at + 2] as number
      if (subject >= low && subject <= high) found = true
      at += 2
    } else if (low === subject) {
      found = true
    }
  }
  return found !== negated
}
