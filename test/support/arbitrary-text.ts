/** Texts as people and hostile peers write them, for properties: any graphemes, within the bytes a field may take. */

import fc from 'fast-check'

const utf8 = new TextEncoder()
/** The longest grapheme that fast-check draws: three characters outside the basic plane. */
const GRAPHEME_BYTES_MAX = 12

/** A text of at most `maxBytes` bytes in UTF-8. */
export function textOfBytes(maxBytes: number, minLength = 0): fc.Arbitrary<string> {
  const maxLength = Math.max(minLength, Math.floor(maxBytes / 4))
  const text = fc.string({ unit: 'grapheme', minLength, maxLength })
  const fits = (value: string): boolean => utf8.encode(value).length <= maxBytes
  return maxLength * GRAPHEME_BYTES_MAX <= maxBytes ? text : text.filter(fits)
}
