/** Backups of a cluster of real processes, by the commands of operators, brought back into another cluster. */

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { BackupManifest } from '../../src/backup/backup-manifest.ts'
import type { BackupListing } from '../../src/backup/cluster-backups.ts'
import type { RestoreReport } from '../../src/backup/restore-run.ts'
import type { Verification } from '../../src/backup/verify-run.ts'
import { connect } from '../../src/client/connect.ts'
import { resultOf, runCommand } from '../support/backup/command.ts'
import { expectVaried, REGIONS, writeVaried } from '../support/backup/varied-data.ts'
import { startNodeProcesses } from '../support/node-processes.ts'

const PORT = 9400
const FAST = { memory: { limit: '256mb' }, replication: { partitions: 24, backlog: '32mb' } }

let folder = ''
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'ringcache-backups-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

it('a backup of three nodes comes back into five with another number of partitions', async () => {
  const to = ['--to', join(folder, 'first')]
  await using three = await startNodeProcesses(PORT, 3, { ...FAST, regions: REGIONS })
  await using from = await connect({ nodes: three.addresses, timeout: 20_000 })
  const known = await writeVaried(from, 1000)
  await from.set('gone', 'soon', { ttl: 3000 })
  const goneAtMs = Date.now() + 3000

  // Others write meanwhile.
  let isStopped = false
  const load = (async () => {
    for (let i = 0; !isStopped; i++) await from.set(`busy:${i % 300}`, i)
  })()
  const made = await resultOf<BackupManifest>(three.addresses, 'snapshot', 'create', 'monday', ...to)
  isStopped = true
  await load
  expect(made.nodes).toEqual(['node1', 'node2', 'node3'])
  expect(made.entries).toBeGreaterThanOrEqual(known.length)
  // Any node knows it.
  const others = three.addresses.slice(1)
  const [listed] = await resultOf<BackupListing[]>(others, 'snapshot', 'list', ...to)
  expect(listed).toMatchObject({ name: 'monday', state: 'complete', entries: made.entries })
  expect(await resultOf(others, 'snapshot', 'show', 'monday', ...to)).toEqual(made)
  const verified = await resultOf<Verification>(others, 'snapshot', 'verify', 'monday', ...to)
  expect(verified).toMatchObject({ isGood: true, partitions: 24, entries: made.entries })
  await expect(resultOf(others, 'snapshot', 'create', 'monday', ...to)).rejects.toThrow('already')

  const more = {
    ...FAST,
    replication: { ...FAST.replication, partitions: 40 },
    regions: { sessions: { ttl: '2h' } },
  }
  await using five = await startNodeProcesses(PORT + 10, 5, more)
  await using into = await connect({ nodes: five.addresses, timeout: 20_000 })
  await sleep(Math.max(0, goneAtMs - Date.now()))
  const planned = await resultOf<RestoreReport>(
    five.addresses,
    'snapshot',
    'restore',
    'monday',
    '--dry-run',
    ...to,
  )
  const report = await resultOf<RestoreReport>(five.addresses, 'snapshot', 'restore', 'monday', ...to)
  expect(planned).toMatchObject({ written: report.written, kept: 0, expired: report.expired })
  expect(report.written + report.expired).toBe(made.entries)
  expect(report.expired).toBeGreaterThanOrEqual(1)
  expect(report.differences.join('\n')).toContain(
    'region sessions: ttlMs is 7200000 here, 3600000 in the backup',
  )
  expect(report.regions.find(({ name }) => name === 'products')).toMatchObject({ created: true })
  await expectVaried(into, known)
  expect(await into.has('gone')).toBe(false)
  // Counters count on.
  expect(await into.increment('count:3', 1)).toBe(9)
  // Nobody who writes there is set back.
  const again = await resultOf<RestoreReport>(five.addresses, 'snapshot', 'restore', 'monday', ...to)
  expect(again).toMatchObject({ written: 0 })
  expect(await into.get('count:3')).toBe(9)

  await resultOf(five.addresses, 'snapshot', 'delete', 'monday', ...to)
  expect(await resultOf(five.addresses, 'snapshot', 'list', ...to)).toEqual([])
}, 120_000)

it('a restore writes what it is told to, and no more', async () => {
  const to = ['--to', join(folder, 'second')]
  await using nodes = await startNodeProcesses(PORT + 20, 1, { ...FAST, regions: { other: {} } })
  const { addresses } = nodes
  await using cache = await connect({ nodes: addresses, timeout: 20_000 })
  const other = cache.region('other')
  for (const region of [cache, other])
    for (let n = 0; n < 50; n++) await region.set(`${n % 2 === 0 ? 'a' : 'b'}:${n}`, `old ${n}`)
  await resultOf(addresses, 'snapshot', 'create', 'x', ...to)
  await cache.set('a:0', 'new')
  await cache.delete('a:2')
  await cache.delete('b:3')
  await other.clear()
  const restore = (...args: string[]): Promise<RestoreReport> =>
    resultOf<RestoreReport>(addresses, 'snapshot', 'restore', 'x', ...args, ...to)

  expect(await restore('--region', 'default', '--prefix', 'a:')).toMatchObject({ written: 1, kept: 24 })
  expect([await cache.get('a:0'), await cache.get('a:2'), await cache.has('b:3')]).toEqual([
    'new',
    'old 2',
    false,
  ])
  expect(await other.has('a:4')).toBe(false)
  // What was written after the backup is newer.
  expect(await restore('--if-newer', '--region', 'default')).toMatchObject({ written: 1, kept: 49 })
  expect(await cache.get('a:0')).toBe('new')
  expect(await restore('--overwrite', '--region', 'default', '--dry-run')).toMatchObject({ written: 50 })
  expect(await cache.get('a:0')).toBe('new')
  expect(await restore('--overwrite')).toMatchObject({ written: 100 })
  expect([await cache.get('a:0'), await other.get('b:7')]).toEqual(['old 0', 'old 7'])
  await expect(restore('--region', 'nowhere')).rejects.toThrow('the backup has no region nowhere')

  // One bit of a part is another.
  const parts = join(folder, 'second', 'x', 'parts')
  const data = join(parts, readdirSync(parts).find((name) => name.endsWith('.data')) as string)
  const bytes = readFileSync(data)
  bytes[1000] = (bytes[1000] as number) ^ 1
  writeFileSync(data, bytes)
  await Promise.all([cache.clear(), other.clear()])
  const verify = await runCommand(addresses, 'snapshot', 'verify', 'x', ...to).ended
  expect([verify.code, verify.stdout]).toEqual([3, expect.stringContaining('x is damaged')])
  const failed = await runCommand(addresses, 'snapshot', 'restore', 'x', ...to).ended
  expect([failed.code, failed.stderr]).toEqual([3, expect.stringMatching(/partition \d+: .*--skip-damaged/)])
  const rest = await runCommand(addresses, 'snapshot', 'restore', 'x', '--skip-damaged', '-o', 'json', ...to)
    .ended
  const report = JSON.parse(rest.stdout) as RestoreReport
  expect([rest.code, report.damaged.length]).toEqual([3, 1])
  expect(report.written).toBeGreaterThan(80)
  expect(report.written).toBeLessThan(100)
}, 120_000)

it('kill -9 of the node that sees to a backup, and of another, leaves nothing that is listed and is not whole', async () => {
  const to = ['--to', join(folder, 'third')]
  await using nodes = await startNodeProcesses(PORT + 30, 3, { ...FAST, regions: REGIONS })
  const { addresses } = nodes
  await using cache = await connect({ nodes: addresses, timeout: 20_000 })
  const known = await writeVaried(cache, 600)
  const [first = '', second = '', third = ''] = addresses
  // Slow, so that it is under way when its node ends; the command asks the next one.
  const create = runCommand([first, second, third], 'snapshot', 'create', 'x', '--rate', '800kb', ...to)
  await sleep(2500)
  await nodes.kill('node1')
  const [listed] = await resultOf<BackupListing[]>([second], 'snapshot', 'list', ...to)
  expect(listed).toMatchObject({ name: 'x', state: 'incomplete' })
  nodes.start('node1')
  await sleep(1000)
  await nodes.kill('node3')
  nodes.start('node3')
  expect(await create.ended).toMatchObject({ code: 0 })
  const verified = await resultOf<Verification>([second], 'snapshot', 'verify', 'x', ...to)
  expect(verified.isGood).toBe(true)
  expect(verified.entries).toBeGreaterThanOrEqual(known.length)
}, 120_000)
