/** `ringcache cluster`: what is wrong, whether a node may stop, and rebalancing. */

import { Command } from 'commander'
import type { RebalanceAction, RebalanceReply } from '../wire/admin.ts'
import { pause, type SharedOptions, withCluster, withSharedOptions } from './connection.ts'
import { clusterEventsCommand } from './events.ts'
import { EXIT } from './exit-codes.ts'
import { print, progressText, table } from './output.ts'

const WAIT_MS = 500

interface SafeOptions extends SharedOptions {
  readonly wait?: boolean
}

interface RebalanceOptions extends SharedOptions {
  readonly dryRun?: boolean
  readonly includeDrained?: boolean
  readonly wait?: boolean
}

export function clusterCommand(): Command {
  return new Command('cluster')
    .description('Check and rebalance the cluster.')
    .addCommand(checkCommand())
    .addCommand(safeCommand())
    .addCommand(rebalanceCommand())
    .addCommand(stepCommand('pause', 'PAUSE', 'Begin no new move until resumed. Repairs go on.'))
    .addCommand(stepCommand('resume', 'RESUME', 'Go on with a paused rebalance.'))
    .addCommand(stepCommand('cancel', 'CANCEL', 'Move data back to where it was before the last change.'))
    .addCommand(recoverCommand())
    .addCommand(clusterEventsCommand())
}

function checkCommand(): Command {
  return withSharedOptions(new Command('check'))
    .description('List everything that is not as it should be.')
    .action(async (options: SharedOptions) => {
      await withCluster(options, async (api) => {
        const check = await api.clusterCheck({})
        const { findings } = check
        print(options, check, () =>
          findings.length === 0
            ? 'all is well'
            : findings.map(({ severity, message }) => `${severity.padEnd(8)}  ${message}`).join('\n'),
        )
        if (findings.some(({ severity }) => severity !== 'info')) process.exitCode = EXIT.unsafe
      })
    })
}

function safeCommand(): Command {
  return withSharedOptions(new Command('safe'))
    .description('Exit with 0 only if any one node may stop now without a loss or an outage.')
    .option('-w, --wait', 'wait until that is so')
    .action(async (options: SafeOptions) => {
      await withCluster(options, async (api) => {
        let answer = await api.clusterSafe({})
        while (!answer.safe && options.wait === true) {
          await pause(WAIT_MS)
          answer = await api.clusterSafe({})
        }
        print(options, answer, () => (answer.safe ? 'safe' : `not safe:\n${answer.reasons.join('\n')}`))
        if (!answer.safe) process.exitCode = EXIT.unsafe
      })
    })
}

function rebalanceCommand(): Command {
  return withSharedOptions(new Command('rebalance'))
    .description('Give each node its share, or show how far that is.')
    .option('--dry-run', 'only show what would move')
    .option('--include-drained', 'also give data to nodes that were drained, or whose join was cancelled')
    .option('-w, --wait', 'wait until nothing is left to move')
    .action(async (options: RebalanceOptions) => {
      await withCluster(options, async (api) => {
        const includeDrained = options.includeDrained === true
        const action = options.dryRun === true ? 'DRY_RUN' : 'START'
        let reply = await api.rebalance({ action, includeDrained })
        while (options.wait === true && action === 'START' && isRunning(reply)) {
          if (options.output === 'text') console.error(progressText(reply.progress))
          await pause(2 * WAIT_MS)
          reply = await api.rebalance({ action: 'SHOW', includeDrained: false })
        }
        print(options, reply, () => {
          const first =
            action === 'DRY_RUN'
              ? `would copy ${reply.copiesToMove} partitions`
              : progressText(reply.progress)
          return `${first}\n\n${loadTable(reply)}`
        })
      })
    })
}

function stepCommand(name: string, action: RebalanceAction, description: string): Command {
  return withSharedOptions(new Command(name))
    .description(description)
    .action(async (options: SharedOptions) => {
      await withCluster(options, async (api) => {
        const reply = await api.rebalance({ action, includeDrained: false })
        print(options, reply, () => progressText(reply.progress))
      })
    })
}

function recoverCommand(): Command {
  return withSharedOptions(new Command('recover'))
    .description('Let partitions that lost too many copies start over with what is left. Loses writes.')
    .requiredOption('--accept-loss', 'writes that only the lost copies held are gone for good')
    .action(async (options: SharedOptions) => {
      await withCluster(options, async (api) => {
        const reply = await api.recover({})
        print(options, reply, () => `${reply.partitions} partitions start over`)
      })
    })
}

function isRunning({ progress }: RebalanceReply): boolean {
  return (
    progress.copiesLeft + progress.handoversLeft + progress.removalsLeft > 0 && progress.state !== 'paused'
  )
}

function loadTable({ loads }: RebalanceReply): string {
  return table(
    ['NODE', 'COPIES', 'WANTED', 'PRIMARIES', 'WANTED'],
    loads.map((load) => [load.nodeId, load.copies, load.copiesWanted, load.primaries, load.primariesWanted]),
  )
}
