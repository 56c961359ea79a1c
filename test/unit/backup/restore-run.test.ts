/** What a restore writes, leaves out and says, into a cluster that only takes notes. */

import { describe, expect, it } from 'vitest'
import { BackupReader } from '../../../src/backup/backup-reader.ts'
import {
  type RestoredEntry,
  type RestoreReport,
  RestoreRun,
  type RestoreSpec,
  type RestoreTarget,
} from '../../../src/backup/restore-run.ts'
import { CacheError } from '../../../src/kernel/errors.ts'
import { immediateCompression } from '../../../src/snapshot/compression.ts'
import { Pace } from '../../../src/snapshot/pace.ts'
import type { RegionRecord } from '../../../src/topology/topology.ts'
import { BackupWorld } from '../../support/backup/backup-world.ts'

/** A cluster that notes what it is asked for. */
class Notes implements RestoreTarget {
  readonly records: RegionRecord[]
  readonly created: string[] = []
  readonly written: { readonly region: string; readonly entry: RestoredEntry }[] = []
  underWay = 0
  mostUnderWay = 0
  /** What becomes of the n-th entry. */
  answer: (n: number) => Promise<'written' | 'kept'> = async () => 'written'

  constructor(records: RegionRecord[]) {
    this.records = records
  }

  regions(): readonly RegionRecord[] {
    return this.records
  }

  async createRegion(region: RegionRecord): Promise<void> {
    this.created.push(region.name)
  }

  async write(region: string, entry: RestoredEntry): Promise<'written' | 'kept'> {
    const n = this.written.push({ region, entry }) - 1
    this.mostUnderWay = Math.max(this.mostUnderWay, ++this.underWay)
    try {
      return await this.answer(n)
    } finally {
      this.underWay--
    }
  }
}

async function restore(
  world: BackupWorld,
  target: Notes,
  spec: Partial<RestoreSpec> = {},
  signal?: AbortSignal,
): Promise<RestoreReport> {
  const { host } = world.snapshots
  const full: RestoreSpec = {
    name: 'one',
    place: '',
    regions: [],
    prefix: '',
    mode: 'absent',
    dryRun: false,
    skipDamaged: false,
    bytesPerSecond: 0,
    ...spec,
  }
  const pace = new Pace(host, host, {
    bytesPerSecond: full.bytesPerSecond,
    ...(signal === undefined ? {} : { signal }),
  })
  const reading = BackupReader.open('one', {
    store: world.store,
    compression: immediateCompression,
    pace,
    signal,
  })
  const reader = await world.time.until(reading)
  const options = signal === undefined ? {} : { signal }
  return world.time.until(new RestoreRun(full, reader, target, host, options).run(), 3_600_000)
}

async function backedUp(seed: number): Promise<BackupWorld> {
  const world = new BackupWorld(seed)
  await world.create()
  return world
}

const keyOf = ({ key }: RestoredEntry): string => Buffer.from(key).toString()

describe('a restore', () => {
  it('writes each entry once, whole, into the region of its name, and creates what is missing', async () => {
    const world = await backedUp(1)
    const regions = [...world.snapshots.source.regions()]
    const first = regions[0] as RegionRecord
    // The first is there, under another number.
    const target = new Notes([{ ...first, regionId: 99 as RegionRecord['regionId'], ttlMs: 5 }])
    const report = await restore(world, target)
    expect(target.created).toEqual(['region-7'])
    expect(report.differences).toEqual(['region region-1: ttlMs is 5 here, 0 in the backup'])
    const alive = [...world.snapshots.sealed.values()].reduce((sum, content) => sum + content.size, 0)
    expect(report.written + report.expired).toBe(alive)
    expect(target.written).toHaveLength(report.written)
    const names = target.written.map(({ region, entry }) => `${region}/${keyOf(entry)}`)
    expect(new Set(names).size).toBeGreaterThan(50)
    for (const { region, entry } of target.written) {
      const number = Number(keyOf(entry).slice('key-'.length))
      expect(region).toBe(number % 2 === 0 ? 'region-1' : 'region-7')
      expect(entry.expiresAtMs === 0 || entry.expiresAtMs > 0).toBe(true)
    }
    expect(target.written.some(({ entry }) => entry.value.length > 65_536)).toBe(true)
  })

  it('leaves out what has expired since', async () => {
    const world = await backedUp(2)
    await world.time.advance(200_000)
    const target = new Notes([...world.snapshots.source.regions()])
    const report = await restore(world, target)
    expect(report.expired).toBeGreaterThan(20)
    for (const { entry } of target.written) expect(entry.expiresAtMs).toBe(0)
  })

  it('keeps to regions and prefixes', async () => {
    const world = await backedUp(3)
    const target = new Notes([...world.snapshots.source.regions()])
    const report = await restore(world, target, { regions: ['region-7'], prefix: 'key-1' })
    expect(report.passedOver).toBeGreaterThan(0)
    expect(report.written).toBe(target.written.length)
    for (const { region, entry } of target.written) {
      expect(region).toBe('region-7')
      expect(keyOf(entry)).toMatch(/^key-1/)
    }
    await expect(restore(world, target, { regions: ['region-8'] })).rejects.toMatchObject({
      code: 'UNKNOWN_REGION',
    })
  })

  it('counts what is kept and what is refused, and goes on', async () => {
    const world = await backedUp(4)
    const target = new Notes([...world.snapshots.source.regions()])
    target.answer = async (n) => {
      if (n % 3 === 0) return 'kept'
      if (n % 3 === 1) throw new CacheError('VALUE_TOO_LARGE', 'at most so many bytes')
      return 'written'
    }
    const report = await restore(world, target)
    const all = target.written.length
    expect([report.kept, report.refused, report.written]).toEqual([
      Math.ceil(all / 3),
      Math.ceil((all - 1) / 3),
      Math.floor(all / 3),
    ])
    expect(report.refusals).toEqual(['at most so many bytes'])
  })

  it('ends with what keeps the cluster from taking entries', async () => {
    const world = await backedUp(5)
    const target = new Notes([...world.snapshots.source.regions()])
    target.answer = async (n) => {
      if (n > 40) throw new CacheError('OVERLOADED', 'the memory is full')
      return 'written'
    }
    await expect(restore(world, target)).rejects.toMatchObject({ code: 'OVERLOADED' })
    expect(target.underWay).toBe(0)
  })

  it('waits for the cluster where that is slower', async () => {
    const world = new BackupWorld(6, { keys: 2000, valueBytesMax: 100, largePerMille: 0 })
    await world.create()
    const target = new Notes([...world.snapshots.source.regions()])
    const { host } = world.snapshots
    target.answer = () => new Promise((resolve) => host.after(50, () => resolve('written')))
    const report = await restore(world, target)
    expect(report.written + report.expired).toBe(14_000)
    expect(target.mostUnderWay).toBeLessThanOrEqual(4096)
  })

  it('ends at damage, and leaves only that out when told to', async () => {
    const world = await backedUp(7)
    const name = [...world.store.objects.keys()].find((one) => one.endsWith('.data')) as string
    world.store.damage(name, 200)
    const target = new Notes([...world.snapshots.source.regions()])
    await expect(restore(world, target)).rejects.toMatchObject({
      code: 'DATA_LOSS',
      message: expect.stringContaining(name),
    })
    const rest = new Notes([...world.snapshots.source.regions()])
    const report = await restore(world, rest, { skipDamaged: true })
    expect(report.damaged).toHaveLength(1)
    expect(report.partitionsDone).toBe(6)
  })

  it('creates nothing in a dry run', async () => {
    const world = await backedUp(8)
    const target = new Notes([])
    const report = await restore(world, target, { dryRun: true })
    expect(target.created).toEqual([])
    expect(target.written).toEqual([])
    expect(report.written).toBeGreaterThan(50)
    expect(report.regions.map(({ created }) => created)).toEqual([true, true])
  })

  it('keeps to its rate', async () => {
    const world = await backedUp(9)
    const { host } = world.snapshots
    const target = new Notes([...world.snapshots.source.regions()])
    const begunMs = host.monotonicMs()
    const report = await restore(world, target, { bytesPerSecond: 100_000 })
    expect((host.monotonicMs() - begunMs) / 1000).toBeGreaterThan((0.8 * report.rawBytes) / 100_000)
  })
})
