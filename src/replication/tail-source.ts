/**
 * Gives a new primary the end of the log that it lacks, out of this node's backlog (docs/protocol.md, "Takeover"). It asks for one
 * frame after the other, so nothing is queued here.
 */

import { ByteWriter } from '../kernel/bytes.ts'
import type { NodeIndex } from '../topology/topology.ts'
import { finishFrame, REQUEST_FRAME_BYTES_TARGET } from '../wire/frames.ts'
import { beginTail, type FetchTail, TailStatus } from '../wire/replica-frames.ts'
import { type Backlog, NO_RECORD } from './backlog.ts'
import type { Replica } from './replica.ts'

export interface TailSourcePorts {
  readonly backlog: Backlog
  replica(partition: number): Replica | undefined
  /** Whether the record's large value has yet to reach the node; it is put on its way. */
  missingStage(node: NodeIndex, record: number): boolean
}

export class TailSource {
  readonly #ports: TailSourcePorts
  readonly #w: ByteWriter = new ByteWriter(16 * 1024)

  constructor(ports: TailSourcePorts) {
    this.#ports = ports
  }

  /** The answer to a primary that takes over; undefined when it is not this replica's. */
  answer(from: NodeIndex, fetch: FetchTail): Uint8Array | undefined {
    const { backlog } = this.#ports
    const replica = this.#ports.replica(fetch.partition)
    if (replica === undefined || replica.partitionEpoch !== fetch.partitionEpoch || replica.primary !== from)
      return undefined
    const w = this.#w
    const head = {
      partition: fetch.partition,
      partitionEpoch: fetch.partitionEpoch,
      clockMs: replica.clockMs,
    }
    // The asker may have come back with entries that nobody else has: nothing can be put behind those.
    let record = this.#goesOn(replica, fetch) ? this.#recordOf(replica, fetch.fromSequence) : NO_RECORD
    if (record === NO_RECORD) {
      beginTail(w, { ...head, status: TailStatus.unavailable })
      return finishFrame(w)
    }
    if (this.#ports.missingStage(from, record)) {
      beginTail(w, { ...head, status: TailStatus.later })
      return finishFrame(w)
    }
    beginTail(w, { ...head, status: TailStatus.entries })
    while (record !== NO_RECORD && w.length < REQUEST_FRAME_BYTES_TARGET) {
      if (this.#ports.missingStage(from, record)) break
      w.uint48(backlog.sequence(record))
      w.varint(backlog.epoch(record))
      w.varint(backlog.effectBytes(record))
      backlog.copyEffect(record, w)
      record = backlog.next(record)
    }
    return finishFrame(w)
  }

  #goesOn(replica: Replica, fetch: FetchTail): boolean {
    if (fetch.fromSequence === 1) return true
    const before = this.#recordOf(replica, fetch.fromSequence - 1)
    return before !== NO_RECORD && this.#ports.backlog.epoch(before) === fetch.lastEpoch
  }

  #recordOf(replica: Replica, sequence: number): number {
    const { backlog } = this.#ports
    let record = replica.firstRecord < backlog.first ? NO_RECORD : replica.firstRecord
    while (record !== NO_RECORD && backlog.sequence(record) < sequence) record = backlog.next(record)
    return record !== NO_RECORD && backlog.sequence(record) === sequence ? record : NO_RECORD
  }
}
