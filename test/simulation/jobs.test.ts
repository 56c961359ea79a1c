/** Jobs of whole nodes on virtual time: who runs what while nodes die, hang, are cut off and return at the moment of the schedule. */

import { describe, expect, it } from 'vitest'
import { SeededRandom, uniform } from '../../src/kernel/random.ts'
import type { NodeOptions } from '../../src/node/options.ts'
import { TestCluster, type TestNode } from '../../src/testing/test-cluster.ts'
import type { JobDefinition, RunName } from '../../src/topology/jobs.ts'
import { JobLedger } from './harness/job-ledger.ts'

const TICK = '*/2 * * * * *'
const PROBE: JobDefinition = {
  name: 'tick',
  kind: 'probe',
  schedule: TICK,
  timeZone: 'UTC',
  timeLimitMs: 20_000,
  startWithinMs: 4000,
  spec: '{}',
}
const SLOW: JobDefinition = { ...PROBE, name: 'slow', schedule: '*/5 * * * * *' }

const STEP_MS = 150
/** Up to 1.5 s. */
const short = ({ atMs }: RunName): number => 1 + ((atMs / 1000) % 10)

interface Bench {
  readonly cluster: TestCluster
  readonly ledger: JobLedger
  start(node: TestNode): void
}

async function openBench(
  seed: number,
  jobs: readonly JobDefinition[] = [PROBE, SLOW],
  options: Partial<NodeOptions> & { stepsOf?: (run: RunName) => number } = {},
): Promise<Bench> {
  const { stepsOf = short, ...node } = options
  const cluster = new TestCluster({ nodes: 3, seed, node: { ...node, jobs } })
  const ledger = new JobLedger(cluster)
  const start = (node: TestNode): void => {
    cluster.startNode(node)
    node.core?.jobs.register(ledger.kind(node, stepsOf, STEP_MS, ({ atMs }) => (atMs / 1000) % 7 === 0))
  }
  cluster.time.afterEvent = () => ledger.observe()
  for (const node of cluster.nodes) start(node)
  await cluster.waitFor(() => cluster.isServing(), 10_000)
  return { cluster, ledger, start }
}

/** After faults: all return, and time is given to come to rest. */
async function heal({ cluster, start }: Bench): Promise<void> {
  cluster.network.healAll()
  for (const node of cluster.nodes) {
    node.host.resume()
    node.host.setClockRate(1)
    if (node.core === undefined || node.core.failure !== undefined) {
      if (node.core !== undefined) cluster.killNode(node)
      start(node)
    }
  }
  await cluster.time.advance(40_000)
}

function expectSound({ cluster, ledger }: Bench, sinceMs: number): void {
  expect(ledger.problems).toEqual([])
  const nowMs = cluster.time.wallMs()
  for (const { name, schedule } of [PROBE, SLOW])
    expect(ledger.unaccounted(name, schedule, sinceMs, nowMs - 6000), name).toEqual([])
}

async function sinceOf({ cluster, ledger }: Bench): Promise<number> {
  await cluster.waitFor(() => ledger.record?.jobs.length === 2, 5000)
  return Math.max(...(ledger.record?.jobs ?? []).map((job) => job.accountedMs))
}

describe('a cluster with jobs', () => {
  it('runs each at its times, once, and keeps how it ended', async () => {
    const bench = await openBench(1)
    const sinceMs = await sinceOf(bench)
    await bench.cluster.time.advance(30_000)
    expectSound(bench, sinceMs)
    expect(bench.ledger.missed).toEqual([])
    const { history = [], jobs = [] } = bench.ledger.record ?? {}
    expect(new Set(history.map(({ outcome }) => outcome))).toEqual(new Set(['done', 'failed']))
    expect(new Set(history.map(({ nodeId }) => nodeId)).size).toBe(3)
    expect(jobs[0]?.doneCount).toBeGreaterThan(10)
    bench.cluster.close()
  })

  it('costs nothing where there are none', async () => {
    const bench = await openBench(2, [])
    const epoch = bench.cluster.nodes[0]?.core?.control.epoch
    await bench.cluster.time.advance(60_000)
    expect(bench.cluster.nodes[0]?.core?.control.epoch).toBe(epoch)
    expect(bench.cluster.nodes[0]?.core?.control.topology?.jobs).toBeUndefined()
    bench.cluster.close()
  })

  it.each([0, 1, 2, 3, 4, 5, 6, 7, 8])(
    'goes on elsewhere when the owner dies in the middle (seed %i)',
    async (seed) => {
      const bench = await openBench(100 + seed)
      const { cluster, ledger } = bench
      const sinceMs = await sinceOf(bench)
      await cluster.time.advance(3000 + seed * 70)
      await cluster.waitFor(() => (ledger.record?.runs.length ?? 0) > 0, 5000)
      const owner = ledger.record?.runs[0]?.owner.nodeId
      const node = cluster.nodes.find(({ nodeId }) => nodeId === owner)
      if (node === undefined) throw new Error('nobody owns it')
      const run = ledger.record?.runs[0]
      cluster.killNode(node)
      await cluster.waitFor(
        () => ledger.record?.history.some((one) => one.job === run?.job && one.atMs === run.atMs) === true,
        10_000,
      )
      const ended = ledger.record?.history.find((one) => one.job === run?.job && one.atMs === run.atMs)
      expect(ended?.attempt).toBe(2)
      expect(ended?.nodeId).not.toBe(owner)
      await heal(bench)
      expectSound(bench, sinceMs)
      cluster.close()
    },
  )

  it.each(Array.from({ length: 12 }, (_, i) => i))(
    'gives the scheduled time to one run when the driver dies at that moment (seed %i)',
    async (seed) => {
      const bench = await openBench(200 + seed)
      const { cluster } = bench
      const sinceMs = await sinceOf(bench)
      const driver = cluster.nodes[0]
      if (driver === undefined) throw new Error('three nodes')
      const due = 6000 - (cluster.time.wallMs() % 2000)
      await cluster.time.advance(due - 3 + seed * 0.6)
      cluster.killNode(driver)
      await cluster.time.advance(8000)
      expect(bench.ledger.missed).toEqual([])
      await heal(bench)
      expectSound(bench, sinceMs)
      cluster.close()
    },
  )

  it.each([0, 1, 2, 3, 4, 5])('has one owner at a time when the owner is cut off (seed %i)', async (seed) => {
    // The others notice sooner than its work would end by itself.
    const membership = { probeIntervalMs: 100, probeTimeoutMs: 50, suspicionMultiplier: 4 }
    const bench = await openBench(400 + seed, [{ ...SLOW, name: 'tick', schedule: '*/30 * * * * *' }, SLOW], {
      membership,
      // 9 s.
      stepsOf: () => 60,
    })
    const { cluster, ledger } = bench
    await cluster.waitFor(() => ledger.record?.runs.some(({ job }) => job === 'tick') === true, 40_000)
    const run = ledger.record?.runs.find(({ job }) => job === 'tick')
    const owner = cluster.nodes.find(({ nodeId }) => nodeId === run?.owner.nodeId)
    if (owner === undefined) throw new Error('nobody owns it')
    for (const other of cluster.nodes) {
      if (other === owner) continue
      cluster.network.cut(owner.nodeId, other.nodeId)
      cluster.network.cut(other.nodeId, owner.nodeId)
    }
    await cluster.waitFor(
      () => ledger.record?.runs.some(({ job, attempt }) => job === 'tick' && attempt === 2) === true,
      20_000,
    )
    await cluster.time.advance(10_000)
    expect(ledger.attemptsMax).toBe(2)
    expect(ledger.problems).toEqual([])
    cluster.close()
  })

  it('reports what was due while nobody was up', async () => {
    const bench = await openBench(300)
    const { cluster, ledger } = bench
    const sinceMs = await sinceOf(bench)
    await cluster.time.advance(5000)
    for (const node of cluster.nodes) cluster.killNode(node)
    await cluster.time.advance(60_000)
    await heal(bench)
    expectSound(bench, sinceMs)
    expect(ledger.missed.some(({ job, count }) => job === 'tick' && count > 20)).toBe(true)
    expect(ledger.record?.jobs.find(({ name }) => name === 'tick')?.missedCount).toBeGreaterThan(20)
    cluster.close()
  })

  it('reports what was due while the run before went on', async () => {
    const bench = await openBench(301, [{ ...PROBE, schedule: '* * * * * *' }, SLOW])
    await bench.cluster.time.advance(20_000)
    const missed = bench.ledger.record?.history.filter(({ outcome }) => outcome === 'missed') ?? []
    expect(missed.length).toBeGreaterThan(2)
    expect(new Set(missed.map(({ result }) => result))).toEqual(
      new Set(['the run before it was still going on']),
    )
    expect(bench.ledger.problems).toEqual([])
    bench.cluster.close()
  })

  it.each(Array.from({ length: 40 }, (_, i) => i))(
    'keeps its promises under faults (seed %i)',
    async (seed) => {
      const bench = await openBench(1000 + seed)
      const { cluster, start } = bench
      const sinceMs = await sinceOf(bench)
      const random = new SeededRandom(5000 + seed)
      const pick = <T>(list: readonly T[]): T => list[Math.floor(uniform(random) * list.length)] as T
      for (let fault = 0; fault < 14; fault++) {
        // Often right at a scheduled time.
        const beforeDue = 2000 - (cluster.time.wallMs() % 2000)
        await cluster.time.advance(beforeDue - 20 + uniform(random) * (uniform(random) < 0.5 ? 60 : 3000))
        const node = pick(cluster.nodes)
        switch (Math.floor(uniform(random) * 7)) {
          case 0:
            if (node.core !== undefined) cluster.killNode(node)
            break
          case 1:
            if (node.core !== undefined) cluster.killNode(node, { what: 'power' })
            break
          case 2:
            if (node.core === undefined) start(node)
            break
          case 3:
            node.host.pause()
            cluster.time.after(uniform(random) * 9000, () => node.host.resume())
            break
          case 4: {
            const others = cluster.nodes.filter((one) => one !== node && uniform(random) < 0.7)
            for (const other of others) {
              cluster.network.cut(node.nodeId, other.nodeId)
              if (uniform(random) < 0.8) cluster.network.cut(other.nodeId, node.nodeId)
            }
            break
          }
          case 5:
            cluster.network.healAll()
            break
          default:
            node.host.setClockRate(0.95 + uniform(random) / 10)
        }
      }
      await heal(bench)
      expectSound(bench, sinceMs)
      cluster.close()
    },
  )
})
