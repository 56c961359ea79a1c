/**
 * Tells operators how runs ended, from what a newer record has in its history and the one before had not. Each end is told once in the
 * cluster: by the node that ran it; by the one that drives, when that node is gone or nobody ran it. What the driver of that moment does
 * not live to tell stays in the history.
 */

import type { Log } from '../../kernel/log.ts'
import type { Observer } from '../../observability/observer.ts'
import type { EndedRun, JobsRecord } from '../../topology/jobs.ts'
import type { ProcessName } from '../../topology/process-name.ts'
import { isUp, type Topology } from '../../topology/topology.ts'

export class JobReports {
  readonly #log: Log
  readonly #observer: Observer
  readonly #self: ProcessName

  constructor(log: Log, observer: Observer, self: ProcessName) {
    this.#log = log
    this.#observer = observer
    this.#self = self
  }

  /** @param before what the record held of jobs until now; undefined: this process knew none, and tells nothing of the past */
  adopted(before: JobsRecord | undefined, topology: Topology, driver: string | undefined): void {
    if (before === undefined) return
    const isDriver = driver === this.#self.nodeId
    // Times missed in a row are one entry that grows.
    const known = new Map(before.history.map((run) => [entryKey(run), run.count]))
    for (const run of topology.jobs?.history ?? []) {
      const count = run.count - (known.get(entryKey(run)) ?? 0)
      if (count <= 0 || run.isDryRun) continue
      if (run.outcome === 'missed') {
        if (isDriver) this.#missed(run, count)
        continue
      }
      if (run.outcome === 'done') this.#isWell(run)
      const isOurs = run.nodeId === this.#self.nodeId || (isDriver && !isThere(topology, run.nodeId))
      if (isOurs) this.#ended(run)
    }
  }

  /** Whichever node it ran on: what went wrong before may have been told here. */
  #isWell({ job }: EndedRun): void {
    this.#observer.settle('job.failed', job)
    this.#observer.settle('job.missed', job)
  }

  #missed(run: EndedRun, times: number): void {
    const { job, kind, atMs, endedMs, count, result } = run
    this.#log.warn('job missed', { job, fromMs: atMs, toMs: endedMs, count, reason: result })
    this.#observer.count('ringcache_job_runs_missed_total', { kind }, times)
    this.#observer.raise('job.missed', {
      message: `${job} did not run when it was due: ${result}`,
      subject: job,
      details: { job, kind, fromMs: atMs, toMs: endedMs, times: count },
    })
  }

  #ended(run: EndedRun): void {
    const { job, kind, atMs, attempt, nodeId, outcome, result } = run
    this.#observer.count('ringcache_job_runs_total', { kind, result: outcome })
    if (outcome !== 'failed') return
    this.#observer.raise('job.failed', {
      message: `${job} failed on ${nodeId}: ${result}`,
      subject: job,
      details: { job, kind, atMs, attempt, ranOn: nodeId },
    })
  }
}

function isThere({ nodes }: Topology, nodeId: string): boolean {
  return nodes.some((node) => node.nodeId === nodeId && isUp(node.state))
}

function entryKey({ job, atMs, isManual, outcome }: EndedRun): string {
  return `${job}/${atMs}/${isManual}/${outcome}`
}
