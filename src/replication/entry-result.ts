/** An entry as it travels in results: GET_ENTRY's payload, also shown by a condition that failed. */

import type { Engine, EntryIndex } from '../engine/engine.ts'
import type { ByteWriter } from '../kernel/bytes.ts'
import { INLINE_VALUE_BYTES_MAX } from '../wire/frames.ts'

/** Version, times, tags and codec: everything but the value. */
export function writeEntryHead(engine: Engine, entry: EntryIndex, w: ByteWriter): void {
  w.varint(engine.versionEpoch(entry))
  w.varint(engine.versionSequence(entry))
  w.float64(engine.createdAtMs(entry))
  w.float64(engine.expiresAtMs(entry))
  w.float64(engine.staleAtMs(entry))
  w.varint(engine.tagCount(entry))
  engine.copyTags(entry, w)
  w.uint8(engine.codec(entry))
}

/** The value: its length as a varint, then its bytes. Only for values of at most INLINE_VALUE_BYTES_MAX bytes. */
export function writeEntryValue(engine: Engine, entry: EntryIndex, w: ByteWriter): void {
  w.varint(engine.valueBytes(entry))
  engine.copyValue(entry, w)
}

/**
 * What a failed condition shows: 0 when there is no entry; 1, head and value; 2 and the head when the value is too large to
 * travel here.
 */
export function writeCurrent(engine: Engine, entry: EntryIndex | undefined, w: ByteWriter): void {
  if (entry === undefined) {
    w.uint8(0)
    return
  }
  const inline = engine.valueBytes(entry) <= INLINE_VALUE_BYTES_MAX
  w.uint8(inline ? 1 : 2)
  writeEntryHead(engine, entry, w)
  if (inline) writeEntryValue(engine, entry, w)
}
