/**
 * Every end in a network namespace of its own, joined by one that routes between them (Linux, root). A cut is a routing rule
 * that drops the packets of one direction between two ends: the kernels' own TCP meets it, as it would a broken switch. None of
 * these namespaces is connected to the machine's network.
 *
 * A process in it may be a server of any make, for nothing is loaded into it.
 */

import { execFile, spawnSync } from 'node:child_process'
import { promisify } from 'node:util'
import type { ChaosNetwork, End, Launch } from './network.ts'

const run = promisify(execFile)

/** Namespaces outlive the processes in them: those of a run that is ended early are removed with it. */
const made = new Set<string>()
process.on('exit', () => {
  for (const namespace of made) spawnSync('ip', ['netns', 'del', namespace])
})

/** Set aside for tests of network equipment (RFC 2544). */
const PREFIX = '198.18'
const NODE_PORT = 7400

export class NamespaceNetwork implements ChaosNetwork {
  readonly kind = 'namespaces'
  readonly abilities: ChaosNetwork['abilities'] = { cut: true, delay: false, reset: true }
  readonly about = 'a network namespace for every process; cuts drop packets'
  readonly #name: string
  readonly #hosts = new Map<End, { readonly namespace: string; readonly address: string }>()
  readonly #cuts = new Set<string>()

  private constructor(name: string) {
    this.#name = name
  }

  /** @returns why there can't be one on this machine, or undefined when there can. */
  static async problem(): Promise<string | undefined> {
    if (process.platform !== 'linux') return 'network namespaces exist on Linux only'
    if (process.getuid?.() !== 0) return 'network namespaces need root'
    const name = `rc${process.pid}try`
    try {
      await ip('netns', 'add', name)
      await ip('netns', 'del', name)
      return undefined
    } catch (error) {
      return `no network namespace can be made: ${error instanceof Error ? error.message : String(error)}`
    }
  }

  static async open(): Promise<NamespaceNetwork> {
    const name = `rc${process.pid}`
    await add(name)
    await inside(name, 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward')
    return new NamespaceNetwork(name)
  }

  addNode(node: End): Promise<void> {
    return this.#addHost(node)
  }

  addClient(client: End): Promise<void> {
    return this.#addHost(client)
  }

  addressOf(node: End): string {
    return `${this.#host(node).address}:${NODE_PORT}`
  }

  /** Without a port. */
  hostOf(end: End): string {
    return this.#host(end).address
  }

  launch(end: End, command: string, args: readonly string[]): Launch {
    return { command: 'ip', args: ['netns', 'exec', this.#host(end).namespace, command, ...args], env: {} }
  }

  nodeIsUp(_node: End, _up: boolean): void {}

  async cut(from: End, to: End): Promise<void> {
    const name = `${from} ${to}`
    if (this.#cuts.has(name)) return
    this.#cuts.add(name)
    await this.#rule('add', from, to)
  }

  async heal(from: End, to: End): Promise<void> {
    if (this.#cuts.delete(`${from} ${to}`)) await this.#rule('del', from, to)
  }

  async delay(): Promise<void> {
    throw new Error('this network cannot be slowed down')
  }

  async reset(one: End, other: End): Promise<void> {
    await inside(this.#host(one).namespace, 'ss', '-K', 'dst', this.#host(other).address)
    await inside(this.#host(other).namespace, 'ss', '-K', 'dst', this.#host(one).address)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { namespace } of this.#hosts.values()) await remove(namespace)
    await remove(this.#name)
  }

  #rule(what: 'add' | 'del', from: End, to: End): Promise<void> {
    const way = ['from', this.#host(from).address, 'to', this.#host(to).address]
    return ip('-n', this.#name, 'rule', what, ...way, 'blackhole')
  }

  async #addHost(end: End): Promise<void> {
    const index = this.#hosts.size
    if (index === 60) throw new Error('at most 60 ends')
    const namespace = `${this.#name}-${index}`
    const subnet = `${PREFIX}.${process.pid % 256}`
    const [gateway, address] = [`${subnet}.${4 * index + 1}`, `${subnet}.${4 * index + 2}`]
    const [inner, outer] = [`v${index}`, `r${index}`]
    this.#hosts.set(end, { namespace, address })
    await add(namespace)
    await ip(
      ...['link', 'add', inner, 'netns', namespace],
      ...['type', 'veth', 'peer', 'name', outer, 'netns', this.#name],
    )
    await ip('-n', namespace, 'addr', 'add', `${address}/30`, 'dev', inner)
    await ip('-n', this.#name, 'addr', 'add', `${gateway}/30`, 'dev', outer)
    for (const link of [inner, 'lo']) await ip('-n', namespace, 'link', 'set', link, 'up')
    await ip('-n', this.#name, 'link', 'set', outer, 'up')
    await ip('-n', namespace, 'route', 'add', 'default', 'via', gateway)
  }

  #host(end: End): { readonly namespace: string; readonly address: string } {
    const host = this.#hosts.get(end)
    if (host === undefined) throw new Error(`there is no end ${end}`)
    return host
  }
}

async function add(namespace: string): Promise<void> {
  await ip('netns', 'add', namespace)
  made.add(namespace)
}

async function remove(namespace: string): Promise<void> {
  await ip('netns', 'del', namespace)
  made.delete(namespace)
}

async function ip(...args: readonly string[]): Promise<void> {
  await run('ip', args)
}

async function inside(namespace: string, ...command: readonly string[]): Promise<void> {
  await ip('netns', 'exec', namespace, ...command)
}
