/** Writers on real time, and what the cluster owes them. */

import type { Cache } from '../../src/client/cache.ts'
import { CacheError } from '../../src/kernel/errors.ts'
import { compareVersions, type Version } from '../../src/kernel/ids.ts'

const WRITERS = 32

/** Writers that go on until they are told to stop, and what was acknowledged to them. */
export class WriteLoad {
  /** The newest acknowledged version of each key, and the value it stored. */
  readonly acknowledged: Map<string, { version: Version; value: string }> = new Map()
  readonly failures: Map<string, number> = new Map()
  /** The longest time a write took since it was last set to 0. */
  worstMs = 0
  #stop = false
  readonly #writers: Promise<void>[]

  constructor(cache: Cache) {
    this.#writers = Array.from({ length: WRITERS }, (_, id) => this.#write(cache, id))
  }

  async stop(): Promise<void> {
    this.#stop = true
    await Promise.all(this.#writers)
  }

  /** Keys whose newest acknowledged write, or one after it, is not what is read. */
  async lost(cache: Cache): Promise<string[]> {
    const lost: string[] = []
    for (const [key, { version, value }] of this.acknowledged) {
      const entry = await cache.getEntry(key)
      const age = entry === undefined ? -1 : compareVersions(entry.version, version)
      if (age < 0 || (age === 0 && entry?.value !== value)) lost.push(key)
    }
    return lost
  }

  async #write(cache: Cache, id: number): Promise<void> {
    for (let i = 0; !this.#stop; i++) {
      // Each key has one writer, so the last acknowledged value is the one to be found, or a newer unknown one.
      const key = `writer-${id}:${i % 50}`
      const value = `${id}/${i}`
      const begun = performance.now()
      try {
        this.acknowledged.set(key, { version: await cache.set(key, value), value })
      } catch (error) {
        const code = error instanceof CacheError ? error.code : String(error)
        this.failures.set(code, (this.failures.get(code) ?? 0) + 1)
      }
      this.worstMs = Math.max(this.worstMs, performance.now() - begun)
    }
  }
}
