import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import type { Cache } from '../../src/client/cache.ts'
import { connect } from '../../src/client/connect.ts'
import { CacheError } from '../../src/kernel/errors.ts'
import { compareVersions, type Version } from '../../src/kernel/ids.ts'
import { startNodeProcesses } from '../support/node-processes.ts'

const WRITERS = 32
const LOAD_MS = 1500
const OPTIONS = { replication: { partitions: 64 } }

/** Writers that go on until they are told to stop, and what was acknowledged to them. */
class Load {
  /** The newest acknowledged version of each key, and the value it stored. */
  readonly acknowledged = new Map<string, { version: Version; value: string }>()
  readonly failures = new Map<string, number>()
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

describe('kill -9 of nodes under load', () => {
  it('shows the application a pause and nothing else, and loses no acknowledged quorum write', async () => {
    await using processes = await startNodeProcesses(7860, 3, OPTIONS)
    await using cache = await connect({ nodes: processes.addresses, timeout: 5000 })
    const load = new Load(cache)
    await sleep(LOAD_MS)
    expect(load.acknowledged.size).toBeGreaterThan(1000)
    load.worstMs = 0
    await processes.kill('node2')
    await sleep(LOAD_MS)
    // Two of three are left: another one can go once the first is back and whole.
    processes.start('node2')
    await sleep(2 * LOAD_MS)
    await load.stop()
    expect([...load.failures]).toEqual([])
    // Far below on a machine that is not busy with other tests.
    expect(load.worstMs).toBeLessThan(3000)
    expect(await load.lost(cache)).toEqual([])
  }, 60_000)

  it('of all at once: they come back as the same cluster, from what their disks kept', async () => {
    await using processes = await startNodeProcesses(7870, 3, OPTIONS)
    // A client is bound to the cluster it first met.
    await using cache = await connect({ nodes: processes.addresses, timeout: 10_000 })
    const before = await cache.set('k', 1)
    await Promise.all(processes.nodes.map((node) => processes.kill(node.id)))
    for (const { id } of processes.nodes) processes.start(id)
    const after = await cache.set('k', 2)
    // Memory is gone, versions are not given twice.
    expect(compareVersions(after, before)).toBeGreaterThan(0)
    expect(await cache.get('k')).toBe(2)
  }, 60_000)
})
