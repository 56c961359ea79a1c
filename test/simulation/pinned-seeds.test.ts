import { execFileSync } from 'node:child_process'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { addCoverage, missingCoverage, noCoverage } from './harness/coverage.ts'
import { simulate } from './harness/simulation.ts'

/** Seeds that once showed a bug, with what it was. */
const PINNED: readonly (readonly [number, string])[] = [
  [752_712, 'a partition started over by a change asked for earlier, in the commit in which a node failed'],
  [
    772_530,
    'a learner that was dropped before its session began told the end of another log as that of this one',
  ],
  [770_587, 'a lease was granted by a replica whose leave of the epoch was heard of before its entry'],
]

const root = path.resolve(import.meta.dirname, '../..')

/** The trace of a seed that is run in a process of its own. */
function traceElsewhere(seed: number): string | undefined {
  const script = `import { simulate } from './test/simulation/harness/simulation.ts'
    simulate(${seed}).then((report) => console.log('trace ' + report.traceHash))`
  const output = execFileSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
    cwd: root,
    encoding: 'utf8',
  })
  return /trace ([0-9a-f]{16})/.exec(output)?.[1]
}

describe('a cluster on virtual time, under faults', () => {
  it.each(PINNED)('seed %i: %s', async (seed) => {
    const report = await simulate(seed)
    expect(report.violations).toEqual([])
  })

  it('holds every invariant, under everything it is there for', async () => {
    const sum = noCoverage()
    for (let seed = 1000; seed < 1024; seed++) {
      const { violations, coverage } = await simulate(seed)
      expect(violations, `seed ${seed}`).toEqual([])
      expect(coverage.operations).toBeGreaterThanOrEqual(300)
      expect(coverage.faults).toBeGreaterThanOrEqual(5)
      addCoverage(sum, coverage)
    }
    expect(missingCoverage(sum)).toEqual([])
  }, 300_000)

  it('replays a seed event by event, in this process and in another', async () => {
    const [first, second] = [await simulate(42), await simulate(42)]
    expect(second.history).toEqual(first.history)
    expect(second.coverage).toEqual(first.coverage)
    expect(second.traceHash).toBe(first.traceHash)
    expect(traceElsewhere(42)).toBe(first.traceHash)
    expect((await simulate(43)).traceHash).not.toBe(first.traceHash)
  })
})
