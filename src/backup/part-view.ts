/**
 * A part of a backup as a store of records that can be read (snapshot/snapshot-store.ts), so that it is read and checked by the same code
 * as the snapshots of a node.
 *
 * Partitions are read in the order in which they lie, so the object is fetched in windows of WINDOW_BYTES, and the next one while the
 * present one is used. What is larger than that is read piece by piece.
 */

import { CacheError } from '../kernel/errors.ts'
import type { BackupStore } from '../snapshot/backup-store.ts'
import { partitionKey, recordKey } from '../snapshot/layout.ts'
import type { SnapshotStore } from '../snapshot/snapshot-store.ts'
import { damagedObject, type PartPartition, type PartRecord, partDataName } from './backup-manifest.ts'
import { FRAME_HEAD_BYTES } from './part-stream.ts'

const WINDOW_BYTES = 8 * 1024 * 1024
const KEY_BYTES_MAX = 256
/** A record with large entries may be larger than others; see stored-record.ts. */
const RECORD_BYTES_MAX = 80 * 1024 * 1024

interface Window {
  readonly from: number
  readonly to: number
  readonly bytes: Promise<Uint8Array>
}

export class PartView implements SnapshotStore {
  readonly #store: BackupStore
  readonly #object: string
  readonly #record: PartRecord
  readonly #signal: AbortSignal | undefined
  readonly #byKey = new Map<string, readonly [from: number, to: number]>()
  readonly #byPartition = new Map<number, PartPartition>()
  #window: Window | undefined
  #next: Window | undefined

  constructor(store: BackupStore, backup: string, record: PartRecord, signal: AbortSignal | undefined) {
    this.#store = store
    this.#object = partDataName(backup, record.name)
    this.#record = record
    this.#signal = signal
    for (const one of record.partitions) {
      const { summary, offsets } = one
      const [begin, terms, at, end] = offsets
      const { partition, termsFrom, records } = summary
      const key = (number: number): string => recordKey(record.name, partition, number)
      this.#byPartition.set(partition, one)
      this.#byKey.set(partitionKey(record.name, partition), [at, end])
      // The terms first: they may begin where the entries do.
      this.#byKey.set(key(termsFrom), [terms, at])
      if (termsFrom > 0) this.#byKey.set(key(0), [begin, terms])
      this.#byKey.set(key(records), [at, at])
    }
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    const range = this.#byKey.get(key)
    if (range === undefined) return undefined
    for await (const [found, record] of this.#records(...range)) if (found === key) return record
    return undefined
  }

  /** From the beginning of a partition, or of its terms, up to its terms or its end. */
  async *read(from: string, to: string): AsyncIterable<readonly [string, Uint8Array]> {
    const begin = this.#byKey.get(from)?.[0]
    const end = this.#byKey.get(to)?.[0]
    if (begin === undefined || end === undefined)
      throw new CacheError('INTERNAL', `${this.#object} is read in whole partitions only`)
    yield* this.#records(begin, end)
  }

  async *#records(from: number, to: number): AsyncIterable<readonly [string, Uint8Array]> {
    const source = new Bytes(this.#pieces(from, to))
    for (let at = from; at < to; ) {
      const head = await source.take(FRAME_HEAD_BYTES)
      if (head === undefined) throw this.#damaged(`it ends at ${at}, before ${to}`)
      const keyBytes = head.readUInt16LE(0)
      const recordBytes = head.readUInt32LE(2)
      if (
        keyBytes > KEY_BYTES_MAX ||
        recordBytes > RECORD_BYTES_MAX ||
        at + FRAME_HEAD_BYTES + keyBytes + recordBytes > to
      )
        throw this.#damaged(`what lies at ${at} is no record`)
      const framed = await source.take(keyBytes + recordBytes)
      if (framed === undefined) throw this.#damaged(`it ends at ${at}, before ${to}`)
      // Its key is part of what the record's checksum covers.
      yield [framed.toString('latin1', 0, keyBytes), framed.subarray(keyBytes)]
      at += FRAME_HEAD_BYTES + keyBytes + recordBytes
    }
  }

  async *#pieces(from: number, to: number): AsyncIterable<Uint8Array> {
    const partition = this.#record.partitions.find(
      ({ offsets: [begin, , , end] }) => begin <= from && to <= end,
    )
    const [begin, , , end] = partition?.offsets ?? [from, from, to, to]
    if (end - begin > WINDOW_BYTES) {
      yield* this.#store.get(this.#object, { from, to, ...this.#calls })
      return
    }
    const window = this.#windowOf(begin, end)
    const bytes = await window.bytes
    yield bytes.subarray(from - window.from, to - window.from)
  }

  /** Has the bytes of a partition, and some behind them. */
  #windowOf(begin: number, end: number): Window {
    const covers = (window: Window | undefined): window is Window =>
      window !== undefined && window.from <= begin && end <= window.to
    if (!covers(this.#window)) {
      this.#window = covers(this.#next) ? this.#next : this.#fetch(begin)
      this.#next = undefined
    }
    const { to } = this.#window
    if (this.#next === undefined && to < this.#record.bytes) {
      // Begins with the first partition that is not wholly in this one.
      const following = this.#record.partitions.find(({ offsets }) => offsets[3] > to)?.offsets
      if (following !== undefined && following[3] - following[0] <= WINDOW_BYTES)
        this.#next = this.#fetch(following[0])
    }
    return this.#window
  }

  #fetch(from: number): Window {
    const to = Math.min(from + WINDOW_BYTES, this.#record.bytes)
    const bytes = this.#whole(from, to)
    // Whoever needs it hears of it.
    bytes.catch(() => {})
    return { from, to, bytes }
  }

  async #whole(from: number, to: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(to - from)
    let at = 0
    for await (const piece of this.#store.get(this.#object, { from, to, ...this.#calls })) {
      bytes.set(piece.subarray(0, bytes.length - at), at)
      at += piece.length
    }
    return bytes.subarray(0, Math.min(at, bytes.length))
  }

  get #calls(): { readonly signal?: AbortSignal } {
    return this.#signal === undefined ? {} : { signal: this.#signal }
  }

  #damaged(why: string): CacheError {
    return damagedObject(this.#store, this.#object, why)
  }

  firstKey(): Promise<string | undefined> {
    return Promise.reject(readOnly())
  }

  write(): Promise<void> {
    return Promise.reject(readOnly())
  }

  clear(): Promise<void> {
    return Promise.reject(readOnly())
  }

  async checkRoom(): Promise<void> {}

  async compact(): Promise<void> {}

  sizeBytes(): Promise<number> {
    return Promise.resolve(this.#record.bytes)
  }

  async close(): Promise<void> {}
}

/** Takes pieces of any size apart into what is asked for. */
class Bytes {
  readonly #pieces: AsyncIterator<Uint8Array>
  #rest: Buffer = Buffer.alloc(0)

  constructor(pieces: AsyncIterable<Uint8Array>) {
    this.#pieces = pieces[Symbol.asyncIterator]()
  }

  /** Undefined: there are not so many left. */
  async take(bytes: number): Promise<Buffer | undefined> {
    if (this.#rest.length < bytes) {
      const parts = [this.#rest]
      for (let have = this.#rest.length; have < bytes; ) {
        const { done, value } = await this.#pieces.next()
        if (done === true) return undefined
        parts.push(Buffer.from(value.buffer, value.byteOffset, value.byteLength))
        have += value.length
      }
      this.#rest = parts.length === 2 && parts[0]?.length === 0 ? (parts[1] as Buffer) : Buffer.concat(parts)
    }
    const taken = this.#rest.subarray(0, bytes)
    this.#rest = this.#rest.subarray(bytes)
    return taken
  }
}

function readOnly(): CacheError {
  return new CacheError('INTERNAL', 'a part of a backup is never changed')
}
