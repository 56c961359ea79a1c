/** Learners: one that is brought up counts for nothing until it holds all of it, and what it held before for nothing at all. */

import type { Epoch } from '../../../src/kernel/ids.ts'
import { text } from '../../support/cluster-bench.ts'
import { type Schedule, schedule } from './schedule.ts'

export const LEARNER_SCHEDULES: readonly Schedule[] = [
  schedule(
    'a learner holds what its primary does, whatever it held before',
    ['unverified-replaced', 'learner-forgets'],
    {},
    async (bench) => {
      const client = await bench.client(0)
      for (let i = 0; i < 20; i++) await bench.write(client, `k${i}`, 'v')
      await bench.time.advance(10)
      bench.cut(0, 1)
      bench.cut(0, 2)
      for (let i = 0; i < 9; i++) await bench.run(client.set(`k${i}`, text('lost'), { durability: 1 }))
      bench.fail(bench.node(0))
      const next = bench.primaryOf()
      await bench.waitFor(() => bench.serves(next))
      bench.network.healAll()
      bench.commit({ kind: 'NodeJoined', node: bench.register.topology.nodes[0] as never })
      await bench.waitFor(() => bench.record.unsettled.length === 0)
      bench.addLearner(0)
      const again = await bench.client(next)
      for (let i = 0; i < 5; i++) await bench.write(again, `k${i + 10}`, 'w')
      await bench.time.advance(3000)
      if (!bench.inSync.includes(0)) return 'the learner was not brought up'
      return bench.digestOf(0) === bench.digestOf(next)
        ? undefined
        : `n0 is in sync and holds ${bench.digestOf(0)}, its primary ${bench.digestOf(next)}`
    },
  ),
  schedule(
    'what a learner lists it holds as its primary does',
    ['listed-by-version', 'unverified-touch-drops'],
    { network: { slowShare: 0, latencyMaxMs: 10 } },
    async (bench) => {
      const keys = Array.from({ length: 200 }, (_, i) => `k${i}`)
      // So much that the session is far from its end when the primary dies.
      const rest = '-'.repeat(30_000)
      const client = await bench.client(0)
      for (const key of keys) await bench.write(client, key, `old${rest}`)
      await bench.time.advance(20)
      bench.fail(bench.node(2))
      for (const key of keys) await bench.write(client, key, `new${rest}`)
      bench.commit({ kind: 'NodeJoined', node: bench.register.topology.nodes[2] as never })
      await bench.waitFor(() => bench.record.unsettled.length === 0)
      bench.addLearner(2)
      await bench.waitFor(() => bench.replica(2)?.lastSequence === bench.replica(0)?.lastSequence)
      await Promise.all(keys.map((key) => bench.run(client.expire(key, 3_600_000))))
      await bench.time.advance(20)
      bench.die(0)
      const next = bench.primaryOf()
      await bench.waitFor(() => bench.serves(next))
      await bench.time.advance(2000)
      if (!bench.inSync.includes(2)) return 'the learner was not brought up'
      return bench.contentOf(2) === bench.contentOf(1) ? undefined : 'n2 is in sync and holds other values'
    },
  ),
  schedule('only a whole learner is promoted', ['promote-only-whole'], { nodes: 4 }, async (bench) => {
    const client = await bench.client(0)
    for (let i = 0; i < 1500; i++) await bench.write(client, `k${i}`, 'v'.repeat(300))
    bench.addLearner(3)
    for (let i = 0; i < 400; i++) {
      await bench.time.advance(2)
      if (bench.inSync.includes(3) && bench.entriesOf(3) !== 1500)
        return `n3 is in sync with ${bench.entriesOf(3)} of 1500 entries`
    }
    return undefined
  }),
  schedule('a promotion names its session', ['learner-session'], { nodes: 4 }, async (bench) => {
    bench.register.refuses = (transform) => transform.kind === 'LearnerPromoted'
    bench.addLearner(3)
    const session = bench.register.topology.epoch as Epoch
    await bench.time.advance(200)
    const learner = { partition: 0, partitionEpoch: bench.epoch, node: bench.positionOf(3), session }
    bench.commit({ kind: 'LearnerDropped', learners: [learner] })
    bench.network.cut('n0', 'n3')
    bench.addLearner(3)
    // The proposal of the first session arrives late.
    return bench.commit({ kind: 'LearnerPromoted', learners: [learner] })
      ? 'n3 is in sync by what it held in an earlier session'
      : undefined
  }),
  schedule(
    'whoever starts over does not bring back what was deleted',
    ['recovered-whole'],
    { replicas: 2 },
    async (bench) => {
      const client = await bench.client(0)
      await bench.write(client, 'k', 'old', { durability: 3 })
      const node = bench.positionOf(1)
      const backup = { partition: 0, partitionEpoch: bench.epoch, node }
      bench.commit({ kind: 'ReplicaRemoved', replicas: [backup] })
      await bench.waitFor(() => bench.record.unsettled.length === 0)
      await bench.run(client.delete('k'))
      // It begins to learn, with what it held before as a start, and hears nothing of the rest.
      bench.cut(0, 1)
      bench.addLearner(1)
      await bench.waitFor(() => bench.replica(1)?.role === 'learner')
      bench.die(0)
      bench.invariants.lossAllowed = true
      bench.recover(1)
      await bench.waitFor(() => bench.serves(1))
      const found = await bench.read(1, 'k')
      return found === 'absent' ? undefined : `what was deleted is back: ${found}`
    },
  ),
]
