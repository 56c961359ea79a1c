/** Writes entries as the sets that would store them, for replicas that are brought up and for snapshots. */

import type { Engine, EntryIndex, LargeValue } from '../engine/engine.ts'
import { ByteWriter } from '../kernel/bytes.ts'
import { HeldCode } from '../wire/replica-frames.ts'
import { type SetFields, writeSetStart } from './effects.ts'

export class EntryEncoder {
  readonly #engine: Engine
  readonly #key: ByteWriter = new ByteWriter(256)
  readonly #tags: ByteWriter = new ByteWriter(256)
  readonly #effect: ByteWriter = new ByteWriter(4096)
  readonly #fields: { -readonly [K in keyof SetFields]: SetFields[K] } = {
    codec: 0,
    createdAtMs: 0,
    expiresAtMs: 0,
    tagCount: 0,
    tags: undefined,
    tagsStart: 0,
    tagsEnd: 0,
  }

  constructor(engine: Engine) {
    this.#engine = engine
  }

  /** About how many bytes the entry takes in a frame. */
  bytes(e: EntryIndex): number {
    const engine = this.#engine
    return 64 + engine.keyBytes(e) + (engine.largeValue(e) === undefined ? engine.valueBytes(e) : 4)
  }

  /** Appends the entry. `stageOf` tells where its large value is staged; without a stage the entry is said to be kept. */
  write(e: EntryIndex, w: ByteWriter, stageOf: (value: LargeValue) => number | undefined): void {
    const engine = this.#engine
    const key = this.#key
    key.clear()
    engine.copyKey(e, key)
    const large = engine.largeValue(e)
    const stageId = large === undefined ? undefined : stageOf(large)
    if (large !== undefined && stageId === undefined) {
      w.uint8(HeldCode.kept)
      w.varint(engine.regionId(e))
      w.varint(key.length)
      w.raw(key.bytes, 0, key.length)
      return
    }
    const effect = this.#effect
    effect.clear()
    this.#writeSet(e, effect, stageId)
    w.uint8(HeldCode.entry)
    w.varint(engine.versionEpoch(e))
    w.uint48(engine.versionSequence(e))
    w.varint(effect.length)
    w.raw(effect.bytes, 0, effect.length)
  }

  /** Appends the set alone; a large value is named by the number of its stage, a small one is copied. */
  writeSet(e: EntryIndex, w: ByteWriter, stageId: number | undefined): void {
    this.#key.clear()
    this.#engine.copyKey(e, this.#key)
    this.#writeSet(e, w, stageId)
  }

  /** As `writeSet`, for the entry whose key was copied last. */
  #writeSet(e: EntryIndex, w: ByteWriter, stageId: number | undefined): void {
    const engine = this.#engine
    const key = this.#key
    const tags = this.#tags
    tags.clear()
    const fields = this.#fields
    fields.codec = engine.codec(e)
    fields.createdAtMs = engine.createdAtMs(e)
    fields.expiresAtMs = engine.expiresAtMs(e)
    fields.tagCount = engine.tagCount(e)
    if (fields.tagCount > 0) engine.copyTags(e, tags)
    fields.tags = tags.bytes
    fields.tagsStart = 0
    fields.tagsEnd = tags.length
    writeSetStart(
      w,
      undefined,
      Number.NaN,
      engine.regionId(e),
      key.bytes,
      0,
      key.length,
      fields,
      stageId !== undefined,
    )
    if (stageId === undefined) {
      w.varint(engine.valueBytes(e))
      engine.copyValue(e, w)
    } else {
      w.uint32(stageId)
    }
  }
}
