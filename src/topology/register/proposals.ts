/**
 * What this node wants changed and has not seen decided: sent to the voter that drives, and, while nothing comes of it, to the
 * next ones, so that a driver that died or hangs holds nothing up.
 *
 * A proposal ends when a decided value holds it, when the topology no longer allows it (somebody else brought it about, or it came
 * too late), or after `LIFE_MS`; whoever still wants it then proposes it again. Bounded: what is over is refused.
 */

import type { Random } from '../../kernel/random.ts'
import { uniform } from '../../kernel/random.ts'
import type { Topology } from '../topology.ts'
import type { Transform } from '../transforms.ts'
import { changeKey, refusal } from './value.ts'

/** How a proposal ended. */
export type ProposalEnd =
  | { readonly kind: 'committed'; readonly epoch: number }
  | { readonly kind: 'refused'; readonly reason: string }
  | { readonly kind: 'expired' }

interface Proposal {
  readonly transform: Transform
  readonly untilMs: number
  /** When to send it, or to send it again. */
  dueMs: number
  /** How much longer than others it may take to be decided. */
  readonly patienceMs: number
  attempts: number
  readonly ended: ((end: ProposalEnd) => void)[]
}

const PROPOSALS_MAX = 4096
const LIFE_MS = 15_000
const RESEND_MIN_MS = 150
const RESEND_MAX_MS = 1_000

export class Proposals {
  readonly #random: Random
  readonly #pending = new Map<string, Proposal>()

  constructor(random: Random) {
    this.#random = random
  }

  get size(): number {
    return this.#pending.size
  }

  /**
   * @param patienceMs how much longer than others it may take before another voter is asked
   * @returns false when there are too many. A change that is pending already is not added twice.
   */
  add(transform: Transform, nowMs: number, ended?: (end: ProposalEnd) => void, patienceMs = 0): boolean {
    const key = changeKey(transform)
    const known = this.#pending.get(key)
    if (known === undefined && this.#pending.size >= PROPOSALS_MAX) return false
    const proposal = known ?? {
      transform,
      untilMs: nowMs + LIFE_MS,
      dueMs: nowMs,
      attempts: 0,
      patienceMs,
      ended: [],
    }
    if (ended !== undefined) proposal.ended.push(ended)
    this.#pending.set(key, proposal)
    return true
  }

  /** What is to be sent now, by how many voters were tried before. Counts as sent. */
  due(nowMs: number): ReadonlyMap<number, Transform[]> {
    const byAttempt = new Map<number, Transform[]>()
    for (const [key, proposal] of this.#pending) {
      if (nowMs >= proposal.untilMs) {
        this.#end(key, { kind: 'expired' })
        continue
      }
      if (proposal.dueMs > nowMs) continue
      const list = byAttempt.get(proposal.attempts)
      if (list === undefined) byAttempt.set(proposal.attempts, [proposal.transform])
      else list.push(proposal.transform)
      const pauseMs = Math.min(RESEND_MAX_MS, RESEND_MIN_MS * 2 ** Math.min(8, proposal.attempts++))
      proposal.dueMs = nowMs + proposal.patienceMs + pauseMs * (1 + uniform(this.#random))
    }
    return byAttempt
  }

  /** When `due` is to be called next; infinite: not before something is added. */
  nextMs(): number {
    let next = Number.POSITIVE_INFINITY
    for (const { dueMs, untilMs } of this.#pending.values()) next = Math.min(next, dueMs, untilMs)
    return next
  }

  /** @param decided what the commit that led here held; undefined when it is not known */
  adopted(topology: Topology, decided: readonly Transform[] | undefined): void {
    if (this.#pending.size === 0) return
    const end = { kind: 'committed', epoch: topology.epoch } as const
    for (const transform of decided ?? []) this.#end(changeKey(transform), end)
    for (const [key, { transform }] of this.#pending) {
      const reason = refusal(topology, transform)
      if (reason !== undefined) this.#end(key, { kind: 'refused', reason })
    }
  }

  /** Gives up what is not wanted any more. */
  drop(isUnwanted: (transform: Transform) => boolean): void {
    for (const [key, { transform }] of this.#pending) {
      if (isUnwanted(transform)) this.#end(key, { kind: 'refused', reason: 'it is not wanted any more' })
    }
  }

  #end(key: string, end: ProposalEnd): void {
    const proposal = this.#pending.get(key)
    if (proposal === undefined) return
    this.#pending.delete(key)
    for (const ended of proposal.ended) ended(end)
  }
}
