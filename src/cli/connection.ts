/** Which cluster a command is about, and how its answer is printed: options that all commands for operators share. */

import { existsSync } from 'node:fs'
import { type Command, Option } from 'commander'
import { AdminChannel } from '../adapters/grpc/admin-channel.ts'
import { adminServiceOf, loadProtos } from '../adapters/grpc/proto.ts'
import { systemScheduler } from '../adapters/system/scheduler.ts'
import { adminClient } from '../admin/admin-client.ts'
import { EveryNode } from '../admin/every-node.ts'
import { loadClusterConfig } from '../config/load.ts'
import { CacheError } from '../kernel/errors.ts'
import { parseDurationMs } from '../kernel/units.ts'
import type { AdminApi } from '../wire/admin.ts'
import { listed } from './listed.ts'

export interface SharedOptions {
  readonly address?: readonly string[]
  readonly config: string
  readonly output: 'text' | 'json'
  readonly timeout: string
}

const DEFAULT_CONFIG = 'cluster.yaml'
const DEFAULT_ADDRESS = '127.0.0.1:7401'

export function withSharedOptions(command: Command): Command {
  return command
    .option(
      '-a, --address <host:port,...>',
      'nodes to ask, in this order; the first that answers is enough',
      listed,
    )
    .option('-c, --config <file>', 'where to find addresses when none are given', DEFAULT_CONFIG)
    .addOption(new Option('-o, --output <form>', 'how to print').choices(['text', 'json']).default('text'))
    .option('--timeout <duration>', 'how long a node may take to answer', '5s')
}

/** Runs with a connection to the cluster, which is closed afterwards. */
export async function withCluster(
  options: SharedOptions,
  run: (api: AdminApi) => Promise<void>,
): Promise<void> {
  const addresses = await addressesOf(options)
  const definition = adminServiceOf(loadProtos())
  const channels = addresses.map((address) => new AdminChannel(address, definition))
  try {
    await run(adminClient(channels, parseDurationMs(options.timeout)))
  } finally {
    for (const channel of channels) channel.close()
  }
}

/** Runs with connections to all nodes, which are closed afterwards. */
export async function withEveryNode(
  options: SharedOptions,
  run: (nodes: EveryNode) => Promise<void>,
): Promise<void> {
  const addresses = await addressesOf(options)
  const definition = adminServiceOf(loadProtos())
  const open = (address: string): AdminChannel => new AdminChannel(address, definition)
  const nodes = new EveryNode(open, addresses, parseDurationMs(options.timeout))
  try {
    await run(nodes)
  } finally {
    nodes.close()
  }
}

export function pause(delayMs: number): Promise<void> {
  return new Promise((resolve) => systemScheduler.after(delayMs, () => resolve()))
}

export async function addressesOf({ address, config }: SharedOptions): Promise<readonly string[]> {
  const given = address ?? process.env['RINGCACHE_ADDRESS']?.split(',')
  if (given !== undefined) {
    const addresses = given.flatMap((one) => one.split(',')).map((one) => one.trim())
    const wrong = addresses.find((one) => !/^.+:\d+$/.test(one))
    if (wrong !== undefined)
      throw new CacheError(
        'CONFIGURATION',
        `"${wrong}" is no address; write host:port, such as ${DEFAULT_ADDRESS}`,
      )
    return addresses
  }
  if (config === DEFAULT_CONFIG && !existsSync(config)) return [DEFAULT_ADDRESS]
  return (await loadClusterConfig(config)).nodes.map((node) => node.address)
}
