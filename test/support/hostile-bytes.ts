/**
 * Hostile input made of valid input: flipped bits, cut ends, repeated and exchanged pieces, extreme numbers. What is valid
 * up to the header and wrong behind it reaches further into a decoder than noise does.
 */

import { integerBetween, type Random } from '../../src/kernel/random.ts'

const EXTREMES = [0x00, 0x01, 0x7f, 0x80, 0xfe, 0xff]

/** A changed copy of `valid` whose first `keep` bytes are left alone. */
export function mutated(random: Random, valid: Uint8Array, keep = 0): Uint8Array {
  let bytes = valid.slice()
  for (let changes = integerBetween(random, 1, 4); changes > 0; changes--) {
    if (bytes.length <= keep) break
    const at = integerBetween(random, keep, bytes.length - 1)
    switch (integerBetween(random, 0, 5)) {
      case 0:
        bytes[at] = (bytes[at] ?? 0) ^ (1 << integerBetween(random, 0, 7))
        break
      case 1:
        bytes[at] = EXTREMES[integerBetween(random, 0, EXTREMES.length - 1)] ?? 0
        break
      case 2:
        bytes = bytes.slice(0, at)
        break
      case 3: {
        // A piece stands twice.
        const end = integerBetween(random, at, Math.min(bytes.length, at + 16))
        bytes = Uint8Array.from([
          ...bytes.subarray(0, end),
          ...bytes.subarray(at, end),
          ...bytes.subarray(end),
        ])
        break
      }
      case 4:
        // A long run of continuation bytes: a number that doesn't end.
        bytes.fill(0xff, at, Math.min(bytes.length, at + integerBetween(random, 1, 10)))
        break
      default:
        bytes[at] = integerBetween(random, 0, 255)
    }
  }
  return bytes
}

/** Noise of up to `bytesMax` bytes. */
export function noise(random: Random, bytesMax: number): Uint8Array {
  return Uint8Array.from({ length: integerBetween(random, 0, bytesMax) }, () =>
    integerBetween(random, 0, 255),
  )
}
