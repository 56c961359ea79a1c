/**
 * Records on their way to the store: packed side by side, written in order, in batches of about 200 KiB. Who adds waits while more than
 * IN_FLIGHT_BYTES are on their way.
 *
 * The disk is asked for room before the first batch, and every ROOM_EVERY_BYTES.
 *
 * A record is packed only if that makes it smaller. Where it did not, the next ones are not tried: packing what is compressed
 * already costs as much as all the rest.
 */

import type { DurableChange } from '../kernel/durable-store.ts'
import { CacheError } from '../kernel/errors.ts'
import type { Compression, Packed } from './compression.ts'
import type { SnapshotStore } from './snapshot-store.ts'
import { frameRecord, HEAD_BYTES, type RecordKind } from './stored-record.ts'

/** The store copies a batch before it returns: a larger one takes milliseconds. */
const BATCH_BYTES = 192 * 1024
const IN_FLIGHT_BYTES = 4 * 1024 * 1024
/** What a record that may be packed counts for at least: the memory it was read into and is packed in serves one at a time, however small. */
const RECORD_BYTES_MIN = 192 * 1024
const ROOM_EVERY_BYTES = 4 * 1024 * 1024
/** Records that are not tried after one that did not shrink: twice as many each time, up to the second. */
const UNTRIED_MIN = 1
const UNTRIED_MAX = 32
/** Less is not worth a try. */
const PACK_FROM_BYTES = 256

/** A batch that is nearly full, and the largest usual record behind it. */
const ARENA_BYTES = 576 * 1024

export interface AddedRecord {
  readonly key: string
  readonly kind: RecordKind
  /** A function is asked once all earlier records are framed; its record is not packed. */
  readonly raw: Uint8Array | (() => Uint8Array)
  /** Random by nature: not worth a try to pack it. */
  readonly dense?: boolean
  /** The record was framed. From now on `raw` may be used again. */
  framed(crc: number, storedBytes: number): void
}

export class RecordPipe {
  readonly #store: SnapshotStore
  readonly #compression: Compression
  #tail: Promise<void> = Promise.resolve()
  #inFlightBytes = 0
  #batch: DurableChange[] = []
  #batchBytes = 0
  /** Written since the disk was asked for room. */
  #uncheckedBytes = Number.POSITIVE_INFINITY
  /** Where the records of one batch are framed: memory of its own for each would keep the garbage collector of the node busy. */
  readonly #arena: Uint8Array = new Uint8Array(Buffer.allocUnsafeSlow(ARENA_BYTES).buffer)
  #arenaUsed = 0
  #untried = 0
  #untriedNext = UNTRIED_MIN
  #error: unknown

  constructor(store: SnapshotStore, compression: Compression) {
    this.#store = store
    this.#compression = compression
  }

  /** Settles once there is room for more. @throws what an earlier record met; none is written after that */
  async add(record: AddedRecord): Promise<void> {
    const bytes = weightOf(record)
    this.#inFlightBytes += bytes
    const packed = this.#pack(record)
    // Whoever waits for the tail hears of it.
    packed.catch(() => {})
    this.#tail = this.#tail.then(async () => {
      if (this.#error !== undefined) {
        // It may be packed still, and nobody waits for that.
        packed.then(
          (one) => one?.release(),
          () => {},
        )
        return
      }
      try {
        this.#frame(record, await packed)
        if (this.#batchBytes >= BATCH_BYTES) await this.#write(false)
      } catch (error) {
        this.#error = error
      }
      this.#inFlightBytes -= bytes
    })
    if (this.#inFlightBytes > IN_FLIGHT_BYTES) await this.#tail
    this.#check()
  }

  /** Settles once all that was added is written; with `sync`, once it is on the medium. */
  async flush(options: { readonly sync: boolean } = { sync: false }): Promise<void> {
    await this.#tail
    this.#check()
    if (this.#batch.length > 0 || options.sync) await this.#write(options.sync)
  }

  /** Settles once nothing is under way any more. Nothing can be added after that. */
  async end(): Promise<void> {
    this.#error ??= new CacheError('CLOSED', 'the snapshot has ended')
    await this.#tail
  }

  #check(): void {
    if (this.#error !== undefined) throw this.#error
  }

  async #pack({ raw, dense = false }: AddedRecord): Promise<Packed | undefined> {
    if (dense || typeof raw === 'function' || raw.length < PACK_FROM_BYTES) return undefined
    if (this.#untried > 0) {
      this.#untried--
      return undefined
    }
    const packed = await this.#compression.pack(raw)
    if (packed !== undefined && packed.bytes.length < raw.length - (raw.length >>> 5)) {
      this.#untriedNext = UNTRIED_MIN
      return packed
    }
    packed?.release()
    this.#untried = this.#untriedNext
    this.#untriedNext = Math.min(UNTRIED_MAX, this.#untriedNext * 2)
    return undefined
  }

  #frame({ key, kind, raw, framed }: AddedRecord, packed: Packed | undefined): void {
    const whole = typeof raw === 'function' ? raw() : raw
    const body = packed?.bytes ?? whole
    const into = this.#take(HEAD_BYTES + body.length)
    const { bytes, crc } = frameRecord(key, kind, whole.length, body, packed !== undefined, into)
    packed?.release()
    this.#batch.push({ key, value: bytes })
    this.#batchBytes += bytes.length
    framed(crc, bytes.length)
  }

  async #write(sync: boolean): Promise<void> {
    const batch = this.#batch
    if (this.#uncheckedBytes >= ROOM_EVERY_BYTES) {
      await this.#store.checkRoom()
      this.#uncheckedBytes = 0
    }
    this.#uncheckedBytes += this.#batchBytes
    this.#batch = []
    this.#batchBytes = 0
    await this.#store.write(batch, { sync })
    this.#arenaUsed = 0
  }

  /** Memory for one frame, until its batch is written. */
  #take(bytes: number): Uint8Array {
    const from = this.#arenaUsed
    if (from + bytes > ARENA_BYTES) return new Uint8Array(Buffer.allocUnsafeSlow(bytes).buffer)
    this.#arenaUsed = from + bytes
    return this.#arena.subarray(from, from + bytes)
  }
}

function weightOf({ raw, dense = false }: AddedRecord): number {
  if (typeof raw === 'function') return 0
  return dense ? raw.length : Math.max(raw.length, RECORD_BYTES_MIN)
}
