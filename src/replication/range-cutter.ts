/**
 * Cuts what a learner lacks into ranges of hashes, each with all entries in it at the moment of the cut, so that it fits a frame.
 *
 * Entries with the same hash can't be told apart by a range: they stay together. What the learner listed, by its hash and version, is
 * named only; it counts with the bytes of its name. Large values travel on another stream before: a range that is not staged yet ends
 * where it names more than LARGE_BYTES_PER_RANGE of them.
 */

import type { Engine, EntryIndex, LargeValue } from '../engine/engine.ts'
import type { ByteWriter } from '../kernel/bytes.ts'
import { HeldCode, writeListed } from '../wire/replica-frames.ts'
import { EntryEncoder } from './entry-encoder.ts'
import type { HeldVersions } from './held-versions.ts'
import { isAlone } from './sync-target.ts'

/** A frame is never larger: entries of one hash stay together. */
const RANGE_BYTES_MAX = 900 * 1024
const LARGE_BYTES_PER_RANGE = 8 * 1024 * 1024
/** What an entry that is only named takes in a range. */
const LISTED_BYTES = 16
const HASHES = 2 ** 32

export class RangeCutter {
  readonly #engine: Engine
  readonly #keepsByVersion: boolean
  readonly #encoder: EntryEncoder
  readonly #entries: EntryIndex[] = []
  /** Those of them that the learner holds already. */
  readonly #held = new Set<EntryIndex>()

  /** @param keepsByVersion false when broken by a test: what is listed is named whatever its version */
  constructor(engine: Engine, keepsByVersion: boolean) {
    this.#engine = engine
    this.#keepsByVersion = keepsByVersion
    this.#encoder = new EntryEncoder(engine)
  }

  /**
   * Takes the entries from `fromHash` on, up to `lastHash` or until a frame is full.
   * @param held what the learner listed
   * @param isStaged whether the large values up to `lastHash` are at the learner: then all goes into one frame
   * @param bytesTarget of a frame that is not staged
   * @returns where the range ends, and the large values in it that have to be sent
   */
  cut(
    partition: number,
    held: HeldVersions,
    fromHash: number,
    lastHash: number,
    isStaged: boolean,
    bytesTarget: number,
  ): { toHash: number; large: LargeValue[] } {
    const engine = this.#engine
    const entries = this.#entries
    entries.length = 0
    this.#held.clear()
    const large: LargeValue[] = []
    let bytes = 0
    let largeBytes = 0
    let hash = fromHash
    const target = isStaged ? RANGE_BYTES_MAX : bytesTarget
    while (hash <= lastHash) {
      const first = entries.length
      const next = engine.collectFrom(partition, hash, entries)
      const page = entries.splice(first).sort((a, b) => engine.hash(a) - engine.hash(b))
      for (let i = 0; i < page.length; i++) {
        const e = page[i] as EntryIndex
        const at = engine.hash(e)
        if (at > lastHash) return { toHash: lastHash, large }
        const previous = entries.at(-1)
        const isHeld = this.#isHeld(held, page, i)
        const size = isHeld ? LISTED_BYTES : this.#encoder.bytes(e)
        const value = isHeld ? undefined : engine.largeValue(e)
        const full =
          bytes + size > target || (!isStaged && value !== undefined && largeBytes > LARGE_BYTES_PER_RANGE)
        if (full && previous !== undefined && engine.hash(previous) !== at) return { toHash: at - 1, large }
        entries.push(e)
        if (isHeld) this.#held.add(e)
        bytes += size
        if (value !== undefined) {
          large.push(value)
          largeBytes += value.totalBytes
        }
      }
      hash = next
      if (bytes > target / 2 && hash <= lastHash) return { toHash: hash - 1, large }
    }
    return { toHash: Math.min(lastHash, HASHES - 1), large }
  }

  /** Large values of entries that the last cut only names. */
  namedValues(): Set<LargeValue> {
    const named = new Set<LargeValue>()
    for (const e of this.#held) {
      const value = this.#engine.largeValue(e)
      if (value !== undefined) named.add(value)
    }
    return named
  }

  /** Writes the entries of the last cut. @param stageOf where a large value is staged; without a stage the entry is said to be kept */
  write(w: ByteWriter, stageOf: (value: LargeValue) => number | undefined): void {
    const engine = this.#engine
    for (const e of this.#entries) {
      if (this.#held.has(e)) {
        w.uint8(HeldCode.listed)
        writeListed(w, engine.hash(e), engine.versionEpoch(e), engine.versionSequence(e))
      } else {
        this.#encoder.write(e, w, stageOf)
      }
    }
  }

  /** Whether the learner listed the entry at `i` of a page, which is sorted by hash. */
  #isHeld(held: HeldVersions, page: readonly EntryIndex[], i: number): boolean {
    if (held.size === 0) return false
    const engine = this.#engine
    const e = page[i] as EntryIndex
    const hash = engine.hash(e)
    const isListed = this.#keepsByVersion
      ? held.has(hash, engine.versionEpoch(e), engine.versionSequence(e))
      : held.hasHash(hash)
    return isListed && isAlone(engine, page, i)
  }
}
