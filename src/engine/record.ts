/**
 * The layout of a record: an entry's key, value and rarely needed figures, in one run of 32-bit words in the log.
 *
 * ```
 * word 0   entry number (leads from the record back to its entry)
 *      1   value bytes (17 bits), key bytes (11), flags (4)
 *      2   version: epoch
 *      3   version: sequence, low 32 bits
 *      4   version: sequence, high 16 bits; created at, high 16 bits
 *      5   created at, low 32 bits
 *      6   region slot (16), partition slot (16)
 *      7   codec (8), tag count (8), tags bytes (16)
 *     8–9  stale at, low 32 and high 16 bits; only with that flag
 *          key, tags, value, zero to three bytes up to the next word
 * ```
 * The value of a large entry is its place in the table of large values, and 4 bytes long.
 */

export const RECORD_ENTRY = 0
export const RECORD_LENGTHS = 1
export const RECORD_EPOCH = 2
export const RECORD_SEQUENCE = 3
export const RECORD_HIGHS = 4
export const RECORD_CREATED = 5
export const RECORD_SLOTS = 6
export const RECORD_CODEC = 7
export const RECORD_STALE = 8
const HEADER_WORDS = 8

export const VALUE_MASK = 0x1_ffff
export const KEY_SHIFT = 17
export const KEY_MASK = 0x7ff
export const FLAG_STALE: number = 1 << 28
export const FLAG_LARGE: number = 1 << 29

export const TWO_32 = 0x1_0000_0000

/** Words of a record with these parts. */
export function wordsFor(stale: boolean, keyBytes: number, tagsBytes: number, valueBytes: number): number {
  return HEADER_WORDS + (stale ? 2 : 0) + ((keyBytes + tagsBytes + valueBytes + 3) >>> 2)
}

/** Words of the record at `at`. */
export function recordWords(words: Uint32Array, at: number): number {
  const lengths = words[at + RECORD_LENGTHS] as number
  const tagsBytes = (words[at + RECORD_CODEC] as number) >>> 16
  return wordsFor(
    (lengths & FLAG_STALE) !== 0,
    (lengths >>> KEY_SHIFT) & KEY_MASK,
    tagsBytes,
    lengths & VALUE_MASK,
  )
}

/** Byte offset, in the segment, of the key of the record at word `at`. */
export function keyStart(at: number, lengths: number): number {
  return (at + HEADER_WORDS + (lengths & FLAG_STALE ? 2 : 0)) << 2
}

/** Copies `source[start..end)` to `target[at..)`. */
export function copyBytes(
  source: Uint8Array,
  start: number,
  end: number,
  target: Uint8Array,
  at: number,
): void {
  // A view costs about as much as copying this many bytes one by one.
  if (end - start <= 48) {
    for (let from = start, to = at; from < end; from++, to++) target[to] = source[from] as number
  } else {
    target.set(source.subarray(start, end), at)
  }
}

export function sameBytes(
  a: Uint8Array,
  aStart: number,
  b: Uint8Array,
  bStart: number,
  count: number,
): boolean {
  for (let i = 0; i < count; i++) if (a[aStart + i] !== b[bStart + i]) return false
  return true
}
