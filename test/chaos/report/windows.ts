/**
 * What clients saw of a fault, from calls at a fixed rate: a call is *bad* from its due time to its end when it failed, had an
 * unknown outcome, or took longer than a threshold. Bad calls that overlap, or lie less than `APART_MS` apart, make one *episode*.
 * The *window* of a fault is its longest episode. That is a strict reading: a stall that ends well counts as much as an error.
 */

import type { Samples } from '../client/messages.ts'

export interface Span {
  readonly fromMs: number
  readonly toMs: number
}

/** Times count from the beginning of the span. */
export interface Episode extends Span {
  readonly errors: number
  readonly unknown: number
  readonly stalled: number
}

export interface WindowSummary {
  /** The longest episode. */
  readonly windowMs: number
  /** All episodes together. */
  readonly badMs: number
  readonly errors: number
  readonly unknown: number
  /** Calls that were answered, but late. */
  readonly stalled: number
  /** The longest a call took, errors included. */
  readonly longestMs: number
  readonly episodes: readonly Episode[]
}

const APART_MS = 200

interface BadCall extends Span {
  readonly outcome: number
}

/** @param counts of which samples, by column; all when left out. */
export function windowIn(
  all: readonly Samples[],
  span: Span,
  stallMs: number,
  counts: (samples: Samples, at: number) => boolean = () => true,
): WindowSummary {
  const bad: BadCall[] = []
  let longestMs = 0
  for (const samples of all) {
    const { dueMs, endMs, outcome } = samples
    for (let at = 0; at < dueMs.length; at++) {
      const [fromMs, toMs] = [dueMs[at] as number, endMs[at] as number]
      if (toMs < span.fromMs || fromMs > span.toMs || !counts(samples, at)) continue
      longestMs = Math.max(longestMs, toMs - fromMs)
      if (outcome[at] === 0 && toMs - fromMs <= stallMs) continue
      bad.push({ fromMs: Math.max(fromMs, span.fromMs), toMs, outcome: outcome[at] as number })
    }
  }
  const episodes = episodesOf(bad, span.fromMs)
  return {
    windowMs: Math.max(0, ...episodes.map(({ fromMs, toMs }) => toMs - fromMs)),
    badMs: sum(episodes.map(({ fromMs, toMs }) => toMs - fromMs)),
    errors: sum(episodes.map(({ errors }) => errors)),
    unknown: sum(episodes.map(({ unknown }) => unknown)),
    stalled: sum(episodes.map(({ stalled }) => stalled)),
    longestMs,
    episodes,
  }
}

function episodesOf(bad: readonly BadCall[], zeroMs: number): Episode[] {
  const episodes: { fromMs: number; toMs: number; errors: number; unknown: number; stalled: number }[] = []
  for (const { fromMs, toMs, outcome } of [...bad].sort((a, b) => a.fromMs - b.fromMs)) {
    let last = episodes.at(-1)
    if (last === undefined || fromMs - zeroMs > last.toMs + APART_MS) {
      last = { fromMs: fromMs - zeroMs, toMs: 0, errors: 0, unknown: 0, stalled: 0 }
      episodes.push(last)
    }
    last.toMs = Math.max(last.toMs, toMs - zeroMs)
    if (outcome === 1) last.errors++
    else if (outcome === 2) last.unknown++
    else last.stalled++
  }
  return episodes
}

export interface OutsideSummary {
  readonly calls: number
  readonly errors: number
  readonly unknown: number
}

/** Calls that were due and ended outside all spans. */
export function outside(all: readonly Samples[], spans: readonly Span[]): OutsideSummary {
  let [calls, errors, unknown] = [0, 0, 0]
  for (const { dueMs, endMs, outcome } of all) {
    for (let at = 0; at < dueMs.length; at++) {
      const due = dueMs[at] as number
      const end = endMs[at] as number
      if (spans.some(({ fromMs, toMs }) => end >= fromMs && due <= toMs)) continue
      calls++
      if (outcome[at] === 1) errors++
      else if (outcome[at] === 2) unknown++
    }
  }
  return { calls, errors, unknown }
}

export function quantile(sorted: readonly number[], share: number): number {
  if (sorted.length === 0) return 0
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] as number
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
