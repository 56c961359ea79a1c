/**
 * The storage engine of one node: time per operation, memory per entry, pauses. Beside lru-cache and, for memory, redis.
 * Each figure comes from a fresh process, one at a time.
 */

import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import type { Job, JobResult } from './engine/jobs.ts'
import { measureRedis, redisVersion } from './engine/redis.ts'
import { SUBJECT_NAMES } from './engine/subjects.ts'

const HELP = `npm run bench -- engine [--json FILE] [--quick] [--only speed|memory|pauses] [--subject NAME]
  --json FILE    write {"speed","memory","pauses","versions"}
  --quick        a tenth of the overwrites, and no redis
  --only KIND    one table only
  --subject NAME ringcache, lru-cache or redis only`

const MILLION = 1_000_000
/** Entries and bytes of a value. */
const FILLS = [
  [MILLION, 100],
  [1.1 * MILLION, 100],
  [MILLION, 1000],
] as const

type Row = Readonly<Record<string, string | number>>

const execute = promisify(execFile)
const child = fileURLToPath(new URL('engine/child.ts', import.meta.url))

export async function run(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      json: { type: 'string' },
      quick: { type: 'boolean', default: false },
      only: { type: 'string' },
      subject: { type: 'string' },
      help: { type: 'boolean' },
    },
  })
  if (values.help) {
    console.log(HELP)
    return 0
  }
  const { only, subject: wanted } = values
  const subjects = SUBJECT_NAMES.filter((name) => wanted === undefined || wanted === name)
  const overwrites = (values.quick ? 1 : 10) * MILLION
  const redis = values.quick || (wanted !== undefined && wanted !== 'redis') ? undefined : redisVersion()
  const speed: Row[] = []
  const memory: Row[] = []
  const pauses: Row[] = []

  if (only === undefined || only === 'speed') {
    for (const subject of subjects) {
      speed.push({ subject, ...(await measure({ kind: 'speed', subject, entries: MILLION })) })
    }
    print('Nanoseconds per operation, 1,000,000 entries of 12 + 100 bytes, random keys', speed)
  }
  if (only === undefined || only === 'memory') {
    for (const [entries, valueBytes] of FILLS) {
      for (const subject of subjects) {
        const result = await measure({ kind: 'memory', subject, entries, valueBytes, overwrites })
        memory.push({ subject, entries, valueBytes, ...result })
      }
      if (redis !== undefined) {
        memory.push({
          subject: 'redis',
          entries,
          valueBytes,
          ...(await measureRedis(entries, valueBytes, overwrites)),
        })
      }
    }
    print(
      `Bytes of RSS per entry, fresh and after ${overwrites} overwrites of random sizes; milliseconds`,
      memory,
    )
  }
  if ((only === undefined || only === 'pauses') && subjects.includes('ringcache')) {
    pauses.push({ subject: 'ringcache', ...(await measure({ kind: 'pauses', entries: MILLION })) })
    print(
      'Longest pause of the event loop, milliseconds (Cpu: of which this process ran), 1,000,000 entries',
      pauses,
    )
  }
  if (values.json !== undefined) {
    const report = { speed, memory, pauses, versions: versionsOf(redis) }
    writeFileSync(values.json, `${JSON.stringify(report, undefined, 2)}\n`)
  }
  return 0
}

async function measure(job: Job): Promise<JobResult> {
  // The loader that runs TypeScript here is among the arguments that the child inherits.
  const { stdout } = await execute(process.execPath, [
    ...process.execArgv,
    '--expose-gc',
    child,
    JSON.stringify(job),
  ])
  return JSON.parse(stdout) as JobResult
}

function print(title: string, rows: readonly Row[]): void {
  console.log(`\n${title}`)
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))]
  const table = [columns, ...rows.map((row) => columns.map((column) => cell(row[column])))]
  const widths = columns.map((_, i) => Math.max(...table.map((row) => (row[i] as string).length)))
  for (const row of table) console.log(row.map((text, i) => text.padStart(widths[i] as number)).join('  '))
}

function cell(value: string | number | undefined): string {
  if (typeof value !== 'number') return value ?? '–'
  return Number.isInteger(value) ? String(value) : value.toFixed(value < 20 ? 1 : 0)
}

function versionsOf(redis: string | undefined): Readonly<Record<string, string>> {
  const manifest = readFileSync(new URL('../node_modules/lru-cache/package.json', import.meta.url), 'utf8')
  const { version } = JSON.parse(manifest) as { version: string }
  return {
    node: process.version,
    cpu: `${cpus()[0]?.model ?? 'unknown'} × ${cpus().length}`,
    'lru-cache': version,
    redis: redis ?? 'not measured',
  }
}
