/** Processes: one that was started again is not the one before. */

import { ClusterBench, shown, text } from '../../support/cluster-bench.ts'
import { LINEARIZABLE, type Schedule } from './schedule.ts'

export const PROCESS_SCHEDULES: readonly Schedule[] = [
  {
    what: 'a process started again does not serve what its predecessor held',
    rules: ['restart-is-another-node'],
    run: async (broken) => {
      const bench = await ClusterBench.start({
        // Nobody starts over, so what was acknowledged may be out of reach, but never gone.
        node: { replicationFactor: 1, onMajorityLoss: 'block' },
        ...(broken === undefined ? {} : { brokenRules: broken }),
      })
      try {
        const key = bench.keyOf(0)
        await bench.run((await bench.client(0)).set(key, text('v')))
        const node = bench.node(0)
        bench.cluster.killNode(node)
        bench.cluster.startNode(node)
        // Its record still names the process before, for the others have yet to agree that it ended.
        const found = shown(await bench.run((await bench.client(0)).get(key, LINEARIZABLE)))
        return found === 'absent' ? 'an acknowledged write is gone' : undefined
      } finally {
        bench.cluster.close()
      }
    },
  },
]
