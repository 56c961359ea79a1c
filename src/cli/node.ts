/** `ringcache node`: who the nodes are, and taking them out of the cluster. */

import { Command } from 'commander'
import type { AdminApi, NodeReply } from '../wire/admin.ts'
import { pause, type SharedOptions, withCluster, withSharedOptions } from './connection.ts'
import { print, progressText } from './output.ts'
import { nodeTable } from './status.ts'

const WAIT_MS = 500

interface LeaveOptions extends SharedOptions {
  readonly undo?: boolean
  readonly force?: boolean
  readonly wait?: boolean
}

export function nodeCommand(): Command {
  return new Command('node')
    .description('Look at nodes, and take them out of the cluster.')
    .addCommand(listCommand())
    .addCommand(infoCommand())
    .addCommand(
      leaveCommand('drain', 'Move all data off a node; it stays a member.', (api, request) =>
        api.drainNode(request),
      ),
    )
    .addCommand(
      leaveCommand(
        'decommission',
        'Move all data off a node, which then leaves the cluster.',
        (api, request) => api.decommissionNode(request),
      ),
    )
    .addCommand(removeCommand())
}

function listCommand(): Command {
  return withSharedOptions(new Command('list'))
    .description('List all nodes.')
    .action(async (options: SharedOptions) => {
      await withCluster(options, async (api) => {
        const reply = await api.listNodes({})
        print(options, reply.nodes, () => nodeTable(reply.nodes))
      })
    })
}

function infoCommand(): Command {
  return withSharedOptions(new Command('info'))
    .description('Show one node.')
    .argument('<node>', 'its id')
    .action(async (nodeId: string, options: SharedOptions) => {
      await withCluster(options, async (api) => {
        const { node } = await api.getNode({ nodeId })
        print(options, node, () =>
          Object.entries(node)
            .map(([name, value]) => `${name.padEnd(12)}${String(value)}`)
            .join('\n'),
        )
      })
    })
}

function leaveCommand(
  name: string,
  description: string,
  call: (api: AdminApi, request: { nodeId: string; undo: boolean; force: boolean }) => Promise<NodeReply>,
): Command {
  return withSharedOptions(new Command(name))
    .description(description)
    .argument('<node>', 'its id')
    .option('--undo', 'take it back: it gets its share again')
    .option('--force', 'also when too few nodes are left for all copies')
    .option('-w, --wait', 'wait until nothing is left on it')
    .action(async (nodeId: string, options: LeaveOptions) => {
      await withCluster(options, async (api) => {
        const undo = options.undo === true
        await call(api, { nodeId, undo, force: options.force === true })
        if (options.wait === true && !undo) await untilEmpty(api, nodeId, options)
        const node = await find(api, nodeId)
        print(options, node ?? { nodeId, state: 'gone' }, () =>
          node === undefined ? `${nodeId} has left the cluster` : nodeTable([node]),
        )
      })
    })
}

function removeCommand(): Command {
  return withSharedOptions(new Command('remove'))
    .description('Give up a node that failed and will not return.')
    .argument('<node>', 'its id')
    .action(async (nodeId: string, options: SharedOptions) => {
      await withCluster(options, async (api) => {
        await api.removeNode({ nodeId })
        print(options, { nodeId, state: 'gone' }, () => `${nodeId} is a member no more`)
      })
    })
}

/** A decommissioned node that is empty disappears from the list. */
async function untilEmpty(api: AdminApi, nodeId: string, options: SharedOptions): Promise<void> {
  for (;;) {
    const node = await find(api, nodeId)
    if (node === undefined) return
    const left = node.primaries + node.backups + node.learners
    if (left === 0 && node.state !== 'leaving') return
    if (options.output === 'text') {
      const { progress } = await api.status({})
      console.error(`${left} partitions left on ${nodeId}; ${progressText(progress)}`)
    }
    await pause(2 * WAIT_MS)
  }
}

async function find(api: AdminApi, nodeId: string): Promise<NodeReply['node'] | undefined> {
  const { nodes } = await api.listNodes({})
  return nodes.find((node) => node.nodeId === nodeId)
}
