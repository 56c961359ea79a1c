/**
 * Hit counts of the engine's eviction policies on request traces, against known ones.
 *
 * A trace is `NAME.keys.gz`: gzip of little-endian uint32 key ids, one per request. `hit-counts.json`, in the same folder,
 * names the traces, the capacities and the hits each policy has when every entry counts as one. A miss stores the key.
 */

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { gunzipSync } from 'node:zlib'
import { Engine, EntryDraft, NO_ENTRY } from '../src/engine/engine.ts'
import { EVICTION_POLICIES, type EvictionPolicyName } from '../src/engine/eviction/policy.ts'
import { MemoryAccount } from '../src/kernel/memory-account.ts'

const HELP = `npm run bench -- hit-ratio --traces DIR [--json FILE]
  --traces DIR   folder with hit-counts.json and NAME.keys.gz
  --json FILE    write {"cells":[{"trace","capacity","policy","hits","expected","equal"}]}
Exits with 1 when a hit count differs from the known one.`

type KnownHits = Readonly<
  Record<string, { requests: number; hits: Readonly<Record<string, Readonly<Record<string, number>>>> }>
>

interface Cell {
  readonly trace: string
  readonly capacity: number
  readonly policy: EvictionPolicyName
  readonly requests: number
  readonly hits: number
  readonly expected: number
  readonly equal: boolean
}

const REGION = 1
const PARTITIONS = 16

export async function run(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: { traces: { type: 'string' }, json: { type: 'string' }, help: { type: 'boolean' } },
  })
  if (values.help) {
    console.log(HELP)
    return 0
  }
  if (values.traces === undefined) {
    console.error(HELP)
    return 2
  }
  const known = JSON.parse(readFileSync(join(values.traces, 'hit-counts.json'), 'utf8')) as KnownHits
  const cells: Cell[] = []
  console.log('trace      capacity  policy      hits  expected  ratio')
  for (const [trace, { hits: byCapacity }] of Object.entries(known)) {
    const keys = readTrace(join(values.traces, `${trace}.keys.gz`))
    for (const [capacity, byPolicy] of Object.entries(byCapacity)) {
      for (const policy of EVICTION_POLICIES) {
        const expected = byPolicy[policy.toUpperCase()]
        if (expected === undefined) continue
        const hits = replay(keys, Number(capacity), policy)
        const cell = {
          trace,
          capacity: Number(capacity),
          policy,
          requests: keys.length,
          hits,
          expected,
          equal: hits === expected,
        }
        cells.push(cell)
        console.log(row(cell))
      }
    }
  }
  const unequal = cells.filter((cell) => !cell.equal).length
  console.log(`${cells.length - unequal} of ${cells.length} equal`)
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify({ cells }, undefined, 2)}\n`)
  return unequal === 0 && cells.length > 0 ? 0 : 1
}

function readTrace(file: string): Uint32Array {
  const bytes = gunzipSync(readFileSync(file))
  const keys = new Uint32Array(bytes.length / 4)
  for (let i = 0; i < keys.length; i++) keys[i] = bytes.readUInt32LE(4 * i)
  return keys
}

/** Hits of a region of `capacity` entries of one size that starts empty. */
function replay(keys: Uint32Array, capacity: number, policy: EvictionPolicyName): number {
  const engine = new Engine({ hashKey: { low: 1, high: 2 }, memory: new MemoryAccount(2 ** 31) })
  engine.addRegion(REGION, { policy })
  engine.setBudget(REGION, 0, capacity)
  for (let partition = 0; partition < PARTITIONS; partition++) {
    engine.addPartition(partition)
    engine.setPrimary(partition, true)
  }
  const key = Buffer.alloc(8)
  const draft = new EntryDraft()
  draft.regionId = REGION
  draft.key = draft.value = key
  draft.keyEnd = draft.valueEnd = key.length
  let hits = 0
  for (let i = 0; i < keys.length; i++) {
    const id = keys[i] as number
    key.writeUInt32LE(id, 0)
    const partition = id % PARTITIONS
    const hash = engine.hashKey(REGION, key, 0, key.length)
    const e = engine.find(partition, REGION, hash, key, 0, key.length)
    if (e !== NO_ENTRY) {
      hits++
      engine.touch(e)
      continue
    }
    draft.partition = partition
    draft.hash = hash
    draft.versionSequence = i + 1
    engine.put(draft)
    while (engine.overBudget(REGION)) engine.remove(engine.victim(REGION))
  }
  return hits
}

function row(cell: Cell): string {
  const { trace, capacity, policy, requests, hits, expected, equal } = cell
  const ratio = `${((100 * hits) / requests).toFixed(2)} %`
  return `${trace.padEnd(9)} ${String(capacity).padStart(9)}  ${policy.padEnd(6)} ${String(hits).padStart(9)} ${String(expected).padStart(9)}  ${ratio}${equal ? '' : '  DIFFERENT'}`
}
