/**
 * What clients saw of a fault, from calls at a fixed rate: a call is *bad* when it failed, had an unknown outcome, or took longer
 * than a threshold from the moment it was due. The *window* of a fault reaches from the first bad call's due time to the last
 * bad call's end; 0 when there is none. That is the strict reading: a stall that ends well counts as much as an error.
 */

import type { Samples } from '../client/messages.ts'

export interface Span {
  readonly fromMs: number
  readonly toMs: number
}

export interface WindowSummary {
  readonly windowMs: number
  readonly errors: number
  readonly unknown: number
  /** Calls that were answered, but late. */
  readonly stalled: number
  /** The longest a call took, errors included. */
  readonly longestMs: number
}

export function windowIn(all: readonly Samples[], span: Span, stallMs: number): WindowSummary {
  let from = Number.POSITIVE_INFINITY
  let to = Number.NEGATIVE_INFINITY
  let [errors, unknown, stalled, longestMs] = [0, 0, 0, 0]
  for (const { dueMs, endMs, outcome } of all) {
    for (let at = 0; at < dueMs.length; at++) {
      const due = dueMs[at] as number
      const end = endMs[at] as number
      if (end < span.fromMs || due > span.toMs) continue
      const took = end - due
      longestMs = Math.max(longestMs, took)
      const isLate = took > stallMs
      if (outcome[at] === 0 && !isLate) continue
      if (outcome[at] === 1) errors++
      else if (outcome[at] === 2) unknown++
      else stalled++
      from = Math.min(from, due)
      to = Math.max(to, end)
    }
  }
  const windowMs = to < from ? 0 : to - Math.max(from, span.fromMs)
  return { windowMs, errors, unknown, stalled, longestMs }
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
