/** `ringcache snapshot import`: stores the entries of lines that `snapshot export` wrote, or people. */

import { Command } from 'commander'
import { Importer, type RequireRegion } from '../admin/export/importer.ts'
import { CacheError, toCacheError } from '../kernel/errors.ts'
import type { RegionMessage, RegionSettingsMessage } from '../wire/admin.ts'
import { pause, type SharedOptions, withSharedOptions } from './connection.ts'
import { EXIT, exitCodeOf } from './exit-codes.ts'
import { durationText, percent, print } from './output.ts'
import { openSource } from './text-file.ts'
import { type Transfer, withProgress, withTransfer } from './transfer.ts'
import { wholeNumber } from './whole-number.ts'

/** A client hears of a new region within milliseconds. */
const REGION_KNOWN_MS = 5_000
const ASK_AGAIN_MS = 50

interface ImportCommandOptions extends SharedOptions {
  readonly file: string
  readonly overwrite?: boolean
  readonly dryRun?: boolean
  readonly skipBadLines?: boolean
  readonly createRegions?: boolean
  readonly region?: string
  readonly prefix: string
  readonly into?: string
  readonly rate?: number
}

export function importCommand(): Command {
  return withSharedOptions(new Command('import'))
    .description('Store the entries of lines that `snapshot export` wrote. Entries that are there stay.')
    .option('-f, --file <file>', 'where from; - is stdin', '-')
    .option('--overwrite', 'replace entries that are there')
    .option('--dry-run', 'store nothing, only say what would be stored')
    .option('--skip-bad-lines', 'pass over lines that make no sense, and count them')
    .option('--create-regions', 'create regions that are missing, as they were exported')
    .option('-r, --region <name>', 'only entries of this region')
    .option('--prefix <text>', 'only keys that begin with it', '')
    .option('--into <region>', 'store everything in this region')
    .option('--rate <entries>', 'at most so many entries a second', wholeNumber)
    .action((options: ImportCommandOptions) =>
      withTransfer(options, (transfer) => runImport(options, transfer)),
    )
}

async function runImport(options: ImportCommandOptions, transfer: Transfer): Promise<void> {
  const { client, ports, signal } = transfer
  const source = await openSource(options.file, signal)
  const dryRun = options.dryRun === true
  const createdRegions: string[] = []
  const importer = new Importer(
    client,
    ports,
    {
      source: source.name,
      overwrite: options.overwrite === true,
      dryRun,
      skipBadLines: options.skipBadLines === true,
      region: options.region,
      prefix: options.prefix,
      into: options.into,
      perSecond: options.rate,
      signal,
    },
    await regionKeeper(options, transfer, createdRegions),
  )
  const { counts } = importer
  const startMs = ports.clock.monotonicMs()
  let failure: CacheError | undefined
  try {
    const line = (elapsedMs: number): string => {
      const { totalBytes, readBytes } = source
      const done = totalBytes === undefined ? '' : `, ${percent(readBytes, totalBytes)} of ${source.name}`
      return `${counts.lines} lines${done}, ${Math.round((1000 * counts.lines) / elapsedMs)}/s`
    }
    await withProgress(options, line, () => importer.run(source.chunks))
  } catch (error) {
    failure = signal.aborted ? new CacheError('ABORTED', 'stopped') : toCacheError(error)
  }
  const durationMs = Math.round(ports.clock.monotonicMs() - startMs)
  const { isCutOff } = counts
  const error = failure?.message ?? null
  print(options, { source: source.name, dryRun, ...counts, createdRegions, durationMs, error }, () => {
    const verb = dryRun ? 'would be stored' : 'stored'
    const rest = [
      [counts.kept, 'were there and stay'],
      [counts.expired, 'had expired'],
      [counts.filtered, 'are of other regions or prefixes'],
      [counts.badLines, 'lines passed over'],
    ] as const
    const parts = rest.filter(([count]) => count > 0).map(([count, what]) => `, ${count} ${what}`)
    return `${counts.stored} entries ${verb}${parts.join('')}, in ${durationText(durationMs)}`
  })
  for (const problem of counts.problems) console.error(problem)
  if (failure !== undefined) {
    console.error(failure.message)
    process.exitCode = exitCodeOf(failure.code)
  } else if (isCutOff) {
    console.error(
      `${source.name} has no last line {"ringcache":"end",…}: it was cut off, and entries are missing`,
    )
    process.exitCode = EXIT.failed
  }
}

/** @param created names of those it creates are added */
async function regionKeeper(
  options: ImportCommandOptions,
  { api, client }: Transfer,
  created: string[],
): Promise<RequireRegion> {
  const { regions } = await api.listRegions({})
  const names = regions.map(({ name }) => name)
  return async (name, exported) => {
    if (names.includes(name)) return true
    if (options.createRegions !== true)
      throw new CacheError(
        'UNKNOWN_REGION',
        `there is no region ${JSON.stringify(name)}; the cluster has: ${names.join(', ')}. Give --create-regions, or \`ringcache region create\` it, or store --into another`,
      )
    created.push(name)
    if (options.dryRun === true) return false
    await api.createRegion({ name, group: exported?.group ?? 'default', settings: settingsOf(exported) })
    names.push(name)
    await untilKnown(async () => {
      await client.region(name).has('?')
    })
    return true
  }
}

async function untilKnown(ask: () => Promise<void>): Promise<void> {
  for (let waitedMs = 0; ; waitedMs += ASK_AGAIN_MS) {
    try {
      return await ask()
    } catch (error) {
      if (toCacheError(error).code !== 'UNKNOWN_REGION' || waitedMs >= REGION_KNOWN_MS) throw error
    }
    await pause(ASK_AGAIN_MS)
  }
}

/** What a file says is taken over only where it is of the right kind; the node checks the rest. */
function settingsOf(exported: RegionMessage | undefined): RegionSettingsMessage | null {
  if (exported === undefined) return null
  const { sizeBytes, maxEntries, ttlMs, policy, durability, read, minInSync } = exported
  return Object.fromEntries([
    ...Object.entries({ sizeBytes, maxEntries, ttlMs, minInSync }).filter(
      ([, value]) => typeof value === 'number',
    ),
    ...Object.entries({ policy, durability, read }).filter(([, value]) => typeof value === 'string'),
  ])
}
