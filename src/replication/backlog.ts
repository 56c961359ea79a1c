/**
 * The backlog of one node: the newest operations it ordered or applied as a backup, over all partitions, in that order. Peers
 * read from it through cursors, so no operation is queued per peer, and a replica that was away catches up from it. Backups
 * keep what they apply too, so that whichever of them takes over can bring the others up.
 *
 * Effects stand in a ring of bytes; columns beside it say for each record its place, its partition, its sequence and
 * where the partition's next record is. Records are numbered from 0 on; `first` is the oldest kept, `end` the next.
 *
 * Invariants:
 * - the records of a partition that are kept are the newest of its log, without a gap;
 * - bytes in the ring plus bytes of large values that records pin never exceed `bytesMax` (one record larger than that
 *   may stand alone).
 *
 * Bounded by bytes and by records; what is overwritten is reported, so that a replica that still lacked it can be marked.
 */

import { copyBytes } from '../engine/record.ts'
import type { ByteWriter } from '../kernel/bytes.ts'

/** What a record keeps alive outside the ring: the blocks of a large value. */
export interface Pinned {
  readonly byteLength: number
  release(): void
}

export const NO_RECORD = -1

const CHUNK_BYTES = 1024 * 1024

export class Backlog {
  readonly bytesMax: number
  readonly #recordsMax: number
  readonly #onDropped: (record: number) => void
  readonly #onBytes: (delta: number) => void
  /** Chunks of the byte ring; a record lies in one chunk, or in a chunk of its own when larger. */
  readonly #chunks: (Uint8Array | undefined)[] = []
  readonly #spare: Uint8Array[] = []
  #chunkBase = 0
  #chunkUsed = CHUNK_BYTES
  #mask = 1023
  #chunk: Float64Array = new Float64Array(1024)
  #offset: Uint32Array = new Uint32Array(1024)
  #length: Uint32Array = new Uint32Array(1024)
  #partition: Int32Array = new Int32Array(1024)
  #epoch: Uint32Array = new Uint32Array(1024)
  #sequence: Float64Array = new Float64Array(1024)
  #next: Float64Array = new Float64Array(1024)
  readonly #pinned = new Map<number, Pinned>()
  #heldBytes = 0
  /** Number of the oldest record kept. */
  first = 0
  /** Number that the next record will get. */
  end = 0

  /**
   * @param onDropped called for each record before it is overwritten, while it can still be read
   * @param onBytes told how the memory held changes, for the node's account
   */
  constructor(
    bytesMax: number,
    onDropped: (record: number) => void,
    onBytes: (delta: number) => void,
    recordsMax = 262_144,
  ) {
    this.bytesMax = bytesMax
    this.#onDropped = onDropped
    this.#onBytes = onBytes
    this.#recordsMax = recordsMax
  }

  /** Bytes of effects and pinned values that are kept. */
  get heldBytes(): number {
    return this.#heldBytes
  }

  /**
   * Appends the effect in `effect[start..start + effectBytes)` and returns its record's number. `previous` is the
   * partition's newest record, or NO_RECORD.
   */
  append(
    partition: number,
    epoch: number,
    sequence: number,
    effect: Uint8Array,
    effectBytes: number,
    previous: number,
    pinned: Pinned | undefined,
    start = 0,
  ): number {
    const bytes = effectBytes + (pinned?.byteLength ?? 0)
    while (this.first < this.end && (this.#heldBytes + bytes > this.bytesMax || this.#full())) this.#drop()
    if (this.end - this.first > this.#mask) this.#growColumns()
    const record = this.end++
    const slot = record & this.#mask
    const target = this.#place(effectBytes, slot)
    copyBytes(effect, start, start + effectBytes, target, this.#offset[slot] as number)
    this.#length[slot] = effectBytes
    this.#partition[slot] = partition
    this.#epoch[slot] = epoch
    this.#sequence[slot] = sequence
    this.#next[slot] = NO_RECORD
    if (previous >= this.first) this.#next[previous & this.#mask] = record
    if (pinned !== undefined) this.#pinned.set(record, pinned)
    this.#heldBytes += bytes
    return record
  }

  partition(record: number): number {
    return this.#partition[record & this.#mask] as number
  }
  epoch(record: number): number {
    return this.#epoch[record & this.#mask] as number
  }
  sequence(record: number): number {
    return this.#sequence[record & this.#mask] as number
  }
  effectBytes(record: number): number {
    return this.#length[record & this.#mask] as number
  }
  /** The partition's next record, or NO_RECORD. */
  next(record: number): number {
    return this.#next[record & this.#mask] as number
  }
  pinned(record: number): Pinned | undefined {
    return this.#pinned.get(record)
  }

  /** Overwrites the last four bytes of the record's effect: the number of its stage, which is another on each node. */
  patchStage(record: number, stageId: number): void {
    const slot = record & this.#mask
    const chunk = this.#chunks[(this.#chunk[slot] as number) - this.#chunkBase]
    if (chunk === undefined) return
    const at = (this.#offset[slot] as number) + (this.#length[slot] as number) - 4
    for (let i = 0; i < 4; i++) chunk[at + i] = stageId >>> (8 * i)
  }

  /** Appends the record's effect to `w`. */
  copyEffect(record: number, w: ByteWriter): void {
    const slot = record & this.#mask
    const start = this.#offset[slot] as number
    const chunk = this.#chunks[(this.#chunk[slot] as number) - this.#chunkBase]
    if (chunk !== undefined) w.raw(chunk, start, start + (this.#length[slot] as number))
  }

  /** Gives everything back. */
  close(): void {
    while (this.first < this.end) this.#drop()
    this.#onBytes(-CHUNK_BYTES * this.#spare.length)
    this.#spare.length = 0
    for (const chunk of this.#chunks) if (chunk !== undefined) this.#onBytes(-chunk.length)
    this.#chunks.length = 0
    this.#chunkUsed = CHUNK_BYTES
  }

  #full(): boolean {
    return this.end - this.first >= this.#recordsMax
  }

  #drop(): void {
    const record = this.first
    const slot = record & this.#mask
    this.#onDropped(record)
    const pinned = this.#pinned.get(record)
    if (pinned !== undefined) {
      this.#pinned.delete(record)
      this.#heldBytes -= pinned.byteLength
      pinned.release()
    }
    this.#heldBytes -= this.#length[slot] as number
    this.first = record + 1
    // Chunks before the one that the new oldest record lies in are free.
    const oldest =
      this.first < this.end ? (this.#chunk[this.first & this.#mask] as number) : this.#newestChunk()
    while (this.#chunkBase < oldest) {
      const chunk = this.#chunks.shift()
      this.#chunkBase++
      if (chunk === undefined) continue
      if (chunk.length === CHUNK_BYTES && this.#spare.length < 4) this.#spare.push(chunk)
      else this.#onBytes(-chunk.length)
    }
  }

  #newestChunk(): number {
    return this.#chunkBase + this.#chunks.length - 1
  }

  /** Finds room for `bytes`, notes chunk and offset in the slot's columns, returns the chunk. */
  #place(bytes: number, slot: number): Uint8Array {
    if (this.#chunks.length === 0 || this.#chunkUsed + bytes > (this.#chunks.at(-1)?.length ?? 0)) {
      const chunk =
        (bytes <= CHUNK_BYTES ? this.#spare.pop() : undefined) ?? this.#allocate(Math.max(bytes, CHUNK_BYTES))
      this.#chunks.push(chunk)
      this.#chunkUsed = 0
    }
    this.#chunk[slot] = this.#newestChunk()
    this.#offset[slot] = this.#chunkUsed
    this.#chunkUsed += bytes
    return this.#chunks.at(-1) as Uint8Array
  }

  #allocate(bytes: number): Uint8Array {
    this.#onBytes(bytes)
    return new Uint8Array(bytes)
  }

  #growColumns(): void {
    const oldMask = this.#mask
    const slots = (oldMask + 1) * 2
    const chunk = new Float64Array(slots)
    const offset = new Uint32Array(slots)
    const length = new Uint32Array(slots)
    const partition = new Int32Array(slots)
    const epoch = new Uint32Array(slots)
    const sequence = new Float64Array(slots)
    const next = new Float64Array(slots)
    for (let record = this.first; record < this.end; record++) {
      const from = record & oldMask
      const to = record & (slots - 1)
      chunk[to] = this.#chunk[from] as number
      offset[to] = this.#offset[from] as number
      length[to] = this.#length[from] as number
      partition[to] = this.#partition[from] as number
      epoch[to] = this.#epoch[from] as number
      sequence[to] = this.#sequence[from] as number
      next[to] = this.#next[from] as number
    }
    this.#mask = slots - 1
    this.#chunk = chunk
    this.#offset = offset
    this.#length = length
    this.#partition = partition
    this.#epoch = epoch
    this.#sequence = sequence
    this.#next = next
  }
}
