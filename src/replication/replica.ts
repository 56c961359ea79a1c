/**
 * One partition's copy at this node: its role, its place in the log, and at the primary what the other replicas hold.
 *
 * Invariants:
 * - `partitionEpoch` never falls; whoever sends under a lower one is refused;
 * - `lastSequence` is the last operation applied here; a backup applies `lastSequence + 1` or nothing;
 * - `commitSequence` ≤ `lastSequence`; everything up to it is held by a majority of the in-sync set, this node included;
 * - a member's `acked` ≤ `sent` ≤ the primary's `lastSequence`; only what it said it *applied*, under this epoch, counts;
 * - learners count for nothing.
 */

import { CacheError } from '../kernel/errors.ts'
import type { NodeIndex } from '../topology/topology.ts'
import { majorityOf } from '../topology/topology.ts'
import { NO_RECORD } from './backlog.ts'
import type { Outcome } from './outcome.ts'
import { BACKUP, changeRole, PRIMARY, type Role, type RoleName } from './role.ts'

/**
 * What the primary knows of another in-sync replica, or of a learner.
 * - `unknown`: has not said yet, under this epoch, what it holds.
 * - `following`: gets each record as it is logged.
 * - `behind`: is being sent what it lacks, in order, from the backlog.
 * - `awaiting`: lacks a large value that is still on its way to it.
 * - `lagging`: lacks records that the backlog no longer has. Left out until it is brought up as a learner.
 */
export type MemberState = 'unknown' | 'following' | 'behind' | 'awaiting' | 'lagging'

export interface Member {
  readonly node: NodeIndex
  state: MemberState
  /** Highest sequence it said it applied. */
  acked: number
  /** Highest sequence sent on the present stream. */
  sent: number
  /** The commit that added it, of a learner; 0 for a member of the in-sync set. */
  readonly session: number
  /** Monotonic time at which its removal was proposed last. */
  proposedMs: number
  /** Its log is known to be the beginning of this one: it has followed this primary in an earlier epoch. */
  isKnown: boolean
  /** The newest epoch of the partition that it said it is under: what it said before may come later, on another stream. */
  movedTo: number
}

/** The other replicas as a new epoch finds them: nothing is known of any. */
function unknownMember(node: NodeIndex, session: number): Member {
  return {
    node,
    state: 'unknown',
    acked: 0,
    sent: 0,
    session,
    proposedMs: Number.NEGATIVE_INFINITY,
    isKnown: false,
    movedTo: 0,
  }
}

export class Replica {
  readonly partition: number
  /** This node. */
  readonly self: NodeIndex
  #partitionEpoch: number
  #role: Role
  #primary: NodeIndex
  #members: readonly Member[]
  #learners: readonly Member[] = NO_MEMBERS
  #quorum: number
  /** The epoch in which the last entry was ordered; 0: there is none. */
  lastEpoch = 0
  lastSequence = 0
  commitSequence = 0
  /** Everything up to it is held by the whole in-sync set. */
  allSequence = 0
  /** What this node held when the present epoch began to be served: once a quorum has it too, older sets are settled. */
  settleSequence: number = NOTHING_TO_SETTLE
  /** At the primary: the epoch in which it began to serve, and where its log stood then. */
  termEpoch = 0
  termSequence = 0
  /**
   * The entry with which this primary's term began. What was ordered before counts as held by a quorum only together with it: for
   * the log with the latest entry wins a takeover, and one that nobody followed may have later ones than those.
   */
  barrierSequence = 0
  /** Highest sequence that a quorum acknowledged under this epoch. */
  heldSequence = 0
  /** This node's monotonic time until which leases may run that it granted to earlier primaries. */
  leaseUntilMs: number = Number.NEGATIVE_INFINITY
  /** Oldest and newest record of this partition in the backlog. */
  firstRecord: number = NO_RECORD
  lastRecord: number = NO_RECORD
  /** Monotonic time at which the present epoch was entered. */
  enteredMs = 0
  /** Latest time in its log: the partition's clock never runs behind it. */
  clockMs = 0
  /** Broken by a test: learners' acknowledgements count. */
  countsLearners = false
  /** Broken by a test: a quorum is so many less than a majority. */
  quorumLess = 0
  /** Set while new writes are held off, so that another replica can reach the end of the log. */
  frozen = false
  /** Outcomes that wait for `commitSequence`, and for `allSequence`, in the order of what they wait for. */
  readonly #quorumWaiters: Outcome[] = []
  readonly #allWaiters: Outcome[] = []

  /** A replica of a partition that begins: its log is empty everywhere, so the primary serves at once. */
  constructor(
    partition: number,
    partitionEpoch: number,
    self: NodeIndex,
    primary: NodeIndex,
    inSync: readonly NodeIndex[],
  ) {
    this.partition = partition
    this.self = self
    this.#partitionEpoch = partitionEpoch
    this.#primary = primary
    this.#role = primary === self ? PRIMARY : BACKUP
    this.#quorum = majorityOf(inSync.length)
    this.#members = primary === self ? othersOf(inSync, self) : NO_MEMBERS
  }

  get partitionEpoch(): number {
    return this.#partitionEpoch
  }

  get role(): RoleName {
    return this.#role.kind
  }

  /** The role with what belongs to it. */
  get state(): Role {
    return this.#role
  }

  /** The node that orders this partition's operations. */
  get primary(): NodeIndex {
    return this.#primary
  }

  /** At the primary, also while it takes over: the other in-sync replicas. Empty elsewhere. */
  get members(): readonly Member[] {
    return this.#members
  }

  /** At the primary: who is being brought up. */
  get learners(): readonly Member[] {
    return this.#learners
  }

  /** Replicas that make a quorum, this one included. */
  get quorum(): number {
    return this.quorumLess === 0 ? this.#quorum : Math.max(1, this.#quorum - this.quorumLess)
  }

  /**
   * Comes under another epoch, in this role. What members acknowledged under an older one is no longer known ◆.
   * @param keepsAcks broken by a test: acknowledgements outlive the epoch
   */
  enter(
    partitionEpoch: number,
    role: Role,
    primary: NodeIndex,
    inSync: readonly NodeIndex[],
    keepsAcks = false,
  ): void {
    const before = this.#members
    const ledOn = this.#role.kind === 'primary' && role.kind === 'primary'
    this.#role = this.#role === role ? role : changeRole(this.#role, role)
    this.#partitionEpoch = partitionEpoch
    this.#primary = primary
    this.#quorum = majorityOf(Math.max(1, inSync.length))
    const leads = role.kind === 'primary' || role.kind === 'taking-over'
    this.#members = leads ? othersOf(inSync, this.self, 'unknown') : NO_MEMBERS
    if (!leads) this.#learners = NO_MEMBERS
    if (ledOn) {
      for (const former of [...before, ...this.#learners]) {
        const now = this.member(former.node)
        if (now !== undefined && former.state !== 'lagging')
          now.isKnown = former.isKnown || former.state !== 'unknown'
      }
    }
    for (const learner of this.#learners) forget(learner)
    for (const member of before) {
      const now = keepsAcks ? this.member(member.node) : undefined
      if (now !== undefined) now.acked = member.acked
      forget(member)
    }
    this.heldSequence = 0
    this.settleSequence = NOTHING_TO_SETTLE
  }

  /** Changes the role within the epoch. */
  become(role: Role): void {
    this.#role = changeRole(this.#role, role)
  }

  /** Forgets its place in the log: it is to be brought up as a learner ◆. */
  restart(lastEpoch: number, lastSequence: number): void {
    this.lastEpoch = lastEpoch
    this.lastSequence = lastSequence
    this.commitSequence = Math.min(this.commitSequence, lastSequence)
    this.allSequence = Math.min(this.allSequence, lastSequence)
    this.firstRecord = NO_RECORD
    this.lastRecord = NO_RECORD
  }

  /** Who is to be brought up, at the primary. Those that stay keep what is known of them. */
  setLearners(learners: readonly { readonly node: NodeIndex; readonly session: number }[]): void {
    const before = this.#learners
    if (learners.length === 0 && before.length === 0) return
    this.#learners = learners.map(
      ({ node, session }) =>
        before.find((one) => one.node === node && one.session === session) ?? unknownMember(node, session),
    )
    for (const one of before) if (!this.#learners.includes(one)) forget(one)
  }

  /** Broken by a test: removes a member before its removal is committed. */
  removeEarly(member: Member): void {
    this.#members = this.#members.filter((one) => one !== member)
    this.#quorum = majorityOf(this.#members.length + 1)
  }

  /** The replica at `node`, in sync or learning, that gets this primary's log. */
  follower(node: NodeIndex): Member | undefined {
    return this.member(node) ?? (this.#learners.length === 0 ? undefined : this.#learner(node))
  }

  #learner(node: NodeIndex): Member | undefined {
    for (const learner of this.#learners) if (learner.node === node) return learner
    return undefined
  }

  member(node: NodeIndex): Member | undefined {
    // At most six: a loop beats a map.
    for (const member of this.#members) if (member.node === node) return member
    return undefined
  }

  /** To be called after members' `acked` or `lastSequence` rose; completes what waited for it. */
  advance(): void {
    const { members, lastSequence } = this
    let all = lastSequence
    for (const member of members) if (member.acked < all) all = member.acked
    const commit = this.quorum === 1 ? lastSequence : this.#heldByQuorum()
    this.heldSequence = commit
    if (commit >= this.barrierSequence) {
      if (commit > this.commitSequence) this.commitSequence = commit
      if (all > this.allSequence) this.allSequence = all
    }
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

  /** Fails everything that waits: with `rejected` what was never applied. */
  abandon(error: CacheError, rejected: CacheError = error): void {
    for (const queue of [this.#quorumWaiters, this.#allWaiters])
      for (const outcome of queue.splice(0)) outcome.fail(outcome.applied ? error : rejected)
  }

  /** The highest sequence that `quorum − 1` other members have applied. */
  #heldByQuorum(): number {
    const members = this.countsLearners ? [...this.members, ...this.learners] : this.members
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

const NO_MEMBERS: readonly Member[] = []
const NOTHING_TO_SETTLE = Number.POSITIVE_INFINITY

function othersOf(inSync: readonly NodeIndex[], self: NodeIndex, state: MemberState = 'following'): Member[] {
  return inSync.filter((node) => node !== self).map((node) => ({ ...unknownMember(node, 0), state }))
}

/** It is no longer sent to under what was known of it. */
function forget(member: Member): void {
  member.state = 'unknown'
  member.acked = 0
  member.sent = 0
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
      outcome.applied
        ? new CacheError(
            'OUTCOME_UNKNOWN',
            'the write was applied here, but not enough replicas acknowledged it in time: read to find out whether it lasts',
          )
        : new CacheError(
            'TIMEOUT',
            'not enough replicas acknowledged in time what the answer would show; nothing was changed',
          ),
    )
  }
}
