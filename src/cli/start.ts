/** `ringcache start`: runs one node of a cluster in this process until it is told to stop. */

import { Command } from 'commander'
import { CacheNode } from '../node/cache-node.ts'

export function startCommand(): Command {
  return new Command('start')
    .description('Run one node of a cluster until SIGTERM or SIGINT.')
    .requiredOption('-n, --node <id>', 'which node of the configuration this is')
    .option('-c, --config <file>', 'configuration of the cluster', 'cluster.yaml')
    .action(async ({ node: nodeId, config }: { node: string; config: string }) => {
      const node = await CacheNode.start({ config, nodeId })
      let stopping = false
      const stop = (): void => {
        // A second signal does not wait any longer.
        if (stopping) process.exit(3)
        stopping = true
        node.close().then(
          () => process.exit(0),
          (error: unknown) => {
            console.error(error)
            process.exit(3)
          },
        )
      }
      process.once('SIGTERM', stop)
      process.on('SIGINT', stop)
      // Started by a process that holds a channel to it: ends when that process ends, however it does.
      if (process.channel !== undefined) process.once('disconnect', stop)
    })
}
