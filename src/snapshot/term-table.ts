/**
 * A multiset of 64-bit digest terms in typed arrays, by open addressing: about 20 bytes a term, however many there are.
 * Terms are hashes themselves, so their low bits serve as the place.
 *
 * A term that was taken out stays in its slot with the count 0: nothing is ever moved but by growth.
 */

const CAPACITY_MIN = 64
const LOAD_MAX = 0.7

export class TermTable {
  #low: Uint32Array = new Uint32Array(CAPACITY_MIN)
  #high: Uint32Array = new Uint32Array(CAPACITY_MIN)
  #count: Uint16Array = new Uint16Array(CAPACITY_MIN)
  #used: Uint8Array = new Uint8Array(CAPACITY_MIN)
  #slots = 0
  /** Terms in it, repeated ones counted as often as they are. */
  size = 0

  /** Makes it empty. Its memory is kept. */
  clear(): void {
    this.#count.fill(0)
    this.#used.fill(0)
    this.#slots = 0
    this.size = 0
  }

  add(low: number, high: number): void {
    if (this.#slots >= this.#low.length * LOAD_MAX) this.#grow()
    const at = this.#find(low, high)
    if (this.#used[at] === 0) {
      this.#used[at] = 1
      this.#low[at] = low
      this.#high[at] = high
      this.#slots++
    }
    this.#count[at] = (this.#count[at] as number) + 1
    this.size++
  }

  count(low: number, high: number): number {
    return this.#count[this.#find(low, high)] as number
  }

  /** Takes one out. @returns whether there was one */
  take(low: number, high: number): boolean {
    const at = this.#find(low, high)
    const count = this.#count[at] as number
    if (count === 0) return false
    this.#count[at] = count - 1
    this.size--
    return true
  }

  #find(low: number, high: number): number {
    const mask = this.#low.length - 1
    let at = (low ^ (high >>> 7)) & mask
    while (this.#used[at] === 1 && (this.#low[at] !== low >>> 0 || this.#high[at] !== high >>> 0))
      at = (at + 1) & mask
    return at
  }

  #grow(): void {
    const low = this.#low
    const high = this.#high
    const count = this.#count
    const used = this.#used
    const capacity = low.length * 2
    this.#low = new Uint32Array(capacity)
    this.#high = new Uint32Array(capacity)
    this.#count = new Uint16Array(capacity)
    this.#used = new Uint8Array(capacity)
    for (let i = 0; i < used.length; i++) {
      if (used[i] === 0) continue
      const at = this.#find(low[i] as number, high[i] as number)
      this.#used[at] = 1
      this.#low[at] = low[i] as number
      this.#high[at] = high[i] as number
      this.#count[at] = count[i] as number
    }
  }
}

/** Puts a term into one bucket of a digest, or takes it out again. */
export function toggleTerm(digest: Uint32Array, bucket: number, low: number, high: number): void {
  const at = bucket * 2
  digest[at] = (digest[at] as number) ^ low
  digest[at + 1] = (digest[at + 1] as number) ^ high
}
