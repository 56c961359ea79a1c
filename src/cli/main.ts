#!/usr/bin/env node
/**
 * The `ringcache` command. Exit codes: 0 done, 1 wrong usage or configuration, 2 no node answered, 3 it failed, 4 the cluster is
 * not safe.
 */

import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import { CacheError } from '../kernel/errors.ts'
import { clusterCommand } from './cluster.ts'
import { eventsCommand } from './events.ts'
import { exitCodeOf } from './exit-codes.ts'
import { jobsCommand } from './jobs.ts'
import { metricsCommand } from './metrics.ts'
import { nodeCommand } from './node.ts'
import { regionCommand } from './region.ts'
import { snapshotCommand } from './snapshot.ts'
import { startCommand } from './start.ts'
import { statusCommand } from './status.ts'

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string
}

const program = new Command('ringcache')
  .description('A distributed, replicated in-memory cache.')
  .version(version)
  .addCommand(startCommand())
  .addCommand(statusCommand())
  .addCommand(clusterCommand())
  .addCommand(nodeCommand())
  .addCommand(regionCommand())
  .addCommand(snapshotCommand())
  .addCommand(jobsCommand())
  .addCommand(eventsCommand())
  .addCommand(metricsCommand())

try {
  await program.parseAsync()
} catch (error) {
  if (!(error instanceof CacheError)) throw error
  console.error(error.message)
  process.exitCode = exitCodeOf(error.code)
}
