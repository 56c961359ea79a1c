/** The rules of a library of snapshots: what it lists, refuses, keeps and lets go. */

import { describe, expect, it } from 'vitest'
import { FORMAT } from '../../../src/snapshot/manifest.ts'
import { expendable } from '../../../src/snapshot/retention.ts'
import type { SnapshotLibrary } from '../../../src/snapshot/snapshot-library.ts'
import { frameRecord, HEAD_BYTES, openRecord, RecordKind } from '../../../src/snapshot/stored-record.ts'
import { SnapshotWorld } from '../../support/snapshots/snapshot-world.ts'

const ids = (library: SnapshotLibrary): string[] => library.list().map(({ id }) => id)

async function newWorld(chainMax = 8): Promise<{ world: SnapshotWorld; library: SnapshotLibrary }> {
  const world = new SnapshotWorld(9, { partitions: [0, 1], keys: 50, valueBytesMax: 500, chainMax })
  world.fill()
  return { world, library: await world.open() }
}

describe('a library', () => {
  it('lists snapshots with what they are made of, oldest first, even when the clock was set back', async () => {
    const { world, library } = await newWorld()
    await world.create(library)
    world.host.jumpWallClock(-3_600_000)
    await world.create(library)
    const [full, incremental] = library.list()
    expect(full).toMatchObject({
      format: FORMAT,
      kind: 'full',
      base: null,
      chain: 1,
      clusterId: 'cluster-1',
      node: 'a',
      partitions: [0, 1],
      skipped: [],
      entries: 100,
      writtenEntries: 100,
    })
    expect(full?.regions.map(({ name }) => name)).toEqual(['region-1', 'region-7'])
    expect(incremental).toMatchObject({ kind: 'incremental', base: full?.id, chain: 2, writtenEntries: 0 })
    expect((await world.open()).list()).toEqual(library.list())
    const summary = await world.time.until(library.summary(full?.id as string, 1))
    expect(summary).toMatchObject({
      partition: 1,
      partitionEpoch: 1,
      lastEpoch: 1,
      lastSequence: 50,
      entries: 50,
    })
    expect(summary?.digest).toEqual([...world.engine.digest(1)])
  })

  it('makes a full snapshot when the chain is long enough, when asked, and for another cluster', async () => {
    const { world, library } = await newWorld(2)
    for (const options of [{}, {}, {}, { kind: 'full' as const }, { clusterId: 'other' }, {}])
      await world.create(library, options)
    expect(library.list().map(({ chain }) => chain)).toEqual([1, 2, 1, 1, 1, 2])
    expect(library.newest('other')?.chain).toBe(1)
  })

  it('names partitions that it could not write, with the reason, and has the others', async () => {
    const { world, library } = await newWorld()
    world.notWhole.add(0)
    const { id, partitions, skipped } = await world.create(library)
    expect(partitions).toEqual([1])
    expect(skipped).toEqual([{ partition: 0, reason: expect.stringContaining('does not hold it') }])
    expect((await world.read(library, id, 0)).read).toBeUndefined()
    world.notWhole.clear()
    // Whole again: the base has nothing of it.
    const next = await world.create(library)
    expect(next).toMatchObject({ partitions: [0, 1], skipped: [], writtenEntries: 50 })
    expect((await world.read(library, next.id, 0)).content).toEqual(world.sealed.get(0))
  })

  it('leaves out a partition that goes away while it is read', async () => {
    const { world, library } = await newWorld()
    let dropped = false
    world.time.afterEvent = () => {
      if (dropped || world.sealed.size === 0) return
      dropped = true
      world.engine.dropPartition(0)
      // Another one of this number must not be taken for it.
      world.engine.addPartition(0)
    }
    const { partitions } = await world.create(library, { sliceBytes: 1000 })
    expect([dropped, partitions]).toEqual([true, [1]])
  })

  it('walks a partition again when too much is changed, and gives it up when it never ends', async () => {
    const { world, library } = await newWorld()
    let left = 60
    world.time.afterEvent = () => {
      if (world.sealed.size === 0) return
      for (let i = 0; i < 5 && left > 0; i++, left--) world.set(0, i * 7)
    }
    const first = await world.create(library, { sliceBytes: 500, changesMax: 2 })
    expect(first.skipped).toEqual([])
    expect((await world.read(library, first.id, 0)).content).toEqual(world.sealed.get(0))
    left = 1e9
    const second = await world.create(library, { sliceBytes: 500, changesMax: 2, kind: 'full' })
    expect(second.skipped).toEqual([{ partition: 0, reason: expect.stringContaining('faster') }])
    expect(second.partitions).toEqual([1])
    world.time.afterEvent = undefined
    expect((await world.time.until(library.verify(second.id))).problems).toEqual([])
  })

  it('does one change at a time, and none to what is being read', async () => {
    const { world, library } = await newWorld()
    const { id } = await world.create(library)
    const first = world.create(library)
    await expect(library.prune({ keep: 1 })).rejects.toMatchObject({ code: 'OVERLOADED' })
    await first
    const reading = library.verify(id)
    await expect(library.delete(id, { cascade: true })).rejects.toMatchObject({ code: 'OVERLOADED' })
    await world.time.until(reading)
    await world.time.until(library.delete(id, { cascade: true }))
    expect([library.list(), world.disk.keys()]).toEqual([[], []])
  })

  it('refuses to delete what others build on, unless they go too', async () => {
    const { world, library } = await newWorld()
    for (let i = 0; i < 3; i++) await world.create(library)
    const [, second, third] = ids(library) as [string, string, string]
    await expect(library.delete(second)).rejects.toThrow(third)
    await world.time.until(library.delete(third))
    await world.time.until(library.delete(second))
    expect(library.list()).toHaveLength(1)
    await expect(library.delete('20240101T000000000-00000000')).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    })
  })

  it('ends a snapshot by its signal and leaves nothing of it', async () => {
    const { world, library } = await newWorld()
    const controller = new AbortController()
    world.time.afterEvent = () => controller.abort()
    await expect(
      world.create(library, { signal: controller.signal, bytesPerSecond: 1 }),
    ).rejects.toMatchObject({ code: 'ABORTED' })
    expect(world.disk.keys()).toEqual([])
    world.time.afterEvent = undefined
    await world.create(library)
  })

  it('takes the time that a throttle gives it', async () => {
    const { world, library } = await newWorld()
    const startedMs = world.time.monotonicMs()
    const { rawBytes } = await world.create(library, { bytesPerSecond: 10_000, sliceBytes: 1000 })
    expect(world.time.monotonicMs() - startedMs).toBeGreaterThan((rawBytes / 10_000) * 1000 * 0.7)
  })

  it('says that a snapshot is of a format it can not read, and goes on without it', async () => {
    const { world, library } = await newWorld()
    const { id } = await world.create(library)
    const key = `${id}/~`
    world.disk.damage(key, (value) => {
      const manifest = JSON.parse(new TextDecoder().decode(openRecord(key, value).body))
      const body = new TextEncoder().encode(JSON.stringify({ ...manifest, format: FORMAT + 1 }))
      const into = new Uint8Array(HEAD_BYTES + body.length)
      return frameRecord(key, RecordKind.manifest, body.length, body, false, into).bytes
    })
    const again = await world.open()
    expect(again.list()).toEqual([])
    expect(() => again.show(id)).toThrow(/format 2, this release reads 1 to 1: start a newer release/)
    expect((await world.create(again)).kind).toBe('full')
    await world.time.until(again.delete(id))
    expect(again.unusable()).toEqual([])
  })

  it('removes what no rule keeps, never what is built on, and always keeps the newest', async () => {
    const { world, library } = await newWorld(3)
    for (let i = 0; i < 7; i++) {
      await world.create(library)
      await world.time.advance(60_000)
    }
    const all = ids(library)
    // Chains of 3, 3 and 1: keeping two keeps the second chain whole.
    expect(await world.time.until(library.prune({ keep: 2 }))).toEqual([all[2], all[1], all[0]])
    expect(ids(library)).toEqual(all.slice(3))
    expect(await world.time.until(library.prune({ keepForMs: 1 }))).toEqual([all[5], all[4], all[3]])
    expect(await world.time.until(library.prune({ keepForMs: 1 }))).toEqual([])
    expect(expendable(library.list(), {}, 0)).toEqual([])
    expect(ids(await world.open())).toEqual(all.slice(6))
  })
})
