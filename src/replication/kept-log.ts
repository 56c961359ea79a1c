/**
 * What this node keeps of the logs of its replicas, so that others can be brought up from it: the backlog, and the large values that
 * its records name.
 *
 * Invariant: a replica's records in the backlog are the newest of its log, without a gap, whether this node ordered them or applied them as
 * a backup. Where nobody follows a primary, nothing is kept and the chain begins anew with the next record.
 */

import type { LargeValue } from '../engine/engine.ts'
import type { NodeIndex } from '../topology/topology.ts'
import { Backlog, NO_RECORD, type Pinned } from './backlog.ts'
import type { Member, Replica } from './replica.ts'
import type { StagedValue, StageOutbox } from './stage-outbox.ts'

export interface KeptLogPorts {
  readonly bytesMax: number
  readonly outbox: StageOutbox
  replica(partition: number): Replica | undefined
  /** The memory that the backlog takes changed. */
  held(bytes: number): void
  /** A follower lacks what has just left the backlog. */
  overran(replica: Replica, follower: Member): void
}

export class KeptLog {
  readonly backlog: Backlog
  readonly #ports: KeptLogPorts
  /** By record: the stage of its large value. */
  readonly #stageOf = new Map<number, number>()

  constructor(ports: KeptLogPorts) {
    this.#ports = ports
    this.backlog = new Backlog(
      ports.bytesMax,
      (record) => this.#dropped(record),
      (delta) => ports.held(delta),
    )
  }

  /** Keeps an effect that the replica's primary, this node, has just ordered. @returns false when nobody needs it */
  ordered(
    replica: Replica,
    effect: Uint8Array,
    effectBytes: number,
    staged: StagedValue | undefined,
  ): boolean {
    const { outbox } = this.#ports
    if (replica.members.length === 0 && replica.learners.length === 0) {
      replica.firstRecord = NO_RECORD
      replica.lastRecord = NO_RECORD
      if (staged !== undefined) outbox.end(staged.stageId)
      return false
    }
    const pinned =
      staged === undefined
        ? undefined
        : { byteLength: staged.value.totalBytes, release: (): void => outbox.end(staged.stageId) }
    const record = this.#append(replica, replica.partitionEpoch, effect, 0, effectBytes, pinned)
    if (staged !== undefined) this.#stageOf.set(record, staged.stageId)
    return true
  }

  /** Keeps what was applied as a backup: this node may have to bring others up. */
  followed(
    replica: Replica,
    bytes: Uint8Array,
    start: number,
    end: number,
    versionEpoch: number,
    large: LargeValue | undefined,
  ): void {
    if (large === undefined) {
      this.#append(replica, versionEpoch, bytes, start, end - start, undefined)
      return
    }
    const { outbox } = this.#ports
    // The value gets a stage of this node, under whose number the record names it here.
    const stageId = outbox.keep(large)
    const record = this.#append(replica, versionEpoch, bytes, start, end - start, {
      byteLength: large.totalBytes,
      release: () => outbox.end(stageId),
    })
    this.backlog.patchStage(record, stageId)
    this.#stageOf.set(record, stageId)
  }

  /** Whether a record of the backlog names the stage. */
  names(stageId: number): boolean {
    for (const named of this.#stageOf.values()) if (named === stageId) return true
    return false
  }

  /** Whether the node still lacks the record's large value; if so it is put on its way. */
  missingStage(node: NodeIndex, record: number): boolean {
    const stageId = this.#stageOf.size === 0 ? undefined : this.#stageOf.get(record)
    return stageId !== undefined && this.#ports.outbox.missing(node, stageId)
  }

  #append(
    replica: Replica,
    versionEpoch: number,
    effect: Uint8Array,
    start: number,
    effectBytes: number,
    pinned: Pinned | undefined,
  ): number {
    const record = this.backlog.append(
      replica.partition,
      versionEpoch,
      replica.lastSequence,
      effect,
      effectBytes,
      replica.lastRecord,
      pinned,
      start,
    )
    if (replica.firstRecord < this.backlog.first) replica.firstRecord = record
    replica.lastRecord = record
    return record
  }

  /** A record is about to leave the backlog: followers that still lack it can't follow any more. */
  #dropped(record: number): void {
    const { backlog } = this
    this.#stageOf.delete(record)
    const replica = this.#ports.replica(backlog.partition(record))
    // Records of a log that was given up lie in front of the present one's.
    if (replica === undefined || replica.firstRecord !== record) return
    replica.firstRecord = backlog.next(record)
    const sequence = backlog.sequence(record)
    for (const member of replica.members) this.#overrun(replica, member, sequence)
    for (const learner of replica.learners) this.#overrun(replica, learner, sequence)
  }

  #overrun(replica: Replica, follower: Member, sequence: number): void {
    if (follower.state === 'lagging' || follower.state === 'unknown' || follower.acked >= sequence) return
    this.#ports.overran(replica, follower)
  }
}
