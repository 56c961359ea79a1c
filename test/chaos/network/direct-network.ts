/** Nothing in between: for faults of processes only, and for measurements that nothing of ours may slow down. */

import type { ChaosNetwork, End, Launch } from './network.ts'

export class DirectNetwork implements ChaosNetwork {
  readonly kind = 'direct'
  readonly abilities: ChaosNetwork['abilities'] = { cut: false, delay: false, reset: false }
  readonly about = 'loopback, nothing in between'
  readonly #addresses = new Map<End, string>()
  #nextPort: number

  constructor(firstPort: number) {
    this.#nextPort = firstPort
  }

  async addNode(node: End): Promise<void> {
    this.#addresses.set(node, `127.0.0.1:${this.#nextPort++}`)
  }

  async addClient(_client: End): Promise<void> {}

  addressOf(node: End): string {
    const address = this.#addresses.get(node)
    if (address === undefined) throw new Error(`there is no node ${node}`)
    return address
  }

  launch(_end: End, command: string, args: readonly string[]): Launch {
    return { command, args, env: {} }
  }

  nodeIsUp(_node: End, _up: boolean): void {}

  async cut(): Promise<void> {
    throw new Error('this network cannot be cut')
  }

  async heal(): Promise<void> {}

  async delay(): Promise<void> {
    throw new Error('this network cannot be slowed down')
  }

  async reset(): Promise<void> {
    throw new Error('connections of this network cannot be reset')
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}
