/** `ringcache region`: regions created, altered and dropped while the cluster runs. */

import { Command, InvalidArgumentError } from 'commander'
import { parseBytes, parseDurationMs } from '../kernel/units.ts'
import type { RegionMessage, RegionSettingsMessage } from '../wire/admin.ts'
import { type SharedOptions, withCluster, withSharedOptions } from './connection.ts'
import { print, table } from './output.ts'

interface SettingOptions extends SharedOptions {
  readonly group?: string
  readonly size?: number
  readonly entries?: number
  readonly ttl?: number
  readonly policy?: string
  readonly durability?: string
  readonly read?: string
  readonly minInSync?: number
}

export function regionCommand(): Command {
  return new Command('region')
    .description('Look at regions, create, alter and drop them.')
    .addCommand(listCommand())
    .addCommand(createCommand())
    .addCommand(alterCommand())
    .addCommand(dropCommand())
}

function listCommand(): Command {
  return withSharedOptions(new Command('list'))
    .description('List all regions.')
    .action(async (options: SharedOptions) => {
      await withCluster(options, async (api) => {
        const { regions } = await api.listRegions({})
        print(options, regions, () => regionTable(regions))
      })
    })
}

function createCommand(): Command {
  return withSettings(new Command('create'))
    .description('Create a region.')
    .argument('<name>')
    .option('--group <name>', 'placement group it lives in', 'default')
    .action(async (name: string, options: SettingOptions) => {
      await withCluster(options, async (api) => {
        const { region } = await api.createRegion({
          name,
          group: options.group ?? '',
          settings: settingsOf(options),
        })
        print(options, region, () => regionTable([region]))
      })
    })
}

function alterCommand(): Command {
  return withSettings(new Command('alter'))
    .description('Change settings of a region; those not given stay.')
    .argument('<name>')
    .action(async (name: string, options: SettingOptions) => {
      await withCluster(options, async (api) => {
        const { region } = await api.alterRegion({ name, settings: settingsOf(options) })
        print(options, region, () => regionTable([region]))
      })
    })
}

function dropCommand(): Command {
  return withSharedOptions(new Command('drop'))
    .description('Drop a region and all that is in it.')
    .argument('<name>')
    .requiredOption('--accept-loss', 'everything in it is gone for good')
    .action(async (name: string, options: SharedOptions) => {
      await withCluster(options, async (api) => {
        await api.dropRegion({ name })
        print(options, { name, dropped: true }, () => `${name} is dropped`)
      })
    })
}

function withSettings(command: Command): Command {
  return withSharedOptions(command)
    .option('--size <bytes>', 'what it may hold in the whole cluster, such as 2gb; 0: no limit', bytes)
    .option('--entries <count>', 'entries it may hold in the whole cluster; 0: no limit', integer)
    .option('--ttl <duration>', 'time to live of entries written without one; 0: none', duration)
    .option('--policy <name>', 'lru or fifo')
    .option('--durability <level>', 'one, quorum or all')
    .option('--read <kind>', 'primary, replica, nearest, majority or linearizable')
    .option('--min-in-sync <count>', 'refuse quorum writes below so many copies', integer)
}

function settingsOf(options: SettingOptions): RegionSettingsMessage {
  const { size, entries, ttl, policy, durability, read, minInSync } = options
  return {
    ...(size === undefined ? {} : { sizeBytes: size }),
    ...(entries === undefined ? {} : { maxEntries: entries }),
    ...(ttl === undefined ? {} : { ttlMs: ttl }),
    ...(policy === undefined ? {} : { policy }),
    ...(durability === undefined ? {} : { durability }),
    ...(read === undefined ? {} : { read }),
    ...(minInSync === undefined ? {} : { minInSync }),
  }
}

function bytes(text: string): number {
  return parsed(() => parseBytes(/^\d+$/.test(text) ? Number(text) : text))
}

function duration(text: string): number {
  return parsed(() => parseDurationMs(text === '0' ? 0 : text))
}

function integer(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('use a whole number')
  return Number(text)
}

function parsed(parse: () => number): number {
  try {
    return parse()
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error))
  }
}

function regionTable(regions: readonly RegionMessage[]): string {
  return table(
    ['REGION', 'ID', 'GROUP', 'BYTES', 'ENTRIES', 'TTL MS', 'POLICY', 'DURABILITY', 'READ', 'MIN IN SYNC'],
    regions.map((region) => [
      region.name,
      region.regionId,
      region.group,
      region.sizeBytes,
      region.maxEntries,
      region.ttlMs,
      region.policy,
      region.durability,
      region.read,
      region.minInSync,
    ]),
  )
}
