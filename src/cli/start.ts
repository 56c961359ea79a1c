/** `ringcache start`: runs one node of a cluster in this process until it is told to stop. */

import { Command } from 'commander'
import { systemScheduler } from '../adapters/system/scheduler.ts'
import { CacheNode } from '../node/cache-node.ts'

/** Before a node that could not go on is started again. */
const AGAIN_AFTER_MS = 1000

export function startCommand(): Command {
  return new Command('start')
    .description('Run one node of a cluster until SIGTERM or SIGINT.')
    .requiredOption('-n, --node <id>', 'which node of the configuration this is')
    .option('-c, --config <file>', 'configuration of the cluster', 'cluster.yaml')
    .action(async ({ node: nodeId, config }: { node: string; config: string }) => {
      let node = await CacheNode.start({ config, nodeId })
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
      for (;;) {
        const failure = await node.failed
        if (stopping) return
        // Held dead though it ran: its cluster takes it back as a new node. What is wrong with its disk or configuration is not put
        // right by trying again.
        if (failure.code !== 'CLOSED') {
          console.error(failure.message)
          process.exit(failure.code === 'CONFIGURATION' ? 1 : 3)
        }
        await node.close()
        await new Promise<void>((resolve) => systemScheduler.after(AGAIN_AFTER_MS, resolve))
        if (stopping) return
        node = await CacheNode.start({ config, nodeId })
      }
    })
}
