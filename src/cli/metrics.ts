/** `ringcache metrics show`: the figures of all nodes, or of one, in the text format of Prometheus. */

import { Command } from 'commander'
import { prometheusText } from '../adapters/prometheus/exposition.ts'
import { mergedMetrics } from '../admin/merged-metrics.ts'
import { CacheError } from '../kernel/errors.ts'
import type { MetricFamily } from '../observability/metric-families.ts'
import { type SharedOptions, withEveryNode, withSharedOptions } from './connection.ts'
import { EXIT } from './exit-codes.ts'
import { print, silenceText } from './output.ts'

interface MetricOptions extends SharedOptions {
  readonly node?: string
}

export function metricsCommand(): Command {
  return new Command('metrics').description('See the figures of the nodes.').addCommand(showCommand())
}

function showCommand(): Command {
  return withSharedOptions(new Command('show'))
    .description('Print the figures of all nodes in the text format of Prometheus, each with a label `node`.')
    .option('--node <id>', 'of this node only')
    .action(async (options: MetricOptions) => {
      await withEveryNode(options, async (nodes) => {
        const known = await nodes.find()
        const { node } = options
        if (node !== undefined && !known.some(({ nodeId }) => nodeId === node))
          throw new CacheError(
            'INVALID_ARGUMENT',
            `there is no node ${node}; there are ${known.map(({ nodeId, address }) => nodeId || address).join(', ')}`,
          )
        const { answers, missing } = await nodes.ask('getMetrics', ({ nodeId }) =>
          node === undefined || nodeId === node ? {} : undefined,
        )
        const families = mergedMetrics(answers)
        const text = await prometheusText(families as readonly MetricFamily[])
        print(options, { families, missing }, () => text.trimEnd())
        for (const silent of missing) console.error(silenceText(silent))
        if (missing.length > 0) process.exitCode = EXIT.unreachable
      })
    })
}
