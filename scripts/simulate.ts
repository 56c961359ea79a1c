/**
 * `npm run simulate -- --seeds 1000 [--seed N] [--nodes 3..7] [--workers 2] [--trace] [--history FILE]`: runs of random seeds, or of
 * one, each a cluster under faults on virtual time. Prints each that fails, with the line that replays it. A batch that never
 * met what it is there for (takeovers, blocked partitions, …) fails, too.
 *
 * `npm run simulate -- --mutations [--rule NAME] [--seeds 2000]`: breaks each rule of the protocol in turn and tells which schedules
 * show it (test/simulation/rules), and how many seeds it takes until random runs notice. A rule that neither shows is a failure.
 */

import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { RULES, type Rule } from '../src/kernel/rule-switch.ts'
import { historyLine } from '../src/testing/history.ts'
import { addCoverage, missingCoverage, noCoverage } from '../test/simulation/harness/coverage.ts'
import { ANY_SIZE, type ScenarioLimits } from '../test/simulation/harness/scenario.ts'
import { simulate } from '../test/simulation/harness/simulation.ts'
import { schedulesOf } from '../test/simulation/rules/schedules.ts'
import { WorkerPool } from './simulate-pool.ts'

/** Seeds that a worker runs at a time. */
const SLICE = 5
/** Fewer seeds than this need not have met everything. */
const BATCH_MIN = 100
const PROGRESS_MS = 10_000

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '100' },
    seed: { type: 'string' },
    from: { type: 'string' },
    nodes: { type: 'string' },
    workers: { type: 'string', default: '2' },
    trace: { type: 'boolean', default: false },
    history: { type: 'string' },
    mutations: { type: 'boolean', default: false },
    rule: { type: 'string' },
  },
})

function limitsOf(nodes: string | undefined): ScenarioLimits {
  if (nodes === undefined) return ANY_SIZE
  const [min, max = min] = nodes.split('..').map(Number)
  if (min === undefined || max === undefined || !(min >= 1 && max >= min && max <= 9))
    throw new Error(`--nodes ${nodes}: give a number from 1 to 9, or a range such as 3..7`)
  return { nodesMin: min, nodesMax: max }
}

function replayLine(seed: number, rule?: string): string {
  const nodes = values.nodes === undefined ? '' : ` --nodes ${values.nodes}`
  return `npm run simulate -- --seed ${seed}${nodes}${rule === undefined ? '' : ` --rule ${rule}`}`
}

function ruleOf(name: string | undefined): Rule | undefined {
  if (name === undefined) return undefined
  const rule = RULES.find((one) => one === name)
  if (rule === undefined) throw new Error(`--rule ${name}: there are ${RULES.join(', ')}`)
  return rule
}

async function one(seed: number): Promise<boolean> {
  const startedMs = performance.now()
  const rule = ruleOf(values.rule)
  const report = await simulate(seed, {
    limits: limitsOf(values.nodes),
    ...(rule === undefined ? {} : { brokenRules: new Set([rule]) }),
    ...(values.trace ? { trace: (line: string): void => console.log(line) } : {}),
  })
  if (values.history !== undefined)
    writeFileSync(values.history, report.history.map((op) => `${historyLine(op)}\n`).join(''))
  for (const violation of report.violations) console.log(violation)
  console.log(
    Object.entries(report.coverage)
      .map(([name, count]) => `${name} ${count}`)
      .join(', '),
  )
  console.log([...report.errors].map(([code, count]) => `${code} ${count}`).join(', '))
  console.log(
    `seed ${seed}: ${report.violations.length === 0 ? 'ok' : 'FAILED'} in ${(performance.now() - startedMs).toFixed(0)} ms, trace ${report.traceHash}`,
  )
  return report.violations.length === 0
}

async function many(first: number, count: number): Promise<boolean> {
  const pool = new WorkerPool(Number(values.workers))
  const sum = noCoverage()
  const errors = new Map<string, number>()
  const startedMs = performance.now()
  let done = 0
  let failed = 0
  const progress = setInterval(() => console.error(speed(done, startedMs)), PROGRESS_MS)
  const slices: Promise<void>[] = []
  for (let seed = first; seed < first + count; seed += SLICE) {
    const seeds = Array.from({ length: Math.min(SLICE, first + count - seed) }, (_, i) => seed + i)
    slices.push(
      pool.run({ seeds, limits: limitsOf(values.nodes) }).then((answer) => {
        done += seeds.length
        addCoverage(sum, answer.coverage)
        for (const [code, times] of answer.errors) errors.set(code, (errors.get(code) ?? 0) + times)
        for (const { seed: failing, violations } of answer.failures) {
          failed++
          console.log(`seed ${failing}: ${violations.slice(0, 3).join('\n  ')}\n  ${replayLine(failing)}`)
        }
      }),
    )
  }
  await Promise.all(slices)
  clearInterval(progress)
  pool.close()
  const missing = count >= BATCH_MIN ? missingCoverage(sum) : []
  console.log(
    Object.entries(sum)
      .map(([name, total]) => `${name} ${total}`)
      .join(', '),
  )
  console.log(`errors told to clients: ${[...errors].map(([code, times]) => `${code} ${times}`).join(', ')}`)
  if (missing.length > 0) console.log(`never met: ${missing.join(', ')}`)
  console.log(`${count - failed} of ${count} seeds from ${first} passed; ${speed(done, startedMs)}`)
  return failed === 0 && missing.length === 0
}

/** For each rule: which schedules show its breaking, and how many seeds it takes until that is noticed. */
async function mutations(first: number, count: number): Promise<boolean> {
  const pool = new WorkerPool(Number(values.workers))
  const only = ruleOf(values.rule)
  let missed = 0
  for (const broken of only === undefined ? RULES : [only]) {
    const startedMs = performance.now()
    const found: { readonly seed: number; readonly violations: readonly string[] }[] = []
    let next = first
    const lane = async (): Promise<void> => {
      while (found.length === 0 && next < first + count) {
        const seeds = Array.from({ length: Math.min(SLICE, first + count - next) }, (_, i) => next + i)
        next += seeds.length
        const { failures } = await pool.run({ seeds, limits: limitsOf(values.nodes), broken })
        found.push(...failures)
      }
    }
    await Promise.all(Array.from({ length: pool.size }, lane))
    const caught = found.sort((a, b) => a.seed - b.seed)[0]
    const tookS = ((performance.now() - startedMs) / 1000).toFixed(1)
    const harmed = await harmWithout(broken)
    if (caught === undefined) {
      if (harmed.length === 0) missed++
      console.log(`${broken.padEnd(28)} NOT CAUGHT in ${count} seeds (${tookS} s)`)
    } else {
      const what = caught.violations[0]?.split('\n')[0]?.slice(0, 120)
      console.log(
        `${broken.padEnd(28)} ${String(caught.seed - first + 1).padStart(5)} seeds (${tookS} s): ${what}`,
      )
    }
    for (const harm of harmed) console.log(`  ${harm}`)
    if (harmed.length === 0) console.log('  no schedule shows it')
  }
  pool.close()
  return missed === 0
}

/** What the schedules made for a rule show once it is broken. */
async function harmWithout(broken: Rule): Promise<string[]> {
  const lines: string[] = []
  for (const schedule of schedulesOf(broken)) {
    const harm = await schedule.run(new Set([broken]))
    if (harm !== undefined) lines.push(`${schedule.what}: ${harm}`)
  }
  return lines
}

function speed(done: number, startedMs: number): string {
  const minutes = (performance.now() - startedMs) / 60_000
  return `${done} seeds in ${(minutes * 60).toFixed(0)} s, ${(done / minutes).toFixed(0)} per minute`
}

const first = Number(values.from ?? Math.floor(Date.now() / 1000) % 1_000_000_000)
const passed = values.mutations
  ? await mutations(Number(values.from ?? 1), Number(values.seeds))
  : values.seed === undefined
    ? await many(first, Number(values.seeds))
    : await one(Number(values.seed))
process.exitCode = passed ? 0 : 1
