/**
 * Random changes of jobs, of which many come late or twice: a job has one open run, a run one owner at a time and one end, and a
 * scheduled time is given away once. Whatever the record holds is read back from its bytes, and so is each change.
 */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Incarnation, NodeId } from '../../../src/kernel/ids.ts'
import { applyAll, applyTransform, isRefused } from '../../../src/topology/apply-transform.ts'
import { decodeTopology, encodeTopology } from '../../../src/topology/codec.ts'
import {
  ATTEMPTS_MAX,
  HISTORY_MAX,
  type JobDefinition,
  NO_JOBS,
  type RunName,
} from '../../../src/topology/jobs.ts'
import type { Topology } from '../../../src/topology/topology.ts'
import { decodeTransforms, encodeTransforms } from '../../../src/topology/transform-codec.ts'
import type { ProcessName, Transform } from '../../../src/topology/transforms.ts'
import { makeTopology, nodeNamed } from '../../support/topologies.ts'

const DEFINITION: JobDefinition = {
  name: 'a',
  kind: 'probe',
  schedule: '* * * * *',
  timeZone: 'UTC',
  timeLimitMs: 1000,
  startWithinMs: 1000,
  spec: '{}',
}
const START = makeTopology({ nodes: 3 })

type Step = readonly [action: number, a: number, b: number, c: number]

const keyOf = ({ job, atMs, isManual }: RunName): string => `${job}/${atMs}/${isManual}`

class World {
  topology: Topology = START
  /** By run: who may do it, as far as each that was ever told so knows. */
  readonly ended = new Map<string, number>()
  readonly claims = new Map<string, number>()
  taken = 0
  #starts = 1

  step([action, a, b, c]: Step): void {
    const change = this.#change(action, a, b, c)
    if (change === undefined) return
    const before = this.topology
    const applied = applyAll(before, decodeTransforms(encodeTransforms([change])))
    this.topology = applied.topology
    expect(decodeTransforms(encodeTransforms([change]))).toEqual([change])
    if (applied.applied === 0) return
    // Said twice it does nothing.
    expect(isRefused(applyTransform(this.topology, change))).toBe(true)
    this.#note(before, change)
    this.#check(before)
  }

  #note(before: Topology, change: Transform): void {
    if (change.kind === 'JobEnded')
      this.ended.set(keyOf(change.run), (this.ended.get(keyOf(change.run)) ?? 0) + 1)
    if (change.kind === 'JobClaimed') {
      const key = `${change.job}/${change.atMs}`
      this.claims.set(key, (this.claims.get(key) ?? 0) + 1)
    }
    if (change.kind !== 'JobTaken') return
    this.taken++
    const open = before.jobs?.runs.find((run) => keyOf(run) === keyOf(change.run))
    const owner = before.nodes.find(
      ({ nodeId, incarnation }) => nodeId === open?.owner.nodeId && incarnation === open.owner.incarnation,
    )
    const isOwn = open?.owner.incarnation === change.owner.incarnation
    expect(isOwn || owner?.state !== 'active').toBe(true)
  }

  #check(before: Topology): void {
    const { jobs, runs, history } = this.topology.jobs ?? NO_JOBS
    expect(new Set(runs.map(({ job }) => job)).size).toBe(runs.length)
    expect(history.length).toBeLessThanOrEqual(HISTORY_MAX)
    for (const count of [...this.ended.values(), ...this.claims.values()]) expect(count).toBe(1)
    for (const run of runs) expect(run.attempt).toBeLessThanOrEqual(ATTEMPTS_MAX)
    for (const run of before.jobs?.runs ?? []) {
      const isOpen = runs.some((one) => keyOf(one) === keyOf(run))
      expect(isOpen || history.some((one) => keyOf(one) === keyOf(run))).toBe(true)
    }
    for (const job of before.jobs?.jobs ?? []) {
      const now = jobs.find(({ name }) => name === job.name)
      if (now !== undefined) expect(now.accountedMs).toBeGreaterThanOrEqual(job.accountedMs)
    }
    expect(decodeTopology(encodeTopology(this.topology, 'node'))).toEqual(this.topology)
  }

  #change(action: number, a: number, b: number, c: number): Transform | undefined {
    const name = ['a', 'b', 'c'][a % 3] as string
    const node = this.topology.nodes[b % this.topology.nodes.length]
    if (node === undefined) return undefined
    const owner: ProcessName = { nodeId: node.nodeId, incarnation: node.incarnation }
    const job = this.topology.jobs?.jobs.find((one) => one.name === name)
    const open = this.topology.jobs?.runs.find((one) => one.job === name)
    const run = open ?? this.topology.jobs?.history.at(-1)
    const runName = run && { job: run.job, atMs: run.atMs, isManual: run.isManual }
    // Sometimes of a state that is no longer so.
    const after = Math.max(0, (job?.accountedMs ?? 0) - (c % 5 === 0 ? 1 : 0))
    const attempt = Math.max(1, Math.min(ATTEMPTS_MAX, (open?.attempt ?? 1) + (c % 7 === 0 ? 1 : 0)))
    switch (action % 12) {
      case 0:
        return { kind: 'JobDefined', job: { ...DEFINITION, name }, sinceMs: c }
      case 1:
        return { kind: 'JobAltered', job: { ...DEFINITION, name, spec: `{"x":${c % 3}}` }, sinceMs: c }
      case 2:
      case 3:
        return { kind: 'JobClaimed', job: name, after, atMs: after + 1 + (c % 3), owner, startedMs: c }
      case 4: {
        const at = { job: ['a', 'b', 'x'][a % 3] as string, atMs: c % 20, kind: 'probe', spec: '{}' }
        return {
          kind: 'JobStarted',
          run: { ...at, timeLimitMs: 5, isDryRun: c % 2 === 0, owner, startedMs: c },
        }
      }
      case 5:
      case 6: {
        if (runName === undefined || (open?.attempt ?? 1) >= ATTEMPTS_MAX) return undefined
        return { kind: 'JobTaken', run: runName, attempt: (open?.attempt ?? 1) + 1, owner, startedMs: c }
      }
      case 7:
        return runName && { kind: 'JobCancelled', run: runName }
      case 8:
      case 9: {
        const outcome = (['done', 'failed', 'cancelled'] as const)[c % 3] ?? 'done'
        return runName && { kind: 'JobEnded', run: runName, attempt, outcome, result: `r${c}`, endedMs: c }
      }
      case 10: {
        const fromMs = after + 1 + (c % 2)
        return {
          kind: 'JobMissed',
          job: name,
          after,
          fromMs,
          toMs: fromMs + (c % 9),
          count: 1 + (c % 9),
          reason: 'x',
        }
      }
      default:
        if (node.state === 'failed') {
          const incarnation = `i${b}.${++this.#starts}` as Incarnation
          return { kind: 'NodeRestarted', old: owner, node: omitState(nodeNamed(node.nodeId, incarnation)) }
        }
        if (this.topology.nodes.filter(({ state }) => state === 'active').length < 2) return undefined
        return { kind: 'NodeFailed', process: owner }
    }
  }
}

function omitState({ state, ...node }: ReturnType<typeof nodeNamed>): Omit<typeof node, 'state'> {
  return node
}

describe('jobs in the record', () => {
  it('have one open run each, with one owner and one end, whatever comes in whatever order', () => {
    let taken = 0
    const step: fc.Arbitrary<Step> = fc.tuple(fc.nat(11), fc.nat(5), fc.nat(5), fc.nat(1000))
    fc.assert(
      fc.property(fc.array(step, { minLength: 20, maxLength: 150 }), (steps) => {
        const world = new World()
        for (const one of steps) world.step(one)
        taken += world.taken
      }),
      { numRuns: 200 },
    )
    expect(taken).toBeGreaterThan(50)
  })

  it('leave the record of a cluster without them as it was', () => {
    expect(encodeTopology(START, 'node')).toEqual(encodeTopology({ ...START }, 'node'))
    const refused = applyAll(START, [{ kind: 'JobDropped', name: 'a' }])
    expect(refused.topology).toBe(START)
    expect(decodeTopology(encodeTopology(START, 'node')).jobs).toBeUndefined()
  })

  it('are not told to clients', () => {
    const { topology } = applyAll(START, [{ kind: 'JobDefined', job: DEFINITION, sinceMs: 5 }])
    expect(topology.jobs?.jobs).toHaveLength(1)
    expect(decodeTopology(encodeTopology(topology, 'client')).jobs).toBeUndefined()
  })

  it('that run often hide none that run seldom from the history', () => {
    const owner = { nodeId: 'n0' as NodeId, incarnation: 'i0.1' as Incarnation }
    let topology = START
    const run = (job: string, atMs: number): void => {
      const at = { job, atMs, kind: 'probe', spec: '{}', timeLimitMs: 5, isDryRun: false, owner }
      const name = { job, atMs, isManual: true }
      topology = applyAll(topology, [{ kind: 'JobStarted', run: { ...at, startedMs: atMs } }]).topology
      const end = {
        kind: 'JobEnded',
        run: name,
        attempt: 1,
        outcome: 'done',
        result: '',
        endedMs: atMs,
      } as const
      topology = applyAll(topology, [end]).topology
    }
    for (let i = 0; i < 3; i++) run('daily', i)
    for (let i = 0; i < 500; i++) run('often', i)
    const { history = [] } = topology.jobs ?? {}
    expect(history).toHaveLength(HISTORY_MAX)
    expect(history.filter(({ job }) => job === 'daily')).toHaveLength(3)
    expect(history.at(-1)).toMatchObject({ job: 'often', atMs: 499 })
  })
})
