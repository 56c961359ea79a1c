/**
 * The object of a part while it is written: what a snapshot writer (src/snapshot) puts into its store becomes a stream of bytes, record
 * after record, and where each partition lies in it is noted down.
 *
 * ```
 * object := (keyBytes:u16 recordBytes:u32 key record)*
 * ```
 * A partition that the writer gives up stays in it as bytes that nothing refers to.
 *
 * Bounded: who writes waits while QUEUED_BYTES have not been taken.
 */

import type { DurableChange } from '../kernel/durable-store.ts'
import { CacheError } from '../kernel/errors.ts'
import { partitionKey, recordKey } from '../snapshot/layout.ts'
import { decodeSummary } from '../snapshot/manifest.ts'
import type { SnapshotStore } from '../snapshot/snapshot-store.ts'
import { openRecord } from '../snapshot/stored-record.ts'
import type { PartPartition } from './backup-manifest.ts'

export const FRAME_HEAD_BYTES = 6
const QUEUED_BYTES = 2 * 1024 * 1024

export class PartStream implements SnapshotStore {
  /** What was written whole. */
  readonly partitions: PartPartition[] = []
  readonly #id: string
  readonly #queue: Uint8Array[] = []
  #queuedBytes = 0
  #bytes = 0
  /** Where the records of the present partition begin, by key. */
  readonly #offsets = new Map<string, number>()
  #ended = false
  #error: unknown
  #wakeReader: (() => void) | undefined
  #wakeWriter: (() => void) | undefined

  /** @param id of the snapshot that the writer writes */
  constructor(id: string) {
    this.#id = id
  }

  /** Written so far. */
  get bytes(): number {
    return this.#bytes
  }

  async write(changes: readonly DurableChange[]): Promise<void> {
    if (this.#error !== undefined) throw this.#error
    // The writer uses its memory again.
    const chunk = this.#frame(changes)
    if (chunk.length > 0) {
      this.#queue.push(chunk)
      this.#queuedBytes += chunk.length
      this.#wakeReader?.()
    }
    while (this.#queuedBytes > QUEUED_BYTES && this.#error === undefined)
      await new Promise<void>((resolve) => {
        this.#wakeWriter = resolve
      })
    if (this.#error !== undefined) throw this.#error
  }

  /** All there is, in order, until `end`. @throws what `fail` was given */
  async *content(): AsyncGenerator<Uint8Array> {
    for (;;) {
      if (this.#error !== undefined) throw this.#error
      const chunk = this.#queue.shift()
      if (chunk !== undefined) {
        this.#queuedBytes -= chunk.length
        this.#wakeWriter?.()
        yield chunk
      } else if (this.#ended) {
        return
      } else {
        await new Promise<void>((resolve) => {
          this.#wakeReader = resolve
        })
      }
    }
  }

  /** Nothing more is written. */
  end(): void {
    this.#ended = true
    this.#wakeReader?.()
  }

  /** Both sides end with this error. */
  fail(error: unknown): void {
    this.#error ??= error
    this.#wakeReader?.()
    this.#wakeWriter?.()
  }

  /** A partition is given up. */
  async clear(): Promise<void> {
    this.#offsets.clear()
  }

  async checkRoom(): Promise<void> {}

  async compact(): Promise<void> {}

  async close(): Promise<void> {}

  get(): Promise<Uint8Array | undefined> {
    return Promise.reject(writeOnly())
  }

  firstKey(): Promise<string | undefined> {
    return Promise.reject(writeOnly())
  }

  read(): AsyncIterable<readonly [string, Uint8Array]> {
    throw writeOnly()
  }

  sizeBytes(): Promise<number> {
    return Promise.reject(writeOnly())
  }

  #frame(changes: readonly DurableChange[]): Uint8Array {
    let bytes = 0
    for (const { key, value } of changes) bytes += FRAME_HEAD_BYTES + key.length + (value?.length ?? 0)
    const chunk = Buffer.allocUnsafeSlow(bytes)
    let at = 0
    for (const { key, value } of changes) {
      if (value === undefined) throw writeOnly()
      this.#offsets.set(key, this.#bytes + at)
      chunk.writeUInt16LE(key.length, at)
      chunk.writeUInt32LE(value.length, at + 2)
      chunk.write(key, at + FRAME_HEAD_BYTES, 'latin1')
      chunk.set(value, at + FRAME_HEAD_BYTES + key.length)
      at += FRAME_HEAD_BYTES + key.length + value.length
      if (key.endsWith('/~') && key !== `${this.#id}/~`) this.#whole(key, value, this.#bytes + at)
    }
    this.#bytes += bytes
    return chunk
  }

  /** The partition's own record was written: it is whole. */
  #whole(key: string, value: Uint8Array, end: number): void {
    const summary = decodeSummary(openRecord(key, value).body)
    const { partition, termsFrom } = summary
    const at = this.#offsets.get(partitionKey(this.#id, partition)) as number
    const terms = this.#offsets.get(recordKey(this.#id, partition, termsFrom)) ?? at
    const begin = this.#offsets.get(recordKey(this.#id, partition, 0)) ?? at
    this.partitions.push({ summary, offsets: [begin, terms, at, end] })
    this.#offsets.clear()
  }
}

function writeOnly(): CacheError {
  return new CacheError('INTERNAL', 'a part of a backup is only ever written from its beginning to its end')
}
