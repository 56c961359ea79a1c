/** Whether a cluster has healed: every partition fully replicated, settled and served, and every node of one mind. */

import type { TestCluster } from '../../../src/testing/test-cluster.ts'

/** What is still missing; empty once all has healed. */
export function unhealed(cluster: TestCluster): string[] {
  const problems: string[] = []
  const [first] = cluster.nodes
  const topology = first?.core?.control.topology
  if (topology === undefined) return ['the first node knows no topology']
  for (const { nodeId, core } of cluster.nodes) {
    const status = core?.status()
    if (status?.state !== 'serving') problems.push(`${nodeId} is ${status?.state ?? 'dead'}`)
    else if (status.epoch !== topology.epoch)
      problems.push(`${nodeId} is at epoch ${status.epoch} of ${topology.epoch}`)
  }
  if (problems.length > 0) return problems
  const copies = Math.min(cluster.nodes.length, topology.groups[0]?.replicationFactor ?? 0)
  topology.partitions.forEach((partition, index) => {
    const { inSync, learners, unsettled } = partition
    if (inSync.length < copies || learners.length > 0 || unsettled.length > 0) {
      problems.push(
        `partition ${index}: ${inSync.length} of ${copies} in sync, ${learners.length} learners, ${unsettled.length} unsettled`,
      )
      return
    }
    const held = inSync.map((node) => {
      const { incarnation } = topology.nodes[node] ?? {}
      const core = cluster.nodes.find((one) => one.core?.incarnation === incarnation)?.core
      return core?.dataPlane?.replicator.replica(index)
    })
    const [primary, ...backups] = held
    if (primary?.role !== 'primary') problems.push(`partition ${index} is not served`)
    else if (primary.waiting > 0)
      problems.push(`partition ${index}: ${primary.waiting} operations still wait`)
    for (const backup of backups) {
      if (backup?.role !== 'backup' || backup.lastSequence !== primary?.lastSequence)
        problems.push(
          `partition ${index}: a backup (${backup?.role}) stands at ${backup?.lastSequence} of ${primary?.lastSequence}`,
        )
    }
  })
  return problems
}
