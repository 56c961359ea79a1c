/** How much a pipe has under way, and that it gives back what records were packed into. */

import { expect, it } from 'vitest'
import { CacheError } from '../../../src/kernel/errors.ts'
import type { Compression } from '../../../src/snapshot/compression.ts'
import { RecordPipe } from '../../../src/snapshot/record-pipe.ts'
import type { SnapshotStore } from '../../../src/snapshot/snapshot-store.ts'
import { RecordKind } from '../../../src/snapshot/stored-record.ts'

/** Counts what was handed out and is not released. */
class CountedCompression implements Compression {
  held = 0
  heldMax = 0

  async pack(raw: Uint8Array): Promise<{ bytes: Uint8Array; release: () => void }> {
    this.heldMax = Math.max(this.heldMax, ++this.held)
    return { bytes: raw.slice(0, raw.length / 2), release: () => void this.held-- }
  }

  unpack(): Promise<Uint8Array> {
    return Promise.reject(new Error('not here'))
  }
}

/** A disk that does not answer until it is told to. */
class HangingStore {
  records = 0
  readonly #answer: Promise<void>
  answer: () => void = () => {}
  fail: (error: CacheError) => void = () => {}

  constructor() {
    this.#answer = new Promise((resolve, reject) => {
      this.answer = resolve
      this.fail = reject
    })
  }

  async checkRoom(): Promise<void> {}

  async write(changes: readonly unknown[]): Promise<void> {
    await this.#answer
    this.records += changes.length
  }
}

const RECORDS = 2000

function begin(): {
  store: HangingStore
  compression: CountedCompression
  pipe: RecordPipe
  added: Promise<void>
} {
  const store = new HangingStore()
  const compression = new CountedCompression()
  // Nothing else of a store is used.
  const pipe = new RecordPipe(store as unknown as SnapshotStore, compression)
  const add = (key: string, bytes: number, dense: boolean): Promise<void> =>
    pipe.add({ key, kind: RecordKind.entries, raw: new Uint8Array(bytes), dense, framed: () => {} })
  const addAll = async (): Promise<void> => {
    // The batch that the disk does not take.
    await add('full', 200 * 1024, true)
    for (let i = 0; i < RECORDS; i++) await add(`key-${i}`, 600, false)
  }
  return { store, compression, pipe, added: addAll() }
}

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await Promise.resolve()
}

it('has few records under way while the disk hangs, however small they are', async () => {
  const { store, compression, pipe, added } = begin()
  await turns(20 * RECORDS)
  expect(compression.held).toBeGreaterThan(10)
  expect(compression.heldMax).toBeLessThanOrEqual(24)
  store.answer()
  await added
  await pipe.flush()
  expect(store.records).toBe(RECORDS + 1)
  expect(compression.held).toBe(0)
})

it('gives back what records were packed into when the disk fails', async () => {
  const { store, compression, pipe, added } = begin()
  const heard = expect(added).rejects.toThrow('full')
  await turns(20 * RECORDS)
  expect(compression.held).toBeGreaterThan(10)
  store.fail(new CacheError('STORAGE_FAILED', 'the disk is full'))
  await heard
  await pipe.end()
  await turns(100)
  expect(compression.held).toBe(0)
})
