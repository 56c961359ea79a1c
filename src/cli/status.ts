/** `ringcache status`: the cluster at a glance. */

import { Command } from 'commander'
import type { NodeViewMessage } from '../wire/admin.ts'
import { type SharedOptions, withCluster, withSharedOptions } from './connection.ts'
import { print, progressText, table } from './output.ts'

export function statusCommand(): Command {
  return withSharedOptions(new Command('status'))
    .description('Show the cluster at a glance.')
    .action(async (options: SharedOptions) => {
      await withCluster(options, async (api) => {
        const status = await api.status({})
        const { nodes } = await api.listNodes({})
        print(options, { ...status, members: nodes }, () => {
          const { partitions, partitionsFull, partitionsBlocked, partitionsUnsettled } = status
          return [
            `cluster     ${status.clusterName} (${status.clusterId}), epoch ${status.epoch}`,
            `nodes       ${status.nodesUp} of ${status.nodes} up; voters ${status.voters.join(', ')}`,
            `partitions  ${partitionsFull} of ${partitions} complete, ${partitionsBlocked} blocked, ${partitionsUnsettled} settling`,
            `regions     ${status.regions.join(', ')}`,
            `rebalance   ${progressText(status.progress)}`,
            `safe        ${status.safe ? 'yes: any one node may stop' : 'no: see `ringcache cluster check`'}`,
            '',
            nodeTable(nodes),
          ].join('\n')
        })
      })
    })
}

export function nodeTable(nodes: readonly NodeViewMessage[]): string {
  return table(
    ['NODE', 'ADDRESS', 'ZONE', 'STATE', 'LIVENESS', 'VOTER', 'PRIMARIES', 'BACKUPS', 'LEARNERS'],
    nodes.map((node) => [
      node.nodeId,
      node.address,
      node.zone,
      node.drained && node.state === 'active' ? 'drained' : node.state,
      node.liveness,
      node.voter ? 'yes' : 'no',
      node.primaries,
      node.backups,
      node.learners,
    ]),
  )
}
