/** `npm run chaos`: real nodes and clients under faults; see docs/chaos.md. */

import { join, resolve } from 'node:path'
import { KILLS_USAGE, parseKillOptions } from './kills/kill-options.ts'
import { runKills } from './kills/kill-run.ts'
import { parseOptions, USAGE, UsageError } from './options.ts'
import { renderReport } from './report/report.ts'
import { runChaos } from './runner.ts'
import { say } from './say.ts'

async function main(args: readonly string[]): Promise<number> {
  const isKills = args.some((arg) => arg === '--kills' || arg.startsWith('--kills='))
  try {
    const passed = isKills ? await kills(args) : await chaos(args)
    if (!passed) say(`again: npm run chaos -- ${args.join(' ')}`)
    return passed ? 0 : 1
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    say(`${error.message}\n\n${isKills ? KILLS_USAGE : USAGE}`)
    return 2
  }
}

async function chaos(args: readonly string[]): Promise<boolean> {
  const options = parseOptions(args)
  if (options === 'help') {
    say(USAGE)
    return true
  }
  const report = await runChaos(options, options.outFolder ?? defaultFolder())
  say(renderReport(report))
  return report.passed
}

async function kills(args: readonly string[]): Promise<boolean> {
  const options = parseKillOptions(args, defaultFolder())
  if (options === 'help') {
    say(KILLS_USAGE)
    return true
  }
  const report = await runKills(options)
  say(JSON.stringify(report, undefined, 2))
  return report.passed
}

function defaultFolder(): string {
  const time = new Date().toISOString().replaceAll(/[:.]/g, '-')
  return join(resolve(import.meta.dirname, '../..'), '.ringcache', 'chaos', time)
}

// Signals end the run through `exit`, so that nodes and clients are ended with it.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))
// All is written by now: what a cut connection still has open must not keep the process.
process.exit(await main(process.argv.slice(2)))
