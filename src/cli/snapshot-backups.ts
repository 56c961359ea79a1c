/** `ringcache snapshot create|list|show|verify|restore|delete`: backups of the whole cluster (docs/backup.md). */

import { Command } from 'commander'
import { systemClock } from '../adapters/system/clock.ts'
import type { BackupManifest } from '../backup/backup-manifest.ts'
import type { BackupListing } from '../backup/cluster-backups.ts'
import type { RestoreReport } from '../backup/restore-run.ts'
import type { Verification } from '../backup/verify-run.ts'
import { CacheError } from '../kernel/errors.ts'
import type { BackupRunMessage } from '../wire/admin.ts'
import { type PlaceOptions, rate, withPlace, withRun } from './backup-run.ts'
import { EXIT } from './exit-codes.ts'
import { listed } from './listed.ts'
import { durationText, percent, print, sizeText, table } from './output.ts'

interface CreateOptions extends PlaceOptions {
  readonly resume?: boolean
  readonly rate?: number
}

interface RestoreOptions extends PlaceOptions {
  readonly region?: readonly string[]
  readonly prefix?: string
  readonly ifNewer?: boolean
  readonly overwrite?: boolean
  readonly dryRun?: boolean
  readonly skipDamaged?: boolean
  readonly rate?: number
}

export function backupCommands(): Command[] {
  return [createCommand(), listCommand(), showCommand(), verifyCommand(), restoreCommand(), deleteCommand()]
}

function createCommand(): Command {
  return withPlace(new Command('create'), 'where to write it')
    .description('Back up the whole cluster while it serves.')
    .argument('[name]', 'of the backup; by default the time, such as 20260131-235959')
    .option('--resume', 'go on with one that was begun and not finished')
    .option('--rate <bytes>', 'what all nodes together write in a second, such as 50mb', rate)
    .action(async (given: string | undefined, options: CreateOptions) => {
      const name = given ?? nameOfNow()
      await withRun<BackupManifest>(
        options,
        { action: 'CREATE', name, resume: options.resume === true, bytesPerSecond: options.rate ?? 0 },
        { resume: true },
        progressText,
        (manifest) =>
          print(options, manifest, () => {
            const { entries, rawBytes, storedBytes, startedMs, finishedMs } = manifest
            return `${name}: ${entries} entries, ${sizeText(rawBytes)} in ${sizeText(storedBytes)}, ${durationText(finishedMs - startedMs)}`
          }),
      )
    })
}

function listCommand(): Command {
  return withPlace(new Command('list'), 'where to look')
    .description('List backups, the newest first.')
    .action(async (options: PlaceOptions) => {
      await withRun<BackupListing[]>(
        options,
        { action: 'LIST' },
        {},
        () => '',
        (listings) => print(options, listings, () => listTable(listings)),
      )
    })
}

function showCommand(): Command {
  return withPlace(new Command('show'), 'where to look')
    .description('Show what a backup says of itself.')
    .argument('<name>')
    .action(async (name: string, options: PlaceOptions) => {
      await withRun<BackupManifest>(
        options,
        { action: 'SHOW', name },
        {},
        () => '',
        (manifest) => print(options, manifest, () => describe(manifest)),
      )
    })
}

function verifyCommand(): Command {
  return withPlace(new Command('verify'), 'where to look')
    .description('Read every byte of a backup and check its counts and checksums.')
    .argument('<name>')
    .option('--rate <bytes>', 'what is read in a second at most, such as 50mb', rate)
    .action(async (name: string, options: CreateOptions) => {
      await withRun<Verification>(
        options,
        { action: 'VERIFY', name, bytesPerSecond: options.rate ?? 0 },
        {},
        progressText,
        (found) => {
          print(options, found, () =>
            found.isGood
              ? `${name} is good: ${found.partitions} partitions, ${found.entries} entries, ${sizeText(found.storedBytes)} read`
              : [`${name} is damaged:`, ...found.problems].join('\n'),
          )
          if (!found.isGood) process.exitCode = EXIT.failed
        },
      )
    })
}

function restoreCommand(): Command {
  return withPlace(new Command('restore'), 'where the backup lies')
    .description(
      'Bring a backup back into the cluster, which may have other nodes and partitions. Keys that are there are kept, unless told otherwise.',
    )
    .argument('<name>')
    .option('--region <name,...>', 'only these regions', listed)
    .option('--prefix <text>', 'only keys that begin with it')
    .option('--if-newer', 'also keys whose present entry was written before the one in the backup')
    .option('--overwrite', 'all keys, whatever is there')
    .option('--dry-run', 'write nothing, and tell what would be written')
    .option('--skip-damaged', 'leave out what is damaged, in place of ending there')
    .option('--rate <bytes>', 'what is read in a second at most, such as 50mb', rate)
    .action(async (name: string, options: RestoreOptions) => {
      if (options.ifNewer === true && options.overwrite === true)
        throw new CacheError('INVALID_ARGUMENT', '--if-newer and --overwrite exclude each other')
      const mode = options.overwrite === true ? 'overwrite' : options.ifNewer === true ? 'newer' : 'absent'
      await withRun<RestoreReport>(
        options,
        {
          action: 'RESTORE',
          name,
          mode,
          regions: options.region ?? [],
          prefix: options.prefix ?? '',
          dryRun: options.dryRun === true,
          skipDamaged: options.skipDamaged === true,
          bytesPerSecond: options.rate ?? 0,
        },
        // It does no harm to do it again.
        {},
        progressText,
        (report) => {
          print(options, report, () => reportText(report))
          if (report.refused > 0 || report.damaged.length > 0) process.exitCode = EXIT.failed
        },
      )
    })
}

function deleteCommand(): Command {
  return withPlace(new Command('delete'), 'where the backup lies')
    .description('Delete a backup, finished or not.')
    .argument('<name>')
    .action(async (name: string, options: PlaceOptions) => {
      await withRun<object>(
        options,
        { action: 'DELETE', name },
        undefined,
        () => '',
        (result) => print(options, result, () => `${name} is deleted`),
      )
    })
}

function progressText({
  action,
  partitionsDone,
  partitions,
  entries,
  written,
  rawBytes,
  etaMs,
}: BackupRunMessage): string {
  if (partitions === 0) return ''
  const counts = action === 'RESTORE' ? `${entries} entries read, ${written} written` : `${entries} entries`
  const eta = etaMs === undefined ? '' : `, about ${durationText(etaMs)} left`
  return `${percent(partitionsDone, partitions)}: ${partitionsDone} of ${partitions} partitions, ${counts}, ${sizeText(rawBytes)}${eta}`
}

function listTable(listings: readonly BackupListing[]): string {
  return table(
    ['BACKUP', 'STATE', 'CLUSTER', 'STARTED', 'ENTRIES', 'STORED', 'REASON'],
    listings.map(({ name, state, clusterName, startedMs, entries, storedBytes, reason }) => [
      name,
      state,
      clusterName,
      timeText(startedMs),
      entries,
      sizeText(storedBytes),
      reason,
    ]),
  )
}

function describe(manifest: BackupManifest): string {
  const { name, clusterName, clusterId, startedMs, finishedMs, entries, rawBytes, storedBytes } = manifest
  return [
    `name        ${name}`,
    `cluster     ${clusterName} (${clusterId}), epoch ${manifest.epochs.join(' to ')}`,
    `made        ${timeText(startedMs)}, in ${durationText(finishedMs - startedMs)}`,
    `partitions  ${manifest.partitions}, in ${manifest.parts.length} parts of ${manifest.nodes.join(', ')}`,
    `entries     ${entries}`,
    `bytes       ${sizeText(rawBytes)}, stored in ${sizeText(storedBytes)}`,
    `regions     ${manifest.regions.map((region) => region.name).join(', ')}`,
    `format      ${manifest.format}`,
  ].join('\n')
}

function reportText(report: RestoreReport): string {
  const { name, dryRun, entries, written, kept, expired, passedOver, refused } = report
  const would = dryRun ? 'would be written' : 'written'
  return [
    `${name}: ${entries} entries read, ${written} ${would}, ${kept} kept as they are, ${expired} expired, ${passedOver} passed over, ${refused} refused`,
    ...report.regions
      .filter((region) => region.written + region.kept > 0 || region.created)
      .map((region) => {
        const created = region.created ? (dryRun ? ', would be created' : ', created') : ''
        return `  ${region.name}: ${region.written} ${would}, ${region.kept} kept${created}`
      }),
    ...report.differences,
    ...report.refusals.map((reason) => `refused: ${reason}`),
    ...report.damaged.map((problem) => `left out: ${problem}`),
  ].join('\n')
}

function timeText(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z')
}

function nameOfNow(): string {
  return timeText(systemClock.wallMs()).replace(/[-:Z]/g, '').replace('T', '-')
}
