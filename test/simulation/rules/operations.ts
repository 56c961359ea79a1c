/** Operation ids: an operation is done once however often it is sent, and its outcome is true. */

import { text } from '../../support/cluster-bench.ts'
import { type Schedule, schedule } from './schedule.ts'

const SESSION = '00000000000000aa'

export const OPERATION_SCHEDULES: readonly Schedule[] = [
  schedule('an operation is done once at its primary', ['ids-until-watermark'], {}, async (bench) => {
    const first = await bench.client(0, SESSION)
    await bench.run(first.increment('n', 5, { counter: 1 }))
    await bench.run(first.increment('n', 1, { counter: 2 }))
    // The answer to the first got lost: it is sent again on another stream.
    const again = await bench.client(0, SESSION)
    const sum = (await bench.run(again.increment('n', 5, { counter: 1 }))).reader.float64()
    return sum === 5 ? undefined : `an increment was done twice: ${sum}`
  }),
  schedule(
    'an operation is done once, whoever is asked again',
    ['ids-in-sync', 'ids-until-watermark'],
    { nodes: 4 },
    async (bench) => {
      const first = await bench.client(0, SESSION)
      await bench.run(first.increment('n', 5, { counter: 1 }))
      bench.addLearner(3)
      await bench.waitFor(() => bench.inSync.includes(3))
      await bench.waitFor(() => bench.record.unsettled.length === 0)
      bench.moveTo(3)
      await bench.waitFor(() => bench.serves(3))
      const again = await bench.client(3, SESSION)
      const sum = (await bench.run(again.increment('n', 5, { counter: 1 }))).reader.float64()
      return sum === 5 ? undefined : `an increment was done twice: ${sum}`
    },
  ),
  schedule(
    'a retry is answered once its original is committed',
    ['retry-waits-for-commit'],
    {},
    async (bench) => {
      const first = await bench.client(0, SESSION)
      bench.cut(0, 1)
      bench.cut(0, 2)
      void first.set('k', text('v'), { counter: 1, timeoutMs: 5000 })
      await bench.time.advance(20)
      const again = await bench.client(0, SESSION)
      if (!(await bench.write(again, 'k', 'v', { counter: 1 }))) return undefined
      bench.die(0)
      const next = bench.primaryOf()
      await bench.waitFor(() => bench.serves(next))
      const found = await bench.read(next, 'k')
      return found === 'v' ? undefined : `the acknowledged write is gone: ${found}`
    },
  ),
]
