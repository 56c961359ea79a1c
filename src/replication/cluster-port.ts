/**
 * What replication needs of the cluster around it. A cluster whose topology never changes needs none of it.
 */

import type { NodeIndex } from '../topology/topology.ts'
import type { Transform } from '../topology/transforms.ts'

export interface ClusterPort {
  /** Proposes a change of the topology. Whether it came to be shows in a topology adopted later, or never. */
  propose(transform: Transform): void
  /** Whether exactly this process has ended for certain: it can't serve any more. */
  isProvenDead(node: NodeIndex): boolean
  /** Monotonic time at which the last round was *sent* that a majority of voters answered, knowing no later epoch. */
  voterContactMs(): number
}

/** A cluster that never changes: the topology is what it is, and always known. */
export function staticCluster(monotonicMs: () => number): ClusterPort {
  return { propose: () => {}, isProvenDead: () => false, voterContactMs: monotonicMs }
}
