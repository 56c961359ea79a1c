/** `ringcache snapshot export`: all live entries as lines of JSON (docs/export.md). */

import { Command } from 'commander'
import { Exporter } from '../admin/export/exporter.ts'
import { CacheError, toCacheError } from '../kernel/errors.ts'
import type { RegionMessage } from '../wire/admin.ts'
import { type SharedOptions, withSharedOptions } from './connection.ts'
import { listed } from './listed.ts'
import { durationText, percent, sizeText } from './output.ts'
import { openTarget } from './text-file.ts'
import { type Transfer, withProgress, withTransfer } from './transfer.ts'
import { wholeNumber } from './whole-number.ts'

interface ExportCommandOptions extends SharedOptions {
  readonly region?: readonly string[]
  readonly prefix: string
  readonly file: string
  readonly replace?: boolean
  readonly rate?: number
  readonly meta?: boolean
}

export function exportCommand(): Command {
  return withSharedOptions(new Command('export'))
    .description(
      'Write all live entries as lines of JSON, with what `snapshot import` needs to bring them back.',
    )
    .option('-r, --region <name,...>', 'only these regions', listed)
    .option('--prefix <text>', 'only keys that begin with it', '')
    .option('-f, --file <file>', 'where to; - is stdout', '-')
    .option('--replace', 'replace the file if there is one')
    .option('--rate <entries>', 'at most so many entries a second', wholeNumber)
    .option('--meta', 'also version and time of creation, which an import does not bring back')
    .action((options: ExportCommandOptions) =>
      withTransfer(options, (transfer) => runExport(options, transfer)),
    )
}

async function runExport(options: ExportCommandOptions, transfer: Transfer): Promise<void> {
  const { api, client, ports, signal } = transfer
  const { clusterName } = await api.status({})
  const regions = chosen((await api.listRegions({})).regions, options.region)
  const target = await openTarget(options.file, options.replace === true)
  const exporter = new Exporter(
    client,
    ports,
    {
      cluster: clusterName,
      regions,
      prefix: options.prefix,
      perSecond: options.rate,
      withMeta: options.meta === true,
      signal,
    },
    (text) => target.write(text),
  )
  const { counts } = exporter
  const startMs = ports.clock.monotonicMs()
  try {
    const total = options.prefix === '' ? await entriesIn(transfer, regions) : undefined
    await withProgress(
      options,
      (elapsedMs) => progress(exporter, total, elapsedMs),
      () => exporter.run(),
    )
    await target.finish()
  } catch (error) {
    await target.abandon()
    const { code, message } = toCacheError(error)
    if (signal.aborted) throw new CacheError('ABORTED', `stopped after ${counts.entries} entries`)
    throw new CacheError(code, `${message}\nended after ${counts.entries} entries`, { cause: error })
  }
  const durationMs = Math.round(ports.clock.monotonicMs() - startMs)
  const { entries, bytes, gone } = counts
  const names = regions.map(({ name }) => name)
  const summary =
    options.output === 'json'
      ? JSON.stringify({ file: options.file, regions: names, entries, bytes, gone, durationMs }, null, 2)
      : `${entries} entries of ${names.join(', ')} written, ${sizeText(bytes)} in ${durationText(durationMs)}`
  // The entries themselves went to stdout.
  if (options.file === '-') console.error(summary)
  else console.log(summary)
}

/** @throws CacheError UNKNOWN_REGION naming those that exist */
function chosen(
  all: readonly RegionMessage[],
  names: readonly string[] | undefined,
): readonly RegionMessage[] {
  if (names === undefined) return all
  return [...new Set(names)].map((name) => {
    const region = all.find((one) => one.name === name)
    if (region !== undefined) return region
    const others = all.map((one) => one.name).join(', ')
    throw new CacheError(
      'UNKNOWN_REGION',
      `there is no region ${JSON.stringify(name)}; the cluster has: ${others}`,
    )
  })
}

/** About: entries come and go. */
async function entriesIn({ client }: Transfer, regions: readonly RegionMessage[]): Promise<number> {
  const stats = await Promise.all(regions.map(({ name }) => client.region(name).stats()))
  return stats.reduce((sum, { entries }) => sum + entries, 0)
}

function progress({ counts }: Exporter, total: number | undefined, elapsedMs: number): string {
  const { entries, bytes, region } = counts
  const pace = Math.round((1000 * entries) / elapsedMs)
  const known = total === undefined || total < entries ? undefined : total
  const of = known === undefined ? '' : ` of about ${known} (${percent(entries, known)})`
  const left =
    known === undefined || pace === 0 ? '' : `, about ${durationText((1000 * (known - entries)) / pace)} left`
  return `${entries}${of} entries, ${sizeText(bytes)}, ${pace}/s, in region ${region}${left}`
}
