import { chmodSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LevelStore } from '../../../../src/adapters/level/level-store.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

describe('LevelStore', () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'ringcache-level-'))
  })
  afterEach(() => {
    rmSync(folder, { recursive: true, force: true })
  })

  it('keeps what was written, in the order of the keys, and forgets what was removed', async () => {
    const store = await LevelStore.open(join(folder, 'deep/er'))
    await store.write(
      [
        { key: 'a/2', value: bytes('two') },
        { key: 'a/1', value: bytes('one') },
        { key: 'b', value: bytes('other') },
      ],
      { sync: true },
    )
    await store.write([{ key: 'a/2', value: undefined }], { sync: false })
    await store.close()
    const again = await LevelStore.open(join(folder, 'deep/er'))
    expect(await again.get('a/1')).toEqual(bytes('one'))
    expect(await again.get('a/2')).toBeUndefined()
    expect(await again.entries('a/')).toEqual([['a/1', bytes('one')]])
    await again.close()
  })

  it('says so when another store has the folder open', async () => {
    const store = await LevelStore.open(folder)
    await expect(LevelStore.open(folder)).rejects.toMatchObject({
      code: 'CONFIGURATION',
      message: expect.stringContaining('is used by another process'),
    })
    await store.close()
  })

  it('says so when the folder is a file', async () => {
    writeFileSync(join(folder, 'file'), '')
    await expect(LevelStore.open(join(folder, 'file'))).rejects.toMatchObject({
      code: 'CONFIGURATION',
      message: expect.stringContaining('is no folder'),
    })
  })

  it.skipIf(process.getuid?.() === 0)('says so when the folder is read-only', async () => {
    chmodSync(folder, 0o500)
    await expect(LevelStore.open(folder)).rejects.toMatchObject({
      code: 'CONFIGURATION',
      message: expect.stringContaining("can't be written"),
    })
    chmodSync(folder, 0o700)
  })

  it('says so when what is there is damaged', async () => {
    const store = await LevelStore.open(folder)
    await store.write([{ key: 'a', value: bytes('one') }], { sync: true })
    await store.close()
    for (const name of readdirSync(folder)) {
      if (name === 'CURRENT' || name.startsWith('MANIFEST')) writeFileSync(join(folder, name), 'nonsense')
    }
    await expect(LevelStore.open(folder)).rejects.toMatchObject({
      code: 'CONFIGURATION',
      message: expect.stringMatching(/is damaged/),
    })
  })
})
