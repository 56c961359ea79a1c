/** Real node processes on loopback, as operators run them: for what only processes can show, such as kill -9. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { stringify } from 'yaml'
import { connect } from '../../src/client/connect.ts'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

export interface NodeProcess {
  readonly id: string
  readonly address: string
  child: ChildProcess
}

export interface NodeProcesses extends AsyncDisposable {
  readonly nodes: readonly NodeProcess[]
  readonly addresses: readonly string[]
  /** SIGKILL; resolves once the process is gone. */
  kill(id: string): Promise<void>
  /** SIGTERM; resolves with the exit code once the process is gone. */
  stop(id: string): Promise<number | null>
  /** Starts a node anew, on the data directory it had. */
  start(id: string): void
}

/** @param more options of cluster.yaml besides name and nodes. */
export async function startNodeProcesses(
  firstPort: number,
  count: number,
  more: object = {},
): Promise<NodeProcesses> {
  const folder = mkdtempSync(join(tmpdir(), 'ringcache-nodes-'))
  const config = join(folder, 'cluster.yaml')
  const list = Array.from({ length: count }, (_, i) => ({
    id: `node${i + 1}`,
    address: `127.0.0.1:${firstPort + i}`,
  }))
  writeFileSync(config, stringify({ name: 'test', nodes: list, log: { level: 'warn' }, ...more }))
  const run = (id: string): ChildProcess =>
    spawn(process.execPath, [MAIN, 'start', '--config', config, '--node', id], {
      stdio: ['ignore', 'ignore', 'inherit'],
    })
  const nodes: NodeProcess[] = list.map(({ id, address }) => ({ id, address, child: run(id) }))
  const start = (id: string): void => {
    const node = nodes.find((one) => one.id === id)
    if (node !== undefined) node.child = run(id)
  }
  const kill = async (id: string): Promise<void> => {
    const child = nodes.find((node) => node.id === id)?.child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, 'exit')
    child.kill('SIGKILL')
    await gone
  }
  const stop = async (id: string): Promise<number | null> => {
    const child = nodes.find((node) => node.id === id)?.child
    if (child === undefined) throw new Error(`there is no ${id}`)
    const gone = once(child, 'exit')
    child.kill('SIGTERM')
    await gone
    return child.exitCode
  }
  const dispose = async (): Promise<void> => {
    await Promise.all(nodes.map((node) => kill(node.id)))
    rmSync(folder, { recursive: true, force: true })
  }
  const addresses = list.map((node) => node.address)
  try {
    await serving(addresses)
  } catch (error) {
    await dispose()
    throw error
  }
  return { nodes, addresses, kill, stop, start, [Symbol.asyncDispose]: dispose }
}

/** Waits until a write that every replica has to acknowledge goes through on each node's partitions. */
async function serving(addresses: readonly string[]): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      await using cache = await connect({ nodes: addresses, connectTimeout: 10_000, durability: 'all' })
      const probes = Array.from({ length: 32 }, (_, i) => [`probe-${i}`, i] as const)
      const results = await cache.mset(probes, { ttl: 1000 })
      const failed = [...results.values()].find((result) => result instanceof Error)
      if (failed !== undefined) throw failed
      return
    } catch (error) {
      if (attempt === 20) throw error
      await sleep(200)
    }
  }
}
