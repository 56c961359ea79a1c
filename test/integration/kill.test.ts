import { describe, expect, it } from 'vitest'
import type { CacheClient } from '../../src/client/cache-client.ts'
import { connect } from '../../src/client/connect.ts'
import { CacheError } from '../../src/kernel/errors.ts'
import { compareVersions, type Version } from '../../src/kernel/ids.ts'
import { startNodeProcesses } from '../support/node-processes.ts'

const WRITERS = 64
const LOAD_MS = 1500

describe('kill -9 of one node of three under load', () => {
  it('loses no acknowledged quorum write: one of the others holds it, at its version or a later one', async () => {
    await using processes = await startNodeProcesses(7860, 3, { replication: { partitions: 64 } })
    const cache = await connect({ nodes: processes.addresses, timeout: 1000 })
    /** The newest acknowledged version of each key, and the value it stored. */
    const acknowledged = new Map<string, { version: Version; value: string }>()
    const failures = new Map<string, number>()
    let stop = false
    const writer = async (id: number): Promise<void> => {
      for (let i = 0; !stop; i++) {
        // Each key has one writer, so the last acknowledged value is the one to be found, or a newer unknown one.
        const key = `writer-${id}:${i % 50}`
        const value = `${id}/${i}`
        try {
          acknowledged.set(key, { version: await cache.set(key, value), value })
        } catch (error) {
          const code = error instanceof CacheError ? error.code : String(error)
          failures.set(code, (failures.get(code) ?? 0) + 1)
        }
      }
    }
    const writers = Array.from({ length: WRITERS }, (_, id) => writer(id))
    await new Promise((resolve) => setTimeout(resolve, LOAD_MS))
    const beforeKill = acknowledged.size
    await processes.kill('node2')
    await new Promise((resolve) => setTimeout(resolve, LOAD_MS))
    stop = true
    await Promise.all(writers)

    expect(beforeKill).toBeGreaterThan(1000)
    // Only keys of the dead primary fail, and each failure is a definite or an honest unknown one.
    expect(
      [...failures.keys()].filter((code) => code !== 'UNAVAILABLE' && code !== 'OUTCOME_UNKNOWN'),
    ).toEqual([])
    const survivors = ['node1', 'node3'].map((id) => (cache as CacheClient).inspect(id))
    let lost = 0
    for (const [key, { version, value }] of acknowledged) {
      const copies = await Promise.all(survivors.map((node) => node.getEntry(key, { read: 'replica' })))
      const newest = copies.reduce((best, copy) =>
        best === undefined || (copy !== undefined && compareVersions(copy.version, best.version) > 0)
          ? copy
          : best,
      )
      const age = newest === undefined ? -1 : compareVersions(newest.version, version)
      if (age < 0 || (age === 0 && newest?.value !== value)) lost++
    }
    expect(lost).toBe(0)
    await cache.close()
  }, 60_000)
})
