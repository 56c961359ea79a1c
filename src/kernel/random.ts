/**
 * Randomness, as a port, and a seeded source for simulation (xoshiro128**, Blackman & Vigna 2018, seeded by
 * splitmix32).
 */

export interface Random {
  /** Uniform over the integers 0..2^32 − 1. */
  uint32(): number
}

/** Uniform over [0, 1) with 32 bits of resolution. */
export function uniform(random: Random): number {
  return random.uint32() / 0x1_0000_0000
}

/** Uniform over the integers `min..max`, both included. */
export function integerBetween(random: Random, min: number, max: number): number {
  return min + Math.floor(uniform(random) * (max - min + 1))
}

/** `digits` lower-case hexadecimal digits, 4 random bits each. */
export function randomHex(random: Random, digits: number): string {
  let text = ''
  while (text.length < digits) text += random.uint32().toString(16).padStart(8, '0')
  return text.slice(0, digits)
}

export class SeededRandom implements Random {
  readonly #state: Uint32Array = new Uint32Array(4)

  /** The same seed (taken mod 2^32) gives the same numbers on every machine. */
  constructor(seed: number) {
    let s = seed >>> 0
    for (let i = 0; i < 4; i++) {
      s = (s + 0x9e3779b9) >>> 0
      let z = s
      z = Math.imul(z ^ (z >>> 16), 0x85ebca6b)
      z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35)
      this.#state[i] = z ^ (z >>> 16)
    }
  }

  uint32(): number {
    // Four elements, always: the tuple spares a check at each of the twelve uses.
    const s = this.#state as unknown as [number, number, number, number]
    const scrambled = Math.imul(rotateLeft(Math.imul(s[1], 5), 7), 9) >>> 0
    const t = s[1] << 9
    s[2] ^= s[0]
    s[3] ^= s[1]
    s[1] ^= s[2]
    s[0] ^= s[3]
    s[2] ^= t
    s[3] = rotateLeft(s[3], 11)
    return scrambled
  }
}

function rotateLeft(x: number, bits: number): number {
  return (x << bits) | (x >>> (32 - bits))
}
