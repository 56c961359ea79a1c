/** What the driver saw of each fault, and the figures over all faults of a kind. */

import type { Samples } from '../../test/chaos/client/messages.ts'
import { type Episode, type Span, windowIn } from '../../test/chaos/report/windows.ts'

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
  /** The longest episode of calls that failed or were late, over all keys. */
  readonly windowMs: number
  /** All episodes together. */
  readonly badMs: number
  /** From the fault to the first answer that a key of the node got. */
  readonly noSuccessMs: number
  /** The longest a call on another key took. */
  readonly othersLongestMs: number
  readonly errors: number
  readonly unknown: number
  readonly wholeAfterMs: number
  readonly episodes: readonly Episode[]
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
  const all = windowIn([samples], span, stallMs)
  const others = windowIn([samples], span, stallMs, ({ group }, at) => isHit[group[at] as number] !== true)
  let firstSuccessMs = wholeMs
  for (let at = 0; at < samples.dueMs.length; at++) {
    const [due, end] = [samples.dueMs[at] as number, samples.endMs[at] as number]
    // What was under way when the fault came may still be answered by the node itself.
    if (due < atMs || due > wholeMs || samples.outcome[at] !== 0) continue
    if (isHit[samples.group[at] as number] === true) firstSuccessMs = Math.min(firstSuccessMs, end)
  }
  return {
    node,
    windowMs: all.windowMs,
    badMs: all.badMs,
    noSuccessMs: firstSuccessMs - atMs,
    othersLongestMs: others.longestMs,
    errors: all.errors,
    unknown: all.unknown,
    wholeAfterMs: wholeMs - startMs,
    episodes: all.episodes,
  }
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
