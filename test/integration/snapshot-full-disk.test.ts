import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { connect } from '../../src/client/connect.ts'
import { silentLog } from '../../src/kernel/log.ts'
import { CacheNode } from '../../src/node/cache-node.ts'
import { SmallDisk } from '../chaos/cluster/small-disk.ts'
import { ObservedNode } from '../support/observed-node.ts'

const MAIN = resolve(import.meta.dirname, '../../dist/cli/main.js')
const ADDRESS = '127.0.0.1:7895'
const KEYS = 640
const VALUE_BYTES = 100_000

it('a disk too small for its snapshots costs those, and neither data nor changes of the cluster', async ({
  skip,
}) => {
  const problem = SmallDisk.problem()
  if (problem !== undefined) skip(problem)
  const folder = mkdtempSync(join(tmpdir(), 'ringcache-full-'))
  const disk = await SmallDisk.mount(join(folder, 'disk'), 96)
  const warnings: { readonly message: string; readonly reason?: string }[] = []
  const snapshots: string[] = []
  const config = {
    name: 'full-disk',
    nodes: [{ id: 'node1', address: ADDRESS, dataDir: disk.dataDir }],
    replication: { partitions: 16 },
    memory: { limit: '512mb' },
    snapshots: { interval: '1s', bytesPerSecond: 'none' },
  }
  const log = {
    ...silentLog,
    info: (message: string) => void (message === 'snapshot' && snapshots.push(message)),
    warn: (message: string, fields: object = {}) => void warnings.push({ message, ...fields }),
  }
  const ringcache = (...words: string[]) =>
    promisify(execFile)(process.execPath, [MAIN, ...words, '--address', ADDRESS], { timeout: 20_000 })
  try {
    await using node = await CacheNode.start({ config, nodeId: 'node1', log })
    await node.whenServing()
    await using cache = await connect({ nodes: [ADDRESS], timeout: 5000 })
    for (let at = 0; at < KEYS; at++) await cache.set(`key-${at}`, randomBytes(VALUE_BYTES))
    const failed = () => warnings.filter(({ message }) => message.startsWith('no snapshot can be made'))
    for (let waits = 0; failed().length === 0; waits++) {
      expect(waits).toBeLessThan(200)
      await sleep(100)
    }
    expect(failed()[0]?.reason).toMatch(/MiB left, and snapshots leave the last .* free some space/)
    expect(node.status().snapshots?.failure).toMatch(/free some space/)
    using observed = new ObservedNode(ADDRESS)
    expect(await observed.figure('ringcache_snapshot_last_failed')).toBe(1)
    for (let i = 0; i < 3; i++) {
      await ringcache('region', 'create', `region-${i}`, '--size', '1mb')
      expect(await cache.get(`key-${i}`)).toHaveLength(VALUE_BYTES)
      await sleep(1000)
    }
    // One event, however often it was tried meanwhile.
    const failures = await observed.figure('ringcache_snapshots_total', { result: 'failed' })
    expect(failures).toBeGreaterThan(1)
    const [event, ...others] = await observed.events('snapshot')
    expect(others).toEqual([])
    expect(event).toMatchObject({ kind: 'snapshot.failed', severity: 'error', nodeId: 'node1' })
    expect(event?.message).toMatch(/MiB left, and snapshots leave the last .* free some space/)
    expect(event?.count).toBeGreaterThan(1)
    // With less to write there is room.
    for (let at = 100; at < KEYS; at++) await cache.delete(`key-${at}`)
    const before = snapshots.length
    for (let waits = 0; snapshots.length === before; waits++) {
      expect(waits).toBeLessThan(200)
      await sleep(100)
    }
    expect((await observed.events('snapshot')).map(({ kind }) => kind)).toEqual([
      'snapshot.failed',
      'snapshot.recovered',
    ])
    expect(await observed.figure('ringcache_snapshot_last_failed')).toBe(0)
    expect(warnings.filter(({ message }) => !message.startsWith('no snapshot can be made'))).toEqual([])
  } finally {
    await disk[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true, force: true })
  }
}, 90_000)
