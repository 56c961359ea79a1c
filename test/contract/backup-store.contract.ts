/** What every place for backups has to do, whatever it is made of. */

import { expect, it } from 'vitest'
import { CacheError } from '../../src/kernel/errors.ts'
import { integerBetween, SeededRandom } from '../../src/kernel/random.ts'
import { type BackupStore, readWhole } from '../../src/snapshot/backup-store.ts'

const MIB = 1024 * 1024

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

/** Content that differs everywhere, in pieces of uneven sizes. */
export async function* pieces(bytes: number, seed = 1): AsyncIterable<Uint8Array> {
  const random = new SeededRandom(seed)
  for (let left = bytes; left > 0; ) {
    const piece = new Uint8Array(Math.min(left, integerBetween(random, 1, 400_000)))
    for (let i = 0; i < piece.length; i += 97) piece[i] = random.uint32()
    left -= piece.length
    yield piece
  }
}

async function* once(text: string): AsyncIterable<Uint8Array> {
  yield bytesOf(text)
}

export async function whole(content: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for await (const part of content) parts.push(part)
  return Buffer.concat(parts)
}

async function names(store: BackupStore, prefix: string): Promise<string[]> {
  const found: string[] = []
  for await (const { name } of store.list(prefix)) found.push(name)
  return found.sort()
}

/** `open` gives a store with nothing in it. */
export function backupStoreContract(open: () => Promise<BackupStore>): void {
  it('gives back what it was given', async () => {
    const store = await open()
    expect(await store.put('a/manifest.json', once('{"whole":true}'))).toBe(14)
    expect(Buffer.from(await readWhole(store, 'a/manifest.json', 100)).toString()).toBe('{"whole":true}')
    await store.close()
  })

  it('keeps an empty object', async () => {
    const store = await open()
    expect(await store.put('empty', pieces(0))).toBe(0)
    expect(await whole(store.get('empty'))).toHaveLength(0)
    await store.close()
  })

  it('keeps objects of many parts, byte for byte', async () => {
    const store = await open()
    const bytes = 18 * MIB + 12_345
    expect(await store.put('big/0001.part', pieces(bytes, 7))).toBe(bytes)
    const [kept, given] = await Promise.all([whole(store.get('big/0001.part')), whole(pieces(bytes, 7))])
    expect(kept.equals(given)).toBe(true)
    await store.close()
  })

  it('gives a part of an object', async () => {
    const store = await open()
    const bytes = 3 * MIB + 7
    const given = await whole(pieces(bytes, 9))
    await store.put('ranged', pieces(bytes, 9))
    for (const [from, to] of [
      [0, 10],
      [1, 2],
      [MIB, 2 * MIB + 5],
      [bytes - 3, bytes + 100],
      [5, 5],
      [bytes, bytes + 1],
    ] as const)
      expect((await whole(store.get('ranged', { from, to }))).equals(given.subarray(from, to))).toBe(true)
    expect((await whole(store.get('ranged', { from: MIB }))).equals(given.subarray(MIB))).toBe(true)
    await store.close()
  })

  it('lists by prefix, with sizes', async () => {
    const store = await open()
    for (const name of ['day-2/b', 'day-1/b', 'day-1/a', 'day-10/x', 'day', 'day-1.log'])
      await store.put(name, once(name))
    expect(await names(store, '')).toEqual(['day', 'day-1.log', 'day-1/a', 'day-1/b', 'day-10/x', 'day-2/b'])
    expect(await names(store, 'day-1')).toEqual(['day-1.log', 'day-1/a', 'day-1/b', 'day-10/x'])
    expect(await names(store, 'day-1/')).toEqual(['day-1/a', 'day-1/b'])
    expect(await names(store, 'night/')).toEqual([])
    for await (const { name, bytes, modifiedMs } of store.list('')) {
      expect(bytes).toBe(name.length)
      expect(modifiedMs).toBeGreaterThan(Date.UTC(2020, 0))
    }
    await store.close()
  })

  it('replaces an object as a whole', async () => {
    const store = await open()
    await store.put('x', once('a longer text'))
    await store.put('x', once('short'))
    expect((await whole(store.get('x'))).toString()).toBe('short')
    await store.close()
  })

  it('removes objects, those that are not there too', async () => {
    const store = await open()
    await store.put('a/b/c', once('1'))
    await store.put('a/b2', once('2'))
    await store.delete(['a/b/c', 'never/was'])
    expect(await names(store, '')).toEqual(['a/b2'])
    await expect(whole(store.get('a/b/c'))).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    await store.delete([])
    await store.close()
  })

  it('says that an object is not there', async () => {
    const store = await open()
    await expect(whole(store.get('nowhere'))).rejects.toThrow(/there is no/)
    await store.close()
  })

  it('stores nothing of content that ends in an error', async () => {
    const store = await open()
    const broken = async function* (): AsyncIterable<Uint8Array> {
      yield* pieces(9 * MIB)
      throw new CacheError('OVERLOADED', 'no more')
    }
    await expect(store.put('half', broken())).rejects.toThrow('no more')
    expect(await names(store, '')).toEqual([])
    await store.close()
  })

  it('gives up when told to', async () => {
    const store = await open()
    const stop = new AbortController()
    const content = async function* (): AsyncIterable<Uint8Array> {
      yield* pieces(9 * MIB)
      stop.abort()
      yield* pieces(9 * MIB)
    }
    await expect(store.put('half', content(), { signal: stop.signal })).rejects.toMatchObject({
      code: 'ABORTED',
    })
    expect(await names(store, '')).toEqual([])
    await store.put('there', once('1'))
    await expect(whole(store.get('there', { signal: stop.signal }))).rejects.toMatchObject({
      code: 'ABORTED',
    })
    await store.close()
  })

  it.each(['', '/', '../x', 'a//b', 'a/../b', '.hidden', 'a/.b', 'ü', 'a b', 'x'.repeat(600)])(
    'refuses the name %j',
    async (name) => {
      const store = await open()
      await expect(store.put(name, once('1'))).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
      await expect(whole(store.get(name))).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
      await expect(store.delete([name])).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
      await store.close()
    },
  )
}
