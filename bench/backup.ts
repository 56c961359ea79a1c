/**
 * `npm run bench -- backup`: a cluster of real processes of dist is filled, backed up into a folder, the backup verified, and brought back into
 * another cluster. All of it on this machine: the nodes, and the client that fills them, share its cores and its disk.
 */

import { randomFillSync } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { BackupManifest } from '../src/backup/backup-manifest.ts'
import type { RestoreReport } from '../src/backup/restore-run.ts'
import type { Verification } from '../src/backup/verify-run.ts'
import { connect } from '../src/client/connect.ts'
import { resultOf } from '../test/support/backup/command.ts'
import { type NodeProcesses, startNodeProcesses } from '../test/support/node-processes.ts'
import { runCommand, wholeNumberOf } from './command.ts'

const USAGE = `npm run bench -- backup [--entries N] [--bytes N] [--nodes N] [--into N] [--partitions N] [--first-port N] [--json FILE]
  --entries N     1,000,000
  --bytes N       of a value (1000), random
  --nodes N       of the cluster that is backed up (3); copies as many, 3 at most
  --into N        of the cluster that it is brought back into (3)
  --partitions N  of the first (1024); the second has three quarters of them
  --to PLACE      default a folder for temporary files`

const BATCH = 2000
const MEGABYTE = 1_000_000
const KEY_BYTES = 11

interface Options {
  readonly entries: number
  readonly bytes: number
  readonly nodes: number
  readonly into: number
  readonly partitions: number
  readonly firstPort: number
  readonly to: string | undefined
  readonly json: string | undefined
}

interface Row {
  readonly what: string
  readonly seconds: number
  readonly megabytesPerSecond: number
  readonly entriesPerSecond: number
}

/** @returns the exit code */
export function run(args: readonly string[]): Promise<number> {
  return runCommand(args, { usage: USAGE, parse: parseOptions, run: measure })
}

function parseOptions(args: readonly string[]): Options | 'help' {
  const { values } = parseArgs({
    args: [...args],
    options: {
      entries: { type: 'string', default: '1000000' },
      bytes: { type: 'string', default: '1000' },
      nodes: { type: 'string', default: '3' },
      into: { type: 'string', default: '3' },
      partitions: { type: 'string', default: '1024' },
      'first-port': { type: 'string', default: '9500' },
      to: { type: 'string' },
      json: { type: 'string' },
      help: { type: 'boolean' },
    },
  })
  if (values.help) return 'help'
  return {
    entries: wholeNumberOf(values.entries, '--entries', 1, 100_000_000),
    bytes: wholeNumberOf(values.bytes, '--bytes', 1, 16_000_000),
    nodes: wholeNumberOf(values.nodes, '--nodes', 1, 10),
    into: wholeNumberOf(values.into, '--into', 1, 10),
    partitions: wholeNumberOf(values.partitions, '--partitions', 2, 16_384),
    firstPort: wholeNumberOf(values['first-port'], '--first-port', 1024, 65_000),
    to: values.to,
    json: values.json,
  }
}

async function measure(options: Options): Promise<number> {
  const { entries, bytes, nodes, into, partitions, firstPort } = options
  const folder = mkdtempSync(join(tmpdir(), 'ringcache-backup-'))
  const to = ['--to', options.to ?? folder]
  const rows: Row[] = []
  const time = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    const beginMs = performance.now()
    const result = await work()
    const seconds = (performance.now() - beginMs) / 1000
    const megabytesPerSecond = round((entries * (bytes + KEY_BYTES)) / MEGABYTE / seconds)
    rows.push({
      what,
      seconds: round(seconds),
      megabytesPerSecond,
      entriesPerSecond: Math.round(entries / seconds),
    })
    return result
  }
  try {
    let made: BackupManifest
    {
      await using from = await start(options, firstPort, nodes, partitions)
      await time('fill it', () => fill(from, entries, bytes))
      made = await time('create', () =>
        resultOf<BackupManifest>(from.addresses, 'snapshot', 'create', 'bench', ...to),
      )
      const { isGood } = await time('verify', () =>
        resultOf<Verification>(from.addresses, 'snapshot', 'verify', 'bench', ...to),
      )
      if (!isGood || made.entries !== entries)
        throw new Error(`the backup has ${made.entries} entries of ${entries}`)
    }
    await using other = await start(options, firstPort + 20, into, Math.ceil((partitions * 3) / 4))
    const { written } = await time('restore', () =>
      resultOf<RestoreReport>(other.addresses, 'snapshot', 'restore', 'bench', ...to),
    )
    if (written !== entries) throw new Error(`${written} entries were restored of ${entries}`)
    console.log(
      `${entries} entries of ${bytes + KEY_BYTES} bytes, ${nodes} nodes into ${into}; stored in ${round(made.storedBytes / MEGABYTE)} MB, ${made.parts.length} parts`,
    )
    console.table(rows)
    if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(rows, undefined, 2)}\n`)
    return 0
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function start(
  { entries, bytes }: Options,
  port: number,
  count: number,
  partitions: number,
): Promise<NodeProcesses> {
  const copies = Math.min(3, count)
  const memory = Math.ceil(512 + (1.4 * copies * entries * (bytes + 200)) / count / 2 ** 20)
  return startNodeProcesses(port, count, {
    memory: { limit: `${memory}mb` },
    replication: { partitions, factor: copies, backlog: '64mb' },
  })
}

async function fill({ addresses }: NodeProcesses, entries: number, bytes: number): Promise<void> {
  await using cache = await connect({ nodes: addresses, timeout: 30_000, compression: false })
  const value = Buffer.alloc(bytes)
  for (let from = 0; from < entries; from += BATCH) {
    const pairs: [string, Buffer][] = []
    for (let n = from; n < Math.min(from + BATCH, entries); n++) {
      randomFillSync(value)
      pairs.push([`key:${String(n).padStart(KEY_BYTES - 4, '0')}`, Buffer.from(value)])
    }
    for (const outcome of (await cache.mset(pairs)).values()) if (outcome instanceof Error) throw outcome
  }
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}
