/** What nodes bring back from their snapshots, one at a time and all at once. */

import { afterEach, describe, expect, it } from 'vitest'
import type { Cache } from '../../src/client/cache.ts'
import { compareVersions, type Version } from '../../src/kernel/ids.ts'
import type { SnapshotOptions } from '../../src/node/options.ts'
import { createTestCluster, type TestCluster, type TestNode } from '../../src/testing/test-cluster.ts'

let cluster: TestCluster
let lines: { readonly node: string; readonly message: string }[] = []

afterEach(() => cluster.close())

const SNAPSHOTS: SnapshotOptions = { intervalMs: 5000, onStop: true, keepFulls: 2, bytesPerSecond: 0 }
const KEYS = 400

async function start(seed: number, snapshots: Partial<SnapshotOptions> = {}): Promise<Cache> {
  lines = []
  cluster = await createTestCluster({
    nodes: 3,
    seed,
    node: { snapshots: { ...SNAPSHOTS, ...snapshots } },
    log: (node) => {
      const keep = (message: string): void => void lines.push({ node, message })
      return { debug: () => {}, info: keep, warn: keep, error: keep }
    },
  })
  return cluster.connect({ timeout: 5000 })
}

const text = (i: number): string => `${i}/`.repeat(100)

async function fill(cache: Cache, keys = KEYS): Promise<Map<string, Version>> {
  const versions = new Map<string, Version>()
  for (let at = 0; at < keys; at += 50) {
    const batch = Array.from({ length: Math.min(50, keys - at) }, (_, i) => at + i)
    const done = batch.map(async (i) => versions.set(`key-${i}`, await cache.set(`key-${i}`, text(i))))
    await cluster.run(Promise.all(done))
  }
  return versions
}

/** All nodes have written what they hold. */
async function snapshots(sinceMs: number = cluster.time.wallMs()): Promise<void> {
  await cluster.waitFor(
    () => cluster.nodes.every(({ core }) => (core?.status().snapshots?.lastMs ?? 0) > sinceMs),
    20_000,
  )
}

/** Every partition has all its copies, on the processes that run. */
function isWhole(): boolean {
  return cluster.nodes.every(({ core }) => {
    const topology = core?.control.topology
    return (
      core?.status().state === 'serving' &&
      topology?.partitions.every(
        ({ inSync }) =>
          inSync.length === 3 && inSync.every((node) => topology.nodes[node]?.state === 'active'),
      ) === true
    )
  })
}

const sentBytes = (): number =>
  cluster.nodes.reduce((sum, { core }) => sum + (core?.dataPlane?.replicator.syncs.sentBytes ?? 0), 0)

const logged = (message: string): string[] =>
  lines.filter((line) => line.message === message).map(({ node }) => node)

function leads(node: TestNode, key: string): boolean {
  const replicator = node.core?.dataPlane?.replicator
  const bytes = new TextEncoder().encode(key)
  const partition = replicator?.locate(0, bytes, 0, bytes.length) ?? -1
  return replicator?.replica(partition)?.role === 'primary'
}

const entriesOf = (node: TestNode): number => node.core?.status().entries ?? 0

function killAll(): void {
  for (const node of cluster.nodes) cluster.killNode(node)
}

async function startAll(): Promise<void> {
  for (const node of cluster.nodes) cluster.startNode(node)
  await cluster.waitFor(isWhole, 120_000)
}

async function expectAll(cache: Cache, keys = KEYS): Promise<void> {
  for (let i = 0; i < keys; i++) expect(await cluster.run(cache.get(`key-${i}`))).toBe(text(i))
}

describe('a node that restarts', () => {
  /** @returns bytes that its copies cost */
  async function restartLast(cache: Cache, disk: 'kept' | 'empty'): Promise<number> {
    const last = cluster.nodes[2] as TestNode
    cluster.killNode(last)
    await cluster.run(cache.set('key-7', 'changed'))
    await cluster.run(cache.delete('key-8'))
    const before = sentBytes()
    cluster.startNode(last, { disk })
    await cluster.waitFor(isWhole, 60_000)
    return sentBytes() - before
  }

  it('takes only what differs from its snapshot', async () => {
    let cache = await start(1)
    await fill(cache)
    await snapshots()
    const warm = await restartLast(cache, 'kept')
    expect(logged('loaded from snapshots')).toEqual(['node-3'])
    expect(await cluster.run(cache.get('key-7', { read: 'replica' }))).toBe('changed')
    expect(entriesOf(cluster.nodes[2] as TestNode)).toBe(KEYS - 1)
    // Whatever it is asked from now on it answers as the others do.
    cluster.killNode(cluster.nodes[0] as TestNode)
    cluster.killNode(cluster.nodes[1] as TestNode)
    cluster.close()
    cache = await start(1)
    await fill(cache)
    await snapshots()
    const cold = await restartLast(cache, 'empty')
    expect(cold).toBeGreaterThan(KEYS * 300)
    expect(warm).toBeLessThan(cold / 10)
  })

  it('never answers with what its snapshot says', async () => {
    const cache = await start(2)
    await fill(cache, 100)
    await snapshots()
    const last = cluster.nodes[2] as TestNode
    cluster.killNode(last)
    for (let i = 0; i < 100; i++) await cluster.run(cache.set(`key-${i}`, 'new'))
    cluster.startNode(last)
    for (const reading = cluster.time.monotonicMs(); cluster.time.monotonicMs() - reading < 5000; ) {
      for (let i = 0; i < 100; i += 9) {
        expect(await cluster.run(cache.get(`key-${i}`))).toBe('new')
        expect(await cluster.run(cache.get(`key-${i}`, { read: 'replica' }))).toBe('new')
      }
    }
    expect(isWhole()).toBe(true)
    expect(logged('loaded from snapshots')).toEqual(['node-3'])
  })

  it('gives up writes of its snapshot that the others went on without', async () => {
    const cache = await start(3, { intervalMs: 2000 })
    await fill(cache, 100)
    await snapshots()
    const [first] = cluster.nodes as [TestNode]
    const own = Array.from({ length: 100 }, (_, i) => i).filter((i) => leads(first, `key-${i}`))
    expect(own.length).toBeGreaterThan(10)
    // Acknowledged to nobody but itself, then in its snapshot, while the others go on.
    for (const other of cluster.nodes.slice(1)) cluster.network.cut(first.nodeId, other.nodeId)
    const alone = await cluster.connect({ timeout: 300 }, 'beside')
    const writes = own.map((i) => alone.set(`key-${i}`, 'rolled back', { durability: 'one' }))
    await cluster.run(Promise.allSettled(writes))
    expect(
      first.core?.dataPlane?.replicator.primaries.some(
        ({ lastSequence, commitSequence }) => lastSequence > commitSequence,
      ),
    ).toBe(true)
    await cluster.waitFor(() => {
      const status = first.core?.status().snapshots
      return (status?.lastMs ?? 0) > cluster.time.wallMs() - 50
    }, 10_000)
    await cluster.time.advance(2500)
    cluster.killNode(first)
    for (const other of cluster.nodes.slice(1)) cluster.network.heal(first.nodeId, other.nodeId)
    await cluster.waitFor(() => cluster.nodes[1]?.core?.status().backups === 0, 20_000).catch(() => {})
    cluster.startNode(first)
    await cluster.waitFor(isWhole, 60_000)
    expect(logged('loaded from snapshots')).toEqual(['node-1'])
    cluster.killNode(cluster.nodes[1] as TestNode)
    await expectAll(cache, 100)
  })
})

describe('a cluster all of whose processes were killed', () => {
  it('comes back with its snapshots: values, times to live and versions, and later versions are higher', async () => {
    const cache = await start(4, { intervalMs: 3000 })
    const versions = await fill(cache)
    await cluster.run(cache.set('short', 1, { ttl: 20_000 }))
    await cluster.run(cache.set('long', 2, { ttl: 3_600_000 }))
    const storedMs = cluster.time.wallMs()
    await cluster.time.advance(1000)
    await snapshots(storedMs)
    await snapshots().catch(() => {})
    killAll()
    await cluster.time.advance(30_000)
    await startAll()
    expect(new Set(logged('loaded from snapshots'))).toEqual(new Set(['node-1', 'node-2', 'node-3']))
    for (let i = 0; i < KEYS; i++) {
      const entry = await cluster.run(cache.getEntry(`key-${i}`))
      expect(entry?.value).toBe(text(i))
      expect(entry?.version).toEqual(versions.get(`key-${i}`))
    }
    expect(await cluster.run(cache.get('short'))).toBeUndefined()
    expect(await cluster.run(cache.get('long'))).toBe(2)
    const leftMs = (await cluster.run(cache.getEntry('long')))?.expiresAt ?? 0
    expect(leftMs).toBeLessThan(cluster.time.wallMs() + 3_600_000 - 30_000)
    for (let i = 0; i < KEYS; i += 7) {
      const version = await cluster.run(cache.set(`key-${i}`, 'later'))
      expect(compareVersions(version, versions.get(`key-${i}`) as Version)).toBeGreaterThan(0)
    }
  })

  it('begins with the newest of the snapshots there are', async () => {
    const cache = await start(5, { intervalMs: 3000 })
    await fill(cache, 100)
    await snapshots()
    cluster.killNode(cluster.nodes[0] as TestNode)
    await cluster.time.advance(2000)
    for (let i = 0; i < 100; i++) await cluster.run(cache.set(`key-${i}`, `newer ${i}`))
    await cluster.time.advance(7000)
    killAll()
    await startAll()
    for (let i = 0; i < 100; i++) expect(await cluster.run(cache.get(`key-${i}`))).toBe(`newer ${i}`)
  })

  it('comes back with the snapshot before the one that was being written', async () => {
    const cache = await start(6, { intervalMs: 3000 })
    await fill(cache)
    await snapshots()
    for (let i = 0; i < 100; i++) await cluster.run(cache.set(`more-${i}`, text(i)))
    const isWriting = (): boolean =>
      cluster.nodes.some(({ core }) => core?.status().snapshots?.isWriting === true)
    const untilMs = cluster.time.wallMs() + 10_000
    while (!isWriting() && cluster.time.wallMs() < untilMs) await cluster.time.advance(0.2)
    expect(isWriting()).toBe(true)
    killAll()
    await startAll()
    await expectAll(cache)
  })

  it('comes back empty, and says so, when all there is was damaged', async () => {
    const cache = await start(7, { intervalMs: 3000 })
    await fill(cache, 50)
    await snapshots()
    killAll()
    for (const { snapshotDisk } of cluster.nodes)
      for (const key of snapshotDisk?.keys() ?? [])
        snapshotDisk?.damage(key, (value) => {
          value[value.length - 1] = (value.at(-1) ?? 0) ^ 1
          return value
        })
    await startAll()
    expect(new Set(logged('no snapshot of this cluster can be used: the node comes back empty')).size).toBe(3)
    expect(await cluster.run(cache.get('key-1'))).toBeUndefined()
    await fill(cache, 50)
    await expectAll(cache, 50)
  })

  it('takes nothing from the snapshots of another cluster', async () => {
    const cache = await start(8, { intervalMs: 3000 })
    await fill(cache, 50)
    await snapshots()
    killAll()
    for (const { disk } of cluster.nodes) disk.wipe()
    // They found another cluster, of which they have no snapshots yet as they start once more.
    await startAll()
    killAll()
    await startAll()
    const again = await cluster.connect({ timeout: 5000 }, 'again')
    expect(await cluster.run(again.get('key-1'))).toBeUndefined()
    expect(await cluster.run(again.set('key-1', 1))).toBeDefined()
  })

  it('loses nothing when all its nodes were stopped in order', async () => {
    const cache = await start(9, { intervalMs: 3_600_000 })
    await fill(cache)
    const stops = cluster.nodes.map((node) => cluster.stopNode(node))
    await cluster.run(Promise.all(stops))
    await startAll()
    await expectAll(cache)
  })
})
