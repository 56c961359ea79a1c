/**
 * A proxy for every ordered pair of a dialling end and a node. Each end is told by its environment which proxy leads to which
 * node (redirect.mjs), so that every node keeps one address and yet every pair can be disturbed by itself. Needs no rights and
 * works wherever Node.js does.
 */

import { fileURLToPath } from 'node:url'
import { LinkRate } from './link-rate.ts'
import type { ChaosNetwork, End, Launch } from './network.ts'
import { type Direction, PairProxy } from './pair-proxy.ts'

const REDIRECT = fileURLToPath(new URL('./redirect.mjs', import.meta.url))
/** The first ports are the nodes' own, the others the proxies'. */
const NODES_MAX = 9

export class ProxyNetwork implements ChaosNetwork {
  readonly kind = 'proxy'
  readonly abilities: ChaosNetwork['abilities'] = { cut: true, delay: true, reset: true }
  readonly about = 'a TCP proxy between every two processes'
  readonly #firstPort: number
  readonly #nodes = new Map<End, number>()
  readonly #ends = new Set<End>()
  readonly #proxies = new Map<string, PairProxy>()
  readonly #up = new Set<End>()
  #nextPort: number

  constructor(firstPort: number) {
    this.#firstPort = firstPort
    this.#nextPort = firstPort + NODES_MAX
  }

  async addNode(node: End): Promise<void> {
    if (this.#nodes.size === NODES_MAX) throw new Error(`at most ${NODES_MAX} nodes`)
    this.#nodes.set(node, this.#firstPort + this.#nodes.size)
    this.#addEnd(node)
  }

  async addClient(client: End): Promise<void> {
    this.#addEnd(client)
  }

  addressOf(node: End): string {
    return `127.0.0.1:${this.#portOf(node)}`
  }

  launch(end: End, command: string, args: readonly string[]): Launch {
    // All nodes that there may ever be, for a process learns its routes once, when it starts.
    const routes: Record<string, number> = {}
    for (const node of this.#nodes.keys()) {
      if (node !== end) routes[this.addressOf(node)] = this.#proxy(end, node).port
    }
    return {
      command,
      args: ['--import', REDIRECT, ...args],
      env: { RINGCACHE_CHAOS_ROUTES: JSON.stringify(routes) },
    }
  }

  nodeIsUp(node: End, up: boolean): void {
    if (up) this.#up.add(node)
    else this.#up.delete(node)
    for (const end of this.#ends) if (end !== node) this.#proxy(end, node).nodeIsUp(up)
  }

  async cut(from: End, to: End): Promise<void> {
    this.#change(from, to, (proxy, direction) => proxy.setCut(direction, true))
  }

  async heal(from: End, to: End): Promise<void> {
    this.#change(from, to, (proxy, direction) => {
      proxy.setDelay(direction, 0)
      proxy.setCut(direction, false)
    })
  }

  async delay(from: End, to: End, delayMs: number): Promise<void> {
    this.#change(from, to, (proxy, direction) => proxy.setDelay(direction, delayMs))
  }

  async reset(one: End, other: End): Promise<void> {
    this.#change(one, other, (proxy) => proxy.reset())
  }

  /** What all other nodes send to this one shares so many bytes a second; undefined: without limit. */
  limitTo(node: End, bytesPerSecond: number | undefined): void {
    const rate = bytesPerSecond === undefined ? undefined : new LinkRate(bytesPerSecond)
    for (const other of this.#nodes.keys())
      if (other !== node) this.#change(other, node, (proxy, direction) => proxy.setRate(direction, rate))
  }

  /** Bytes that went between this node and all others so far, to it and from it. */
  bytesOf(node: End): { readonly to: number; readonly from: number } {
    let [to, from] = [0, 0]
    for (const other of this.#nodes.keys()) {
      if (other === node) continue
      this.#change(other, node, (proxy, direction) => {
        to += proxy.bytes(direction)
      })
      this.#change(node, other, (proxy, direction) => {
        from += proxy.bytes(direction)
      })
    }
    return { to, from }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const proxy of this.#proxies.values()) proxy.close()
  }

  /** What goes from one to the other: on connections that `from` dialled, and back on those that `to` dialled. */
  #change(from: End, to: End, change: (proxy: PairProxy, direction: Direction) => void): void {
    if (this.#nodes.has(to)) change(this.#proxy(from, to), 'forth')
    if (this.#nodes.has(from)) change(this.#proxy(to, from), 'back')
  }

  #proxy(dialler: End, node: End): PairProxy {
    const name = `${dialler} ${node}`
    let proxy = this.#proxies.get(name)
    if (proxy === undefined) {
      proxy = new PairProxy(this.#nextPort++, this.#portOf(node))
      this.#proxies.set(name, proxy)
      proxy.nodeIsUp(this.#up.has(node))
    }
    return proxy
  }

  #addEnd(end: End): void {
    if (this.#ends.has(end)) throw new Error(`there are two ends ${end}`)
    this.#ends.add(end)
  }

  #portOf(node: End): number {
    const port = this.#nodes.get(node)
    if (port === undefined) throw new Error(`there is no node ${node}`)
    return port
  }
}
