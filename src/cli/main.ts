#!/usr/bin/env node
/**
 * The `ringcache` command. Exit codes: 0 done, 1 wrong usage or configuration, 3 the node failed.
 */

import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import { CacheError } from '../kernel/errors.ts'
import { startCommand } from './start.ts'

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string
}

const program = new Command('ringcache')
  .description('A distributed, replicated in-memory cache.')
  .version(version)
  .addCommand(startCommand())

try {
  await program.parseAsync()
} catch (error) {
  if (!(error instanceof CacheError)) throw error
  console.error(error.message)
  process.exitCode = error.code === 'CONFIGURATION' || error.code === 'INVALID_ARGUMENT' ? 1 : 3
}
