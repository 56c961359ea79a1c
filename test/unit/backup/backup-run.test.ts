/** One backup of a whole cluster: what it holds, and what becomes of it when nodes, the run or its place fail. */

import { describe, expect, it } from 'vitest'
import { listBackups } from '../../../src/backup/backup-catalog.ts'
import { CacheError } from '../../../src/kernel/errors.ts'
import { BackupWorld, STALL_MS } from '../../support/backup/backup-world.ts'
import { MemoryStore } from '../../support/backup/memory-store.ts'

const SEEDS = Array.from({ length: 6 }, (_, i) => i + 1)

async function states(world: BackupWorld): Promise<Record<string, string>> {
  const listings = await world.time.until(listBackups(world.store))
  return Object.fromEntries(listings.map(({ name, state }) => [name, state]))
}

/** Changes entries now and then, while the nodes write. */
function keepChanging(world: BackupWorld, changes = 300): void {
  let left = changes
  world.time.afterEvent = () => {
    if (left-- > 0 && world.snapshots.below(3) === 0) world.snapshots.mutate(world.snapshots.below(7))
  }
}

describe('a backup of a cluster', () => {
  it.each(SEEDS)('holds each partition as it was when it was sealed (seed %i)', async (seed) => {
    const world = new BackupWorld(seed)
    keepChanging(world)
    const manifest = await world.create()
    world.time.afterEvent = undefined
    const found = await world.read()
    expect([...found.keys()].sort()).toEqual([0, 1, 2, 3, 4, 5, 6])
    for (const [partition, content] of found) expect(content).toEqual(world.snapshots.sealed.get(partition))
    expect(manifest.nodes).toEqual(['a', 'b', 'c'])
    const { isGood, entries } = await world.verify()
    expect([isGood, entries]).toEqual([true, manifest.entries])
    expect(await states(world)).toEqual({ one: 'complete' })
  })

  it('tells how far it is', async () => {
    const world = new BackupWorld(3)
    const seen: number[] = []
    await world.create(
      { bytesPerSecond: 50_000 },
      { onProgress: ({ partitionsDone }) => seen.push(partitionsDone) },
    )
    expect(seen.length).toBeGreaterThan(5)
    expect(seen).toEqual([...seen].sort((a, b) => a - b))
  })

  it('goes on where a node ends whose partitions others take over', async () => {
    const world = new BackupWorld(11)
    const run = world.begin({ bytesPerSecond: 100_000 })
    await world.time.advance(700)
    world.kill('b', 'c')
    const manifest = await world.time.until(run, 3_600_000)
    expect(manifest.nodes).toEqual(['a', 'c'])
    expect((await world.verify()).isGood).toBe(true)
  })

  it('waits for a node that starts again', async () => {
    const world = new BackupWorld(12)
    const run = world.begin({ bytesPerSecond: 100_000 })
    await world.time.advance(700)
    world.kill('b')
    await world.time.advance(15_000)
    world.start('b')
    await world.time.until(run, 3_600_000)
    expect((await world.verify()).isGood).toBe(true)
  })

  it('takes no part of a primary that was none any more when the run began', async () => {
    const world = new BackupWorld(13)
    const { snapshots } = world
    const run = world.begin({ bytesPerSecond: 100_000 })
    // What it seals from now on it seals under the old epoch, as one that has not heard of the new one.
    while (!world.store.objects.has('one/begun.json')) await world.time.advance(1)
    const begun = snapshots.epoch
    snapshots.epoch = begun - 1
    await world.time.advance(60_000)
    expect(await states(world)).toEqual({ one: 'incomplete' })
    snapshots.epoch = begun
    const manifest = await world.time.until(run, 3_600_000)
    expect(manifest.entries).toBeGreaterThan(0)
    expect((await world.verify()).isGood).toBe(true)
  })

  it('is not begun by a node that may not know who is primary', async () => {
    const world = new BackupWorld(15)
    world.isCutOff = true
    await expect(world.create()).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    expect(world.store.objects.size).toBe(0)
  })

  it('is gone on with by another run after the first was given up', async () => {
    const world = new BackupWorld(14)
    const stop = new AbortController()
    const run = world.begin({ bytesPerSecond: 60_000 }, { signal: stop.signal })
    run.catch(() => {})
    for (
      let i = 0;
      i < 200 &&
      ![...world.store.objects.keys()].some((name) => name.endsWith('.json') && name.includes('/parts/'));
      i++
    )
      await world.time.advance(200)
    stop.abort()
    await expect(world.time.until(run, 60_000)).rejects.toMatchObject({ code: 'ABORTED' })
    expect(await states(world)).toEqual({ one: 'incomplete' })
    const before = [...world.store.objects.keys()].filter((name) => name.endsWith('.data'))
    await expect(world.create()).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', message: /--resume/ })
    const manifest = await world.create({ resume: true })
    const used = manifest.parts.map(({ name }) => `one/parts/${name}.data`)
    expect(used).toEqual(expect.arrayContaining(before))
    expect((await world.verify()).isGood).toBe(true)
    // Once more, it is as it is.
    expect(await world.create({ resume: true })).toEqual(manifest)
    await expect(world.create()).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', message: /already/ })
  })

  it.each(Array.from({ length: 14 }, (_, i) => i))(
    'is never listed as complete and isn’t, when everything ends at step %i',
    async (step) => {
      const world = new BackupWorld(20 + step)
      let steps = 0
      const ended = new CacheError('ABORTED', 'the machine is gone')
      world.store.failing = (what) => (what === 'put' && steps++ >= 2 * step ? ended : undefined)
      const run = world.begin({ bytesPerSecond: 400_000 })
      run.catch(() => {})
      await world.time.advance(20_000)
      for (const node of world.nodes) world.kill(node)
      world.store.failing = () => undefined
      const found = await states(world)
      if (found['one'] === 'complete') expect((await world.verify()).isGood).toBe(true)
      for (const node of world.nodes) world.start(node)
      await world.time.advance(200_000)
      await world.create({ resume: true })
      expect((await world.verify()).isGood).toBe(true)
    },
  )

  it('ends with an error that says so when its place hangs', async () => {
    const world = new BackupWorld(40)
    world.store.failing = (what, name) => (what === 'put' && name.endsWith('.data') ? 'hang' : undefined)
    const begunMs = world.snapshots.host.monotonicMs()
    await expect(world.create()).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining('stands still'),
    })
    expect(world.snapshots.host.monotonicMs() - begunMs).toBeLessThan(5 * STALL_MS)
    // No node works on it any more.
    world.store.failing = () => undefined
    await world.create({ resume: true })
    expect((await world.verify()).isGood).toBe(true)
  })

  it('ends at once where trying again does not help', async () => {
    const world = new BackupWorld(41)
    const denied = new CacheError('PERMISSION_DENIED', 'the credentials are refused')
    world.store.failing = (what, name) => (what === 'put' && name.endsWith('.data') ? denied : undefined)
    await expect(world.create()).rejects.toMatchObject({
      code: 'PERMISSION_DENIED',
      message: expect.stringMatching(/^[abc]: the credentials are refused/),
    })
  })

  it('says that the nodes write into different folders', async () => {
    const world = new BackupWorld(42)
    world.ownStores.set('b', new MemoryStore())
    await expect(world.create()).rejects.toMatchObject({
      code: 'CONFIGURATION',
      message: expect.stringContaining('all nodes must reach one and the same place'),
    })
    expect(await states(world)).toEqual({ one: 'incomplete' })
  })

  it.each(['', '.x', 'a/b', '../x', 'x'.repeat(65)])('refuses the name %j', async (name) => {
    const world = new BackupWorld(43)
    await expect(world.create({ name })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    expect(world.store.objects.size).toBe(0)
  })
})

describe('damage', () => {
  it.each(SEEDS)('is found wherever one bit is another (seed %i)', async (seed) => {
    const world = new BackupWorld(50 + seed)
    const manifest = await world.create()
    const names = [...world.store.objects.keys()]
    const used = names.filter(
      (name) =>
        !name.endsWith('begun.json') &&
        (!name.includes('/parts/') || manifest.parts.some((part) => name.includes(part.name))),
    )
    for (let i = 0; i < 12; i++) {
      const name = used[world.snapshots.below(used.length)] as string
      const at = world.snapshots.below((world.store.objects.get(name) as Uint8Array).length)
      world.store.damage(name, at)
      if (name.endsWith('manifest.json')) {
        expect(await states(world)).toEqual({ one: 'unusable' })
      } else {
        const { isGood, problems } = await world.verify()
        // Behind the last partition stands what the writer says of the part, which nobody reads.
        const isRead = name.endsWith('.json') || at < lastByte(world, name)
        expect([isGood, name, at]).toEqual([!isRead, name, at])
        if (isRead) expect(problems[0]).toContain(name.replace(/\.(data|json)$/, ''))
      }
      world.store.damage(name, at)
    }
    expect((await world.verify()).isGood).toBe(true)
  })

  it('is found where a part is cut off, or gone', async () => {
    const world = new BackupWorld(60)
    const { parts } = await world.create()
    const name = `one/parts/${parts[0]?.name}.data`
    const whole = world.store.objects.get(name) as Uint8Array
    world.store.objects.set(name, whole.subarray(0, whole.length - 1))
    expect(await world.verify()).toMatchObject({ isGood: false, problemCount: 1 })
    world.store.objects.delete(name)
    expect((await world.verify()).problems[0]).toContain('missing')
  })
})

/** Where the last partition of a part ends. */
function lastByte(world: BackupWorld, name: string): number {
  const json = Buffer.from(world.store.objects.get(name.replace('.data', '.json')) as Uint8Array).toString()
  const { partitions } = JSON.parse(json.slice(9)) as { partitions: { offsets: number[] }[] }
  return partitions.at(-1)?.offsets[3] as number
}
