/**
 * Lets answers out that must be true of the present: linearizable reads, and whatever tells the state of an entry to somebody who
 * wanted to change it (docs/protocol.md, "Reads and leases").
 *
 * The value has been taken already. Before it is told, two things must be so:
 * - nobody else can have been primary when it was taken: there was a lease in that same turn, or a quorum acknowledges a frame
 *   that was sent after the request arrived ◆;
 * - whatever the answer may show is held by a quorum: everything the log had at that moment, which shows in what is absent too ◆.
 *
 * A primary alone in its set has nobody to grant it anything. It counts on the voters instead: as long as a majority of them
 * answered it recently, they can't have made another node primary for longer than it takes to notice.
 */

import type { Clock } from '../kernel/clock.ts'
import { CacheError } from '../kernel/errors.ts'
import { type BrokenRules, keeps } from '../kernel/rule-switch.ts'
import type { NodeIndex } from '../topology/topology.ts'
import type { ClusterPort } from './cluster-port.ts'
import { LEASE_MS, LEASE_SHARE, SteadyClock } from './lease-grants.ts'
import type { Outcome } from './outcome.ts'
import type { PeerLog } from './peer-log.ts'
import type { Member, Replica } from './replica.ts'

export interface ReadGatePorts {
  readonly clock: Clock
  readonly cluster: ClusterPort
  readonly quarantineAfterMs: number
  readonly brokenRules: BrokenRules | undefined
  peer(node: NodeIndex): PeerLog | undefined
  nextStamp(): number
  /** Sends every member a frame, so that it acknowledges one sent from now on. */
  probe(replica: Replica): void
  /** An outcome waits for the replica's log. */
  awaited(replica: Replica): void
}

/** An answer that waits for a quorum to confirm that this node is still primary. */
interface Unconfirmed {
  readonly replica: Replica
  readonly outcome: Outcome
  /** Frames with a later stamp were sent after the request arrived. */
  readonly stamp: number
  readonly arrivedMs: number
}

const RECENT_MS = 600

export class ReadGate {
  readonly #ports: ReadGatePorts
  readonly #steady: SteadyClock
  #unconfirmed: Unconfirmed[] = []
  readonly #needsGrants: boolean
  readonly #fromSend: boolean
  readonly #share: number
  readonly #needsLease: boolean
  readonly #waitsForCommit: boolean
  readonly #confirmsAfterArrival: boolean
  readonly #loneNeedsVoters: boolean

  constructor(ports: ReadGatePorts) {
    this.#ports = ports
    const { brokenRules } = ports
    this.#steady = new SteadyClock(ports.clock)
    this.#needsGrants = keeps(brokenRules, 'lease-needs-grants')
    this.#fromSend = keeps(brokenRules, 'lease-from-send')
    this.#share = keeps(brokenRules, 'lease-ends-early') ? LEASE_SHARE : 1
    this.#needsLease = keeps(brokenRules, 'read-under-lease')
    this.#waitsForCommit = keeps(brokenRules, 'read-waits-for-commit')
    this.#confirmsAfterArrival = keeps(brokenRules, 'confirm-after-arrival')
    this.#loneNeedsVoters = keeps(brokenRules, 'lone-primary-needs-voters')
  }

  get waiting(): number {
    return this.#unconfirmed.length
  }

  /** Whether nobody else can be primary of the partition in this turn. */
  hasLease(replica: Replica): boolean {
    if (replica.role !== 'primary') return false
    if (!this.#needsGrants || !this.#needsLease) return true
    const nowMs = this.#ports.clock.monotonicMs()
    if (replica.quorum === 1) {
      return (
        !this.#loneNeedsVoters ||
        nowMs - this.#ports.cluster.voterContactMs() < LEASE_SHARE * this.#ports.quarantineAfterMs
      )
    }
    const steadySinceMs = this.#steady.steadySinceMs()
    let granted = 1
    for (const member of replica.members) {
      if (!hasAdopted(member)) continue
      const peer = this.#ports.peer(member.node)
      if (peer === undefined) continue
      const sinceMs = this.#fromSend ? peer.grantSentMs : peer.lastAckMs
      if (sinceMs >= steadySinceMs && nowMs - sinceMs < this.#share * LEASE_MS) granted++
    }
    return granted >= replica.quorum
  }

  /** Whether an answer that shows the replica as it is may be told in this turn. */
  isCurrent(replica: Replica): boolean {
    return (replica.commitSequence >= replica.lastSequence || !this.#waitsForCommit) && this.hasLease(replica)
  }

  /** Completes the outcome, whose value was taken in this turn, once it may be told; perhaps at once. */
  admit(replica: Replica, outcome: Outcome): void {
    if (this.hasLease(replica)) {
      this.#awaitCommit(replica, outcome)
      return
    }
    outcome.wait()
    const arrivedMs = this.#ports.clock.monotonicMs()
    this.#unconfirmed.push({ replica, outcome, stamp: this.#ports.nextStamp(), arrivedMs })
    this.#ports.probe(replica)
    if (!this.#confirmsAfterArrival) this.check()
  }

  /** Peers acknowledged something, or voters were heard of: answers may go out. */
  check(): void {
    if (this.#unconfirmed.length === 0) return
    const waiting = this.#unconfirmed
    this.#unconfirmed = []
    for (const one of waiting) {
      if (one.outcome.settled) continue
      if (one.replica.role !== 'primary') {
        one.outcome.fail(new CacheError('NOT_PRIMARY', 'another node became primary: ask there'))
      } else if (this.#isConfirmed(one)) {
        this.#awaitCommit(one.replica, one.outcome)
      } else {
        this.#unconfirmed.push(one)
      }
    }
  }

  /** Fails what has waited past its deadline. */
  expire(nowMs: number): void {
    for (const { outcome } of this.#unconfirmed) {
      if (outcome.settled || outcome.deadlineMs > nowMs) continue
      outcome.fail(
        new CacheError(
          'TIMEOUT',
          'no quorum confirmed in time that this node is still primary; nothing was changed',
        ),
      )
    }
    this.check()
  }

  close(): void {
    for (const { outcome } of this.#unconfirmed.splice(0))
      outcome.fail(new CacheError('UNAVAILABLE', 'the node stopped: use another node'))
  }

  #awaitCommit(replica: Replica, outcome: Outcome): void {
    if (!this.#waitsForCommit) {
      outcome.complete()
      return
    }
    replica.await(outcome, 'quorum')
    if (!outcome.settled) this.#ports.awaited(replica)
  }

  #isConfirmed({ replica, stamp, arrivedMs }: Unconfirmed): boolean {
    const { clock, cluster } = this.#ports
    if (replica.quorum === 1) return cluster.voterContactMs() > arrivedMs
    let confirmed = 1
    for (const member of replica.members) {
      if (!hasAdopted(member)) continue
      const peer = this.#ports.peer(member.node)
      if (peer === undefined) continue
      const isLater = peer.ackedStamp > stamp
      const isRecent = !this.#confirmsAfterArrival && clock.monotonicMs() - peer.lastAckMs < RECENT_MS
      if (isLater || isRecent) confirmed++
    }
    return confirmed >= replica.quorum
  }
}

/** Whether the member is known to be under this primary's epoch: only then its acknowledgements grant and confirm. */
function hasAdopted(member: Member): boolean {
  return member.state !== 'unknown' && member.state !== 'lagging'
}
