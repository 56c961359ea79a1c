/** Backups in a folder. */

import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { DirectoryStore } from '../../src/adapters/backup/directory-store.ts'
import { backupStoreContract, pieces, whole } from './backup-store.contract.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ringcache-backup-'))
})
afterEach(() => {
  rmSync(folder, { recursive: true, force: true })
})

const open = (): Promise<DirectoryStore> => DirectoryStore.open({ path: folder })

describe('a backup folder', () => {
  backupStoreContract(open)

  it('is made where there is none', async () => {
    const store = await DirectoryStore.open({ path: join(folder, 'a', 'b') })
    await store.put('x', pieces(10))
    expect(existsSync(join(folder, 'a', 'b', 'x'))).toBe(true)
  })

  it('never shows what is half written', async () => {
    const store = await open()
    const seen: string[][] = []
    const content = async function* (): AsyncIterable<Uint8Array> {
      for await (const piece of pieces(2_000_000)) {
        yield piece
        const now: string[] = []
        for await (const { name } of store.list('')) now.push(name)
        seen.push(now)
      }
    }
    await store.put('x', content())
    expect(seen.flat()).toEqual([])
    expect(await whole(store.get('x'))).toHaveLength(2_000_000)
    expect(readdirSync(join(folder, '.partial'))).toEqual([])
  })

  it('clears away what a crash left, a day later', async () => {
    mkdirSync(join(folder, '.partial'))
    for (const name of ['old', 'new']) writeFileSync(join(folder, '.partial', name), 'x')
    const before = new Date(Date.now() - 25 * 3_600_000)
    utimesSync(join(folder, '.partial', 'old'), before, before)
    await open()
    expect(readdirSync(join(folder, '.partial'))).toEqual(['new'])
  })

  it('loses no object that is stored while others of its folder are removed', async () => {
    const [one, other] = [await open(), await open()]
    for (let round = 0; round < 60; round++) {
      await one.put(`a/b/old-${round}`, pieces(10))
      await Promise.all([one.delete([`a/b/old-${round}`]), other.put(`a/b/new-${round}`, pieces(10))])
      expect(await whole(other.get(`a/b/new-${round}`))).toHaveLength(10)
      await other.delete([`a/b/new-${round}`])
    }
    expect(existsSync(join(folder, 'a'))).toBe(false)
  })

  it('says what is wrong with a place that is no folder', async () => {
    writeFileSync(join(folder, 'file'), 'x')
    await expect(DirectoryStore.open({ path: join(folder, 'file') })).rejects.toMatchObject({
      code: 'CONFIGURATION',
      message: expect.stringContaining('is no folder'),
    })
  })

  it.skipIf(process.getuid?.() === 0)('says that it may not write there', async () => {
    chmodSync(folder, 0o500)
    await expect(open()).rejects.toMatchObject({ code: 'PERMISSION_DENIED' })
  })

  it('says that the disk is full, and keeps what it has', async ({ skip }) => {
    const mount = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', folder])
    if (mount.status !== 0) skip('only root may mount a small disk')
    try {
      const store = await open()
      await store.put('before', pieces(300_000))
      await expect(store.put('large', pieces(2_000_000))).rejects.toMatchObject({
        code: 'OVERLOADED',
        message: expect.stringContaining('disk is full'),
      })
      expect(await whole(store.get('before'))).toHaveLength(300_000)
      expect(existsSync(join(folder, 'large'))).toBe(false)
      await store.put('after', pieces(300_000))
    } finally {
      spawnSync('umount', [folder])
    }
  })
})
