/** What a backup takes from this node: partitions that it is primary of, and serves. */

import type { PartSource } from '../../backup/part-agent.ts'
import { CacheError } from '../../kernel/errors.ts'
import type { DataPlane } from '../data-plane.ts'

/** @throws CacheError NOT_READY while the node knows no topology */
export function partSourceOf(plane: DataPlane | undefined, partitions: readonly number[]): PartSource {
  if (plane === undefined)
    throw new CacheError('NOT_READY', 'this node has no role in the cluster yet: try again')
  const { engine, replicator, clusterId } = plane
  return {
    clusterId,
    engine,
    partitions: () => partitions,
    position: (partition) => {
      const replica = replicator.replica(partition)
      if (replica?.role !== 'primary') return undefined
      const { partitionEpoch, lastEpoch, lastSequence, clockMs } = replica
      return { partitionEpoch, lastEpoch, lastSequence, clockMs }
    },
    regions: () => plane.topology.regions,
  }
}
