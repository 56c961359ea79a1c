/**
 * A real node on a real disk whose snapshot folder can't be used: it serves as if nothing were, says why by an event and by metrics, and
 * makes snapshots again once the reason is gone. A full disk is in snapshot-full-disk.test.ts.
 */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Cache } from '../../src/client/cache.ts'
import { connect } from '../../src/client/connect.ts'
import { silentLog } from '../../src/kernel/log.ts'
import { CacheNode } from '../../src/node/cache-node.ts'
import { ObservedNode } from '../support/observed-node.ts'

const ADDRESS = '127.0.0.1:9110'
const KEYS = 300
const WAIT = { timeout: 20_000, interval: 100 }
/** Holds the lock of a folder until its process ends. */
const LOCKER = `const { Level } = require('level'); new Level(process.argv[1]).open().then(() => console.log('open')); setInterval(() => {}, 1000)`

let folder = ''
let snapshots = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ringcache-faults-'))
  snapshots = join(folder, 'snapshots')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

function startNode(): Promise<CacheNode> {
  const config = {
    name: 'faults',
    nodes: [{ id: 'node1', address: ADDRESS, dataDir: folder }],
    replication: { partitions: 8, backlog: '16mb' },
    memory: { limit: '1gb' },
    snapshots: { interval: '1s' },
  }
  return CacheNode.start({ config, nodeId: 'node1', log: silentLog })
}

async function fill(cache: Cache, value: string): Promise<void> {
  for (let i = 0; i < KEYS; i++) await cache.set(`key-${i}`, `${value} ${i} ${'x'.repeat(500)}`)
}

/** Writes and reads as ever. */
async function expectService(cache: Cache, value: string): Promise<void> {
  await fill(cache, value)
  for (let i = 0; i < KEYS; i++) expect(String(await cache.get(`key-${i}`))).toMatch(`${value} ${i} `)
}

async function expectFailing(observed: ObservedNode, why: RegExp): Promise<void> {
  await expect
    .poll(() => observed.figure('ringcache_snapshots_total', { result: 'failed' }), WAIT)
    .toBeGreaterThan(1)
  const [event, ...others] = await observed.events('snapshot')
  expect(others).toEqual([])
  expect(event).toMatchObject({ kind: 'snapshot.failed', severity: 'error', nodeId: 'node1' })
  expect(event?.message).toMatch(why)
  expect(event?.count).toBeGreaterThan(1)
  expect(await observed.figure('ringcache_snapshot_last_failed')).toBe(1)
  expect(await observed.figure('ringcache_snapshots_total', { result: 'done' })).toBe(0)
  expect(await observed.figure('ringcache_snapshot_last_timestamp_seconds')).toBeUndefined()
}

async function expectRecovered(observed: ObservedNode): Promise<void> {
  await expect
    .poll(async () => (await observed.events('snapshot')).map(({ kind }) => kind), WAIT)
    .toEqual(['snapshot.failed', 'snapshot.recovered'])
  expect(await observed.figure('ringcache_snapshot_last_failed')).toBe(0)
  expect(await observed.figure('ringcache_snapshots_total', { result: 'done' })).toBeGreaterThan(0)
  expect(await observed.figure('ringcache_snapshot_last_entries')).toBe(KEYS)
}

/** Runs a cluster of one node while its folder is as `spoil` made it, and after `mend`. */
async function run(
  spoil: () => Promise<void> | void,
  why: RegExp,
  mend: () => Promise<void> | void,
): Promise<void> {
  await spoil()
  await using node = await startNode()
  await node.whenServing()
  using observed = new ObservedNode(ADDRESS)
  await using cache = await connect({ nodes: [ADDRESS], timeout: 5000 })
  await expectService(cache, 'a')
  await expectFailing(observed, why)
  await expectService(cache, 'b')
  await mend()
  await expectRecovered(observed)
  await expectService(cache, 'c')
}

async function lock(path: string): Promise<ChildProcess> {
  mkdirSync(path, { recursive: true })
  const cwd = resolve(import.meta.dirname, '../..')
  const child = spawn(process.execPath, ['-e', LOCKER, path], { cwd, stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  return child
}

async function kill(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  child.kill('SIGKILL')
  await gone
}

describe('a node whose snapshot folder', () => {
  it('is used by another process serves on', async () => {
    let holder: ChildProcess | undefined
    try {
      await run(
        async () => {
          holder = await lock(snapshots)
        },
        /snapshots is used by another process: stop that node, or give this one a directory of its own/,
        () => kill(holder),
      )
    } finally {
      await kill(holder)
    }
  }, 60_000)

  it('may not be written serves on', async ({ skip }) => {
    mkdirSync(snapshots)
    // To root all folders can be written, but not on a disk that is read-only.
    const isRoot = process.getuid?.() === 0
    const mount = (...words: string[]): number | null => spawnSync('mount', [...words, snapshots]).status
    if (isRoot && mount('-t', 'tmpfs', '-o', 'ro', 'tmpfs') !== 0) skip('nothing can be mounted here')
    if (!isRoot) chmodSync(snapshots, 0o500)
    try {
      await run(
        () => {},
        /snapshots can't be written: give its user the right to, or name another/,
        () => void (isRoot ? mount('-o', 'remount,rw') : chmodSync(snapshots, 0o700)),
      )
    } finally {
      if (isRoot) spawnSync('umount', ['-l', snapshots])
    }
  }, 60_000)

  it('has damaged files of its database serves on', async () => {
    await run(
      async () => {
        // A database of before, of which a file is damaged.
        await kill(await lock(snapshots))
        writeFileSync(join(snapshots, 'CURRENT'), 'nonsense')
      },
      /snapshots is damaged: move it away/,
      () => rmSync(snapshots, { recursive: true }),
    )
  }, 60_000)

  it.each([
    ['damaged records', /\.ldb$/, 'snapshot.unusable', 'ringcache_snapshot_partitions_unusable_total'],
    ['a damaged end', /\.log$/, 'snapshot.unfinished', 'ringcache_snapshots_unfinished_total'],
  ])(
    'holds a snapshot with %s comes back without it, says so, and makes new ones',
    async (_, files, kind, metric) => {
      await using first = await startNode()
      await first.whenServing()
      await using cache = await connect({ nodes: [ADDRESS], timeout: 10_000 })
      await fill(cache, 'a')
      using before = new ObservedNode(ADDRESS)
      await expect.poll(() => before.figure('ringcache_snapshot_last_entries'), WAIT).toBe(KEYS)
      await first.close()
      damage(files)
      await using second = await startNode()
      await second.whenServing()
      using observed = new ObservedNode(ADDRESS)
      await expect.poll(() => observed.events('snapshot'), WAIT).toMatchObject([{ kind, nodeId: 'node1' }])
      expect((await observed.events(kind))[0]?.message).toMatch(/damaged|Corruption/)
      expect(await observed.figure(metric)).toBeGreaterThan(0)
      await expectService(cache, 'b')
      await expect
        .poll(() => observed.figure('ringcache_snapshots_total', { result: 'done' }), WAIT)
        .toBeGreaterThan(0)
    },
    60_000,
  )
})

/** Some bytes of each of these files become others. */
function damage(files: RegExp): void {
  for (const name of readdirSync(snapshots).filter((one) => files.test(one))) {
    const path = join(snapshots, name)
    const { size } = statSync(path)
    const file = openSync(path, 'r+')
    for (let at = Math.floor(size / 10); at + 4 < size; at += 20_000)
      writeSync(file, new Uint8Array([1, 2, 3, 4]), 0, 4, at)
    closeSync(file)
  }
}
