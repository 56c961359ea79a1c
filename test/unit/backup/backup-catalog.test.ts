/** What a place holds, what retention takes away, and how places are named. */

import { describe, expect, it } from 'vitest'
import { deleteBackup, listBackups, pruneBackups } from '../../../src/backup/backup-catalog.ts'
import { type Place, parsePlace } from '../../../src/backup/place.ts'
import type { BackupStore } from '../../../src/snapshot/backup-store.ts'
import { BackupWorld } from '../../support/backup/backup-world.ts'
import { CLUSTER_ID } from '../../support/snapshots/snapshot-world.ts'

const DAY_MS = 24 * 3_600_000

async function names(world: BackupWorld): Promise<string[]> {
  return (await world.time.until(listBackups(world.store))).map(({ name }) => name)
}

/** One backup a day, the first of which was begun and never finished. */
async function days(count: number): Promise<BackupWorld> {
  const world = new BackupWorld(1, { keys: 5, largePerMille: 0 })
  for (let day = 0; day < count; day++) {
    await world.create({ name: `day-${day}` })
    if (day === 0) world.store.objects.delete('day-0/manifest.json')
    await world.time.advance(DAY_MS)
  }
  return world
}

describe('the backups of a place', () => {
  it('are listed, the newest first', async () => {
    const world = await days(3)
    await world.store.put('readme', (async function* () {})())
    await world.store.put('other/file.txt', (async function* () {})())
    expect(await names(world)).toEqual(['day-2', 'day-1', 'day-0'])
  })

  it('go when no rule keeps them: the newest one stays', async () => {
    const world = await days(6)
    const { host } = world.snapshots
    const prune = (retention: object): Promise<string[]> =>
      world.time.until(pruneBackups(world.store, CLUSTER_ID, retention, host))
    expect(await prune({ keep: 3, prefix: 'night-' })).toEqual([])
    // An unfinished one is no backup to be kept; by its objects' times it is years old.
    expect(await prune({ keep: 3 })).toEqual(['day-2', 'day-1', 'day-0'])
    expect(await prune({ keepForMs: 1 })).toEqual(['day-4', 'day-3'])
    expect(await names(world)).toEqual(['day-5'])
    expect(await world.time.until(pruneBackups(world.store, 'another', { keep: 0 }, host))).toEqual([])
  })

  it('are removed with the manifest first, and nothing but them', async () => {
    const world = await days(2)
    const order: string[] = []
    world.store.failing = (what, name) => {
      if (what === 'delete') order.push(name)
      return undefined
    }
    await world.store.put('day-1/notes.txt', (async function* () {})())
    await world.time.until(deleteBackup(world.store, 'day-1'))
    expect(order[0]).toBe('day-1/manifest.json')
    expect(order.at(-1)).toBe('day-1/begun.json')
    expect([...world.store.objects.keys()].filter((name) => name.startsWith('day-1/'))).toEqual([
      'day-1/notes.txt',
    ])
    for (const name of ['day-1', 'day-9', '../day-0'])
      await expect(deleteBackup(world.store as BackupStore, name)).rejects.toMatchObject({
        code: 'INVALID_ARGUMENT',
      })
  })
})

describe('a place', () => {
  it.each<[string, Place]>([
    ['/var/backups', { kind: 'directory', path: '/var/backups' }],
    ['s3://bucket', { kind: 's3', bucket: 'bucket', prefix: '', region: undefined, endpoint: undefined }],
    [
      's3://bucket/a/b/?endpoint=http://127.0.0.1:9000&region=eu-1',
      { kind: 's3', bucket: 'bucket', prefix: 'a/b/', region: 'eu-1', endpoint: 'http://127.0.0.1:9000' },
    ],
  ])('is %s', (text, place) => {
    expect(parsePlace(text)).toEqual(place)
  })

  it.each([
    '',
    'backups',
    'http://x/y',
    's3://',
    's3://B/x',
    's3://bucket?key=secret',
    's3://bucket?endpoint=http://user:secret@host',
    's3://bucket?endpoint=file:///etc',
    '/a\0b',
  ])('is not %j', (text) => {
    expect(() => parsePlace(text)).toThrow(/no place for backups/)
  })
})
