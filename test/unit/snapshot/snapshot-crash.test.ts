/**
 * A process that dies at any moment of a snapshot leaves those from before whole, and never a half one that is listed; damage of any record
 * is noticed.
 */

import { beforeAll, describe, expect, it } from 'vitest'
import { CacheError } from '../../../src/kernel/errors.ts'
import { idOfKey } from '../../../src/snapshot/layout.ts'
import type { SnapshotLibrary } from '../../../src/snapshot/snapshot-library.ts'
import { CLUSTER_ID, type Content, newEngine, SnapshotWorld } from '../../support/snapshots/snapshot-world.ts'

const PARTITIONS = [0, 5]

/** A world with a full snapshot and one on it. Each call gives the same. */
async function twoSnapshots(): Promise<{ world: SnapshotWorld; library: SnapshotLibrary }> {
  const world = new SnapshotWorld(4, {
    partitions: PARTITIONS,
    keys: 60,
    valueBytesMax: 40_000,
    largePerMille: 30,
  })
  world.fill()
  const library = await world.open()
  await world.create(library)
  for (let i = 0; i < 30; i++) world.mutate(PARTITIONS[i % 2] as number)
  await world.create(library)
  return { world, library }
}

/** Runs `work` and ends the process after so many events, with so many unsynced batches surviving. */
async function crashAfter(
  world: SnapshotWorld,
  events: number,
  surviving: number,
  work: () => Promise<unknown>,
): Promise<{ crashed: boolean; unsynced: number }> {
  let left = events
  let crashed = false
  let unsynced = 0
  const crash = (): void => {
    crashed = true
    unsynced = world.disk.unsynced
    world.disk.crash(Math.min(surviving, unsynced))
    world.host.crash()
  }
  world.time.afterEvent = () => {
    if (--left === 0) crash()
  }
  work().catch(() => {})
  // Before anything on the disk is done.
  if (events === 0) world.time.after(0, crash)
  await world.time.advance(60_000)
  world.time.afterEvent = undefined
  return { crashed, unsynced }
}

async function expectWhole(world: SnapshotWorld, library: SnapshotLibrary): Promise<void> {
  const ids = library.list().map(({ id }) => id)
  expect(library.unusable()).toEqual([])
  for (const id of ids) {
    const { problems, entries } = await world.time.until(library.verify(id))
    expect([problems, entries]).toEqual([[], library.show(id).entries])
  }
  // What no listed snapshot owns is gone.
  expect(new Set(world.disk.keys().map(idOfKey))).toEqual(new Set(ids))
}

describe('a process that dies', () => {
  it.each(['full', 'incremental'] as const)(
    'during a %s snapshot leaves those before it whole',
    async (kind) => {
      const outcomes = new Set<number>()
      for (let events = 0; ; events++) {
        let most = 0
        for (let surviving = 0; surviving <= most; surviving++) {
          const { world, library } = await twoSnapshots()
          const before = library.list().map(({ id }) => id)
          for (let i = 0; i < 30; i++) world.mutate(PARTITIONS[i % 2] as number)
          const { crashed, unsynced } = await crashAfter(world, events, surviving, () =>
            library.create({
              clusterId: CLUSTER_ID,
              node: 'a',
              source: world.source,
              kind,
              sliceBytes: 100_000,
            }),
          )
          if (!crashed) {
            expect(outcomes).toEqual(new Set([2, 3]))
            return
          }
          most = unsynced
          const again = await world.open()
          expect(
            again
              .list()
              .slice(0, 2)
              .map(({ id }) => id),
          ).toEqual(before)
          outcomes.add(again.list().length)
          await expectWhole(world, again)
        }
      }
    },
    120_000,
  )

  it('during a deletion leaves the snapshot whole, or nothing of it', async () => {
    const outcomes = new Set<number>()
    for (let events = 0; ; events++) {
      let most = 0
      for (let surviving = 0; surviving <= most; surviving++) {
        const { world, library } = await twoSnapshots()
        const { id } = library.list()[0] as { id: string }
        const { crashed, unsynced } = await crashAfter(world, events, surviving, () =>
          library.delete(id, { cascade: true }),
        )
        if (!crashed) {
          expect(outcomes).toEqual(new Set([0, 1, 2]))
          return
        }
        most = unsynced
        const again = await world.open()
        outcomes.add(again.list().length)
        await expectWhole(world, again)
      }
    }
  }, 60_000)
})

describe('damage', () => {
  let world: SnapshotWorld
  let full: string
  let incremental: string
  let sealed: Map<number, Content>
  beforeAll(async () => {
    const made = await twoSnapshots()
    world = made.world
    ;[full = '', incremental = ''] = made.library.list().map(({ id }) => id)
    sealed = new Map(world.sealed)
  })

  /** Changes a record, has it looked at by a process that starts anew, and puts it back. */
  async function damaged(
    key: string,
    change: (value: Uint8Array) => Uint8Array,
    look: (library: SnapshotLibrary) => Promise<void>,
  ): Promise<void> {
    let kept = new Uint8Array(0)
    world.disk.damage(key, (value) => {
      kept = value.slice()
      return change(value)
    })
    await look(await world.open())
    world.disk.damage(key, () => kept)
  }

  it('of one bit of any record is noticed', async () => {
    for (const key of world.disk.keys()) {
      const flip = (value: Uint8Array): Uint8Array => {
        const at = world.below(value.length)
        value[at] = (value[at] as number) ^ (1 << world.below(8))
        return value
      }
      await damaged(key, flip, async (library) => {
        const id = idOfKey(key)
        const unusable = library.unusable().map((one) => one.id)
        if (key === `${id}/~`) {
          expect(unusable).toContain(id)
          expect(() => library.show(id)).toThrow(/damaged/)
          return
        }
        expect(unusable).toEqual([])
        const { problems } = await world.time.until(library.verify(id))
        expect(problems.map(({ error }) => error.message).join()).toContain(key)
      })
    }
  })

  it('by a record that is missing, cut off or another one is noticed', async () => {
    const keys = world.disk.keys().filter((key) => !key.endsWith('~'))
    const values = new Map<string, Uint8Array>()
    for (const key of keys) world.disk.damage(key, (value) => values.set(key, value).get(key) as Uint8Array)
    for (const [i, key] of keys.entries()) {
      const other = values.get(keys[(i + 1) % keys.length] as string) as Uint8Array
      for (const change of [
        () => other,
        (value: Uint8Array) => value.subarray(0, value.length >>> 1),
        () => new Uint8Array(0),
      ]) {
        await damaged(key, change, async (library) => {
          const { problems } = await world.time.until(library.verify(idOfKey(key)))
          expect(problems).toHaveLength(1)
        })
      }
    }
  })

  it('of one partition leaves the others to be loaded, and the next snapshot writes it whole', async () => {
    const key = world.disk.keys().find((one) => one.startsWith(`${full}/p0000005/`)) as string
    const library = await world.open()
    const cut = (value: Uint8Array): Uint8Array => value.subarray(0, 20)
    world.disk.damage(key, cut)
    // What tells of the partition in the newer one is damaged, too.
    world.disk.damage(`${incremental}/p0000005/~`, cut)
    await expect(world.read(library, incremental, 5)).rejects.toMatchObject({ code: 'DATA_LOSS' })
    const engine = newEngine()
    engine.addPartition(0)
    const loading = library.loadInto(incremental, 0, engine, { nowMs: 0 })
    expect((await world.time.until(loading))?.loaded).toBe(sealed.get(0)?.size)
    const next = await world.create(library)
    expect(next.kind).toBe('incremental')
    expect((await world.read(library, next.id, 5)).content).toEqual(world.sealed.get(5))
    expect((await world.read(library, next.id, 0)).content).toEqual(world.sealed.get(0))
  })
})

describe('the disk', () => {
  it('being full fails the snapshot, leaves the others, and later one succeeds', async () => {
    const { world, library } = await twoSnapshots()
    world.set(0, 1)
    world.disk.full = true
    await expect(world.create(library, { kind: 'full' })).rejects.toThrow(CacheError)
    world.disk.full = false
    expect(library.list()).toHaveLength(2)
    await expectWhole(world, await world.open())
    await world.create(library, { kind: 'full' })
    expect(library.list()).toHaveLength(3)
  })
})
