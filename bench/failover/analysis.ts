/** What the driver saw of each fault, and the figures over all faults of a kind. */

import type { Samples } from '../../test/chaos/client/messages.ts'
import type { Span } from '../../test/chaos/report/windows.ts'
import { windowIn } from '../../test/chaos/report/windows.ts'

/** One fault. Times are milliseconds of the run's clock. */
export interface Injection {
  readonly node: string
  readonly startMs: number
  /** When it was in effect. */
  readonly atMs: number
  /** When the cluster was whole again. */
  readonly wholeMs: number
  /** For each key, whether the node was its primary. */
  readonly isHit: readonly boolean[]
  /** Why the cluster was not whole in the time allowed. */
  readonly problem: string | undefined
}

export interface InjectionFigures {
  readonly node: string
  /** From the first call that failed or was late to the end of the last one, all keys. */
  readonly windowMs: number
  /** From the fault to the first answer that a key of the node got. */
  readonly noSuccessMs: number
  /** The longest a call on another key took. */
  readonly othersLongestMs: number
  readonly errors: number
  readonly unknown: number
}

export interface FailoverFigures {
  readonly faults: number
  readonly windowMedianMs: number
  readonly windowWorstMs: number
  readonly noSuccessMedianMs: number
  readonly noSuccessWorstMs: number
  readonly othersWorstMs: number
  readonly errors: number
  readonly unknown: number
  readonly problems: readonly string[]
  readonly each: readonly InjectionFigures[]
}

export function analyse(
  samples: Samples,
  injections: readonly Injection[],
  stallMs: number,
): FailoverFigures {
  const each = injections.map((injection) => figuresOf(samples, injection, stallMs))
  const windows = each.map(({ windowMs }) => windowMs)
  const gaps = each.map(({ noSuccessMs }) => noSuccessMs)
  return {
    faults: each.length,
    windowMedianMs: median(windows),
    windowWorstMs: Math.max(0, ...windows),
    noSuccessMedianMs: median(gaps),
    noSuccessWorstMs: Math.max(0, ...gaps),
    othersWorstMs: Math.max(0, ...each.map(({ othersLongestMs }) => othersLongestMs)),
    errors: sum(each.map(({ errors }) => errors)),
    unknown: sum(each.map(({ unknown }) => unknown)),
    problems: injections.flatMap(({ problem }) => problem ?? []),
    each,
  }
}

function figuresOf(samples: Samples, injection: Injection, stallMs: number): InjectionFigures {
  const { node, startMs, atMs, wholeMs, isHit } = injection
  const span: Span = { fromMs: startMs, toMs: wholeMs }
  const { windowMs, errors, unknown } = windowIn([samples], span, stallMs)
  let firstSuccessMs = wholeMs
  let othersLongestMs = 0
  for (let at = 0; at < samples.dueMs.length; at++) {
    const due = samples.dueMs[at] as number
    const end = samples.endMs[at] as number
    if (end < atMs || due > wholeMs) continue
    if (isHit[samples.group[at] as number] !== true) othersLongestMs = Math.max(othersLongestMs, end - due)
    // What was under way when the fault came may still be answered by the node itself.
    else if (samples.outcome[at] === 0 && due >= atMs) firstSuccessMs = Math.min(firstSuccessMs, end)
  }
  return { node, windowMs, noSuccessMs: firstSuccessMs - atMs, othersLongestMs, errors, unknown }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  if (sorted.length === 0) return 0
  if (sorted.length % 2 === 1) return sorted[middle] as number
  return ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
