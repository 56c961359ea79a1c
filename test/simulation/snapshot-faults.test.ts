/** What becomes of snapshots, and of the node, when their disk fails: service goes on, and nothing waits for ever. */

import { afterEach, describe, expect, it } from 'vitest'
import type { Cache } from '../../src/client/cache.ts'
import { SeededRandom } from '../../src/kernel/random.ts'
import type { SnapshotOptions } from '../../src/node/options.ts'
import { idOfKey, manifestKey } from '../../src/snapshot/layout.ts'
import type { SimulatedDisk } from '../../src/testing/simulated-disk.ts'
import { createTestCluster, type TestCluster, type TestNode } from '../../src/testing/test-cluster.ts'

interface Line {
  readonly node: string
  readonly message: string
  readonly fields: Readonly<Record<string, unknown>>
}

let cluster: TestCluster
let cache: Cache
let lines: Line[] = []

afterEach(() => cluster.close())

const SNAPSHOTS: SnapshotOptions = { intervalMs: 2000, onStop: true, keepFulls: 2, bytesPerSecond: 0 }

async function start(seed: number, snapshots: Partial<SnapshotOptions> = {}): Promise<void> {
  lines = []
  cluster = await createTestCluster({
    nodes: 3,
    seed,
    node: { snapshots: { ...SNAPSHOTS, ...snapshots } },
    log: (node) => {
      const keep = (message: string, fields: Readonly<Record<string, unknown>> = {}): void =>
        void lines.push({ node, message, fields })
      return { debug: () => {}, info: keep, warn: keep, error: keep }
    },
  })
  cache = await cluster.connect({ timeout: 5000 })
}

const random = new SeededRandom(1)
/** Can't be packed. */
const noise = Array.from({ length: 500_000 }, () => String.fromCharCode(32 + (random.uint32() % 95))).join('')
const text = (value: string, i: number): string => `${value} ${i} ${noise.slice(i * 1000, i * 1000 + 1500)}`

async function fill(value: string, keys = 200): Promise<void> {
  const done = Array.from({ length: keys }, (_, i) => cache.set(`key-${i}`, text(value, i)))
  await cluster.run(Promise.all(done))
}

/** In small steps: what a simulated disk does takes little time. */
async function soon(condition: () => boolean): Promise<void> {
  for (let steps = 0; !condition(); steps++) {
    expect(steps).toBeLessThan(50_000)
    await cluster.time.advance(0.2)
  }
}

const diskOf = ({ snapshotDisk }: TestNode): SimulatedDisk => snapshotDisk as SimulatedDisk
const said = (message: string): Line[] => lines.filter((line) => line.message === message)
const at = (index: number): TestNode => cluster.nodes[index] as TestNode
const statusOf = ({ core }: TestNode) => core?.status().snapshots

async function snapshot(node: TestNode): Promise<void> {
  const nowMs = cluster.time.wallMs()
  await cluster.waitFor(() => (statusOf(node)?.lastMs ?? 0) > nowMs, 20_000)
}

const eventsOf = ({ core }: TestNode, ...kinds: string[]) => core?.observer.events.list({ kinds }) ?? []

/** Undefined: there is no such series. */
function figure(node: TestNode, name: string, labels: Readonly<Record<string, string>> = {}) {
  const family = node.core?.metrics().find((one) => one.name === name)
  return family?.samples.find((one) =>
    Object.entries(labels).every(([key, value]) => one.labels[key] === value),
  )?.value
}

const isServing = ({ core }: TestNode): boolean => core?.status().state === 'serving'

function idsOn(disk: SimulatedDisk): { valid: Set<string>; all: Set<string> } {
  const keys = disk.keys()
  const all = new Set(keys.map(idOfKey))
  return { all, valid: new Set([...all].filter((id) => keys.includes(manifestKey(id)))) }
}

async function writing(node: TestNode): Promise<void> {
  await cluster.waitFor(() => statusOf(node)?.isWriting === true, 10_000)
}

async function heldAll(value: string, keys = 200): Promise<void> {
  for (let i = 0; i < keys; i++) expect(await cluster.run(cache.get(`key-${i}`))).toBe(text(value, i))
}

describe('a disk that hangs', () => {
  it('while a snapshot is written does not hold up the stop of the node, nor what it serves', async () => {
    await start(1, { bytesPerSecond: 50_000 })
    await fill('a')
    await snapshot(at(0))
    await fill('b')
    await writing(at(0))
    diskOf(at(0)).hangs = true
    await fill('c')
    await heldAll('c')
    const begunMs = cluster.time.monotonicMs()
    await cluster.run(cluster.stopNode(at(0)), 30_000)
    expect(cluster.time.monotonicMs() - begunMs).toBeLessThan(8000)
    await heldAll('c')
  })

  it('as a node starts does not keep it from coming back, empty, before the others replace it', async () => {
    await start(2)
    await fill('a')
    await snapshot(at(2))
    cluster.killNode(at(2))
    diskOf(at(2)).hangs = true
    cluster.startNode(at(2))
    await cluster.waitFor(() => isServing(at(2)), 20_000)
    expect(said('no snapshot can be made; the node serves on').map(({ node }) => node)).toEqual(['node-3'])
    expect(eventsOf(at(2), 'snapshot')).toMatchObject([
      { kind: 'snapshot.failed', message: expect.stringContaining('does their disk hang?') },
    ])
    expect(figure(at(2), 'ringcache_snapshot_last_failed')).toBe(1)
    await heldAll('a')
    diskOf(at(2)).hangs = false
    await snapshot(at(2))
    expect(eventsOf(at(2), 'snapshot').map(({ kind }) => kind)).toEqual([
      'snapshot.failed',
      'snapshot.recovered',
    ])
    expect(figure(at(2), 'ringcache_snapshot_last_failed')).toBe(0)
  })

  it('while snapshots are loaded ends the loading, and what it gives later is left out', async () => {
    await start(3)
    await fill('old')
    await snapshot(at(2))
    cluster.killNode(at(2))
    await fill('new')
    cluster.startNode(at(2))
    await soon(() => statusOf(at(2))?.state === 'loading' && (at(2).core?.status().entries ?? 0) > 20)
    diskOf(at(2)).hangs = true
    await cluster.waitFor(() => isServing(at(2)), 25_000)
    diskOf(at(2)).hangs = false
    await cluster.waitFor(() => at(2).core?.status().backups !== 0, 30_000)
    await cluster.time.advance(5000)
    const digests = cluster.nodes.map(({ core }) =>
      Array.from({ length: 8 }, (_, p) => [...(core?.dataPlane?.engine.digest(p) ?? [])].join()),
    )
    expect(digests[2]).toEqual(digests[0])
    cluster.killNode(at(0))
    await heldAll('new')
  })
})

describe('a disk that is full', () => {
  it('costs this snapshot; what it left goes once there is room again', async () => {
    await start(4, { bytesPerSecond: 500_000 })
    await fill('a')
    await snapshot(at(0))
    await fill('b', 400)
    await writing(at(0))
    const disk = diskOf(at(0))
    await soon(() => idsOn(disk).all.size > idsOn(disk).valid.size)
    disk.full = true
    const failed = 'no snapshot can be made; the node serves on'
    await cluster.waitFor(() => said(failed).length > 0, 10_000)
    expect(said(failed)[0]?.fields['reason']).toMatch(/full/)
    expect(statusOf(at(0))?.failure).toMatch(/full/)
    expect(idsOn(disk).all.size).toBeGreaterThan(idsOn(disk).valid.size)
    await cluster.time.advance(10_000)
    expect(said(failed).length).toBe(1)
    // Each attempt counts; all of them are one event.
    const [event, ...others] = eventsOf(at(0), 'snapshot')
    expect(others).toEqual([])
    expect(event).toMatchObject({ kind: 'snapshot.failed', severity: 'error', nodeId: 'node-1' })
    expect(event?.message).toMatch(/full/)
    const attempts = figure(at(0), 'ringcache_snapshots_total', { result: 'failed' }) ?? 0
    expect(attempts).toBeGreaterThan(2)
    expect(event?.count).toBe(attempts)
    expect(event?.lastMs).toBeGreaterThan(event?.timeMs ?? 0)
    expect(figure(at(0), 'ringcache_snapshot_last_failed')).toBe(1)
    expect(eventsOf(at(1), 'snapshot')).toEqual([])
    await heldAll('b', 400)
    disk.full = false
    await snapshot(at(0))
    expect(eventsOf(at(0), 'snapshot').map(({ kind }) => kind)).toEqual([
      'snapshot.failed',
      'snapshot.recovered',
    ])
    expect(figure(at(0), 'ringcache_snapshot_last_failed')).toBe(0)
    expect(figure(at(0), 'ringcache_snapshot_last_timestamp_seconds')).toBe(
      (statusOf(at(0))?.lastMs ?? 0) / 1000,
    )
    expect(figure(at(0), 'ringcache_snapshot_last_entries')).toBe(400)
    expect(figure(at(0), 'ringcache_snapshot_last_bytes')).toBeGreaterThan(0)
    // At the next interval at the latest: this attempt may have begun before there was room.
    await cluster.waitFor(() => idsOn(disk).all.size === idsOn(disk).valid.size)
    expect(idsOn(disk).all).toEqual(idsOn(disk).valid)
    expect(statusOf(at(0))?.failure).toBeUndefined()
  })
})

describe('damage', () => {
  it('that is found while loading is not built upon: the next snapshot is a full one', async () => {
    await start(5)
    await fill('a')
    await snapshot(at(1))
    cluster.killNode(at(1))
    const disk = diskOf(at(1))
    const record = disk.keys().find((key) => key.endsWith('/00000000')) as string
    disk.damage(record, (value) => {
      value[value.length - 1] = (value.at(-1) ?? 0) ^ 1
      return value
    })
    cluster.startNode(at(1))
    await cluster.waitFor(() => isServing(at(1)), 30_000)
    expect(said('loaded from snapshots')[0]?.fields['failed']).toBe(1)
    expect(eventsOf(at(1))).toMatchObject([
      { id: 1, kind: 'node.started' },
      { id: 2, kind: 'snapshot.unusable', details: { partitions: 1, code: 'DATA_LOSS' } },
    ])
    expect(figure(at(1), 'ringcache_snapshot_partitions_unusable_total')).toBe(1)
    await heldAll('a')
    const before = said('snapshot').filter(({ node }) => node === 'node-2').length
    await fill('b')
    await snapshot(at(1))
    const next = said('snapshot').filter(({ node }) => node === 'node-2')[before]
    expect(next?.fields['kind']).toBe('full')
  })

  it('of a manifest costs that snapshot, and is told', async () => {
    await start(7)
    await fill('a')
    await snapshot(at(1))
    cluster.killNode(at(1))
    const disk = diskOf(at(1))
    const [id = ''] = idsOn(disk).valid
    disk.damage(manifestKey(id), (value) => {
      value[value.length - 1] = (value.at(-1) ?? 0) ^ 1
      return value
    })
    cluster.startNode(at(1))
    await cluster.waitFor(() => isServing(at(1)), 30_000)
    expect(eventsOf(at(1), 'snapshot')).toMatchObject([
      { kind: 'snapshot.unusable', severity: 'error', details: { snapshot: id, code: 'DATA_LOSS' } },
    ])
    expect(figure(at(1), 'ringcache_snapshots_unusable_total')).toBe(1)
    await heldAll('a')
  })
})

it('a snapshot that takes longer than an interval is followed by the next at once', async () => {
  await start(6, { intervalMs: 5000, bytesPerSecond: 25_000 })
  const stop = cluster.time.monotonicMs() + 35_000
  const times: number[] = []
  for (let i = 0; cluster.time.monotonicMs() < stop; i++) {
    await fill(`${i}`, 100)
    const last = statusOf(at(0))?.lastMs
    if (last !== undefined && last !== times.at(-1)) times.push(last)
    await cluster.time.advance(200)
  }
  const gaps = times.slice(1).map((ms, i) => ms - (times[i] as number))
  expect(Math.max(...gaps)).toBeGreaterThan(5500)
  expect(Math.max(...gaps)).toBeLessThan(9500)
})
