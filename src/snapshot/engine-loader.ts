/**
 * Puts a partition of a snapshot into an engine: entries with their versions, expiry, tags, codec and creation time, as they were.
 *
 * Where the engine has an entry of the key already, the snapshot's takes its place. When reading fails, what was loaded stays
 * in the engine: drop the partition. Once its signal is given nothing is put there any more, however late the disk answers.
 */

import { type Engine, EntryDraft, INLINE_VALUE_BYTES_MAX } from '../engine/engine.ts'
import { CacheError, throwIfAborted } from '../kernel/errors.ts'
import { fillDraft } from '../replication/effect-draft.ts'
import type { StoredEntry } from './entry-record.ts'
import type { EntrySink } from './partition-reader.ts'

export class EngineLoader implements EntrySink {
  readonly #engine: Engine
  readonly #partition: number
  readonly #signal: AbortSignal | undefined
  readonly #draft: EntryDraft = new EntryDraft()
  loaded = 0
  /** Entries of regions that the engine does not know. */
  ofUnknownRegions = 0

  /** The engine has the partition, and the regions whose entries are to be loaded. */
  constructor(engine: Engine, partition: number, signal?: AbortSignal) {
    this.#engine = engine
    this.#partition = partition
    this.#signal = signal
  }

  /** @throws CacheError OVERLOADED when the memory is full, ABORTED */
  small(entry: StoredEntry): void {
    if (this.#prepare(entry)) this.#put()
  }

  async large(entry: StoredEntry, pieces: AsyncIterable<Uint8Array>): Promise<void> {
    const bytes = entry.largeBytes ?? 0
    if (bytes <= INLINE_VALUE_BYTES_MAX)
      throw new CacheError('PROTOCOL_ERROR', `a large value of ${bytes} bytes`)
    if (!this.#engine.hasRegion(entry.set.regionId)) {
      this.ofUnknownRegions++
      return
    }
    const value = this.#engine.newLargeValue(bytes)
    try {
      for await (const piece of pieces) value.append(piece)
      if (!this.#prepare(entry)) return
      this.#draft.large = value
      this.#put()
    } finally {
      // The entry has a reference of its own.
      value.release()
    }
  }

  #prepare(entry: StoredEntry): boolean {
    throwIfAborted(this.#signal)
    const { bytes, set } = entry
    if (!this.#engine.hasRegion(set.regionId)) {
      this.ofUnknownRegions++
      return false
    }
    const draft = this.#draft
    fillDraft(draft, set, bytes)
    draft.partition = this.#partition
    draft.hash = this.#engine.hashKey(set.regionId, bytes, set.keyStart, set.keyEnd)
    draft.versionEpoch = entry.versionEpoch
    draft.versionSequence = entry.versionSequence
    return true
  }

  #put(): void {
    this.#engine.put(this.#draft)
    this.#draft.clear()
    this.loaded++
  }
}
