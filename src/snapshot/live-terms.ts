/**
 * The digest terms of what a walk found, until its partition is sealed: what is alive, entry by entry.
 *
 * The walk adds them bucket by bucket. What it had passed and was changed then is said again, whole, for one hash: that
 * takes the place of all that was said of it. 12 bytes for each entry of one partition, and about 100 for each hash said again.
 */

import { DIGEST_BUCKETS } from '../engine/digest.ts'
import { type ByteReader, ByteWriter } from '../kernel/bytes.ts'
import { CacheError } from '../kernel/errors.ts'
import { toggleTerm } from './term-table.ts'

const CAPACITY_MIN = 1024
/** Terms that are put together in one turn. */
const TERMS_PER_SLICE = 16_384
const NOWHERE = -1

export class LiveTerms {
  #words: Uint32Array = new Uint32Array(CAPACITY_MIN * 3)
  #length = 0
  /** Where each bucket begins in `#words`. */
  readonly #starts: Int32Array = new Int32Array(DIGEST_BUCKETS).fill(NOWHERE)
  readonly #again = new Map<number, readonly number[]>()

  /** Hashes that were said again. */
  get repeated(): number {
    return this.#again.size
  }

  /** Makes it ready for another walk. Its memory is kept. */
  clear(): void {
    this.#length = 0
    this.#starts.fill(NOWHERE)
    this.#again.clear()
  }

  add(hash: number, low: number, high: number): void {
    if (this.#length + 3 > this.#words.length) {
      const grown = new Uint32Array(this.#words.length * 2)
      grown.set(this.#words)
      this.#words = grown
    }
    const bucket = hash >>> 26
    if (this.#starts[bucket] === NOWHERE) this.#starts[bucket] = this.#length
    this.#words[this.#length++] = hash
    this.#words[this.#length++] = low
    this.#words[this.#length++] = high
  }

  /** All that is alive under a hash now: low and high words in turn. */
  replace(hash: number, terms: readonly number[]): void {
    this.#again.set(hash, terms)
  }

  /**
   * What is alive, put into `digest` and as sections that `readTerms` reads, about 128 KiB at a time: the caller lets others work in between.
   * `(bucket:u8 count:varint (low:u32 high:u32)*)*`
   */
  *sections(digest: Uint32Array): Generator<Uint8Array> {
    const again: number[][] = Array.from({ length: DIGEST_BUCKETS }, () => [])
    for (const [hash, terms] of this.#again) (again[hash >>> 26] as number[]).push(...terms)
    const w = new ByteWriter()
    for (let bucket = 0; bucket < DIGEST_BUCKETS; bucket++) {
      let section = again[bucket] as number[]
      let at = this.#starts[bucket] as number
      while (at !== NOWHERE && at < this.#length && (this.#words[at] as number) >>> 26 === bucket) {
        if (!this.#again.has(this.#words[at] as number))
          section.push(this.#words[at + 1] as number, this.#words[at + 2] as number)
        at += 3
        if (section.length < TERMS_PER_SLICE * 2) continue
        writeSection(w, bucket, section, digest)
        section = []
        yield w.take()
      }
      if (section.length > 0) writeSection(w, bucket, section, digest)
      if (w.length >= TERMS_PER_SLICE * 8) yield w.take()
    }
    if (w.length > 0) yield w.take()
  }
}

function writeSection(w: ByteWriter, bucket: number, words: readonly number[], digest: Uint32Array): void {
  w.uint8(bucket)
  w.varint(words.length / 2)
  for (let i = 0; i < words.length; i += 2) {
    const low = words[i] as number
    const high = words[i + 1] as number
    w.uint32(low)
    w.uint32(high)
    toggleTerm(digest, bucket, low, high)
  }
}

/** @throws CacheError PROTOCOL_ERROR when it is malformed. */
export function readTerms(r: ByteReader, visit: (bucket: number, low: number, high: number) => void): void {
  while (r.remaining > 0) {
    const bucket = r.uint8()
    if (bucket >= DIGEST_BUCKETS) throw new CacheError('PROTOCOL_ERROR', `the digest bucket ${bucket}`)
    for (let left = r.varint(); left > 0; left--) visit(bucket, r.uint32(), r.uint32())
  }
}
