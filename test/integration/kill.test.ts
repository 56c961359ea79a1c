import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { connect } from '../../src/client/connect.ts'
import { compareVersions } from '../../src/kernel/ids.ts'
import { startNodeProcesses } from '../support/node-processes.ts'
import { WriteLoad } from '../support/write-load.ts'

const LOAD_MS = 1500
const OPTIONS = { replication: { partitions: 64 } }

describe('kill -9 of nodes under load', () => {
  it('shows the application a pause and nothing else, and loses no acknowledged quorum write', async () => {
    await using processes = await startNodeProcesses(7860, 3, OPTIONS)
    await using cache = await connect({ nodes: processes.addresses, timeout: 5000 })
    const load = new WriteLoad(cache)
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
