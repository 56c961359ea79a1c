/** `ringcache events` and `ringcache metrics`, as processes, against real nodes of which one goes away. */

import { execFile, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { connect } from '../../src/client/connect.ts'
import { startNodeCluster } from '../support/node-cluster.ts'

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))
const PORT = 9120
const ADDRESSES = `127.0.0.1:${PORT},127.0.0.1:${PORT + 1}`
const COMMAND = ['--import', 'tsx', MAIN]

interface Ended {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

interface Listed {
  readonly events: readonly {
    readonly nodeId: string
    readonly kind: string
    readonly message: string
    readonly count: number
    readonly details: Readonly<Record<string, unknown>>
  }[]
  readonly missing: readonly { readonly nodeId: string; readonly address: string }[]
}

function ringcache(...args: string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [...COMMAND, ...args, '-a', ADDRESSES],
      { timeout: 60_000 },
      (error, stdout, stderr) => {
        const code = typeof error?.code === 'number' ? error.code : error === null ? 0 : -1
        resolve({ code, stdout, stderr })
      },
    )
  })
}

const badBackup = (place: string) => ringcache('snapshot', 'create', 'monday', '--to', place)

it('shows what happened on all nodes, and their figures, also when one is away', async () => {
  await using cluster = await startNodeCluster(PORT, 3, { replication: { partitions: 8, backlog: '16mb' } })
  await using cache = await connect({ nodes: cluster.addresses })
  for (let i = 0; i < 100; i++) await cache.set(`key-${i}`, i)
  await cache.get('key-1')
  await cache.get('nothing')

  // A file is no folder.
  expect((await badBackup(MAIN)).code).not.toBe(0)
  expect((await badBackup(MAIN)).code).not.toBe(0)
  const all = await ringcache('events', 'tail', '-o', 'json')
  expect(all).toMatchObject({ code: 0, stderr: '' })
  const { events, missing } = JSON.parse(all.stdout) as Listed
  expect(missing).toEqual([])
  const started = events.filter(({ kind }) => kind === 'node.started')
  expect(started.map(({ nodeId }) => nodeId).sort()).toEqual(['node1', 'node2', 'node3'])
  const failed = events.filter(({ kind }) => kind === 'backup.failed')
  expect(failed).toMatchObject([{ count: 2, details: { action: 'create', backup: 'monday' } }])

  const tail = await ringcache('cluster', 'events', '--kind', 'backup', '--since', '10m')
  expect(tail.stdout).toMatch(
    /^\S+Z {2}error {4}node\d {2}backup\.failed {2}create of backup monday failed: .* \(2 times, last \S+Z\)\n$/,
  )
  expect((await ringcache('events', 'tail', '-n', '1')).stdout.split('\n')).toHaveLength(2)
  const wrong = await ringcache('events', 'tail', '--kind', 'snap')
  expect(wrong).toMatchObject({ code: 1, stdout: '' })
  expect(wrong.stderr).toMatch(/there is no kind snap of events; there are node\.started, /)

  const { stdout: text, code } = await ringcache('metrics', 'show')
  expect(code).toBe(0)
  const sum = (name: string): number =>
    [...text.matchAll(new RegExp(`^${name}\\{node="node\\d",region="default"\\} (\\d+)$`, 'gm'))]
      .map(([, value]) => Number(value))
      .reduce((a, b) => a + b, 0)
  expect(sum('ringcache_region_entries')).toBe(100)
  expect(sum('ringcache_region_sets_total')).toBe(100)
  expect(sum('ringcache_region_hits_total')).toBe(1)
  expect(sum('ringcache_region_misses_total')).toBe(1)
  expect(text.match(/^# TYPE ringcache_entries gauge$/gm)).toHaveLength(1)
  expect(text.match(/^ringcache_entries\{node="node[123]"\} 100$/gm)).toHaveLength(3)
  expect(text).toMatch(/^ringcache_backup_runs_total\{node="node\d",action="create",result="failed"\} 2$/m)
  const second = await ringcache('metrics', 'show', '--node', 'node2')
  expect(second.stdout).toContain('ringcache_node_serving{node="node2"} 1')
  expect(second.stdout).not.toContain('"node1"')
  expect(await ringcache('metrics', 'show', '--node', 'nobody')).toMatchObject({
    code: 1,
    stderr: 'there is no node nobody; there are node1, node2, node3\n',
  })

  await cluster.nodes[2]?.close(500)
  const partial = await ringcache('events', 'tail', '-o', 'json')
  expect(partial.code).toBe(2)
  expect(partial.stderr).toMatch(/^missing: node3 \(127\.0\.0\.1:\d+\): no answer from /)
  const seen = JSON.parse(partial.stdout) as Listed
  expect(seen.missing).toMatchObject([{ nodeId: 'node3', address: cluster.addresses[2] }])
  expect(new Set(seen.events.map(({ nodeId }) => nodeId))).toEqual(new Set(['node1', 'node2']))
  const figures = await ringcache('metrics', 'show')
  expect(figures.code).toBe(2)
  expect(figures.stderr).toMatch(/^missing: node3 /)
  expect(figures.stdout).toContain('ringcache_node_serving{node="node1"} 1')
}, 120_000)

it('follows events as they come, and names a node that goes once', async () => {
  await using cluster = await startNodeCluster(PORT, 3, { replication: { partitions: 8, backlog: '16mb' } })
  const words = ['events', 'tail', '--follow', '-o', 'json', '-a', ADDRESSES]
  const tail = spawn(process.execPath, [...COMMAND, ...words], { stdio: ['ignore', 'pipe', 'pipe'] })
  try {
    let out = ''
    let said = ''
    tail.stdout.on('data', (chunk: Buffer) => {
      out += chunk.toString()
    })
    tail.stderr.on('data', (chunk: Buffer) => {
      said += chunk.toString()
    })
    const kinds = () =>
      out
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => (JSON.parse(line) as { kind: string }).kind)
    const wait = { timeout: 20_000, interval: 100 }
    await expect.poll(kinds, wait).toEqual(['node.started', 'node.started', 'node.started'])
    await badBackup(MAIN)
    await expect.poll(() => kinds().slice(3), wait).toEqual(['backup.failed'])
    await cluster.nodes[2]?.close(500)
    await expect.poll(() => said, wait).toMatch(/missing: node3 /)
    await badBackup(fileURLToPath(import.meta.url))
    await expect.poll(() => kinds().slice(3), wait).toEqual(['backup.failed', 'backup.failed'])
    expect(said.match(/missing: node3/g)).toHaveLength(1)
  } finally {
    tail.kill('SIGINT')
  }
}, 120_000)
