/** Which node tells operators how a run ended, and that each end is told once. */

import { beforeEach, describe, expect, it } from 'vitest'
import type { Incarnation, NodeId } from '../../../../src/kernel/ids.ts'
import { silentLog } from '../../../../src/kernel/log.ts'
import { JobReports } from '../../../../src/node/jobs/job-reports.ts'
import { NodeObserver } from '../../../../src/observability/observer.ts'
import { VirtualTime } from '../../../../src/testing/virtual-time.ts'
import type { EndedRun, JobsRecord } from '../../../../src/topology/jobs.ts'
import type { Topology } from '../../../../src/topology/topology.ts'

const NOTHING: JobsRecord = { jobs: [], runs: [], history: [] }

function ended(more: Partial<EndedRun> = {}): EndedRun {
  const name = { job: 'nightly', kind: 'cleanup', atMs: 1000, isManual: false, isDryRun: false }
  const how = { outcome: 'failed', nodeId: 'a', attempt: 1, startedMs: 1000, endedMs: 2000 } as const
  return { ...name, ...how, count: 1, result: 'no room', ...more }
}

class Node {
  readonly observer: NodeObserver
  readonly #reports: JobReports

  constructor(nodeId: string) {
    this.observer = new NodeObserver(nodeId, new VirtualTime())
    const self = { nodeId: nodeId as NodeId, incarnation: 'x' as Incarnation }
    this.#reports = new JobReports(silentLog, this.observer, self)
  }

  adopted(
    before: JobsRecord | undefined,
    after: JobsRecord,
    driver: string | undefined,
    down: string[],
  ): void {
    const nodes = ['a', 'b', 'c'].map((nodeId) => ({
      nodeId,
      state: down.includes(nodeId) ? 'failed' : 'active',
    }))
    this.#reports.adopted(before, { nodes, jobs: after } as unknown as Topology, driver)
  }

  get told(): string[] {
    return this.observer.events.list().map(({ kind, count }) => `${kind} ${count}`)
  }

  runs(result: string): number {
    const samples = this.observer.counters.of('ringcache_job_runs_total')
    return samples.find(({ labels }) => labels['result'] === result)?.value ?? 0
  }
}

describe('the end of a run', () => {
  let nodes: Node[] = []
  let record: JobsRecord | undefined
  beforeEach(() => {
    nodes = ['a', 'b', 'c'].map((nodeId) => new Node(nodeId))
    record = NOTHING
  })
  /** All nodes come to know this history. */
  const learn = (history: readonly EndedRun[], { driver = 'b', down = [] as string[] } = {}): void => {
    const after = { ...NOTHING, history }
    for (const node of nodes) node.adopted(record, after, driver, down)
    record = after
  }
  const told = (): string[][] => nodes.map((node) => node.told)

  it('is told by the node that ran it, once', () => {
    learn([ended()])
    learn([ended(), ended({ atMs: 5000, outcome: 'done', nodeId: 'c' })])
    expect(told()).toEqual([['job.failed 1'], [], []])
    expect(nodes.map((node) => node.runs('failed'))).toEqual([1, 0, 0])
    expect(nodes.map((node) => node.runs('done'))).toEqual([0, 0, 1])
    expect(nodes[0]?.observer.events.list()[0]).toMatchObject({
      message: 'nightly failed on a: no room',
      details: { job: 'nightly', kind: 'cleanup', ranOn: 'a' },
    })
  })

  it('is told by the driver when that node is gone', () => {
    nodes.shift()
    learn([ended()], { driver: 'c', down: ['a'] })
    expect(told()).toEqual([[], ['job.failed 1']])
  })

  it('that fails time and again is one event, until a run is done, wherever that was', () => {
    learn([1, 2, 3].map((atMs) => ended({ atMs })))
    expect(told()).toEqual([['job.failed 3'], [], []])
    learn([ended({ atMs: 4, outcome: 'done', nodeId: 'c' })])
    learn([ended({ atMs: 5 })])
    expect(told()).toEqual([['job.failed 3', 'job.failed 1'], [], []])
    expect(nodes[0]?.runs('failed')).toBe(4)
  })

  it('that was cancelled is counted only, and a dry run is nothing', () => {
    learn([ended({ outcome: 'cancelled' }), ended({ atMs: 7, isDryRun: true })])
    expect(told()).toEqual([[], [], []])
    expect(nodes[0]?.runs('cancelled')).toBe(1)
    expect(nodes[0]?.runs('failed')).toBe(0)
  })

  it('that never began is told by the driver, and counted by each time that was missed', () => {
    const missed = { outcome: 'missed', nodeId: '', result: 'too late' } as const
    learn([ended({ ...missed, count: 2 })])
    // More times of one row.
    learn([ended({ ...missed, count: 5, endedMs: 9000 })])
    expect(told()).toEqual([[], ['job.missed 2'], []])
    const [sample] = nodes[1]?.observer.counters.of('ringcache_job_runs_missed_total') ?? []
    expect(sample).toEqual({ labels: { kind: 'cleanup' }, value: 5 })
    expect(nodes[1]?.observer.events.list()[0]?.details).toMatchObject({ times: 5, toMs: 9000 })
  })

  it('before this process knew of jobs is the past', () => {
    record = undefined
    learn([ended()])
    expect(told()).toEqual([[], [], []])
    expect(nodes[0]?.runs('failed')).toBe(0)
  })
})
