/** The commands of operators, as processes, against real nodes: a cluster grows, shrinks and says how it is. */

import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { stringify } from 'yaml'
import { connect } from '../../src/client/connect.ts'
import type { NodeViewMessage } from '../../src/wire/admin.ts'
import { startNodeCluster } from '../support/node-cluster.ts'

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))
const PORT = 7920

interface Ended {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

function ringcache(...args: string[]): Promise<Ended> {
  return new Promise((resolve) => {
    const all = ['--import', 'tsx', MAIN, ...args, '-a', `127.0.0.1:${PORT},127.0.0.1:${PORT + 1}`]
    execFile(process.execPath, all, { timeout: 60_000 }, (error, stdout, stderr) => {
      resolve({
        code: typeof error?.code === 'number' ? error.code : error === null ? 0 : -1,
        stdout,
        stderr,
      })
    })
  })
}

async function json<T>(...args: string[]): Promise<T> {
  const { code, stdout, stderr } = await ringcache(...args, '-o', 'json')
  expect(stderr).toBe('')
  expect(code).toBe(0)
  return JSON.parse(stdout) as T
}

const nodes = (count: number): object[] =>
  Array.from({ length: count }, (_, i) => ({
    id: `node${i + 1}`,
    address: `127.0.0.1:${PORT + i}`,
    zone: `zone${i + 1}`,
    dataDir: 'none',
  }))

/** A process of its own: its limit holds for all that its process holds. */
function startNode4(config: object): { stop(): Promise<void> } {
  const folder = mkdtempSync(path.join(tmpdir(), 'ringcache-commands-'))
  const file = path.join(folder, 'cluster.yaml')
  writeFileSync(file, stringify(config))
  const args = ['--import', 'tsx', MAIN, 'start', '--config', file, '--node', 'node4']
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] })
  const gone = once(child, 'exit')
  return {
    stop: async () => {
      child.kill('SIGTERM')
      await gone
      rmSync(folder, { recursive: true })
    },
  }
}

it('a cluster grows by a node and gives it up again under load, without an error', async () => {
  const more = { replication: { partitions: 32, backlog: '16mb' } }
  await using cluster = await startNodeCluster(PORT, 3, more)
  expect(await ringcache('cluster', 'safe', '--wait')).toMatchObject({ code: 0, stdout: 'safe\n' })
  await using cache = await connect({ nodes: cluster.addresses })
  let stop = false
  let writes = 0
  const failures: unknown[] = []
  const load = (async () => {
    for (let i = 0; !stop; i++) {
      try {
        await cache.set(`key:${i % 500}`, i)
        writes++
      } catch (error) {
        failures.push(error)
      }
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
  })()

  const config = { nodes: nodes(4), memory: { limit: '128mb' }, ...more }
  const fourth = startNode4(config)
  try {
    // Its share comes by itself.
    const holds = async (): Promise<number> => {
      const list = await json<NodeViewMessage[]>('node', 'list')
      const node = list.find(({ nodeId }) => nodeId === 'node4')
      return (node?.primaries ?? 0) + (node?.backups ?? 0)
    }
    await expect.poll(holds, { timeout: 40_000, interval: 500 }).toBeGreaterThan(20)
    expect((await ringcache('cluster', 'rebalance', '--wait')).code).toBe(0)
    expect((await ringcache('cluster', 'safe', '--wait')).code).toBe(0)
    const left = await ringcache('node', 'decommission', 'node4', '--wait')
    expect(left.stdout).toBe('node4 has left the cluster\n')
    expect(await json<NodeViewMessage[]>('node', 'list')).toHaveLength(3)
  } finally {
    await fourth.stop()
  }
  stop = true
  await load
  expect(failures).toEqual([])
  expect(writes).toBeGreaterThan(500)
}, 120_000)

it('commands say what is wrong, by words and by exit code', async () => {
  await using cluster = await startNodeCluster(PORT, 3, { replication: { partitions: 8, backlog: '16mb' } })
  const drained = await ringcache('node', 'drain', 'node2')
  expect(drained).toMatchObject({ code: 1, stdout: '' })
  expect(drained.stderr).toContain('2 nodes for 3 copies')
  expect((await ringcache('node', 'info', 'nobody')).stderr).toBe(
    'there is no node nobody; there are node1, node2, node3\n',
  )
  expect(await json('region', 'create', 'sessions', '--ttl', '30m', '--size', '64mb')).toMatchObject({
    name: 'sessions',
    ttlMs: 1_800_000,
    sizeBytes: 64 * 1024 * 1024,
  })
  expect(await json('region', 'alter', 'sessions', '--read', 'nearest')).toMatchObject({ read: 'nearest' })
  expect((await ringcache('region', 'drop', 'sessions')).code).toBe(1)
  expect((await ringcache('region', 'drop', 'sessions', '--accept-loss')).stdout).toBe(
    'sessions is dropped\n',
  )
  await cluster.nodes[2]?.close(500)
  await expect
    .poll(async () => (await ringcache('cluster', 'safe')).code, { timeout: 20_000, interval: 500 })
    .toBe(4)
  expect((await ringcache('cluster', 'check')).stdout).toMatch(/warning {3}failed: node3/)
  await cluster.close()
  expect(await ringcache('status')).toMatchObject({ code: 2, stdout: '' })
}, 120_000)
