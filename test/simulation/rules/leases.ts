/** Leases and linearizable answers: a new primary outwaits the old one, and nobody answers what others may have changed. */

import { type RuleBench, type Schedule, schedule } from './schedule.ts'

const UNANSWERABLE = 'a linearizable read was answered'

/** The partition starts over at machine 1 while its only replica lives, cut off. */
async function startsOver(bench: RuleBench): Promise<string | undefined> {
  await bench.time.advance(300)
  bench.isolate(0)
  bench.fail(bench.node(0))
  bench.invariants.lossAllowed = true
  bench.recover(1)
  return bench.overlaps(1, 0, 5000)
}

export const LEASE_SCHEDULES: readonly Schedule[] = [
  schedule(
    'a new primary outwaits the old one',
    ['lease-own-grant', 'lease-needs-grants', 'takeover-waits-for-leases', 'proven-dead-by-process'],
    { replicas: 2 },
    async (bench) => {
      await bench.time.advance(600)
      bench.cut(0, 1)
      bench.holdDead(0)
      return bench.overlaps(1, 0, 1500)
    },
  ),
  schedule('a lease counts from the sending', ['lease-from-send'], { replicas: 2 }, async (bench) => {
    bench.network.delay('n1', 'n0', 600)
    await bench.time.advance(2000)
    // The last acknowledgements arrive 600 ms after they were sent; what is sent behind them does not.
    bench.network.cut('n0', 'n1')
    await bench.time.advance(590)
    bench.network.cut('n1', 'n0')
    bench.holdDead(0)
    return bench.overlaps(1, 0, 2500)
  }),
  schedule('clocks may drift by a twentieth', ['lease-ends-early'], { replicas: 2 }, async (bench) => {
    bench.hosts[0]?.setClockRate(0.955)
    bench.hosts[1]?.setClockRate(1.045)
    await bench.time.advance(423)
    bench.cut(0, 1)
    bench.holdDead(0)
    return bench.overlaps(1, 0, 1500)
  }),
  schedule(
    'a primary alone counts on the voters, and whoever starts over waits for it',
    ['lone-primary-needs-voters', 'recovered-waits'],
    { replicas: 1 },
    startsOver,
  ),
  schedule('an answer shows only what a quorum holds', ['read-waits-for-commit'], {}, async (bench) => {
    const client = await bench.client(0)
    await bench.write(client, 'k', 'v', { durability: 3 })
    await bench.time.advance(600)
    bench.network.cut('n0', 'n1')
    bench.network.cut('n0', 'n2')
    await bench.run(client.delete('k', { durability: 1 }))
    const answer = await bench.answerWithin(client, 'k', 200)
    return answer === undefined ? undefined : `${UNANSWERABLE} with what no quorum holds`
  }),
  schedule(
    'without a lease a quorum answers after the request came',
    ['confirm-after-arrival', 'read-under-lease'],
    { replicas: 2 },
    async (bench) => {
      const client = await bench.client(0)
      await bench.write(client, 'k', 'v', { durability: 3 })
      // Acknowledgements come so late that they grant nothing any more when they do.
      bench.network.delay('n1', 'n0', 920)
      await bench.time.advance(3000)
      bench.network.cut('n0', 'n1')
      await bench.time.advance(30)
      const answer = await bench.answerWithin(client, 'k', 300)
      return answer === undefined ? undefined : `${UNANSWERABLE}, and others may have gone on`
    },
  ),
]
