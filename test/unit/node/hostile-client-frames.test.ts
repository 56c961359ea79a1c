/**
 * A cluster on virtual time, whose nodes are fed a million frames that no honest client would send: most are valid up to and
 * including their header. Nobody but the sender may notice.
 */

import { describe, expect, it } from 'vitest'
import { integerBetween, SeededRandom, uniform } from '../../../src/kernel/random.ts'
import type { NodeCore } from '../../../src/node/node-core.ts'
import { TestCluster } from '../../../src/testing/test-cluster.ts'
import { Status } from '../../../src/wire/results.ts'
import { DirectStream } from '../../support/direct-stream.ts'
import { mutated, noise } from '../../support/hostile-bytes.ts'
import { LogWitness } from '../../support/log-witness.ts'
import { RawClient } from '../../support/raw-client.ts'
import { helloBody, REQUEST_HEADER_BYTES, RequestMaker } from '../../support/valid-requests.ts'

const FRAMES = Number(process.env['HOSTILE_FRAMES'] ?? 350_000)
const SEED = Number(process.env['HOSTILE_SEED'] ?? 20_240_101)
const BATCH = 2500
const PARTITIONS = 8
/** How a stream may be ended for what was sent on it. */
const REFUSALS = new Set(['PROTOCOL_ERROR', 'VERSION_MISMATCH', 'WRONG_CLUSTER', 'OVERLOADED', 'CLOSED'])

interface Hostile {
  readonly core: NodeCore
  readonly stream: DirectStream
}

describe('a node that is sent hostile frames', () => {
  it(`goes on as if nothing were, after ${FRAMES} of them`, { timeout: 240_000 }, async () => {
    const random = new SeededRandom(SEED)
    const witness = new LogWitness()
    const cluster = new TestCluster({
      seed: SEED,
      log: witness.log,
      node: {
        partitionCount: PARTITIONS,
        backlogBytes: 4 * 1024 * 1024,
        memoryLimitBytes: 256 * 1024 * 1024,
      },
      regions: [{}, { name: 'small', maxEntries: 40, ttlMs: 200 }],
    })
    await cluster.start()
    const honest = new RawClient(
      cluster.network.dialer(cluster.clientHost('honest')),
      cluster.nodes[0]?.address ?? '',
      'a0a0a0a0a0a0a0a0',
    )
    const maker = new RequestMaker(random, { keys: 48, partitions: PARTITIONS, regions: 2 })
    const open = (core: NodeCore): Hostile => {
      const stream = new DirectStream({ onlyErrors: true })
      stream.handler = core.accept('cache', stream, 'hostile')
      return { core, stream }
    }
    // A few sessions that take turns.
    const hellos = Array.from({ length: 64 }, (_, i) =>
      helloBody(`0000000000000${(i + 0x100).toString(16)}`, i % 5 < 2 ? 'bulk' : 'operations'),
    )
    const greet = (one: Hostile): void => {
      one.stream.handler?.frame(hellos[integerBetween(random, 0, hellos.length - 1)] as Uint8Array)
    }
    let pastHeader = 0
    let refused = 0
    const unexpected = new Set<string>()
    const cores = cluster.nodes.map((node) => node.core as NodeCore)
    const open2 = (core: NodeCore): Hostile => {
      const one = open(core)
      greet(one)
      return one
    }
    const hostile = cores.flatMap((core) => [open2(core), open2(core)])

    const { stackTraceLimit } = Error
    for (let sent = 0; sent < FRAMES; ) {
      // An error per frame: their stacks would cost more than everything else.
      Error.stackTraceLimit = 0
      for (let i = 0; i < BATCH; i++) {
        const at = integerBetween(random, 0, hostile.length - 1)
        let one = hostile[at] as Hostile
        if (one.stream.closed) {
          if (one.stream.error !== undefined) {
            refused++
            if (!REFUSALS.has(one.stream.error.code)) unexpected.add(String(one.stream.error))
          }
          one.stream.hangUp()
          one = open(one.core)
          hostile[at] = one
          if (uniform(random) < 0.2) {
            // Some never get past their greeting.
            one.stream.handler?.frame(
              mutated(random, helloBody('00000000000000ff'), uniform(random) < 0.8 ? 7 : 0),
            )
            sent++
            continue
          }
          greet(one)
        }
        if (one.stream.paused) continue
        const dice = uniform(random)
        const handler = one.stream.handler
        if (dice < 0.75) {
          handler?.frame(mutated(random, maker.request(), REQUEST_HEADER_BYTES))
          pastHeader++
        } else if (dice < 0.85) {
          handler?.frame(maker.request())
        } else if (dice < 0.93) {
          handler?.frame(mutated(random, maker.request()))
        } else if (dice < 0.96) {
          handler?.frame(uniform(random) < 0.5 ? maker.cancel() : mutated(random, maker.cancel(), 1))
        } else if (dice < 0.99) {
          handler?.frame(noise(random, 200))
        } else {
          const large = uniform(random) < 0.03
          const bytes = large ? integerBetween(random, 65_537, 140_000) : integerBetween(random, 0, 300)
          for (const body of maker.uploaded(bytes)) {
            handler?.frame(uniform(random) < 0.3 ? mutated(random, body, 5) : body)
          }
        }
        sent++
      }
      Error.stackTraceLimit = stackTraceLimit
      await cluster.time.advance(30)
      expect(witness.bugs).toEqual([])
    }
    expect([...unexpected]).toEqual([])
    expect(refused).toBeGreaterThan(FRAMES / 20)
    expect(pastHeader).toBeGreaterThan(FRAMES / 2)

    // The honest client's stream stood all the while, and its node works.
    expect(honest.ended).toBe(false)
    let served = 0
    for (let i = 0; i < 30; i++) {
      const result = await cluster.time.until(honest.set(`honest-${i}`, new Uint8Array(3)))
      if (result.status === Status.ok) served++
      else expect(result.error?.code).toBe('NOT_PRIMARY')
    }
    expect(served).toBeGreaterThan(3)

    for (const one of hostile) one.stream.hangUp()
    await cluster.time.advance(3000)
    expect(witness.bugs).toEqual([])
    for (const core of cores) {
      const status = core.status()
      expect(status.sessions).toBe(core === cores[0] ? 1 : 0)
      expect(status.laggingReplicas).toBe(0)
      expect(core.diverged).toBe(0)
      expect(core.dataPlane?.replicator.inbox.heldBytes).toBe(0)
    }
    expectEqualCopies(cluster)
    honest.close()
    for (let i = 0; i < PARTITIONS; i++) clear(cluster, i)
    // Sessions are forgotten once no client can retry any more.
    await cluster.time.advance(100_000)
    for (const core of cores) {
      const { replicator, engine } = core.dataPlane ?? {}
      for (const replica of replicator?.replicas() ?? []) expect(engine?.entries(replica.partition)).toBe(0)
      expect(replicator?.operations.sessionCount).toBe(0)
      expect(replicator?.operations.heldBytes).toBe(0)
      replicator?.close()
      expect(engine?.stats.largeBytes).toBe(0)
      expect(core.memory.held('backlog')).toBe(0)
    }
    cluster.close()
  })
})

/** Copies of a partition at the same sequence hold the same. */
function expectEqualCopies(cluster: TestCluster): void {
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const copies = cluster.nodes.map(({ core }) => {
      const replica = core?.dataPlane?.replicator.replica(partition)
      return {
        sequence: replica?.lastSequence,
        digest: [...(core?.dataPlane?.engine.digest(partition) ?? [])].join(),
        entries: core?.dataPlane?.engine.entries(partition),
      }
    })
    expect(copies[0]?.sequence).toBeGreaterThan(0)
    expect(copies[1]).toEqual(copies[0])
    expect(copies[2]).toEqual(copies[0])
  }
}

/** Clears both regions of a partition, as an honest client would. */
function clear(cluster: TestCluster, partition: number): void {
  for (const node of cluster.nodes) {
    const replica = node.core?.dataPlane?.replicator.replica(partition)
    if (node.core === undefined || replica?.role !== 'primary') continue
    const stream = new DirectStream()
    stream.handler = node.core.accept('cache', stream, 'honest')
    stream.handler.frame(helloBody(`00000000000000${partition}c`))
    for (const region of [0, 1]) {
      stream.handler.frame(
        Uint8Array.from([0x02, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0x21, 0, region, 0, partition, 0, 0]),
      )
    }
  }
}
