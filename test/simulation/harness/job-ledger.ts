/**
 * What is true of jobs whatever happens to nodes, checked from outside while a cluster runs:
 *
 * 1. One process at a time does a run, and one run of a job goes on at a time: nothing of an attempt is done once a later one has begun.
 * 2. Every scheduled time, from the definition of the job on, is given to one run or reported missed, and never to two.
 * 3. A run ends once. None is lost: it is open, or it ended.
 * 4. The history stays within its bound.
 */

import type { JobContext, JobKind } from '../../../src/jobs/job-kind.ts'
import { parseSchedule } from '../../../src/jobs/schedule.ts'
import type { TestCluster, TestNode } from '../../../src/testing/test-cluster.ts'
import { HISTORY_MAX, type JobsRecord, type RunName } from '../../../src/topology/jobs.ts'

interface Effect {
  readonly run: RunName
  readonly attempt: number
  readonly process: string
  readonly atMs: number
}

const keyOf = ({ job, atMs, isManual }: RunName): string => `${job}/${atMs}/${isManual}`

export class JobLedger {
  readonly #cluster: TestCluster
  /** By job: what was done last. */
  readonly #last = new Map<string, Effect>()
  /** By job: attempts that were overtaken. */
  readonly #over = new Map<string, Set<string>>()
  /** Scheduled times by what became of them. */
  readonly claimed: Map<string, Set<number>> = new Map()
  readonly missed: { job: string; fromMs: number; toMs: number; count: number }[] = []
  readonly outcomes: Map<string, string> = new Map()
  readonly problems: string[] = []
  #attemptsMax = 0
  #epoch = 0

  constructor(cluster: TestCluster) {
    this.#cluster = cluster
  }

  /** Work that takes a while, in steps each of which must be the only one's. */
  kind(
    node: TestNode,
    stepsOf: (run: RunName) => number,
    stepMs: number,
    fails: (run: RunName) => boolean,
  ): JobKind {
    const process = `${node.nodeId}/${node.core?.incarnation}`
    return {
      kind: 'probe',
      run: async (context) => {
        const steps = stepsOf(context.run)
        for (let step = 0; step < steps; step++) {
          this.#effect(context, process)
          await new Promise<void>((resolve) => node.host.after(stepMs, resolve))
        }
        context.check()
        if (fails(context.run)) throw new Error('it went wrong')
        return `${steps} steps`
      },
    }
  }

  #effect(context: JobContext, process: string): void {
    context.check()
    const { run } = context
    const { attempt } = run
    const effect = { run, attempt, process, atMs: this.#cluster.time.monotonicMs() }
    const last = this.#last.get(run.job)
    const over = this.#over.get(run.job) ?? new Set()
    this.#over.set(run.job, over)
    const name = (one: Effect): string => `${keyOf(one.run)}/${one.attempt}`
    const isSame = last !== undefined && name(last) === name(effect)
    if (isSame && last.process !== process)
      this.problems.push(`${name(effect)} on ${last.process} and ${process}`)
    if (over.has(name(effect))) this.problems.push(`${name(effect)} on ${process} after a later one`)
    if (last !== undefined && !isSame) over.add(name(last))
    this.#last.set(run.job, effect)
    this.#attemptsMax = Math.max(this.#attemptsMax, attempt)
  }

  /** Looks at the newest record that any node knows. Call after every event. */
  observe(): void {
    let newest: { epoch: number; jobs: JobsRecord | undefined } | undefined
    for (const node of this.#cluster.nodes) {
      const topology = node.core?.control.topology
      if (topology !== undefined && topology.epoch > (newest?.epoch ?? 0))
        newest = { epoch: topology.epoch, jobs: topology.jobs }
    }
    if (newest?.jobs === undefined || newest.epoch <= this.#epoch) return
    this.#epoch = newest.epoch
    this.#read(newest.jobs)
  }

  #before: JobsRecord | undefined

  #read(record: JobsRecord): void {
    const { runs, history, jobs } = record
    if (history.length > HISTORY_MAX) this.problems.push(`a history of ${history.length}`)
    if (new Set(runs.map(({ job }) => job)).size < runs.length) this.problems.push('two open runs of a job')
    for (const run of runs) {
      if (this.outcomes.has(keyOf(run))) this.problems.push(`${keyOf(run)} is open after its end`)
      this.#claim(run)
    }
    for (const run of history) {
      if (run.outcome === 'missed') {
        this.#miss(run.job, run.atMs, run.endedMs, run.count)
        continue
      }
      const before = this.outcomes.get(keyOf(run))
      const now = `${run.outcome} by ${run.nodeId}, attempt ${run.attempt}`
      if (before !== undefined && before !== now)
        this.problems.push(`${keyOf(run)} ended ${before} and ${now}`)
      if (before === undefined) {
        this.outcomes.set(keyOf(run), now)
        this.#claim(run)
      }
    }
    for (const run of this.#before?.runs ?? []) {
      const isThere = runs.some((one) => keyOf(one) === keyOf(run)) || this.outcomes.has(keyOf(run))
      if (!isThere) this.problems.push(`${keyOf(run)} is lost`)
    }
    for (const job of this.#before?.jobs ?? []) {
      const now = jobs.find(({ name }) => name === job.name)
      if (now !== undefined && now.accountedMs < job.accountedMs) this.problems.push(`${job.name} goes back`)
    }
    this.#before = record
  }

  #claim({ job, atMs, isManual }: RunName): void {
    if (isManual) return
    const claimed = this.claimed.get(job) ?? new Set()
    this.claimed.set(job, claimed)
    claimed.add(atMs)
  }

  #miss(job: string, fromMs: number, toMs: number, count: number): void {
    const known = this.missed.find((one) => one.job === job && one.fromMs === fromMs)
    if (known === undefined) this.missed.push({ job, fromMs, toMs, count })
    else {
      known.toMs = toMs
      known.count = count
    }
  }

  /** Scheduled times between these that were not dealt with exactly once. */
  unaccounted(job: string, expression: string, fromMs: number, untilMs: number): string[] {
    const wrong: string[] = []
    const schedule = parseSchedule(expression)
    const missed = this.missed.filter((one) => one.job === job)
    for (let at = schedule.next(fromMs); at !== undefined && at <= untilMs; at = schedule.next(at)) {
      const inRanges = missed.filter(
        (one) => one.fromMs <= (at as number) && (at as number) <= one.toMs,
      ).length
      const claims = this.claimed.get(job)?.has(at) === true ? 1 : 0
      if (inRanges + claims !== 1)
        wrong.push(`${new Date(at).toISOString()}: ${claims} runs, missed ${inRanges} times`)
    }
    return wrong
  }

  /** How often one run changed hands. */
  get attemptsMax(): number {
    return this.#attemptsMax
  }

  get record(): JobsRecord | undefined {
    return this.#before
  }
}
