/** Processes: one that was started again is not the one before. */

import { CacheError } from '../../../src/kernel/errors.ts'
import { TestCluster, type TestNode } from '../../../src/testing/test-cluster.ts'
import { partitionOfKey } from '../../support/cluster-bench.ts'
import type { Schedule } from './schedule.ts'

const PARTITIONS = 4

/** Machine by machine, who is primary of the key's partition. */
function primaryOf(cluster: TestCluster, key: string): TestNode {
  const partition = partitionOfKey(key, PARTITIONS)
  const node = cluster.nodes.find(
    ({ core }) => core?.dataPlane?.replicator.replica(partition)?.role === 'primary',
  )
  if (node === undefined) throw new Error(`nobody serves ${key}`)
  return node
}

export const PROCESS_SCHEDULES: readonly Schedule[] = [
  {
    what: 'a process started again does not serve what its predecessor held',
    rules: ['restart-is-another-node'],
    run: async (broken) => {
      const cluster = new TestCluster({
        network: { slowShare: 0 },
        // Nobody starts over, so what was acknowledged may be out of reach, but never gone.
        node: { partitionCount: PARTITIONS, replicationFactor: 1, onMajorityLoss: 'block' },
        ...(broken === undefined ? {} : { brokenRules: broken }),
      })
      try {
        await cluster.start()
        const cache = await cluster.connect<string>({ timeout: 2000 })
        await cluster.run(cache.set('k', 'v'))
        const node = primaryOf(cluster, 'k')
        cluster.killNode(node)
        cluster.startNode(node)
        const found = await cluster.run(
          cache.get('k', { read: 'linearizable' }).catch((error: unknown) => {
            if (error instanceof CacheError) return 'no answer'
            throw error
          }),
        )
        return found === 'v' || found === 'no answer'
          ? undefined
          : `the acknowledged write is gone: ${String(found)}`
      } finally {
        cluster.close()
      }
    },
  },
]
