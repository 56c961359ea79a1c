/**
 * Applies effects to this node's memory: the one place where the log becomes state, at the primary and at its backups
 * alike.
 */

import {
  type Engine,
  EntryDraft,
  type EntryIndex,
  type LargeValue,
  NO_ENTRY,
  RemovalReason,
} from '../engine/engine.ts'
import { ByteReader } from '../kernel/bytes.ts'
import { CacheError } from '../kernel/errors.ts'
import { fillDraft } from './effect-draft.ts'
import { Effect, EffectKind, readEffect } from './effects.ts'
import type { OperationTable } from './operation-table.ts'
import type { Replica } from './replica.ts'

/** Finds the large value an effect names by its stage's number. */
export type ResolveStage = (stageId: number) => LargeValue | undefined

const REASONS: Readonly<Record<number, RemovalReason>> = {
  [EffectKind.evicted]: RemovalReason.evicted,
  [EffectKind.expired]: RemovalReason.expired,
}

export class Applier {
  readonly #engine: Engine
  readonly #operations: OperationTable
  readonly #draft: EntryDraft = new EntryDraft()
  readonly #reader: ByteReader = new ByteReader(new Uint8Array(0))
  readonly #effect: Effect = new Effect()
  /** Whether a region that the memory does not know may be added to it: called when one is met. */
  readonly #admitRegion: (regionId: number) => boolean
  /** Entries removed by the clear applied last. */
  removed = 0

  /**
   * @param admitRegion called with a region that the memory does not know; adds it and returns true, if it is one that was
   *   dropped and whose last entries have not been removed everywhere
   */
  constructor(
    engine: Engine,
    operations: OperationTable,
    admitRegion: (regionId: number) => boolean = () => false,
  ) {
    this.#admitRegion = admitRegion
    this.#engine = engine
    this.#operations = operations
  }

  /** The stage that the effect in `bytes[start..end)` needs, or −1. */
  stageOf(bytes: Uint8Array, start: number, end: number): number {
    const effect = this.#effect
    readEffect(this.#reader.reset(bytes, start, end), effect)
    return effect.kind === EffectKind.set && effect.staged ? effect.stageId : -1
  }

  /**
   * Applies the effect in `bytes[start..end)` as operation `sequence` of the partition, ordered in `versionEpoch`, and keeps
   * its outcome under its operation id. The caller moves `replica.lastSequence` on.
   * @param nowMs monotonic time, from which on the outcome is kept
   * @throws CacheError OVERLOADED when the memory is full, UNKNOWN_REGION: nothing was changed. PROTOCOL_ERROR when it is
   *   malformed.
   */
  apply(
    replica: Replica,
    bytes: Uint8Array,
    start: number,
    end: number,
    versionEpoch: number,
    sequence: number,
    nowMs: number,
    resolve: ResolveStage | undefined,
  ): void {
    const reader = this.#reader.reset(bytes, start, end)
    const effect = this.#effect
    readEffect(reader, effect)
    const { kind, hasId, sessionLow, sessionHigh, counter, number } = effect
    // Whatever can refuse comes before the first change.
    const outcomes = hasId ? this.#operations.session(sessionLow, sessionHigh) : undefined
    outcomes?.reserve(counter)
    let payload: Uint8Array | undefined
    if (kind === EffectKind.batch) {
      const { count } = effect
      payload = bytes.slice(effect.resultsStart, effect.resultsEnd)
      const start = reader.at
      this.#checkBatch(count)
      reader.at = start
      for (let left = count; left > 0; left--) {
        readEffect(reader, effect)
        this.#applyOne(replica, bytes, versionEpoch, sequence, resolve)
      }
    } else {
      this.#checkRegion()
      this.#applyOne(replica, bytes, versionEpoch, sequence, resolve)
    }
    if (outcomes !== undefined) {
      outcomes.lastWriteMs = nowMs
      // Every replica removes the same entries, so the count needs no place in the log.
      const result = kind === EffectKind.clear ? this.removed : number
      outcomes.record(counter, replica.partition, versionEpoch, sequence, result, payload)
    }
  }

  /**
   * Stores the entry that the set in `bytes[start..end)` describes, as it is, and returns it.
   * @param keepsNewer broken by a test: an entry of a later version stays
   * @throws CacheError OVERLOADED, UNKNOWN_REGION, PROTOCOL_ERROR
   */
  store(
    replica: Replica,
    bytes: Uint8Array,
    start: number,
    end: number,
    versionEpoch: number,
    sequence: number,
    resolve: ResolveStage | undefined,
    keepsNewer: boolean,
  ): EntryIndex {
    const effect = this.#effect
    readEffect(this.#reader.reset(bytes, start, end), effect)
    if (effect.kind !== EffectKind.set || effect.hasId) {
      throw new CacheError('PROTOCOL_ERROR', 'an entry that is none')
    }
    this.#checkRegion()
    const engine = this.#engine
    const { regionId, keyStart, keyEnd } = effect
    const hash = engine.hashKey(regionId, bytes, keyStart, keyEnd)
    if (keepsNewer) {
      const held = engine.find(replica.partition, regionId, hash, bytes, keyStart, keyEnd)
      if (held !== NO_ENTRY && engine.versionSequence(held) > sequence) return held
    }
    this.#put(replica, bytes, hash, versionEpoch, sequence, resolve)
    return engine.find(replica.partition, regionId, hash, bytes, keyStart, keyEnd)
  }

  /** Reads the whole batch once, so that a malformed one is refused before any of it is applied. */
  #checkBatch(count: number): void {
    const effect = this.#effect
    for (let left = count; left > 0; left--) {
      readEffect(this.#reader, effect)
      if (effect.kind === EffectKind.batch || effect.hasId || effect.staged) {
        throw new CacheError('PROTOCOL_ERROR', 'an effect that can not be part of a batch')
      }
      this.#checkRegion()
    }
  }

  #checkRegion(): void {
    const { regionId } = this.#effect
    if (!this.#engine.hasRegion(regionId) && !this.#admitRegion(regionId)) {
      throw new CacheError('UNKNOWN_REGION', `an effect on region ${regionId}, which is not known here yet`)
    }
  }

  #applyOne(
    replica: Replica,
    bytes: Uint8Array,
    versionEpoch: number,
    sequence: number,
    resolve: ResolveStage | undefined,
  ): void {
    const engine = this.#engine
    const effect = this.#effect
    const { partition } = replica
    const { regionId, keyStart, keyEnd } = effect
    if (effect.kind === EffectKind.clear) {
      this.removed = engine.clearRegion(partition, regionId, bytes, keyStart, keyEnd)
      return
    }
    const hash = engine.hashKey(regionId, bytes, keyStart, keyEnd)
    if (effect.kind === EffectKind.set) {
      this.#put(replica, bytes, hash, versionEpoch, sequence, resolve)
      return
    }
    const entry = engine.find(partition, regionId, hash, bytes, keyStart, keyEnd)
    if (entry === NO_ENTRY) return
    if (effect.kind === EffectKind.expiry) {
      const { state } = replica
      if (state.kind === 'learner') {
        const heldEpoch = engine.versionEpoch(entry)
        const heldSequence = engine.versionSequence(entry)
        if (!state.learner.vouchesFor(hash, heldEpoch, heldSequence)) {
          // With the new version it would pass for the primary's, with a value that may not be. It is sent when its range comes ◆.
          engine.remove(entry)
          return
        }
        // A range ran ahead of the log: the entry has this behind it, perhaps with another value.
        if (heldEpoch > versionEpoch || (heldEpoch === versionEpoch && heldSequence > sequence)) return
      }
      engine.setExpiry(entry, effect.expiresAtMs, versionEpoch, sequence)
      return
    }
    engine.remove(entry, REASONS[effect.kind])
  }

  #put(
    replica: Replica,
    bytes: Uint8Array,
    hash: number,
    versionEpoch: number,
    sequence: number,
    resolve: ResolveStage | undefined,
  ): void {
    const effect = this.#effect
    const draft = this.#draft
    draft.partition = replica.partition
    draft.regionId = effect.regionId
    draft.hash = hash
    draft.versionEpoch = versionEpoch
    draft.versionSequence = sequence
    fillDraft(draft, effect, bytes)
    if (effect.staged) {
      const large = resolve?.(effect.stageId)
      if (large === undefined)
        throw new CacheError('INTERNAL', `the value of stage ${effect.stageId} is not here`)
      draft.large = large
    }
    this.#engine.put(draft)
    draft.large = undefined
  }
}
