/** What every snapshot store does. */

import { describe, expect, it } from 'vitest'
import type { SnapshotStore } from '../../src/snapshot/snapshot-store.ts'

export interface StoreBench {
  readonly store: SnapshotStore
  /** Lets what takes time happen. */
  until<T>(promise: Promise<T>): Promise<T>
  /** Another process opens the same store, once this one is closed. */
  reopen(): Promise<SnapshotStore>
  close(): Promise<void>
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const text = (value: Uint8Array | undefined): string | undefined => value && new TextDecoder().decode(value)

export function snapshotStoreContract(name: string, open: () => Promise<StoreBench>): void {
  async function withStore(work: (bench: StoreBench) => Promise<void>): Promise<void> {
    const bench = await open()
    try {
      await work(bench)
    } finally {
      await bench.close()
    }
  }

  async function all(store: SnapshotStore, from = '', to = '~'): Promise<[string, string][]> {
    const found: [string, string][] = []
    for await (const [key, value] of store.read(from, to)) found.push([key, text(value) as string])
    return found
  }

  async function put(store: SnapshotStore, keys: readonly string[], sync = false): Promise<void> {
    await store.write(
      keys.map((key) => ({ key, value: bytes(`value of ${key}`) })),
      { sync },
    )
  }

  describe(`the snapshot store ${name}`, () => {
    it('holds what was written, in the order of the keys, and forgets what was removed', () =>
      withStore(async ({ store, until }) => {
        await until(put(store, ['b/2', 'a/1', 'b/10', 'b/~', 'c']))
        await until(store.write([{ key: 'b/2', value: undefined }], { sync: false }))
        expect(text(await until(store.get('a/1')))).toBe('value of a/1')
        expect(await until(store.get('b/2'))).toBeUndefined()
        expect((await until(all(store))).map(([key]) => key)).toEqual(['a/1', 'b/10', 'b/~', 'c'])
        expect(await until(all(store, 'b/', 'b0'))).toEqual([
          ['b/10', 'value of b/10'],
          ['b/~', 'value of b/~'],
        ])
        expect(await until(all(store, 'd', 'e'))).toEqual([])
        expect(await until(store.firstKey('a/2', '~'))).toBe('b/10')
        expect(await until(store.firstKey('b/~', 'c'))).toBe('b/~')
        expect(await until(store.firstKey('cc', '~'))).toBeUndefined()
      }))

    it('takes a copy of what it is given, and gives what is the caller’s own', () =>
      withStore(async ({ store, until }) => {
        const value = bytes('before')
        await until(store.write([{ key: 'k', value }], { sync: false }))
        value.fill(0)
        const first = (await until(store.get('k'))) as Uint8Array
        expect(text(first)).toBe('before')
        first.fill(0)
        expect(text(await until(store.get('k')))).toBe('before')
      }))

    it('clears a range and nothing else, says its size, and can be compacted', () =>
      withStore(async ({ store, until }) => {
        const keys = Array.from({ length: 200 }, (_, i) => `b/${String(i).padStart(4, '0')}`)
        await until(put(store, ['a/1', ...keys, 'c/1'], true))
        await until(store.clear('b/', 'b0'))
        await until(store.compact('b/', 'b0'))
        expect((await until(all(store))).map(([key]) => key)).toEqual(['a/1', 'c/1'])
        expect(await until(store.sizeBytes('x', 'y'))).toBe(0)
        expect(await until(store.sizeBytes('a', '~'))).toBeGreaterThanOrEqual(0)
      }))

    it('can be read while it is written to, and reading can end early', () =>
      withStore(async ({ store, until }) => {
        await until(put(store, ['a', 'b', 'c', 'd']))
        const seen: string[] = []
        await until(
          (async () => {
            for await (const [key] of store.read('', '~')) {
              seen.push(key)
              await put(store, [`${key}${key}`])
              if (key === 'b') break
            }
          })(),
        )
        expect(seen.filter((key) => key.length === 1)).toEqual(['a', 'b'])
        expect(await until(all(store))).toHaveLength(4 + seen.length)
      }))

    it('holds large values, many at a time, one after the other', () =>
      withStore(async ({ store, until }) => {
        const value = new Uint8Array(256 * 1024).map((_, i) => i * 7)
        for (let i = 0; i < 12; i++)
          await until(store.write([{ key: `k${String(i).padStart(2, '0')}`, value }], { sync: i === 11 }))
        let count = 0
        await until(
          (async () => {
            for await (const [, found] of store.read('k', 'l')) {
              expect(Buffer.compare(found, value)).toBe(0)
              count++
            }
          })(),
        )
        expect(count).toBe(12)
      }))

    it('has what was synced when it is opened again', () =>
      withStore(async ({ store, until, reopen }) => {
        await until(put(store, ['a']))
        await until(put(store, ['b'], true))
        const again = await reopen()
        expect((await until(all(again))).map(([key]) => key)).toEqual(['a', 'b'])
      }))
  })
}
