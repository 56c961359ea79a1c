/** Takeovers: whoever serves holds everything that was acknowledged, and its predecessor can acknowledge nothing more. */

import { text, written } from '../../support/cluster-bench.ts'
import { type RuleBench, type Schedule, schedule } from './schedule.ts'

/** Machines 0 and 2 hold a write that machine 1 lacks; machine 0 is gone, machine 1 is to lead. */
async function successorLacksWrite(bench: RuleBench): Promise<void> {
  const client = await bench.client(0)
  bench.network.cut('n0', 'n1')
  if (!(await bench.write(client, 'k', 'v'))) throw new Error('two of three did not acknowledge')
  bench.die(0)
  bench.moveTo(1)
}

export const TAKEOVER_SCHEDULES: readonly Schedule[] = [
  schedule('a new primary hears every member', ['takeover-hears-all'], { nodes: 5 }, async (bench) => {
    bench.cut(1, 2)
    await successorLacksWrite(bench)
    await bench.time.advance(3000)
    return bench.serves(1) ? 'n1 serves without the acknowledged write' : undefined
  }),
  schedule('the longest log wins', ['takeover-longest-log'], {}, async (bench) => {
    await successorLacksWrite(bench)
    const next = bench.primaryOf()
    await bench.waitFor(() => bench.serves(next))
    const found = await bench.read(next, 'k')
    return found === 'v' ? undefined : `the acknowledged write is gone: ${found}`
  }),
  schedule(
    'whoever answers a new primary follows the old one no more',
    ['adopt-before-answer'],
    {},
    async (bench) => {
      const client = await bench.client(0)
      await bench.write(client, 'k', 'v', { durability: 3 })
      bench.register.reaches = (host) => host.name === 'n2'
      bench.moveTo(2)
      await bench.waitFor(() => bench.serves(2))
      return (await bench.write(client, 'k', 'w'))
        ? 'the old primary had a write acknowledged that the new one lacks'
        : undefined
    },
  ),
  schedule('a record of an older epoch is refused', ['backup-epoch-fence'], {}, async (bench) => {
    const client = await bench.client(0)
    await bench.write(client, 'k', 'v', { durability: 3 })
    await bench.time.advance(300)
    // What machine 0 sends to 2 arrives when 1 has taken over and 2 follows it.
    bench.cut(0, 1)
    bench.network.delay('n0', 'n2', 2500)
    for (const value of ['x', 'y', 'z']) void client.set('k', text(value), { timeoutMs: 5000 })
    await bench.time.advance(20)
    bench.holdDead(0)
    bench.moveTo(1)
    await bench.waitFor(() => bench.serves(1))
    await bench.time.advance(3000)
    const next = await bench.client(1)
    if (!(await bench.write(next, 'k', 'w'))) return undefined
    bench.crash(0)
    bench.die(1)
    await bench.waitFor(() => bench.serves(2))
    const found = await bench.read(2, 'k')
    return found === 'w' ? undefined : `the acknowledged write is gone: ${found}`
  }),
  schedule('what was applied is not refused', ['applied-is-unknown'], {}, async (bench) => {
    const client = await bench.client(0)
    bench.cut(0, 1)
    bench.cut(0, 2)
    const waiting = client.set('k', text('v'))
    await bench.time.advance(20)
    bench.moveTo(1)
    await bench.time.advance(100)
    bench.network.healAll()
    const outcome = written(await bench.run(waiting))
    await bench.waitFor(() => bench.serves(1))
    // It was the longest log: refused or not, it lasts.
    const found = await bench.read(1, 'k')
    return outcome === 'OUTCOME_UNKNOWN' ? undefined : `the write ended ${outcome}, and a read shows ${found}`
  }),
]
