/**
 * Every peer of `npm run bench -- peers` against its real servers: what comes back is what was stored, through single calls
 * and batches. Figures are not judged here.
 */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { findAvailable } from '../../bench/peers/availability.ts'
import { measure } from '../../bench/peers/measure.ts'
import {
  type Entry,
  PEER_NAMES,
  type PeerClient,
  type PeerName,
  SERVER_KINDS,
  type Servers,
} from '../../bench/peers/peer.ts'
import { makeDataSet, type UserRecord } from '../../bench/peers/records.ts'
import { PEERS, startServers } from '../../bench/peers/registry.ts'
import { BATCH_KEYS, makeOperations } from '../../bench/peers/workload.ts'

const PORT_BASE = 7_700
const KEYS = 1_000
const data = makeDataSet(KEYS)
const { available } = await findAvailable(PEER_NAMES, true)

function recordOf(key: string): UserRecord {
  return data.records[data.keys.indexOf(key)] as UserRecord
}

async function store(client: PeerClient): Promise<void> {
  for (let at = 0; at < KEYS; at += BATCH_KEYS) {
    const keys = data.keys.slice(at, at + BATCH_KEYS)
    await client.mset(keys.map((key): Entry => [key, recordOf(key)]))
  }
}

for (const kind of SERVER_KINDS) {
  const peers = PEER_NAMES.filter((name) => PEERS[name].servers === kind)
  const present = peers.filter((name) => available.includes(name))

  describe.skipIf(present.length === 0)(`on ${kind}`, () => {
    let servers: Servers
    beforeAll(async () => {
      servers = await startServers(kind, PORT_BASE)
    })
    afterAll(() => servers?.stop())

    it('names its version and its processes', () => {
      expect(Object.values(servers.versions)[0]).toMatch(/^\d+\.\d+/)
      expect(servers.pids.length).toBeGreaterThan(0)
      for (const pid of servers.pids) expect(() => process.kill(pid, 0)).not.toThrow()
    })

    for (const name of peers) {
      it.skipIf(!available.includes(name))(`${name} gives back what it stored`, () => roundTrip(name))
      it.skipIf(!available.includes(name))(`${name} does the work of each workload`, () => allWorkloads(name))
    }

    async function roundTrip(name: PeerName): Promise<void> {
      const client = await PEERS[name].connect(servers.addresses)
      try {
        const [key = '', other = ''] = data.keys
        expect(await client.get(`${name}:absent`)).toBeUndefined()
        await client.set(key, recordOf(key))
        expect(await client.get(key)).toEqual(recordOf(key))
        await client.set(key, recordOf(other))
        expect(await client.get(key)).toEqual(recordOf(other))

        await store(client)
        const asked = [...data.keys.slice(50, 149), `${name}:absent`]
        const found = await client.mget(asked)
        expect(found).toEqual([...asked.slice(0, 99).map(recordOf), undefined])
      } finally {
        await client.close()
      }
    }

    async function allWorkloads(name: PeerName): Promise<void> {
      const client = await PEERS[name].connect(servers.addresses)
      try {
        await store(client)
        for (const workload of PEERS[name].workloads) {
          const result = await measure(client, makeOperations(workload, data), data, {
            concurrency: 16,
            warmupSeconds: 0.05,
            seconds: 0.15,
            serverPids: servers.pids,
          })
          expect(result.calls, workload).toBeGreaterThan(0)
          expect(result.mismatches, workload).toBe(0)
          if (workload !== 'mset100') expect(result.verified, workload).toBeGreaterThan(0)
        }
      } finally {
        await client.close()
      }
    }
  })
}
