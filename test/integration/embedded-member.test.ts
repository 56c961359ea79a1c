/** An application's process that is a member of a cluster on real sockets. */

import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { connect } from '../../src/client/connect.ts'
import { type NodeCluster, startNodeCluster } from '../support/node-cluster.ts'

const PORT = 17_640

describe('connect({ embedded: { join } })', () => {
  let cluster: NodeCluster | undefined
  afterEach(() => cluster?.close())

  it('makes the process a member that holds a share of the data, and says goodbye when it closes', {
    timeout: 60_000,
  }, async () => {
    cluster = await startNodeCluster(PORT, 3)
    await using client = await connect<number>({ nodes: cluster.addresses })
    const keys = Array.from({ length: 200 }, (_, i) => `k${i}`)
    await client.mset(keys.map((key, i) => [key, i] as const))
    const member = await connect<number>({
      embedded: { join: cluster.addresses, address: `127.0.0.1:${PORT + 9}`, nodeId: 'app' },
    })
    expect(await member.mget(keys)).toEqual(keys.map((_, i) => i))
    await member.set('from the member', 1)
    expect(await client.get('from the member')).toBe(1)
    // The others send it what they order, for it is given copies.
    const follows = (): boolean =>
      cluster?.nodes.every((node) =>
        node.status().peers.some((peer) => peer.nodeId === 'app' && peer.following),
      ) === true
    for (let i = 0; i < 200 && !follows(); i++) await sleep(50)
    expect(follows()).toBe(true)
    expect(await client.mget(keys)).toEqual(keys.map((_, i) => i))
    await member.close()
    expect(await client.mget(keys)).toEqual(keys.map((_, i) => i))
    for (const key of keys.slice(0, 50)) await client.set(key, -1)
    expect(follows()).toBe(false)
  })

  it('refuses options that do not fit', async () => {
    const wrong = [
      { join: [] },
      { join: ['nowhere'] },
      { join: ['127.0.0.1:1'] },
      { address: '127.0.0.1:2' },
      { join: ['127.0.0.1:1'], address: '127.0.0.1:2', regions: [{ name: 'a' }] },
    ]
    for (const embedded of wrong) {
      await expect(connect({ embedded })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    }
    await expect(
      connect({ embedded: { join: ['127.0.0.1:1'], address: '10.1.2.3:7401' } }),
    ).rejects.toMatchObject({ code: 'CONFIGURATION' })
  })
})
