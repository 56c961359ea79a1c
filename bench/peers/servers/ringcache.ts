/**
 * Three ringcache nodes, each a process of its own as `npm start` runs them, with a copy of every partition on all three.
 * Everything is at its default but the addresses, the log level, what was asked for on the command line and, for the soak, the
 * size of the default region.
 */

import { execFile } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Durability, Servers } from '../peer.ts'
import { requireFreePorts, ServerProcess } from './process.ts'

export interface RingcacheSettings {
  /** What the default region holds in the whole cluster. Default: no limit of its own. */
  readonly regionBytes?: number
  /** Where each node writes a CPU profile of its whole life when it stops. */
  readonly profileFolder?: string
  /** Copies of each entry, and what writes wait for. Default: as installed, 3 and a quorum of them. */
  readonly copies?: number
  readonly durability?: Durability
}

const NODES = 3
const root = fileURLToPath(new URL('../../../', import.meta.url))
const command = join(root, 'dist', 'cli', 'main.js')
const client = join(root, 'dist', 'index.js')
const healthcheck = join(root, 'scripts', 'healthcheck.mjs')

/** @returns why ringcache can't be measured, or undefined when it can. */
export function missingRingcache(): string | undefined {
  return existsSync(command) && existsSync(client) ? undefined : 'dist is not built: run npm run build'
}

export async function startRingcache(firstPort: number, settings: RingcacheSettings): Promise<Servers> {
  const ports = Array.from({ length: NODES }, (_, at) => firstPort + at)
  await requireFreePorts(ports)
  const processes = ports.map(
    (_, at) =>
      new ServerProcess(process.execPath, (folder) => {
        const file = join(folder, 'cluster.yaml')
        writeFileSync(file, configuration(ports, settings))
        return [...profiling(at, settings), command, 'start', '--config', file, '--node', `node${at + 1}`]
      }),
  )
  const stop = async (): Promise<void> => {
    await Promise.all(processes.map((node) => node.stop()))
  }
  try {
    for (const [at, node] of processes.entries()) {
      await node.waitFor('serving', () => serves(`127.0.0.1:${ports[at]}`))
    }
  } catch (error) {
    await stop()
    throw error
  }
  const { profileFolder } = settings
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
  return {
    kind: 'ringcache',
    addresses: ports.map((port) => `127.0.0.1:${port}`),
    pids: processes.map((node) => node.pid),
    versions: { ringcache: version },
    profiles: profileFolder === undefined ? [] : ports.map((_, at) => join(profileFolder, nodeProfile(at))),
    stop,
  }
}

function profiling(at: number, { profileFolder }: RingcacheSettings): string[] {
  if (profileFolder === undefined) return []
  return ['--cpu-prof', `--cpu-prof-dir=${profileFolder}`, `--cpu-prof-name=${nodeProfile(at)}`]
}

function nodeProfile(at: number): string {
  return `node${at + 1}.cpuprofile`
}

function configuration(ports: readonly number[], settings: RingcacheSettings): string {
  const nodes = ports.map((port, at) => `  - { id: node${at + 1}, address: "127.0.0.1:${port}" }`)
  const region = settings.regionBytes === undefined ? '{}' : `{ size: ${settings.regionBytes} }`
  return [
    'name: bench',
    'nodes:',
    ...nodes,
    `replication: { factor: ${settings.copies ?? 3}, durability: ${settings.durability ?? 'quorum'}, read: primary }`,
    'log: { level: warn }',
    `regions: { default: ${region} }`,
    '',
  ].join('\n')
}

async function serves(address: string): Promise<boolean> {
  try {
    await promisify(execFile)(process.execPath, [healthcheck, address])
    return true
  } catch {
    return false
  }
}
