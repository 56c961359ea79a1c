/**
 * Asks all nodes of a cluster, each for itself, side by side: for what only a node itself knows. One node that answers says which others
 * there are; those that don't answer are named, and the answers of the others count all the same.
 */

import { CacheError, toCacheError } from '../kernel/errors.ts'
import type { AdminApi } from '../wire/admin.ts'
import { type AdminChannelPort, adminClient } from './admin-client.ts'

export interface AskedNode {
  /** Empty: nobody could say which node is at this address. */
  readonly nodeId: string
  readonly address: string
}

export interface SilentNode extends AskedNode {
  readonly reason: string
}

export interface Answers<Reply> {
  readonly answers: readonly Reply[]
  readonly missing: readonly SilentNode[]
}

type Request<Method extends keyof AdminApi> = Parameters<AdminApi[Method]>[0]
type Reply<Method extends keyof AdminApi> = Awaited<ReturnType<AdminApi[Method]>>

export class EveryNode {
  readonly #open: (address: string) => AdminChannelPort
  readonly #addresses: readonly string[]
  readonly #timeoutMs: number
  /** By address. */
  readonly #channels = new Map<string, AdminChannelPort>()
  #nodes: readonly AskedNode[] = []

  /** @param addresses of nodes to begin with; one that answers is enough */
  constructor(open: (address: string) => AdminChannelPort, addresses: readonly string[], timeoutMs: number) {
    this.#open = open
    this.#addresses = addresses
    this.#timeoutMs = timeoutMs
  }

  /** Who is there; those known before, or else the addresses given, when nobody can tell. */
  async find(): Promise<readonly AskedNode[]> {
    const known = this.#nodes.map(({ address }) => address)
    const addresses = [...new Set([...this.#addresses, ...known])]
    for (const address of addresses) {
      try {
        const { nodes } = await adminClient([this.#channel(address)], this.#timeoutMs).listNodes({})
        this.#nodes = nodes.map((node) => ({ nodeId: node.nodeId, address: node.address }))
        this.#forget(addresses)
        return this.#nodes
      } catch (error) {
        const { code } = toCacheError(error)
        if (code !== 'UNAVAILABLE' && code !== 'TIMEOUT') throw error
      }
    }
    if (this.#nodes.length === 0) this.#nodes = this.#addresses.map((address) => ({ nodeId: '', address }))
    return this.#nodes
  }

  /**
   * Call `find` before.
   * @param requestFor undefined: that node is not asked
   * @throws CacheError UNAVAILABLE when none answers
   */
  async ask<Method extends keyof AdminApi>(
    method: Method,
    requestFor: (node: AskedNode) => Request<Method> | undefined,
  ): Promise<Answers<Reply<Method>>> {
    const answers: Reply<Method>[] = []
    const missing: SilentNode[] = []
    await Promise.all(
      this.#nodes.map(async (node) => {
        const request = requestFor(node)
        if (request === undefined) return
        try {
          const reply = await this.#channel(node.address).call(method, request, this.#timeoutMs)
          answers.push(reply as Reply<Method>)
        } catch (error) {
          missing.push({ ...node, reason: toCacheError(error).message })
        }
      }),
    )
    if (answers.length === 0 && missing.length > 0)
      throw new CacheError('UNAVAILABLE', missing.map(({ reason }) => reason).join('\n'))
    return { answers, missing }
  }

  close(): void {
    for (const channel of this.#channels.values()) channel.close()
    this.#channels.clear()
  }

  #channel(address: string): AdminChannelPort {
    const channel = this.#channels.get(address) ?? this.#open(address)
    this.#channels.set(address, channel)
    return channel
  }

  /** Nodes that left. */
  #forget(addresses: readonly string[]): void {
    for (const address of addresses) {
      if (this.#addresses.includes(address) || this.#nodes.some((node) => node.address === address)) continue
      this.#channels.get(address)?.close()
      this.#channels.delete(address)
    }
  }
}
