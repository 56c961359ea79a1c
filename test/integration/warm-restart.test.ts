import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { connect } from '../../src/client/connect.ts'
import { compareVersions, type Version } from '../../src/kernel/ids.ts'
import { startNodeProcesses } from '../support/node-processes.ts'

const KEYS = 2000

it('a cluster all of whose processes were killed comes back with what its snapshots held', async () => {
  const options = { replication: { partitions: 64 }, snapshots: { interval: '1s' } }
  await using processes = await startNodeProcesses(7800, 3, options)
  await using cache = await connect({ nodes: processes.addresses, timeout: 30_000 })
  const versions = await cache.mset(
    Array.from({ length: KEYS }, (_, i) => [`key-${i}`, `value ${i}`] as const),
  )
  // Two intervals, the second of which began after the last write.
  await sleep(3000)
  await Promise.all(processes.nodes.map((node) => processes.kill(node.id)))
  for (const { id } of processes.nodes) processes.start(id)
  const found = await cache.mget(Array.from({ length: KEYS }, (_, i) => `key-${i}`))
  for (let i = 0; i < KEYS; i++) expect(found[i]).toBe(`value ${i}`)
  const later = await cache.set('key-7', 'later')
  expect(compareVersions(later, versions.get('key-7') as Version)).toBeGreaterThan(0)
}, 60_000)
