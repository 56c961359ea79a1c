/**
 * How a node that was made primary of a partition comes to serve it (docs/protocol.md, "Takeover"), as a state machine: it is
 * told answers and the time, and says what to do next.
 *
 * 1. `asking`: every member of the new in-sync set is asked, adopts the epoch and answers.
 * 2. `fetching`: logs of in-sync members are prefixes of one another; who holds more is asked for the rest. When that can't be
 *    had, the holder is to become primary instead.
 * 3. `waiting`: until no lease that an earlier primary may hold can still run: the largest remaining one of those the members
 *    granted, this node's own grant included. Nothing is to be waited for when each earlier primary has answered (so it adopted
 *    the epoch) or is proven dead.
 * 4. `over`: it serves.
 *
 * A new commit begins a new takeover: answers count for one epoch only.
 */

import type { NodeIndex } from '../topology/topology.ts'

/** Where a log ends. */
export interface LogEnd {
  /** The epoch in which its last entry was ordered; 0 for an empty log. */
  readonly epoch: number
  readonly sequence: number
}

export interface TakeoverAnswer extends LogEnd {
  /** This node's monotonic time until which the lease may run that the member granted to an earlier primary. */
  readonly leaseUntilMs: number
  /** Digest of what the member holds. */
  readonly digestLow: number
  readonly digestHigh: number
}

export type TakeoverState =
  | { readonly kind: 'asking' }
  | { readonly kind: 'fetching'; readonly holder: NodeIndex; readonly sinceMs: number }
  | { readonly kind: 'handing-over'; readonly to: NodeIndex }
  | { readonly kind: 'waiting' }
  | { readonly kind: 'over' }

export type TakeoverStep =
  /** Ask these members (again). */
  | { readonly kind: 'ask'; readonly nodes: readonly NodeIndex[] }
  /** Get what is missing from the holder of the longest log. */
  | { readonly kind: 'fetch'; readonly holder: NodeIndex }
  /** Propose the holder for primary: what it has can't be had from it. */
  | { readonly kind: 'hand-over'; readonly to: NodeIndex }
  /** Nothing to do before this monotonic time. */
  | { readonly kind: 'wait'; readonly untilMs: number }
  | { readonly kind: 'serve' }

export interface TakeoverOptions {
  /** The other members of the new in-sync set. */
  readonly members: readonly NodeIndex[]
  /** Monotonic time until which the lease may run that this node itself granted. */
  readonly ownLeaseUntilMs: number
  /** Primaries of earlier sets that may still serve, this node excepted. */
  readonly former: readonly NodeIndex[]
  /** Set after Recovered: nobody else can be asked, so the time until which the lost primary may have served. */
  readonly recoveredUntilMs: number | undefined
  /** How many members have to be heard: all of them, unless a test breaks that. */
  readonly heardMin?: number
  /** Whether the longest log wins: always, unless a test breaks that. */
  readonly longestWins?: boolean
  readonly fetchTimeoutMs?: number
}

const FETCH_TIMEOUT_MS = 1000

export class Takeover {
  readonly answers: Map<NodeIndex, TakeoverAnswer> = new Map()
  readonly #options: TakeoverOptions
  #state: TakeoverState = { kind: 'asking' }

  constructor(options: TakeoverOptions) {
    this.#options = options
  }

  get state(): TakeoverState {
    return this.#state
  }

  answered(node: NodeIndex, answer: TakeoverAnswer): void {
    if (this.#options.members.includes(node)) this.answers.set(node, answer)
  }

  /** The holder said that it can't give the rest of its log. */
  unavailable(node: NodeIndex): void {
    if (this.#state.kind === 'fetching' && this.#state.holder === node)
      this.#state = { kind: 'handing-over', to: node }
  }

  /** What to do next. To be called after each answer, whenever the log grew, and as time passes. */
  step(own: LogEnd, nowMs: number, isProvenDead: (node: NodeIndex) => boolean): TakeoverStep {
    const { members, heardMin = members.length, fetchTimeoutMs = FETCH_TIMEOUT_MS } = this.#options
    if (this.#state.kind === 'over') return { kind: 'serve' }
    if (this.answers.size < heardMin) {
      this.#state = { kind: 'asking' }
      return { kind: 'ask', nodes: members.filter((node) => !this.answers.has(node)) }
    }
    const holder = this.#holderOfMore(own)
    if (holder !== undefined) {
      const state = this.#state
      if (state.kind === 'handing-over' && state.to === holder) return { kind: 'hand-over', to: holder }
      if (state.kind !== 'fetching' || state.holder !== holder) {
        this.#state = { kind: 'fetching', holder, sinceMs: nowMs }
      } else if (nowMs - state.sinceMs > fetchTimeoutMs) {
        this.#state = { kind: 'handing-over', to: holder }
        return { kind: 'hand-over', to: holder }
      }
      return { kind: 'fetch', holder }
    }
    const untilMs = this.#leasesEndMs(isProvenDead)
    if (nowMs < untilMs) {
      this.#state = { kind: 'waiting' }
      return { kind: 'wait', untilMs }
    }
    this.#state = { kind: 'over' }
    return { kind: 'serve' }
  }

  /** The log grew while it was fetched: the holder is not stuck. */
  grew(nowMs: number): void {
    if (this.#state.kind === 'fetching') this.#state = { ...this.#state, sinceMs: nowMs }
  }

  /** Who holds the longest log, when that is longer than this node's. */
  #holderOfMore(own: LogEnd): NodeIndex | undefined {
    if (this.#options.longestWins === false) return undefined
    let best: LogEnd = own
    let holder: NodeIndex | undefined
    for (const [node, answer] of this.answers) {
      if (compareLogs(answer, best) <= 0) continue
      best = answer
      holder = node
    }
    return holder
  }

  #leasesEndMs(isProvenDead: (node: NodeIndex) => boolean): number {
    const { former, ownLeaseUntilMs, recoveredUntilMs } = this.#options
    if (former.every((node) => this.answers.has(node) || isProvenDead(node))) return Number.NEGATIVE_INFINITY
    if (recoveredUntilMs !== undefined) return recoveredUntilMs
    let untilMs = ownLeaseUntilMs
    for (const answer of this.answers.values()) untilMs = Math.max(untilMs, answer.leaseUntilMs)
    return untilMs
  }
}

/** Negative, zero or positive as `a` is shorter than, as long as or longer than `b`. */
function compareLogs(a: LogEnd, b: LogEnd): number {
  return a.epoch - b.epoch || a.sequence - b.sequence
}
