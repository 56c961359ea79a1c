/** Quorums and in-sync sets: an acknowledged write is held by every set that may take over. */

import { DEFAULT_REGION } from '../../../src/node/options.ts'
import { text } from '../../support/cluster-bench.ts'
import { type RuleBench, type Schedule, schedule } from './schedule.ts'

/** Machine 0 is gone: lets others take over if they may. */
async function takenOver(bench: RuleBench, lost: number): Promise<string | undefined> {
  bench.die(lost)
  await bench.time.advance(3000)
  const next = bench.primaryOf()
  if (next < 0 || !bench.serves(next)) return undefined
  const found = await bench.read(next, 'k')
  return found === 'v' ? undefined : `the acknowledged write is gone: ${found}`
}

export const SET_SCHEDULES: readonly Schedule[] = [
  schedule(
    'a quorum is a majority of the in-sync set, without learners',
    ['learner-not-counted', 'set-majority'],
    { nodes: 4 },
    async (bench) => {
      const client = await bench.client(0)
      await bench.write(client, 'j', 'v', { durability: 3 })
      bench.register.refuses = (transform) => transform.kind === 'LearnerPromoted'
      bench.addLearner(3)
      await bench.waitFor(() => bench.entriesOf(3) === 1)
      await bench.time.advance(300)
      bench.cut(0, 1)
      bench.cut(0, 2)
      if (!(await bench.write(client, 'k', 'v'))) return undefined
      return takenOver(bench, 0)
    },
  ),
  schedule(
    'a member counts until its removal is known',
    ['shrink-after-commit'],
    { nodes: 5, replicas: 4 },
    async (bench) => {
      const client = await bench.client(0)
      bench.register.refuses = (transform) => transform.kind === 'InSyncShrunk'
      bench.cut(0, 2)
      bench.cut(0, 3)
      await bench.time.advance(1800)
      if (!(await bench.write(client, 'k', 'v'))) return undefined
      // Nobody knows of the removal: the two may take over, without the write.
      bench.die(0)
      return takenOver(bench, 1)
    },
  ),
  schedule(
    'what was acknowledged under an older epoch says nothing about this one',
    ['acks-per-epoch'],
    {},
    async (bench) => {
      const client = await bench.client(0)
      await bench.time.advance(300)
      // Machine 1 has yet to learn of a region, so it must refuse what is logged for it. It stands still, and then reads that
      // log and the question of the next epoch at once.
      bench.register.reaches = (host) => host.name === 'n0'
      bench.commit({ kind: 'RegionCreated', region: { ...DEFAULT_REGION, name: 'late', group: 'default' } })
      await bench.time.advance(300)
      bench.cut(0, 2)
      bench.hosts[1]?.pause()
      const waiting = client.set('k', text('v'), { regionId: 1, timeoutMs: 600 })
      await bench.time.advance(20)
      const member = { partition: 0, partitionEpoch: bench.epoch, node: bench.positionOf(2) }
      bench.commit({ kind: 'InSyncShrunk', members: [member] })
      await bench.time.advance(300)
      bench.register.reaches = () => false
      bench.hosts[1]?.resume()
      if (!bench.noted(await bench.run(waiting))) return undefined
      bench.die(0)
      bench.register.reaches = () => true
      const next = bench.primaryOf()
      await bench.waitFor(() => bench.serves(next))
      const found = await bench.read(next, 'k', 1)
      return found === 'v' ? undefined : `the acknowledged write is gone: ${found}`
    },
  ),
  schedule('a new set holds every set before it', ['unsettled-sets'], { nodes: 5 }, async (bench) => {
    const client = await bench.client(0)
    bench.cut(0, 1)
    if (!(await bench.write(client, 'k', 'v'))) throw new Error('two of three did not acknowledge')
    bench.die(2)
    await bench.time.advance(200)
    return takenOver(bench, 0)
  }),
  schedule(
    'older sets count until a quorum holds what they may have acknowledged',
    ['settle-after-quorum'],
    { nodes: 5 },
    async (bench) => {
      const client = await bench.client(0)
      bench.network.cut('n0', 'n1')
      if (!(await bench.write(client, 'k', 'v'))) throw new Error('two of three did not acknowledge')
      bench.die(0)
      // Node 2 leads; in the moment in which it does, nothing reaches node 1 any more.
      bench.moveTo(2)
      bench.onEvent = () => {
        if (bench.serves(2)) bench.cut(2, 1)
      }
      await bench.waitFor(() => bench.serves(2))
      await bench.time.advance(300)
      bench.onEvent = undefined
      return takenOver(bench, 2)
    },
  ),
]
