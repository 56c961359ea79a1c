/** What a snapshot store in a folder says when the folder, or the disk below it, is not as it should be. */

import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Level } from 'level'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { LevelSnapshotStore } from '../../../../src/adapters/level/level-snapshot-store.ts'

/** What `level` has on Node.js. */
interface Compacting {
  compactRange(from: string, to: string): Promise<void>
}

const value = new Uint8Array(1000).fill(7)

describe('LevelSnapshotStore', () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'ringcache-snapshots-'))
  })
  afterEach(() => {
    rmSync(folder, { recursive: true, force: true })
  })

  it('says so when another store has the folder open', async () => {
    const store = await LevelSnapshotStore.open(folder)
    await expect(LevelSnapshotStore.open(folder)).rejects.toMatchObject({
      code: 'CONFIGURATION',
      message: expect.stringMatching(/snapshot directory .* is used by another process/),
    })
    await store.close()
  })

  it('writes nothing of a batch that took too long once what came before it was cleared', async () => {
    const hanging = vi.spyOn(Level.prototype as unknown as Compacting, 'compactRange')
    let goOn = (): void => {}
    hanging.mockImplementationOnce(() => new Promise((resolve) => (goOn = resolve)))
    try {
      const store = await LevelSnapshotStore.open(folder, { timeoutMs: 300, reservedBytes: 0 })
      await store.write([{ key: 'a/1', value }], { sync: false })
      const late = store.write([{ key: 'a/~', value }], { sync: true })
      await expect(late).rejects.toMatchObject({ code: 'STORAGE_FAILED' })
      await store.clear('a/', 'a0')
      goOn()
      await store.write([{ key: 'b', value }], { sync: true })
      expect(await store.firstKey('a/', 'a0')).toBeUndefined()
      await store.close()
    } finally {
      hanging.mockRestore()
    }
  })

  it('says so when the folder is a file', async () => {
    writeFileSync(join(folder, 'file'), '')
    await expect(LevelSnapshotStore.open(join(folder, 'file'))).rejects.toMatchObject({
      code: 'CONFIGURATION',
      message: expect.stringContaining('is no folder'),
    })
  })

  it.skipIf(process.getuid?.() === 0)('says so when the folder is read-only', async () => {
    chmodSync(folder, 0o500)
    await expect(LevelSnapshotStore.open(folder)).rejects.toMatchObject({
      code: 'CONFIGURATION',
      message: expect.stringContaining("can't be written"),
    })
    chmodSync(folder, 0o700)
  })

  it('says so when what is there is damaged, and what to do', async () => {
    const store = await LevelSnapshotStore.open(folder)
    await store.write([{ key: 'a', value }], { sync: true })
    await store.close()
    for (const name of readdirSync(folder))
      if (name === 'CURRENT' || name.startsWith('MANIFEST')) writeFileSync(join(folder, name), 'nonsense')
    await expect(LevelSnapshotStore.open(folder)).rejects.toMatchObject({
      code: 'CONFIGURATION',
      message: expect.stringMatching(/is damaged: move it away/),
    })
  })

  it('says so when a file with records is damaged, whichever way that is met', async () => {
    const store = await LevelSnapshotStore.open(folder)
    for (let i = 0; i < 50; i++) await store.write([{ key: `k${i}`, value }], { sync: i === 49 })
    await store.compact('', '~')
    await store.close()
    for (const name of readdirSync(folder)) if (name.endsWith('.ldb')) truncateSync(join(folder, name), 1000)
    const reading = async (): Promise<void> => {
      const again = await LevelSnapshotStore.open(folder)
      try {
        await again.get('k7')
      } finally {
        await again.close()
      }
    }
    await expect(reading()).rejects.toMatchObject({
      code: expect.stringMatching(/CONFIGURATION|DATA_LOSS|STORAGE_FAILED/),
      message: expect.stringMatching(/snapshot directory .*move it away: /),
    })
  })

  it('says so when there is hardly any room left, before the disk is full', async ({ skip }) => {
    const mount = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=20m', 'tmpfs', folder])
    if (mount.status !== 0) skip('only root may mount a small disk')
    try {
      const store = await LevelSnapshotStore.open(join(folder, 'snapshots'))
      await store.checkRoom()
      writeFileSync(join(folder, 'other'), new Uint8Array(18.5 * 1024 * 1024))
      await expect(store.checkRoom()).rejects.toMatchObject({
        code: 'STORAGE_FAILED',
        message: expect.stringMatching(
          /has only 1 MiB left, and snapshots leave the last 8 MiB alone: free some space/,
        ),
      })
      await store.close()
    } finally {
      spawnSync('umount', [folder])
    }
  })

  it('brings what was written before a synced batch into files that are on the medium', async () => {
    const store = await LevelSnapshotStore.open(folder)
    await store.write([{ key: 'early', value }], { sync: false })
    expect(readdirSync(folder).filter((name) => name.endsWith('.ldb'))).toEqual([])
    await store.write([{ key: 'late', value }], { sync: true })
    expect(readdirSync(folder).filter((name) => name.endsWith('.ldb'))).toHaveLength(1)
    await store.close()
  })
})
