/** A Redis Cluster of three masters with a replica each, without persistence, of redis-server processes of our own. */

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { nowMs } from '../../test/chaos/monotonic.ts'
import type { ChaosNetwork, End } from '../../test/chaos/network/network.ts'
import { loadLibrary } from '../peers/library.ts'
import { CLIENT, type FailoverTarget } from './target.ts'

const MASTERS = 3
const SLOTS = 16_384
const BUS_STEP = 50
const FORM_TIMEOUT_MS = 30_000

const running = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/** One line of CLUSTER NODES. */
interface NodeLine {
  readonly address: string
  readonly isMaster: boolean
  readonly isDown: boolean
  readonly slots: readonly (readonly [from: number, to: number])[]
}

export class RedisTarget implements FailoverTarget {
  readonly name: string
  readonly driver = 'redis-cluster'
  readonly network: ChaosNetwork
  readonly ends: readonly End[] = Array.from({ length: 2 * MASTERS }, (_, at) => `redis${at + 1}`)
  readonly #folder: string
  readonly #nodeTimeoutMs: number
  readonly #processes = new Map<End, ChildProcess>()

  private constructor(network: ChaosNetwork, folder: string, nodeTimeoutMs: number) {
    this.network = network
    this.#folder = folder
    this.#nodeTimeoutMs = nodeTimeoutMs
    this.name = `Redis Cluster 3+3, node timeout ${nodeTimeoutMs / 1000} s`
  }

  static async start(network: ChaosNetwork, folder: string, nodeTimeoutMs: number): Promise<RedisTarget> {
    const target = new RedisTarget(network, folder, nodeTimeoutMs)
    try {
      for (const end of target.ends) {
        await network.addNode(end)
        target.#start(end)
      }
      await target.#form()
      return target
    } catch (error) {
      await target[Symbol.asyncDispose]()
      throw error
    }
  }

  get addresses(): readonly string[] {
    return this.ends.map((end) => this.network.addressOf(end))
  }

  async ownersOf(keys: readonly string[]): Promise<readonly (End | undefined)[]> {
    const slotOf = loadLibrary<(key: string) => number>('cluster-key-slot')
    const masters = (await this.#nodes()).filter(({ isMaster, isDown }) => isMaster && !isDown)
    return keys.map((key) => {
      const slot = slotOf(key)
      const owner = masters.find(({ slots }) => slots.some(([from, to]) => slot >= from && slot <= to))
      return this.ends.find((end) => this.network.addressOf(end) === owner?.address)
    })
  }

  async isWhole(): Promise<boolean> {
    for (const end of this.ends) {
      if (!(await this.#ask(end, 'cluster', 'info')).includes('cluster_state:ok')) return false
      if ((await this.#nodes(end)).some(({ isDown }) => isDown)) return false
      if (!/role:master|master_link_status:up/.test(await this.#ask(end, 'info', 'replication'))) return false
    }
    const masters = (await this.#nodes()).filter(({ slots }) => slots.length > 0)
    return masters.length === MASTERS
  }

  async kill(node: End): Promise<void> {
    const child = this.#process(node)
    const gone = once(child, 'exit')
    child.kill('SIGKILL')
    await gone
  }

  async restart(node: End): Promise<void> {
    this.#start(node)
  }

  pause(node: End): void {
    this.#process(node).kill('SIGSTOP')
  }

  resume(node: End): void {
    this.#process(node).kill('SIGCONT')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const alive = [...this.#processes.values()].filter(
      (child) => child.exitCode === null && child.signalCode === null,
    )
    await Promise.all(
      alive.map((child) => {
        const gone = once(child, 'exit')
        child.kill('SIGKILL')
        return gone
      }),
    )
  }

  #start(end: End): void {
    const folder = join(this.#folder, end)
    mkdirSync(folder, { recursive: true })
    const [, port] = splitPort(this.network.addressOf(end))
    const bind = this.network.kind === 'namespaces' ? ['--bind', '0.0.0.0'] : ['--bind', '127.0.0.1']
    const { command, args, env } = this.network.launch(end, 'redis-server', [
      ...['--port', String(port), ...bind, '--protected-mode', 'no', '--dir', folder],
      ...['--save', '', '--appendonly', 'no', '--loglevel', 'notice', '--logfile', join(folder, 'log')],
      ...['--cluster-enabled', 'yes', '--cluster-port', String(port + BUS_STEP)],
      ...['--cluster-node-timeout', String(this.#nodeTimeoutMs)],
    ])
    const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: 'ignore' })
    running.add(child)
    child.once('exit', () => running.delete(child))
    this.#processes.set(end, child)
  }

  async #form(): Promise<void> {
    const until = waiter(FORM_TIMEOUT_MS)
    for (const end of this.ends) {
      await until(`${end} answers`, async () => (await this.#ask(end, 'ping')) === 'PONG')
    }
    const first = this.ends[0] as End
    for (const [at, end] of this.ends.entries()) {
      await this.#ask(end, 'cluster', 'set-config-epoch', String(at + 1))
      if (at < MASTERS) {
        const from = Math.ceil((at * SLOTS) / MASTERS)
        const to = Math.ceil(((at + 1) * SLOTS) / MASTERS) - 1
        await this.#ask(end, 'cluster', 'addslotsrange', String(from), String(to))
      }
      const [host, port] = splitPort(this.network.addressOf(end))
      if (at > 0) await this.#ask(first, 'cluster', 'meet', host, String(port), String(port + BUS_STEP))
    }
    await until('all nodes know one another', async () => {
      const infos = await Promise.all(this.ends.map((end) => this.#ask(end, 'cluster', 'info')))
      return infos.every((info) => info.includes(`cluster_known_nodes:${this.ends.length}`))
    })
    for (const [at, replica] of this.ends.slice(MASTERS).entries()) {
      const master = await this.#ask(this.ends[at] as End, 'cluster', 'myid')
      await until(
        `${replica} replicates`,
        async () => (await this.#ask(replica, 'cluster', 'replicate', master)) === 'OK',
      )
    }
    await until('the cluster is whole', () => this.isWhole())
  }

  /** As a node that runs sees the cluster. */
  async #nodes(of?: End): Promise<readonly NodeLine[]> {
    for (const end of of === undefined ? this.ends : [of]) {
      const text = await this.#ask(end, 'cluster', 'nodes')
      if (!text.includes('myself')) continue
      return text.split('\n').map((line): NodeLine => {
        const [, address = '', flags = '', , , , , , ...slots] = line.split(' ')
        return {
          address: (address.split('@')[0] ?? '').split(',')[0] ?? '',
          isMaster: flags.includes('master'),
          isDown: flags.includes('fail'),
          slots: slots
            .filter((range) => /^\d/.test(range))
            .map((range) => {
              const [from, to] = range.split('-').map(Number)
              return [from ?? 0, to ?? from ?? 0] as const
            }),
        }
      })
    }
    throw new Error('no Redis node answers')
  }

  #ask(end: End, ...words: readonly string[]): Promise<string> {
    const [host, port] = splitPort(this.network.addressOf(end))
    const cli = ['-h', host, '-p', String(port), ...words]
    const { command, args } = this.network.launch(CLIENT, 'redis-cli', cli)
    return new Promise((resolve) => {
      execFile(command, args, { timeout: 2_000 }, (error, stdout) => {
        resolve(error === null ? stdout.trim() : error.message)
      })
    })
  }

  #process(end: End): ChildProcess {
    const child = this.#processes.get(end)
    if (child === undefined) throw new Error(`there is no node ${end}`)
    return child
  }
}

function splitPort(address: string): readonly [host: string, port: number] {
  const [host, port] = address.split(':')
  return [host as string, Number(port)]
}

/** Asks until the answer is yes. @throws naming what did not come to be in time. */
export function waiter(timeoutMs: number): (what: string, isTrue: () => Promise<boolean>) => Promise<void> {
  return async (what, isTrue) => {
    const giveUpAt = nowMs() + timeoutMs
    while (!(await isTrue())) {
      if (nowMs() > giveUpAt) throw new Error(`${what}: not within ${timeoutMs / 1000} s`)
      await sleep(50)
    }
  }
}
