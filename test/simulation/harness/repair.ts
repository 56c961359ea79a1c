/** Proposes learners for partitions that have too few replicas, as long as no node does. */

import type { TestCluster } from '../../../src/testing/test-cluster.ts'
import { isUp } from '../../../src/topology/topology.ts'
import type { NodeAt } from '../../../src/topology/transforms.ts'

const EVERY_MS = 300

export function repair(cluster: TestCluster): void {
  cluster.time.after(EVERY_MS, () => {
    propose(cluster)
    repair(cluster)
  })
}

function propose(cluster: TestCluster): void {
  const running = cluster.nodes.filter(({ core, host }) => core !== undefined && !host.paused)
  const cores = running.flatMap(({ core }) => (core === undefined ? [] : [core]))
  const newest = cores.sort((a, b) => b.control.epoch - a.control.epoch)[0]
  const topology = newest?.control.topology
  if (topology === undefined) return
  const learners: NodeAt[] = []
  topology.partitions.forEach(({ inSync, learners: present, partitionEpoch }, partition) => {
    const held = new Set([...inSync, ...present.map((learner) => learner.node)])
    const copies = topology.groups[0]?.replicationFactor ?? 0
    if (held.size >= copies) return
    const node = topology.nodes.findIndex((record, at) => isUp(record.state) && !held.has(at))
    if (node >= 0) learners.push({ partition, partitionEpoch, node })
  })
  if (learners.length > 0) newest?.control.propose({ kind: 'LearnerAdded', learners })
}
