/** `ringcache snapshot export` and `import` as processes, against real nodes. */

import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, it } from 'vitest'
import type { Cache } from '../../src/client/cache.ts'
import { connect } from '../../src/client/connect.ts'
import { startNodeCluster } from '../support/node-cluster.ts'

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))
const PORT = 8160
const folder: string = mkdtempSync(join(tmpdir(), 'ringcache-export-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const settings = {
  regions: { default: {}, sessions: { ttl: '30m', size: '64mb' } },
  replication: { partitions: 32, backlog: '16mb' },
  // All nodes count the whole process, which runs the test, too.
  memory: { limit: '2gb' },
}

interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

function start(...args: string[]): { child: ChildProcess; ended: Promise<Ended> } {
  const all = ['--import', 'tsx', MAIN, 'snapshot', ...args, '-a', `127.0.0.1:${PORT}`]
  const child = spawn(process.execPath, all, { stdio: 'pipe' })
  const out = { stdout: '', stderr: '' }
  child.stdout?.on('data', (chunk) => {
    out.stdout += String(chunk)
  })
  child.stderr?.on('data', (chunk) => {
    out.stderr += String(chunk)
  })
  const ended = new Promise<Ended>((resolve) => child.once('close', (code) => resolve({ code, ...out })))
  return { child, ended }
}

function snapshot(...args: string[]): Promise<Ended> {
  return start(...args).ended
}

/** All of them are there afterwards, or it throws. */
async function fill(cache: Cache, count: number, make: (i: number) => unknown): Promise<void> {
  const results = await cache.mset(Array.from({ length: count }, (_, i) => [`key:${i}`, make(i)] as const))
  for (const result of results.values()) if (result instanceof Error) throw result
}

it('what one cluster exports another imports, with the regions it had', async () => {
  const file = join(folder, 'all.jsonl')
  {
    await using cluster = await startNodeCluster(PORT, 3, settings)
    await using cache = await connect({ nodes: cluster.addresses, timeout: '20s' })
    await fill(cache, 2000, (i) => ({ i, at: new Date(i) }))
    await cache.set('large', Buffer.alloc(16_000_000, 7))
    await cache.set('noise', 'grüße '.repeat(1_000_000))
    await cache.increment('visits', 12)
    await cache.region('sessions').set('s', new Map([[1, undefined]]), { tags: ['t'] })
    await using foreign = await connect({
      nodes: cluster.addresses,
      serializer: { encode: () => new Uint8Array([0xff, 0]), decode: (bytes) => [...bytes] },
    })
    await foreign.set('foreign', { any: 1 })
    const written = await snapshot('export', '--file', file, '-o', 'json')
    expect(written).toMatchObject({ code: 0, stderr: '' })
    expect(JSON.parse(written.stdout)).toMatchObject({ regions: ['default', 'sessions'], entries: 2005 })
    expect(await snapshot('export', '--file', file)).toMatchObject({
      code: 1,
      stderr: `${file} exists; give another name, or --replace\n`,
    })
    const some = await snapshot('export', '--region', 'default', '--prefix', 'key:199')
    expect(some.stdout.trim().split('\n')).toHaveLength(11 + 2)
    expect(some.stderr).toMatch(/^11 entries of default written, /)
  }
  await using cluster = await startNodeCluster(PORT, 4, { ...settings, regions: { default: {} } })
  await using cache = await connect({ nodes: cluster.addresses, timeout: '20s' })
  const refused = await snapshot('import', '--file', file)
  expect(refused.code).toBe(1)
  expect(refused.stderr).toContain(
    'there is no region "sessions"; the cluster has: default. Give --create-regions',
  )
  const read = await snapshot('import', '--file', file, '--create-regions', '--overwrite', '-o', 'json')
  expect(read).toMatchObject({ code: 0, stderr: '' })
  expect(JSON.parse(read.stdout)).toMatchObject({
    stored: 2005,
    createdRegions: ['sessions'],
    isCutOff: false,
  })
  expect(await cache.get('key:77')).toEqual({ i: 77, at: new Date(77) })
  expect(Buffer.alloc(16_000_000, 7).equals((await cache.get('large')) as Buffer)).toBe(true)
  expect((await cache.get('noise')) === 'grüße '.repeat(1_000_000)).toBe(true)
  expect(await cache.increment('visits')).toBe(13)
  const session = await cache.region('sessions').getEntry('s')
  expect(session).toMatchObject({ value: new Map([[1, undefined]]), tags: ['t'] })
  expect(session?.ttlRemaining).toBeGreaterThan(60_000)
  await using foreign = await connect({
    nodes: cluster.addresses,
    serializer: { encode: () => new Uint8Array(), decode: (bytes) => [...bytes] },
  })
  expect(await foreign.get('foreign')).toEqual([0xff, 0])
}, 120_000)

it('Ctrl-C, a full disk, a reader that goes away and bad lines end with a word and a code', async () => {
  await using cluster = await startNodeCluster(PORT, 1, settings)
  await using cache = await connect({ nodes: cluster.addresses, timeout: '20s' })
  await fill(cache, 3000, () => 'x'.repeat(200))
  const file = join(folder, 'stopped.jsonl')
  const slow = start('export', '--file', file, '--rate', '50')
  await expect.poll(() => existsSync(`${file}.partial`), { timeout: 20_000 }).toBe(true)
  slow.child.kill('SIGINT')
  const stopped = await slow.ended
  expect(stopped.code).toBe(3)
  expect(stopped.stderr).toMatch(/stopped after \d+ entries\n$/)
  expect(readdirSync(folder).filter((name) => name.startsWith('stopped'))).toEqual([])

  const full = await snapshot('export', '--file', '/dev/full')
  expect(full.code).toBe(3)
  expect(full.stderr).toMatch(/\/dev\/full: .*no space left/)

  const piped = start('export')
  piped.child.stdout?.once('data', () => piped.child.stdout?.destroy())
  const unread = await piped.ended
  expect(unread.code).toBe(3)
  expect(unread.stderr).toMatch(/nobody reads the output any more\nended after \d+ entries\n$/)

  const bad = join(folder, 'bad.jsonl')
  writeFileSync(bad, '{"key":"a","value":1}\n{"key":"b","value":{"$dat":1}}\n{"key":"c","value":1}\n')
  const refused = await snapshot('import', '--file', bad)
  expect(refused.code).toBe(3)
  expect(refused.stderr).toContain(`${bad}:2: "$dat" is no tag`)
  const skipped = await snapshot('import', '--file', bad, '--skip-bad-lines', '-o', 'json')
  expect(skipped.code).toBe(0)
  expect(JSON.parse(skipped.stdout)).toMatchObject({ stored: 1, kept: 1, badLines: 1 })

  const waiting = start('import')
  waiting.child.stdin?.write('{"key":"from stdin","value":1}\n')
  await expect.poll(() => cache.get('from stdin'), { timeout: 20_000 }).toBe(1)
  waiting.child.kill('SIGINT')
  const interrupted = await waiting.ended
  expect(interrupted).toMatchObject({ code: 3, stderr: 'stopped\n' })
  expect(interrupted.stdout).toMatch(/^1 entries stored, in /)

  const whole = join(folder, 'whole.jsonl')
  expect((await snapshot('export', '--file', whole)).code).toBe(0)
  writeFileSync(whole, readFileSync(whole, 'utf8').split('\n').slice(0, 10).join('\n'))
  const cut = await snapshot('import', '--file', whole)
  expect(cut.code).toBe(3)
  expect(cut.stderr).toContain('it was cut off, and entries are missing')
  expect((await snapshot('import', '--file', join(folder, 'none'))).code).toBe(1)
}, 120_000)
