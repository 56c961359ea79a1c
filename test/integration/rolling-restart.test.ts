import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { connect } from '../../src/client/connect.ts'
import { startNodeProcesses } from '../support/node-processes.ts'
import { WriteLoad } from '../support/write-load.ts'

const SETTLE_MS = 3000

describe('SIGTERM of node after node under load', () => {
  it('shows the application no error and loses nothing', async () => {
    await using processes = await startNodeProcesses(7880, 3, { replication: { partitions: 64 } })
    await using cache = await connect({ nodes: processes.addresses, timeout: 5000 })
    const load = new WriteLoad(cache)
    await sleep(500)
    for (const { id } of processes.nodes) {
      expect(await processes.stop(id)).toBe(0)
      processes.start(id)
      // The next one goes once this one is whole again.
      await sleep(SETTLE_MS)
    }
    await load.stop()
    expect([...load.failures]).toEqual([])
    expect(load.worstMs).toBeLessThan(3000)
    expect(await load.lost(cache)).toEqual([])
  }, 60_000)
})
