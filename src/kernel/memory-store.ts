/**
 * A durable store that is not: for a node that keeps nothing (embedded, or without a data directory), and for tests. Gone with
 * the process; to its cluster such a node comes back as one with an empty disk.
 */

import type { DurableChange, DurableStore } from './durable-store.ts'

export class MemoryStore implements DurableStore {
  readonly #values = new Map<string, Uint8Array>()

  async get(key: string): Promise<Uint8Array | undefined> {
    return this.#values.get(key)?.slice()
  }

  async entries(prefix: string): Promise<readonly (readonly [string, Uint8Array])[]> {
    return [...this.#values]
      .filter(([key]) => key.startsWith(prefix))
      .map(([key, value]) => [key, value.slice()] as const)
      .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
  }

  async write(changes: readonly DurableChange[]): Promise<void> {
    for (const { key, value } of changes) {
      if (value === undefined) this.#values.delete(key)
      else this.#values.set(key, value.slice())
    }
  }

  async close(): Promise<void> {}
}
