/**
 * What is read back from a snapshot is what the engine held at the moment the partition was sealed, whatever was changed while
 * the snapshot was written: full ones and chains, several partitions, large values, with and without a throttle.
 */

import { describe, expect, it } from 'vitest'
import type { SnapshotLibrary } from '../../../src/snapshot/snapshot-library.ts'
import { type Content, contentOf, newEngine, SnapshotWorld } from '../../support/snapshots/snapshot-world.ts'

const PARTITIONS = [0, 5, 70_000]

interface Taken {
  readonly id: string
  readonly sealed: ReadonlyMap<number, Content>
}

/** Takes a snapshot while entries change between its slices. */
async function takeUnderChange(
  world: SnapshotWorld,
  library: SnapshotLibrary,
  kind: 'full' | 'incremental',
): Promise<Taken> {
  const busy = world.below(3)
  // Then all of it rests, as writers do: what is changed faster than it can be read is another test.
  let changes = 400
  world.time.afterEvent = () => {
    for (let left = world.below(1 + 4 * busy); left > 0 && changes > 0; left--, changes--)
      world.mutate(PARTITIONS[world.below(PARTITIONS.length)] as number)
  }
  const { id, skipped, chain } = await world.create(library, {
    kind,
    sliceBytes: 500 + world.below(20_000),
    bytesPerSecond: world.below(3) === 0 ? 1_000_000 : 0,
  })
  world.time.afterEvent = undefined
  expect(skipped).toEqual([])
  if (kind === 'full') expect(chain).toBe(1)
  return { id, sealed: new Map(world.sealed) }
}

async function expectSame(
  world: SnapshotWorld,
  library: SnapshotLibrary,
  { id, sealed }: Taken,
): Promise<void> {
  for (const partition of PARTITIONS) {
    const { content, read } = await world.read(library, id, partition, { sliceBytes: 4000 })
    expect(content.size).toBe(sealed.get(partition)?.size)
    expect(content).toEqual(sealed.get(partition))
    expect(read?.entries).toBe(content.size)
  }
}

describe('a snapshot', () => {
  it.each(Array.from({ length: 12 }, (_, i) => i + 1))('is what the engine held (seed %i)', async (seed) => {
    const world = new SnapshotWorld(seed, {
      partitions: PARTITIONS,
      keys: 40 + (seed % 4) * 120,
      valueBytesMax: seed % 3 === 0 ? 200 : 3000,
      largePerMille: seed % 2 === 0 ? 12 : 0,
      chainMax: 5,
    })
    world.fill()
    const library = await world.open()
    const taken: Taken[] = []
    for (let round = 0; round < 7; round++) {
      taken.push(await takeUnderChange(world, library, round === 0 ? 'full' : 'incremental'))
      if (world.below(2) === 0) world.epoch++
      // Most rounds change little, so that incremental snapshots have something to leave out.
      for (let left = world.below(20); left > 0; left--) world.mutate(PARTITIONS[0] as number)
      await world.time.advance(world.below(20_000))
    }
    expect(library.list().map(({ chain }) => chain)).toEqual([1, 2, 3, 4, 5, 1, 2])
    // Read by a process that starts anew, too.
    for (const one of taken) await expectSame(world, await world.open(), one)
    for (const { id } of taken) {
      const { problems, entries } = await world.time.until(library.verify(id), 3_600_000)
      expect([problems, entries]).toEqual([[], library.show(id).entries])
    }
  })

  it('loaded into an engine gives the same entries and the same digest, without those that expired', async () => {
    const world = new SnapshotWorld(77, {
      partitions: [0, 5],
      keys: 300,
      valueBytesMax: 800,
      largePerMille: 20,
    })
    world.fill()
    const library = await world.open()
    await world.create(library)
    world.mutate(5)
    const { id } = await world.create(library)
    const nowMs = world.time.wallMs()
    for (const [partition, laterMs] of [
      [0, 0],
      [5, 0],
      [5, 60_000],
    ] as const) {
      const engine = newEngine()
      engine.addPartition(partition)
      const loaded = await world.time.until(
        library.loadInto(id, partition, engine, { nowMs: nowMs + laterMs, sliceMs: 1 }),
      )
      const expected = new Map(
        [...(world.sealed.get(partition) as Content)].filter(([, text]) => {
          const expiresAtMs = Number((text.split(' ')[1] as string).split(',')[1])
          return expiresAtMs === 0 || expiresAtMs > nowMs + laterMs
        }),
      )
      expect(contentOf(engine, partition)).toEqual(expected)
      expect(loaded).toMatchObject({ loaded: expected.size, entries: expected.size, ofUnknownRegions: 0 })
      if (laterMs === 0) expect([...engine.digest(partition)]).toEqual(loaded?.summary.digest)
      else expect(loaded?.expired).toBeGreaterThan(0)
      engine.dropPartition(partition)
      expect(engine.stats.largeBytes).toBe(0)
    }
  })

  it('in which every bucket changed has what did not change from those before it', async () => {
    const world = new SnapshotWorld(5, { partitions: [0], keys: 2000, valueBytesMax: 100 })
    world.fill()
    const library = await world.open()
    const ids = [(await world.create(library)).id]
    for (let round = 1; round <= 3; round++) {
      for (let i = round; i < 2000; i += 5) world.set(0, i)
      const { id, kind, writtenEntries } = await world.create(library)
      expect([kind, writtenEntries < 1000]).toEqual(['incremental', true])
      const summary = await world.time.until(library.summary(id, 0))
      expect(summary?.described).not.toContain(0)
      ids.push(id)
    }
    const newest = ids.at(-1) as string
    expect((await world.read(library, newest, 0)).content).toEqual(world.sealed.get(0))
    for (const id of ids) expect((await world.time.until(library.verify(id), 3_600_000)).problems).toEqual([])
  })

  it('of an engine that hardly changed is small, and one of an unchanged engine holds no records', async () => {
    const world = new SnapshotWorld(3, { partitions: [0], keys: 4000, valueBytesMax: 1000 })
    world.fill()
    const library = await world.open()
    const full = await world.create(library)
    const same = await world.create(library)
    expect(same).toMatchObject({
      kind: 'incremental',
      base: full.id,
      writtenEntries: 0,
      entries: 4000,
      rawBytes: 0,
    })
    for (let number = 0; number < 40; number++) world.set(0, number * 97)
    const changed = await world.create(library)
    expect(changed.writtenEntries).toBe(40)
    expect(changed.storedBytes).toBeLessThan(full.storedBytes * 0.05)
    expect((await world.read(library, changed.id, 0)).content).toEqual(world.sealed.get(0))
  })
})
