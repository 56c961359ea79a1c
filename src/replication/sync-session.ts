/**
 * One learner being brought up, as its primary sees it: where the walk stands. What is done is in sync-source.ts.
 *
 * ```
 * queued ─► beginning ─► ids ─► walking ─► ending ─► whole ─► promoting
 *    ▲______________________________________________________│
 * ```
 * A new attempt begins when the learner answers that it lost the thread, or can't follow the log any more. But never from
 * `promoting`: as long as the outcome of the proposal is unknown the learner may become a member at any moment, so it must stay
 * whole ◆. A new epoch of the partition ends that: the proposal named the old one.
 */

import type { NodeIndex } from '../topology/topology.ts'
import type { SyncName } from '../wire/replica-frames.ts'
import { HeldVersions } from './held-versions.ts'
import type { SessionOutcomes } from './operation-table.ts'
import type { RangeStages } from './range-stages.ts'
import type { Member, Replica } from './replica.ts'

export type SyncPhase =
  | { readonly kind: 'queued'; readonly notBeforeMs: number }
  | { readonly kind: 'beginning'; readonly sinceMs: number }
  | { readonly kind: 'ids'; readonly sessions: Iterator<SessionOutcomes> }
  | { readonly kind: 'walking' }
  | { readonly kind: 'ending' }
  | { readonly kind: 'whole' }
  | { readonly kind: 'promoting'; readonly sinceMs: number; readonly partitionEpoch: number }

const HASHES = 2 ** 32
const BUCKETS = 64
const BUCKET_HASHES: number = HASHES / BUCKETS

export class SyncSession {
  readonly replica: Replica
  readonly learner: Member
  readonly session: number
  attempt = 0
  phase: SyncPhase
  /** Where the primary's log stood as the attempt began. */
  startSequence = 0
  /** Monotonic time at which the learner last got on. */
  progressMs = 0
  /** Which buckets differ, as two words of bits. */
  low = 0
  high = 0
  /** What the learner holds of them. */
  readonly held: HeldVersions = new HeldVersions()
  /** The next hash to be sent; 2^32 behind the last. */
  nextHash = 0
  rangeNumber = 0
  /** Ranges sent and not yet applied: number, where to go on behind it, bytes. */
  readonly inFlight: { readonly number: number; readonly fromHash: number; readonly bytes: number }[] = []
  inFlightBytes = 0
  /** Large values of its ranges. */
  readonly stages: RangeStages
  failures = 0

  constructor(replica: Replica, learner: Member, stages: RangeStages, nowMs: number) {
    this.replica = replica
    this.learner = learner
    this.session = learner.session
    this.stages = stages
    this.phase = { kind: 'queued', notBeforeMs: nowMs }
  }

  get node(): NodeIndex {
    return this.learner.node
  }

  get name(): SyncName {
    const { partition, partitionEpoch } = this.replica
    return { partition, partitionEpoch, session: this.session, attempt: this.attempt }
  }

  /** Whether it takes one of the places for sessions under way. */
  get isActive(): boolean {
    const { kind } = this.phase
    return kind === 'beginning' || kind === 'ids' || kind === 'walking' || kind === 'ending'
  }

  begin(attempt: number, nowMs: number): void {
    this.attempt = attempt
    this.phase = { kind: 'beginning', sinceMs: nowMs }
    this.startSequence = this.replica.lastSequence
    this.progressMs = nowMs
    this.nextHash = 0
    this.inFlight.length = 0
    this.inFlightBytes = 0
    this.held.clear()
  }

  /** The learner said which buckets differ. */
  begun(low: number, high: number, sessions: Iterator<SessionOutcomes>): void {
    this.low = low
    this.high = high
    this.nextHash = this.#wantedFrom(0)
    this.phase = { kind: 'ids', sessions }
  }

  get walked(): boolean {
    return this.nextHash >= HASHES
  }

  /** A range up to `nextHash` was sent. */
  sent(fromHash: number, nextHash: number, bytes: number): void {
    this.inFlight.push({ number: this.rangeNumber, fromHash, bytes })
    this.inFlightBytes += bytes
    this.nextHash = this.#wantedFrom(nextHash)
  }

  /** Ranges up to this number were applied. @returns the numbers of those that were not known to be before */
  applied(number: number): number[] {
    const done: number[] = []
    while (this.inFlight.length > 0 && (this.inFlight[0] as { number: number }).number <= number) {
      const range = this.inFlight.shift() as { number: number; bytes: number }
      this.inFlightBytes -= range.bytes
      done.push(range.number)
    }
    return done
  }

  /** What was under way was lost: the walk goes back to behind what was applied. */
  goBack(): void {
    const first = this.inFlight[0]
    if (first !== undefined) this.nextHash = first.fromHash
    this.inFlight.length = 0
    this.inFlightBytes = 0
  }

  /** The last hash of the buckets that differ one after the other, from that of `hash` on. */
  runEnd(hash: number): number {
    let bucket = Math.floor(hash / BUCKET_HASHES) + 1
    while (bucket < BUCKETS && this.#differs(bucket)) bucket++
    return bucket * BUCKET_HASHES - 1
  }

  #differs(bucket: number): boolean {
    return (((bucket < 32 ? this.low : this.high) >>> (bucket & 31)) & 1) === 1
  }

  #wantedFrom(hash: number): number {
    let at = hash
    while (at < HASHES) {
      const bucket = Math.floor(at / BUCKET_HASHES)
      if (this.#differs(bucket)) return at
      at = (bucket + 1) * BUCKET_HASHES
    }
    return HASHES
  }
}
