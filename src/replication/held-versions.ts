/**
 * What a learner says it holds of the buckets that differ: hashes in ascending order, each with the version of the one entry that has
 * it. A version is given once and says what its entry is, so an entry with that hash and that version is the learner's already.
 *
 * Two entries of one hash can't be told apart by it (one batch may have given them one version): neither end lists those, nor
 * keeps what is listed where it holds two.
 *
 * 16 bytes an entry, `HELD_VERSIONS_MAX` of them.
 */

import { CacheError } from '../kernel/errors.ts'

/** Entries that a learner lists in one session; of what comes behind, it is sent all. */
export const HELD_VERSIONS_MAX = 32_768

export class HeldVersions {
  #hashes: Uint32Array = new Uint32Array(64)
  #epochs: Uint32Array = new Uint32Array(64)
  #sequences: Float64Array = new Float64Array(64)
  size = 0

  /** @throws CacheError PROTOCOL_ERROR when the hash does not come behind the last one, or there are too many. */
  add(hash: number, epoch: number, sequence: number): void {
    const at = this.size
    if (at > 0 && hash <= (this.#hashes[at - 1] as number))
      throw new CacheError('PROTOCOL_ERROR', 'a learner listed hashes that do not ascend')
    if (at >= HELD_VERSIONS_MAX)
      throw new CacheError('PROTOCOL_ERROR', `a learner listed more than ${HELD_VERSIONS_MAX} entries`)
    if (epoch > 0xffff_ffff) throw new CacheError('PROTOCOL_ERROR', `a version of the epoch ${epoch}`)
    if (at === this.#hashes.length) this.#grow()
    this.#hashes[at] = hash
    this.#epochs[at] = epoch
    this.#sequences[at] = sequence
    this.size++
  }

  has(hash: number, epoch: number, sequence: number): boolean {
    const at = this.#find(hash)
    return at >= 0 && this.#epochs[at] === epoch && this.#sequences[at] === sequence
  }

  hasHash(hash: number): boolean {
    return this.#find(hash) >= 0
  }

  clear(): void {
    if (this.size === 0) return
    this.size = 0
    this.#hashes = new Uint32Array(64)
    this.#epochs = new Uint32Array(64)
    this.#sequences = new Float64Array(64)
  }

  #find(hash: number): number {
    let low = 0
    let high = this.size - 1
    while (low <= high) {
      const middle = (low + high) >>> 1
      const found = this.#hashes[middle] as number
      if (found === hash) return middle
      if (found < hash) low = middle + 1
      else high = middle - 1
    }
    return -1
  }

  #grow(): void {
    const hashes = new Uint32Array(this.size * 2)
    hashes.set(this.#hashes)
    this.#hashes = hashes
    const epochs = new Uint32Array(this.size * 2)
    epochs.set(this.#epochs)
    this.#epochs = epochs
    const sequences = new Float64Array(this.size * 2)
    sequences.set(this.#sequences)
    this.#sequences = sequences
  }
}
