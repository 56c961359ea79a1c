/**
 * Real redis-server processes, without persistence: one alone, a cluster of three masters, or one of three masters with a
 * replica each. The cluster is put together with redis-cli, slots spread evenly over the masters in order.
 */

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { ServerKind, Servers } from '../peer.ts'
import { requireFreePorts, ServerProcess } from './process.ts'

const run = promisify(execFile)

const SLOTS = 16_384
const MASTERS = 3
/** A node's cluster port is its port plus this. */
const CLUSTER_PORT_STEP = 50
const CLUSTER_TIMEOUT_MS = 20_000

/** Ports used: `firstPort` and on, and those 50 higher. */
export async function startRedis(
  kind: Extract<ServerKind, `redis-${string}`>,
  firstPort: number,
): Promise<Servers> {
  const masters = kind === 'redis-single' ? 1 : MASTERS
  const count = kind === 'redis-cluster-replicas' ? 2 * masters : masters
  const ports = Array.from({ length: count }, (_, at) => firstPort + at)
  const clustered = kind !== 'redis-single'
  await requireFreePorts(clustered ? [...ports, ...ports.map((port) => port + CLUSTER_PORT_STEP)] : ports)

  const processes = ports.map((port) => startServer(port, clustered))
  const stop = async (): Promise<void> => {
    await Promise.all(processes.map((server) => server.stop()))
  }
  try {
    for (const [at, server] of processes.entries()) {
      await server.waitFor('answering PING', async () => (await cli(ports[at] as number, 'ping')) === 'PONG')
    }
    if (clustered) await formCluster(processes, ports, masters)
    const info = await cli(ports[0] as number, 'info', 'server')
    return {
      kind,
      addresses: ports.slice(0, masters).map((port) => `127.0.0.1:${port}`),
      pids: processes.map((server) => server.pid),
      versions: { 'redis-server': /redis_version:(\S+)/.exec(info)?.[1] ?? 'unknown' },
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

function startServer(port: number, clustered: boolean): ServerProcess {
  return new ServerProcess('redis-server', (folder) => [
    ...['--port', String(port), '--bind', '127.0.0.1', '--dir', folder],
    ...['--save', '', '--appendonly', 'no', '--loglevel', 'warning'],
    ...(clustered ? ['--cluster-enabled', 'yes', '--cluster-port', String(port + CLUSTER_PORT_STEP)] : []),
  ])
}

async function formCluster(
  processes: readonly ServerProcess[],
  ports: readonly number[],
  masters: number,
): Promise<void> {
  const first = ports[0] as number
  for (const [at, port] of ports.entries()) {
    await cli(port, 'cluster', 'set-config-epoch', String(at + 1))
    if (at < masters) {
      const start = Math.ceil((at * SLOTS) / masters)
      const end = Math.ceil(((at + 1) * SLOTS) / masters) - 1
      await cli(port, 'cluster', 'addslotsrange', String(start), String(end))
    }
    if (at > 0)
      await cli(first, 'cluster', 'meet', '127.0.0.1', String(port), String(port + CLUSTER_PORT_STEP))
  }
  const server = processes[0] as ServerProcess
  const deadline = performance.now() + CLUSTER_TIMEOUT_MS
  const inTime = (): void => {
    if (performance.now() > deadline) throw new Error('redis-server: the cluster did not form in time')
  }
  const everywhere = async (isTrue: (port: number) => Promise<boolean>): Promise<boolean> => {
    inTime()
    return (await Promise.all(ports.map(isTrue))).every(Boolean)
  }
  const nodesKnown = async (port: number): Promise<boolean> =>
    (await cli(port, 'cluster', 'info')).includes(`cluster_known_nodes:${ports.length}`)
  await server.waitFor('all nodes known', () => everywhere(nodesKnown))
  for (const [at, port] of ports.slice(masters).entries()) {
    await cli(port, 'cluster', 'replicate', await cli(ports[at] as number, 'cluster', 'myid'))
  }
  const whole = async (port: number): Promise<boolean> =>
    (await cli(port, 'cluster', 'info')).includes('cluster_state:ok') &&
    /role:master|master_link_status:up/.test(await cli(port, 'info', 'replication'))
  await server.waitFor('the cluster is whole', () => everywhere(whole))
}

async function cli(port: number, ...args: readonly string[]): Promise<string> {
  try {
    const { stdout } = await run('redis-cli', ['-h', '127.0.0.1', '-p', String(port), ...args])
    return stdout.trim()
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}
