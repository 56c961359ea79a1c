/**
 * What a configuration contributes to the first topology record: everything but identities that are drawn at
 * bootstrap and the table of partitions, which placement works out.
 */

import type { RegionId } from '../kernel/ids.ts'
import type { GroupRecord, NodeRecord, RegionRecord } from '../topology/topology.ts'
import type { ClusterConfig } from './cluster-config.ts'

export interface TopologySeed {
  readonly clusterName: string
  readonly nodes: readonly Omit<NodeRecord, 'incarnation'>[]
  readonly groups: readonly GroupRecord[]
  readonly regions: readonly RegionRecord[]
}

/** The one placement group a file describes. */
const GROUP = 'default'

/** Regions are numbered from 1 on, `default` first. */
export function topologySeed(config: ClusterConfig): TopologySeed {
  const { factor, partitions } = config.replication
  return {
    clusterName: config.name,
    nodes: config.nodes.map(({ id, address, zone }) => ({
      nodeId: id as NodeRecord['nodeId'],
      address,
      zone,
    })),
    groups: [{ name: GROUP, replicationFactor: factor, firstPartition: 0, partitionCount: partitions }],
    regions: config.regions.map((region, index) => ({
      ...region,
      regionId: (index + 1) as RegionId,
      group: GROUP,
    })),
  }
}
