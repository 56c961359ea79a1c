/** `npm run chaos`: real nodes and clients under faults; see docs/chaos.md. */

import { join, resolve } from 'node:path'
import { parseOptions, USAGE, UsageError } from './options.ts'
import { renderReport } from './report/report.ts'
import { runChaos } from './runner.ts'
import { say } from './say.ts'

async function main(args: readonly string[]): Promise<number> {
  let options: ReturnType<typeof parseOptions>
  try {
    options = parseOptions(args)
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    say(`${error.message}\n\n${USAGE}`)
    return 2
  }
  if (options === 'help') {
    say(USAGE)
    return 0
  }
  const root = resolve(import.meta.dirname, '../..')
  const time = new Date().toISOString().replaceAll(/[:.]/g, '-')
  const folder = options.outFolder ?? join(root, '.ringcache', 'chaos', time)
  const report = await runChaos(options, folder)
  say(renderReport(report))
  if (!report.passed) say(`again: npm run chaos -- ${args.join(' ')}`)
  return report.passed ? 0 : 1
}

// Signals end the run through `exit`, so that nodes and clients are ended with it.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))
// All is written by now: what a cut connection still has open must not keep the process.
process.exit(await main(process.argv.slice(2)))
