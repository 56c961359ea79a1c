/**
 * Snapshots of one node's memory: how fast they are written and loaded, how small an incremental one is, and how long the event loop
 * stands still meanwhile. Beside it, in the same run, the same entries in plain LevelDB batches, and a process that does nothing: how long
 * that one stands still is the machine's doing. With --served, what clients of three nodes see while these write (snapshot/served.ts).
 */

import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Level } from 'level'
import { LevelSnapshotStore } from '../src/adapters/level/level-snapshot-store.ts'
import type { threadedCompression } from '../src/adapters/lz4/lz4-compression.ts'
import { systemClock } from '../src/adapters/system/clock.ts'
import { systemRandom } from '../src/adapters/system/random.ts'
import { systemScheduler } from '../src/adapters/system/scheduler.ts'
import { Engine, EntryDraft } from '../src/engine/engine.ts'
import { silentLog } from '../src/kernel/log.ts'
import { MemoryAccount } from '../src/kernel/memory-account.ts'
import { SnapshotLibrary } from '../src/snapshot/snapshot-library.ts'
import type { SnapshotSource } from '../src/snapshot/snapshot-writer.ts'
import { type PauseFigures, Pauses } from './snapshot/pauses.ts'
import { measureServed } from './snapshot/served.ts'

const HELP = `npm run bench -- snapshot [--entries N] [--bytes N] [--partitions N] [--packable] [--folder DIR] [--json FILE]
  --entries N     entries of the node (1,000,000)
  --bytes N       bytes of a value (1000)
  --partitions N  partitions it holds (1024)
  --packable      values that shrink to about half, in place of random bytes
  --folder DIR    where to write (a folder for temporary files)
  --json FILE     also write the results there

npm run bench -- snapshot --served [--entries N] [--bytes N] [--partitions N] [--load SHARE] [--interval N] [--rate SIZE] [--build DIR] [--json FILE]
  --load SHARE    of the measured maximum, asked for all the while (0.2)
  --interval N    seconds from one snapshot of a node to its next; the nodes take turns (120)
  --rate SIZE     bytes of entries that a node writes in a second (50mb)
  --port-base N   first of the three loopback ports used (9840)
  --build DIR     the checkout whose dist is run (this one)`

const CONTROL_PROCESS = fileURLToPath(new URL('./snapshot/control-process.ts', import.meta.url))
const REGION = 1
const HASH_KEY = { low: 1, high: 2 }
const NOISE_BYTES = 4 * 1024 * 1024
const MEBIBYTE = 1024 * 1024
const MEGABYTE = 1_000_000

interface Row {
  readonly what: string
  readonly seconds: number
  readonly megabytesPerSecond: number
  readonly storedMegabytes: number
  readonly longestPauseMs: number
  readonly pausesOver5Ms: number
  readonly longestGcMs: number
  /** Of the process that does nothing. */
  readonly controlPauseMs: number
  readonly controlOver5Ms: number
}

export async function run(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      entries: { type: 'string', default: '1000000' },
      bytes: { type: 'string', default: '1000' },
      partitions: { type: 'string', default: '1024' },
      packable: { type: 'boolean', default: false },
      folder: { type: 'string' },
      json: { type: 'string' },
      served: { type: 'boolean', default: false },
      load: { type: 'string', default: '0.2' },
      interval: { type: 'string', default: '120' },
      rate: { type: 'string', default: '50mb' },
      'port-base': { type: 'string', default: '9840' },
      build: { type: 'string', default: resolve(import.meta.dirname, '..') },
      help: { type: 'boolean' },
    },
  })
  if (values.help) {
    console.log(HELP)
    return 0
  }
  if (values.served) {
    const figures = await measureServed({
      entries: Number(values.entries),
      valueBytes: Number(values.bytes),
      partitions: Number(values.partitions),
      load: Number(values.load),
      intervalSeconds: Number(values.interval),
      bytesPerSecond: values.rate,
      firstPort: Number(values['port-base']),
      build: resolve(values.build),
    })
    console.log(`${figures.perSecond} calls a second; snapshots took ${figures.snapshotMs.join(', ')} ms`)
    console.table({ before: figures.before, writing: figures.writing })
    console.log(figures.holds ? 'the limit holds' : 'p99 of reads is more than twice as long, and over 5 ms')
    if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(figures, undefined, 2)}\n`)
    return figures.holds ? 0 : 1
  }
  const data = new Data(
    Number(values.entries),
    Number(values.bytes),
    Number(values.partitions),
    values.packable,
  )
  const engine = data.newEngine()
  for (let i = 0; i < data.entries; i++) data.put(engine, i)
  const folder = mkdtempSync(join(values.folder ?? tmpdir(), 'ringcache-bench-'))
  const control = fork(CONTROL_PROCESS, { execArgv: ['--import', 'tsx'] })
  try {
    await controlPauses(control)
    const rows = await measure(data, engine, folder, control)
    console.log(
      `\n${data.entries} entries of ${data.bytesPerEntry} bytes (key and value), ${data.partitions} partitions`,
    )
    console.table(rows.map((row) => ({ ...row })))
    const [plain, full, , incremental] = rows as [Row, Row, Row, Row]
    const ratios = {
      ofPlainLevelDb: full.megabytesPerSecond / plain.megabytesPerSecond,
      incrementalShare: incremental.storedMegabytes / full.storedMegabytes,
    }
    console.log(
      `a full snapshot at ${(ratios.ofPlainLevelDb * 100).toFixed(0)} % of plain LevelDB batches; ` +
        `1 % changed: ${(ratios.incrementalShare * 100).toFixed(2)} % of its bytes`,
    )
    if (values.json !== undefined)
      writeFileSync(values.json, `${JSON.stringify({ rows, ratios }, undefined, 2)}\n`)
  } finally {
    control.kill()
    rmSync(folder, { recursive: true, force: true })
  }
  return 0
}

/** What a process that does nothing saw since it was asked last. */
async function controlPauses(control: ChildProcess): Promise<PauseFigures> {
  control.send('look')
  const [figures] = (await once(control, 'message')) as [PauseFigures]
  return figures
}

async function measure(data: Data, engine: Engine, folder: string, control: ChildProcess): Promise<Row[]> {
  const rows: Row[] = []
  const time = async <T>(what: string, bytes: number, work: () => Promise<T>): Promise<[T, number]> => {
    await controlPauses(control)
    const pauses = new Pauses()
    const startMs = performance.now()
    const result = await work()
    const { longestMs, over5Ms, longestGcMs } = pauses.stop()
    const seconds = (performance.now() - startMs) / 1000
    const idle = await controlPauses(control)
    rows.push({
      what,
      seconds: round(seconds),
      megabytesPerSecond: round(bytes / MEGABYTE / seconds),
      storedMegabytes: 0,
      longestPauseMs: round(longestMs),
      pausesOver5Ms: over5Ms,
      longestGcMs: round(longestGcMs),
      controlPauseMs: round(idle.longestMs),
      controlOver5Ms: idle.over5Ms,
    })
    return [result, rows.length - 1]
  }
  const stored = (row: number, bytes: number): void => {
    rows[row] = { ...(rows[row] as Row), storedMegabytes: round(bytes / MEGABYTE) }
  }

  const plainFolder = join(folder, 'plain')
  const [plainBytes, plainRow] = await time('plain LevelDB batches of 1000', data.bytes, () =>
    data.writePlain(plainFolder),
  )
  stored(plainRow, plainBytes)
  rmSync(plainFolder, { recursive: true })

  // The program of the thread that packs is only in dist.
  const built = new URL('../dist/adapters/lz4/lz4-compression.js', import.meta.url).href
  const lz4 = (await import(built)) as { threadedCompression: typeof threadedCompression }
  const library = await SnapshotLibrary.open({
    store: await LevelSnapshotStore.open(join(folder, 'snapshots')),
    compression: lz4.threadedCompression,
    clock: systemClock,
    scheduler: systemScheduler,
    random: systemRandom,
    log: silentLog,
  })
  const options = { clusterId: 'bench', node: 'a', source: data.source(engine) }
  const [full, fullRow] = await time('full snapshot', data.bytes, () => library.create(options))
  stored(fullRow, full.storedBytes)

  const loaded = data.newEngine()
  const [, loadRow] = await time('load it', data.bytes, async () => {
    for (const partition of full.partitions)
      await library.loadInto(full.id, partition, loaded, { nowMs: systemClock.wallMs() })
  })
  stored(loadRow, full.storedBytes)
  if (loaded.stats.entries !== engine.stats.entries)
    throw new Error(`${loaded.stats.entries} entries were loaded, of ${engine.stats.entries}`)

  for (let i = 0; i < data.entries; i += 100) data.put(engine, i)
  const [incremental, incrementalRow] = await time(
    'incremental snapshot, 1 % changed',
    data.bytes / 100,
    () => library.create(options),
  )
  stored(incrementalRow, incremental.storedBytes)
  const [{ problems }, verifyRow] = await time('verify it, with its base', data.bytes, () =>
    library.verify(incremental.id),
  )
  stored(verifyRow, full.storedBytes + incremental.storedBytes)
  if (problems.length > 0) throw new Error(`${problems.length} partitions are damaged`)
  await library.close()
  return rows
}

/** The entries of the bench, and where they are kept. */
class Data {
  readonly entries: number
  readonly partitions: number
  readonly #valueBytes: number
  readonly #noise: Buffer
  readonly #draft: EntryDraft = new EntryDraft()
  #sequence = 0

  constructor(entries: number, valueBytes: number, partitions: number, packable: boolean) {
    this.entries = entries
    this.partitions = partitions
    this.#valueBytes = valueBytes
    this.#noise = Buffer.alloc(NOISE_BYTES)
    let x = 0x2545f491
    for (let i = 0; i < NOISE_BYTES; i++) {
      x ^= x << 13
      x ^= x >>> 17
      x ^= x << 5
      this.#noise[i] = packable && (i & 64) !== 0 ? 0x20 : x
    }
  }

  get bytesPerEntry(): number {
    return this.#valueBytes + keyOf(0).length
  }

  get bytes(): number {
    return this.entries * this.bytesPerEntry
  }

  newEngine(): Engine {
    const engine = new Engine({ hashKey: HASH_KEY, memory: new MemoryAccount(64 * 1024 * MEBIBYTE) })
    engine.addRegion(REGION, { policy: 'lru' })
    for (let partition = 0; partition < this.partitions; partition++) {
      engine.addPartition(partition)
      engine.setPrimary(partition, true)
    }
    return engine
  }

  put(engine: Engine, i: number): void {
    const draft = this.#draft.clear()
    draft.partition = (i * 7919) % this.partitions
    draft.regionId = REGION
    draft.key = keyOf(i)
    draft.keyEnd = draft.key.length
    draft.hash = engine.hashKey(REGION, draft.key, 0, draft.keyEnd)
    draft.value = this.#noise
    draft.valueStart = this.#valueStart(i)
    draft.valueEnd = draft.valueStart + this.#valueBytes
    draft.versionEpoch = 1
    draft.versionSequence = ++this.#sequence
    draft.createdAtMs = 1_800_000_000_000
    engine.put(draft)
  }

  source(engine: Engine): SnapshotSource {
    return {
      engine,
      partitions: () => engine.partitions(),
      position: () => ({ partitionEpoch: 1, lastEpoch: 1, lastSequence: this.#sequence, clockMs: 0 }),
      regions: () => [],
    }
  }

  /** The same keys and values, 1000 to a batch, the last one synced. @returns bytes on the disk */
  async writePlain(folder: string): Promise<number> {
    const db = new Level<Uint8Array, Uint8Array>(folder, { keyEncoding: 'view', valueEncoding: 'view' })
    await db.open()
    for (let from = 0; from < this.entries; from += 1000) {
      const batch = []
      for (let i = from; i < Math.min(this.entries, from + 1000); i++) {
        const start = this.#valueStart(i)
        const value = this.#noise.subarray(start, start + this.#valueBytes)
        batch.push({ type: 'put' as const, key: keyOf(i), value })
      }
      await db.batch(batch, { sync: from + 1000 >= this.entries })
    }
    await db.close()
    return this.bytes
  }

  #valueStart(i: number): number {
    return (i * 4099) % (NOISE_BYTES - this.#valueBytes)
  }
}

function keyOf(i: number): Buffer {
  return Buffer.from(`user:${String(i).padStart(9, '0')}`)
}

function round(value: number): number {
  return Math.round(value * 100) / 100
}
