/**
 * One partition's copy at this node: its role, its place in the log, and at the primary what the other replicas hold.
 *
 * Invariants:
 * - `lastSequence` is the last operation applied here; a backup applies `lastSequence + 1` or nothing;
 * - `commitSequence` ≤ `lastSequence`; everything up to it is held by a majority of the in-sync set, this node included;
 * - a member's `acked` ≤ `sent` ≤ the primary's `lastSequence`; only what it said it *applied* counts.
 */

import { CacheError } from '../kernel/errors.ts'
import type { NodeIndex } from '../topology/topology.ts'
import { majorityOf } from '../topology/topology.ts'
import { NO_RECORD } from './backlog.ts'
import type { Outcome } from './outcome.ts'

/**
 * What the primary knows of another in-sync replica.
 * - `following`: gets each record as it is logged.
 * - `behind`: is being sent what it lacks, in order, from the backlog.
 * - `awaiting`: lacks a large value that is still on its way to it.
 * - `lagging`: lacks records that the backlog no longer has. Left out until it is brought up as a learner.
 */
export type MemberState = 'following' | 'behind' | 'awaiting' | 'lagging'

export interface Member {
  readonly node: NodeIndex
  state: MemberState
  /** Highest sequence it said it applied. */
  acked: number
  /** Highest sequence sent on the present stream. */
  sent: number
}

export class Replica {
  readonly partition: number
  readonly partitionEpoch: number
  readonly role: 'primary' | 'backup'
  /** The node that orders this partition's operations. */
  readonly primary: NodeIndex
  /** At the primary: the other in-sync replicas. Empty at a backup. */
  readonly members: readonly Member[]
  /** Replicas that make a quorum, this one included. */
  readonly quorum: number
  lastSequence = 0
  commitSequence = 0
  /** Everything up to it is held by the whole in-sync set. */
  allSequence = 0
  /** Oldest and newest record of this partition in the backlog. */
  firstRecord: number = NO_RECORD
  lastRecord: number = NO_RECORD
  /** Latest time in its log: the partition's clock never runs behind it. */
  clockMs = 0
  /** Outcomes that wait for `commitSequence`, and for `allSequence`, in the order of what they wait for. */
  readonly #quorumWaiters: Outcome[] = []
  readonly #allWaiters: Outcome[] = []

  constructor(
    partition: number,
    partitionEpoch: number,
    self: NodeIndex,
    primary: NodeIndex,
    inSync: readonly NodeIndex[],
  ) {
    this.partition = partition
    this.partitionEpoch = partitionEpoch
    this.primary = primary
    this.role = primary === self ? 'primary' : 'backup'
    this.quorum = majorityOf(inSync.length)
    this.members =
      this.role === 'primary'
        ? inSync
            .filter((node) => node !== self)
            .map((node) => ({ node, state: 'following' as const, acked: 0, sent: 0 }))
        : []
  }

  member(node: NodeIndex): Member | undefined {
    // At most six: a loop beats a map.
    for (const member of this.members) if (member.node === node) return member
    return undefined
  }

  /** To be called after members' `acked` or `lastSequence` rose; completes what waited for it. */
  advance(): void {
    const { members, lastSequence } = this
    let all = lastSequence
    for (const member of members) if (member.acked < all) all = member.acked
    const commit = this.quorum === 1 ? lastSequence : this.#heldByQuorum()
    if (commit > this.commitSequence) this.commitSequence = commit
    if (all > this.allSequence) this.allSequence = all
    if (this.#quorumWaiters.length > 0) release(this.#quorumWaiters, this.commitSequence)
    if (this.#allWaiters.length > 0) release(this.#allWaiters, this.allSequence)
  }

  /** Completes the outcome once its sequence is held as widely as asked: perhaps at once. */
  await(outcome: Outcome, by: 'quorum' | 'all'): void {
    if (outcome.waitSequence <= (by === 'quorum' ? this.commitSequence : this.allSequence)) {
      outcome.complete()
      return
    }
    outcome.wait()
    const queue = by === 'quorum' ? this.#quorumWaiters : this.#allWaiters
    let at = queue.length
    // A retry waits for its original's sequence, which may be older than the newest waiter's.
    while (at > 0 && (queue[at - 1] as Outcome).waitSequence > outcome.waitSequence) at--
    if (at === queue.length) queue.push(outcome)
    else queue.splice(at, 0, outcome)
  }

  get waiting(): number {
    return this.#quorumWaiters.length + this.#allWaiters.length
  }

  /** Fails what has waited past its deadline. */
  expire(nowMs: number): void {
    expireIn(this.#quorumWaiters, nowMs)
    expireIn(this.#allWaiters, nowMs)
  }

  /** Fails everything that waits. */
  abandon(error: CacheError): void {
    for (const outcome of this.#quorumWaiters.splice(0)) outcome.fail(error)
    for (const outcome of this.#allWaiters.splice(0)) outcome.fail(error)
  }

  /** The highest sequence that `quorum − 1` other members have applied. */
  #heldByQuorum(): number {
    const { members } = this
    const needed = this.quorum - 1
    let best = 0
    for (const candidate of members) {
      if (candidate.acked <= best) continue
      let holders = 0
      for (const member of members) if (member.acked >= candidate.acked) holders++
      if (holders >= needed) best = candidate.acked
    }
    return best
  }
}

function release(queue: Outcome[], reached: number): void {
  let count = 0
  while (count < queue.length && (queue[count] as Outcome).waitSequence <= reached) count++
  if (count === 0) return
  const done = queue.splice(0, count)
  for (const outcome of done) outcome.complete()
}

function expireIn(queue: Outcome[], nowMs: number): void {
  if (!queue.some((outcome) => outcome.deadlineMs <= nowMs)) return
  const waiting = queue.filter((outcome) => outcome.deadlineMs > nowMs)
  const late = queue.filter((outcome) => outcome.deadlineMs <= nowMs)
  queue.splice(0, queue.length, ...waiting)
  for (const outcome of late) {
    outcome.fail(
      new CacheError(
        'OUTCOME_UNKNOWN',
        'the write was applied here, but not enough replicas acknowledged it in time: read to find out whether it lasts',
      ),
    )
  }
}
