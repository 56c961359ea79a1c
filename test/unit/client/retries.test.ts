import { describe, expect, it } from 'vitest'
import { CacheError } from '../../../src/kernel/errors.ts'
import type { Epoch, PartitionEpoch } from '../../../src/kernel/ids.ts'
import type { Topology } from '../../../src/topology/topology.ts'
import { Opcode } from '../../../src/wire/operations.ts'
import { type Bench, makeBench, openBench } from '../../support/client-on-loopback.ts'
import type { FakeNode } from '../../support/fake-node.ts'

function only(nodes: readonly FakeNode[]): FakeNode {
  const [node] = nodes
  if (node === undefined || nodes.length > 1) throw new Error('expected one node')
  return node
}

describe('retries', () => {
  for (const code of [
    'NOT_PRIMARY',
    'NO_ROLE',
    'STALE_EPOCH',
    'OVERLOADED',
    'UNAVAILABLE',
    'NOT_READY',
    'NOT_ENOUGH_REPLICAS',
    'CLOSED',
  ] as const) {
    it(`repeats a write that was refused with ${code}, under its id`, async () => {
      const { cache, run, cluster } = await openBench({}, { nodes: 1 })
      const node = only(cluster.nodes)
      let refusals = 2
      node.behave = () => (refusals-- > 0 ? code : undefined)
      await run(cache.set('k', 1))
      expect(node.received.map((op) => op.opcode)).toEqual([Opcode.set, Opcode.set, Opcode.set])
      expect(new Set(node.received.map((op) => `${op.session}/${op.counter}`)).size).toBe(1)
    })
  }

  for (const code of ['INVALID_ARGUMENT', 'VALUE_TOO_LARGE', 'WRONG_TYPE'] as const) {
    it(`does not repeat what was refused with ${code}`, async () => {
      const { cache, failure, cluster } = await openBench({}, { nodes: 1 })
      const node = only(cluster.nodes)
      node.behave = () => code
      expect(await failure(cache.set('k', 1))).toMatchObject({ code })
      expect(node.received).toHaveLength(1)
    })
  }

  it('repeats a write whose node was replaced before it could tell its outcome, and says so if nobody can', async () => {
    const { cache, run, failure, cluster } = await openBench({}, { nodes: 1 })
    const node = only(cluster.nodes)
    let unknown = 1
    node.behave = () => (unknown-- > 0 ? 'OUTCOME_UNKNOWN' : undefined)
    await run(cache.set('k', 1))
    expect(new Set(node.received.map((op) => `${op.session}/${op.counter}`)).size).toBe(1)
    expect(node.received).toHaveLength(2)
    node.behave = () => (unknown++ < 0 ? 'OUTCOME_UNKNOWN' : 'NOT_PRIMARY')
    expect(await failure(cache.set('k', 2))).toMatchObject({ code: 'OUTCOME_UNKNOWN', retryable: false })
  })

  it('repeats a write after the connection was lost, under its id, and reads too', async () => {
    const { cache, run, cluster, time } = await openBench({}, { nodes: 1 })
    const node = only(cluster.nodes)
    node.behave = () => 'hold'
    const write = cache.increment('n', 5)
    const read = cache.get('other')
    await time.advance(5)
    node.behave = undefined
    for (const stream of node.streams) stream.close(true)
    expect(await run(write)).toBe(10) // the fake node counts it twice; a real one knows the id
    expect(await run(read)).toBeUndefined()
    const ids = node.received
      .filter((op) => op.opcode === Opcode.increment)
      .map((op) => `${op.session}/${op.counter}`)
    expect(ids).toHaveLength(2)
    expect(new Set(ids).size).toBe(1)
  })

  it('reports a write that was sent and never confirmed as OUTCOME_UNKNOWN', async () => {
    const { cache, cluster, time } = await openBench({}, { nodes: 1 })
    const node = only(cluster.nodes)
    node.behave = () => 'hold'
    const write = cache.set('k', 1).catch((error: unknown) => error)
    const read = cache.get('k').catch((error: unknown) => error)
    await time.advance(5)
    cluster.kill(0)
    await time.advance(2_500)
    expect(await write).toMatchObject({ code: 'OUTCOME_UNKNOWN', retryable: false })
    expect(await read).toMatchObject({ code: 'UNAVAILABLE', retryable: true, node: 'node-1' })
  })

  it('waits for another primary until the timeout of the call, then names the node; others are not affected', async () => {
    const { cache, run, failure, cluster, time } = await openBench({ timeout: 1_500 })
    const key = 'k0'
    const dead = cluster.nodes.indexOf(cluster.primaryOf(key))
    cluster.kill(dead)
    const before = time.monotonicMs()
    const error = (await failure(cache.set(key, 1))) as CacheError
    expect(error.code).toBe('UNAVAILABLE')
    expect(error.node).toBe(`node-${dead + 1}`)
    expect(error.message).toContain(`node-${dead + 1}`)
    expect(time.monotonicMs() - before).toBeGreaterThan(1_300)
    expect(time.monotonicMs() - before).toBeLessThan(1_510)
    const other = Array.from({ length: 50 }, (_, i) => `x${i}`).find(
      (name) => cluster.primaryOf(name) !== cluster.nodes[dead],
    )
    await run(cache.set(other as string, 1))
    cluster.revive(dead)
    await time.advance(2_500)
    await run(cache.set(key, 1))
  })

  it('goes on asking while nobody is responsible, and is answered once somebody is', async () => {
    const { cache, run, failure, cluster, time } = await openBench({}, { nodes: 1 })
    const node = only(cluster.nodes)
    node.behave = () => 'NO_ROLE'
    const read = cache.get('k')
    await time.advance(1_000)
    node.behave = undefined
    expect(await run(read)).toBeUndefined()
    node.behave = () => 'NO_ROLE'
    expect(await failure(cache.get('k'))).toMatchObject({ code: 'NO_ROLE' })
  })

  it('asks another primary at once for what a node has not answered that the cluster holds dead', async () => {
    const { cache, run, cluster, time } = await openBench({}, { nodes: 2, partitions: 1 })
    const [first, second] = cluster.nodes
    if (first === undefined || second === undefined) throw new Error('two nodes')
    first.behave = () => 'hold'
    const [write, read] = [cache.set('k', 1), cache.get('k')]
    await time.advance(5)
    const queued = cache.set('k', 2)
    await time.advance(300)
    cluster.topology = failedOver(cluster.topology)
    second.push(cluster.topology)
    const before = time.monotonicMs()
    await run(Promise.all([write, read, queued]))
    expect(time.monotonicMs() - before).toBeLessThan(30)
    // Under the id it was first sent with.
    const sent = first.received.find((op) => op.opcode === Opcode.set)
    expect(second.received.find((op) => op.opcode === Opcode.set)).toMatchObject({ counter: sent?.counter })
  })

  it('follows a newer topology that a node pushes', async () => {
    const { cache, run, cluster, time } = await openBench({}, { nodes: 2, partitions: 1 })
    const [first, second] = cluster.nodes
    if (first === undefined || second === undefined) throw new Error('two nodes')
    await run(cache.set('k', 1))
    expect(first.received).toHaveLength(1)
    cluster.topology = {
      ...cluster.topology,
      epoch: 2 as Epoch,
      partitions: [
        {
          partitionEpoch: 2 as PartitionEpoch,
          primary: 1,
          inSync: [1, 0],
          learners: [],
          unsettled: [],
          recoveredAt: 0,
        },
      ],
    }
    first.push(cluster.topology)
    await time.advance(5)
    await run(cache.set('k', 2))
    expect(second.received).toHaveLength(1)
  })

  it('keeps the id of its first session when a write moves to another node', async () => {
    const { cache, run, cluster } = await openBench({}, { nodes: 2, partitions: 1 })
    const [first, second] = cluster.nodes
    if (first === undefined || second === undefined) throw new Error('two nodes')
    first.behave = () => {
      cluster.topology = {
        ...cluster.topology,
        epoch: 2 as Epoch,
        partitions: [
          {
            partitionEpoch: 2 as PartitionEpoch,
            primary: 1,
            inSync: [1, 0],
            learners: [],
            unsettled: [],
            recoveredAt: 0,
          },
        ],
      }
      first.push(cluster.topology)
      return 'NOT_PRIMARY'
    }
    await run(cache.set('k', 1))
    const [original] = first.received
    const [retried] = second.received
    expect(retried?.session).toBe(original?.session)
    expect(retried?.counter).toBe(original?.counter)
    expect(retried?.session).not.toBe(second.hellos[0]?.session)
  })

  it('asks the policy of the application', async () => {
    const asked: [number, string][] = []
    const { cache, failure, cluster } = await openBench(
      {
        retry: (attempt, error) => {
          asked.push([attempt, error.code])
          return attempt < 3 ? 1 : false
        },
      },
      { nodes: 1 },
    )
    only(cluster.nodes).behave = () => 'OVERLOADED'
    expect(await failure(cache.get('k'))).toMatchObject({ code: 'OVERLOADED' })
    expect(asked).toEqual([
      [1, 'OVERLOADED'],
      [2, 'OVERLOADED'],
      [3, 'OVERLOADED'],
    ])
  })

  it('ends the call when the policy of the application throws', async () => {
    const retry = (): number => {
      throw new Error('mine')
    }
    const { cache, run, failure, cluster } = await openBench({ retry }, { nodes: 1 })
    const node = only(cluster.nodes)
    node.behave = () => 'OVERLOADED'
    expect(await failure(cache.get('k'))).toMatchObject({ code: 'OVERLOADED' })
    node.behave = undefined
    expect(await run(cache.get('k'))).toBeUndefined()
    expect(node.hellos).toHaveLength(1)
  })

  it('raises the watermark as writes finish', async () => {
    const { cache, run, cluster } = await openBench({}, { nodes: 1 })
    const node = only(cluster.nodes)
    for (let i = 0; i < 5; i++) await run(cache.set('k', i))
    await run(cache.get('k'))
    expect(node.received.map((op) => op.counter)).toEqual([1, 2, 3, 4, 5, 0])
    expect(node.received.map((op) => op.firstIncomplete)).toEqual([1, 2, 3, 4, 5, 6])
  })
})

describe('a node that was started again', () => {
  const keys = Array.from({ length: 60 }, (_, i) => `k${i}`)

  async function restarted(): Promise<Bench & { node: FakeNode; own: string; other: string }> {
    const bench = await openBench()
    const { cache, cluster, run, time } = bench
    await run(cache.mset(keys.map((key) => [key, key] as const)))
    const [node] = cluster.nodes
    if (node === undefined) throw new Error('no node')
    cluster.kill(0)
    node.incarnation = 'feedfeedfeedfeed'
    cluster.revive(0)
    await time.advance(500)
    expect(node.hellos).toHaveLength(2)
    node.received.length = 0
    const own = keys.find((key) => cluster.primaryOf(key) === node) as string
    const other = keys.find((key) => cluster.primaryOf(key) !== node) as string
    return { ...bench, node, own, other }
  }

  it('is not asked: what needs it as primary ends NO_ROLE when its time is up', async () => {
    const { cache, run, failure, node, own, other, time } = await restarted()
    const before = time.monotonicMs()
    const calls = [cache.get(own), cache.set(own, 1), cache.increment(own), cache.mget(keys), cache.keys()]
    for (const error of await Promise.all(calls.map(failure)))
      expect(error).toMatchObject({ code: 'NO_ROLE', node: 'node-1' })
    expect(time.monotonicMs() - before).toBeLessThan(2_010)
    expect(node.received).toHaveLength(0)
    expect(await run(cache.get(other))).toBe(other)
    const outcomes = await run(cache.mset({ [own]: 1, [other]: other }))
    expect(outcomes.get(own)).toMatchObject({ code: 'NO_ROLE', retryable: true })
    expect(outcomes.get(other)).toMatchObject({ sequence: expect.any(Number) })
  })

  it('is passed over by reads of replicas', async () => {
    const { cache, run, node } = await restarted()
    for (const read of ['replica', 'nearest'] as const) {
      for (let round = 0; round < 3; round++) expect(await run(cache.mget(keys, { read }))).toEqual(keys)
    }
    expect(node.received).toHaveLength(0)
  })

  it('is asked again once a newer topology names its new process', async () => {
    const { cache, run, cluster, node, own, time } = await restarted()
    const { topology } = cluster
    cluster.topology = {
      ...topology,
      epoch: 2 as Epoch,
      nodes: topology.nodes.map((record, i) =>
        i === 0 ? { ...record, incarnation: 'feedfeedfeedfeed' as typeof record.incarnation } : record,
      ),
    }
    cluster.nodes[1]?.push(cluster.topology)
    await time.advance(5)
    await run(cache.set(own, 2))
    expect(node.received).toHaveLength(1)
  })

  it('is dialed at once when a newer topology names its new process, however long it was away', async () => {
    const { cache, run, cluster, time } = await openBench()
    const [node] = cluster.nodes
    if (node === undefined) throw new Error('no node')
    const own = keys.find((key) => cluster.primaryOf(key) === node) as string
    cluster.kill(0)
    // By now attempts are a second or two apart.
    await time.advance(10_000)
    node.incarnation = 'feedfeedfeedfeed'
    cluster.revive(0)
    const { topology } = cluster
    cluster.topology = {
      ...topology,
      epoch: 2 as Epoch,
      nodes: topology.nodes.map((record, i) =>
        i === 0 ? { ...record, incarnation: 'feedfeedfeedfeed' as typeof record.incarnation } : record,
      ),
    }
    cluster.nodes[1]?.push(cluster.topology)
    const before = time.monotonicMs()
    await run(cache.set(own, 2))
    expect(time.monotonicMs() - before).toBeLessThan(50)
  })

  it('is not asked again by what it refused when the client did not know yet', async () => {
    const { cache, cluster, failure, run, time } = await openBench()
    await run(cache.mset(keys.map((key) => [key, key] as const)))
    const [node] = cluster.nodes
    if (node === undefined) throw new Error('no node')
    const own = keys.filter((key) => cluster.primaryOf(key) === node)
    // Queued behind a frame whose answer never comes, and sent to the new process.
    node.tamper = () => undefined
    void cache.get(own[0] as string).catch(() => {})
    await time.advance(1)
    const write = failure(cache.set(own[1] as string, 1))
    const read = failure(cache.get(own[2] as string))
    const before = time.monotonicMs()
    cluster.kill(0)
    node.incarnation = 'feedfeedfeedfeed'
    node.tamper = undefined
    cluster.revive(0)
    expect(await write).toMatchObject({ code: 'NO_ROLE', node: 'node-1' })
    expect(await read).toMatchObject({ code: 'NO_ROLE' })
    expect(time.monotonicMs() - before).toBeLessThan(2_100)
    expect(node.received.filter((op) => op.opcode === Opcode.set && op.key === own[1])).toHaveLength(2)
  })

  it('may be one without a topology yet: then it is worth waiting for', async () => {
    const { cache, run, cluster, time } = await openBench({}, { nodes: 1 })
    const node = only(cluster.nodes)
    node.notReady = true
    node.incarnation = 'feedfeedfeedfeed'
    node.behave = () => 'NOT_READY'
    for (const stream of node.streams) stream.close(true)
    await time.advance(100)
    const write = cache.set('k', 1)
    await time.advance(100)
    const [record] = cluster.topology.nodes
    if (record === undefined) throw new Error('no record')
    cluster.topology = {
      ...cluster.topology,
      epoch: 2 as Epoch,
      nodes: [{ ...record, incarnation: 'feedfeedfeedfeed' as typeof record.incarnation }],
    }
    node.behave = undefined
    node.push(cluster.topology)
    await run(write)
  })
})

describe('reads of replicas', () => {
  it('that were queued for one that dies are answered by another', async () => {
    const { cache, cluster, run, time } = await openBench()
    await run(cache.set('k', 'v'))
    const primary = cluster.primaryOf('k')
    const replicas = cluster.nodes.filter((node) => node !== primary)
    for (const node of replicas) node.tamper = () => undefined
    const gates = [0, 1].map(() => cache.get('k', { read: 'replica' }))
    await time.advance(1)
    const queued = [0, 1].map(() => cache.get('k', { read: 'replica' }))
    const [dead, alive] = replicas
    if (dead === undefined || alive === undefined) throw new Error('two replicas')
    for (const node of replicas) node.tamper = undefined
    cluster.kill(cluster.nodes.indexOf(dead))
    for (const stream of alive.streams) stream.close(true)
    expect(await run(Promise.all([...gates, ...queued]))).toEqual(['v', 'v', 'v', 'v'])
  })
})

describe('connecting', () => {
  it('waits for a cluster that is still starting', async () => {
    const bench = makeBench()
    for (const node of bench.cluster.nodes) node.notReady = true
    bench.time.after(1_000, () => {
      for (const node of bench.cluster.nodes) {
        node.notReady = false
        node.push(bench.cluster.topology)
      }
    })
    const cache = await bench.connect()
    await bench.run(cache.set('a', 1))
  })

  it('says why no node could be used', async () => {
    const bench = makeBench()
    bench.cluster.kill(0)
    const error = await bench.connect({ connectTimeout: '1s' }).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'UNAVAILABLE' })
    expect((error as CacheError).message).toContain(bench.cluster.addresses[0])
    const starting = makeBench()
    for (const node of starting.cluster.nodes) node.notReady = true
    expect(await starting.connect({ connectTimeout: '1s' }).catch((reason: unknown) => reason)).toMatchObject(
      { code: 'NOT_READY' },
    )
  })

  it('uses whichever of several addresses answers', async () => {
    const bench = makeBench()
    bench.cluster.kill(0)
    const cache = await bench.connect({ nodes: bench.cluster.addresses })
    const alive = Array.from({ length: 50 }, (_, i) => `x${i}`).find(
      (name) => bench.cluster.primaryOf(name) !== bench.cluster.nodes[0],
    )
    await bench.run(cache.set(alive as string, 1))
  })

  it('refuses a cluster that was started anew', async () => {
    const { cache, run, failure, cluster, time } = await openBench({}, { nodes: 1 })
    await run(cache.set('k', 1))
    cluster.topology = {
      ...cluster.topology,
      clusterId: 'ffeeddccbbaa99887766554433221100' as typeof cluster.topology.clusterId,
    }
    for (const stream of only(cluster.nodes).streams) stream.close(true)
    await time.advance(100)
    const error = (await failure(cache.get('k'))) as CacheError
    expect(error.code).toBe('WRONG_CLUSTER')
    expect(error).toBeInstanceOf(CacheError)
  })

  for (const epoch of [1, 2]) {
    it(`refuses one that says so only with a topology of epoch ${epoch}, after WELCOME`, async () => {
      const { cache, run, failure, cluster, time } = await openBench({}, { nodes: 1 })
      const node = only(cluster.nodes)
      await run(cache.set('k', 1))
      node.notReady = true
      for (const stream of node.streams) stream.close(true)
      await time.advance(100)
      expect(node.hellos).toHaveLength(2)
      const before = node.received.length
      cluster.topology = {
        ...cluster.topology,
        epoch: epoch as Epoch,
        clusterId: 'ffeeddccbbaa99887766554433221100' as typeof cluster.topology.clusterId,
      }
      node.push(cluster.topology)
      await time.advance(100)
      expect(await failure(cache.get('k'))).toMatchObject({ code: 'WRONG_CLUSTER', node: 'node-1' })
      expect(node.received).toHaveLength(before)
    })
  }

  it('numbers its streams upwards within one session', async () => {
    const { cluster, time } = await openBench({}, { nodes: 1 })
    const node = only(cluster.nodes)
    for (let i = 0; i < 3; i++) {
      await time.advance(3_000)
      for (const stream of node.streams) stream.close(true)
    }
    await time.advance(3_000)
    const numbers = node.hellos.map((hello) => hello.streamNumber)
    expect(numbers).toEqual([1, 2, 3, 4])
    expect(new Set(node.hellos.map((hello) => hello.session)).size).toBe(1)
  })

  it('waits longer and longer between attempts, at most 2 s', async () => {
    const { cluster, network, time } = await openBench({}, { nodes: 1 })
    const attempts: number[] = []
    cluster.kill(0)
    network.listen(cluster.addresses[0] as string, (_service, stream) => {
      attempts.push(time.monotonicMs())
      stream.close(true)
      return { frame: () => {}, drained: () => {}, closed: () => {} }
    })
    await time.advance(20_000)
    const gaps = attempts.slice(1).map((at, i) => at - (attempts[i] as number))
    expect(gaps[0]).toBeLessThanOrEqual(50)
    for (const gap of gaps) expect(gap).toBeLessThanOrEqual(2_001)
    expect(attempts.length).toBeLessThan(30)
  })

  it('sends nothing more to a node that goes away, and comes back to it', async () => {
    const { cache, run, cluster, time } = await openBench({}, { nodes: 1 })
    const node = only(cluster.nodes)
    node.goAway()
    await time.advance(1)
    expect(await run(cache.get('k'))).toBeUndefined()
    expect(node.hellos).toHaveLength(2)
  })
})

describe('closing', () => {
  it('rejects what is pending and all that follows, and leaves no timer behind', async () => {
    const { cache, run, failure, cluster, time } = await openBench()
    for (const node of cluster.nodes) node.behave = () => 'hold'
    const read = cache.get('a').catch((error: unknown) => error)
    const write = cache.set('a', 1).catch((error: unknown) => error)
    await time.advance(5)
    await run(cache.close())
    expect(await read).toMatchObject({ code: 'CLOSED' })
    expect(await write).toMatchObject({ code: 'OUTCOME_UNKNOWN' })
    expect(await failure(cache.get('a'))).toMatchObject({ code: 'CLOSED' })
    await run(cache.close())
    await time.advance(10)
    expect(time.pending).toBe(0)
  })
})

/** The second of two nodes has taken over from the first. */
function failedOver(topology: Topology): Topology {
  return {
    ...topology,
    epoch: (topology.epoch + 1) as Epoch,
    nodes: topology.nodes.map((node, i) => (i === 0 ? { ...node, state: 'failed' } : node)),
    partitions: topology.partitions.map((partition) => ({
      ...partition,
      partitionEpoch: (partition.partitionEpoch + 1) as PartitionEpoch,
      primary: 1,
      inSync: [1],
    })),
  }
}
