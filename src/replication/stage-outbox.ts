/**
 * Large values on their way to the other replicas, before the operation that stores them is ordered: unsequenced, in
 * chunks, on streams of their own, so that small operations of the same partition pass them.
 *
 * A stage lives from `begin` until `end`: until its operation was refused, or its record has left the backlog (a replica
 * that comes back may need it again). Per peer, transfers take turns chunk by chunk, as fast as its stream drains and
 * small operations leave room (bulk-pace.ts).
 * Bounded: `bytesMax` of values staged and not yet ordered; then OVERLOADED.
 */

import type { LargeValue } from '../engine/engine.ts'
import { CacheError } from '../kernel/errors.ts'
import type { NodeIndex } from '../topology/topology.ts'
import { FrameType, UPLOAD_CHUNK_BYTES } from '../wire/frames.ts'
import { encodeStageHead, encodeStageState } from '../wire/peer-frames.ts'
import type { FrameStream } from '../wire/transport.ts'
import type { BulkPace, BulkSteps } from './bulk-pace.ts'

/** A large value whose bytes enough replicas hold already. */
export interface StagedValue {
  readonly stageId: number
  readonly value: LargeValue
}

interface Stage {
  readonly stageId: number
  readonly value: LargeValue
  /** Peers that said they hold every byte. */
  readonly holders: Set<NodeIndex>
  readonly refused: Set<NodeIndex>
  /** Peers that were sent every byte and have not answered. */
  readonly sent: Set<NodeIndex>
  /** Whom it was or is to be sent. */
  readonly nodes: NodeIndex[]
  /** Peers still needed before the operation may be ordered; undefined once it was told. */
  waiting: { readonly needed: number; readonly done: (error: CacheError | undefined) => void } | undefined
}

interface Transfer {
  readonly stage: Stage
  offset: number
}

interface Lane {
  stream: FrameStream | undefined
  readonly transfers: Transfer[]
  blocked: boolean
  readonly steps: BulkSteps
}

export class StageOutbox {
  readonly #bytesMax: number
  readonly #lanes = new Map<NodeIndex, Lane>()
  readonly #stages = new Map<number, Stage>()
  #lastStageId = 0
  /** Bytes of stages whose operation is not ordered yet. */
  #pendingBytes = 0
  readonly #onHolder: (node: NodeIndex) => void
  readonly #pace: BulkPace

  /** @param onHolder called when a peer has got a stage that was ordered before: its replicas may go on. */
  constructor(bytesMax: number, pace: BulkPace, onHolder: (node: NodeIndex) => void) {
    this.#bytesMax = bytesMax
    this.#pace = pace
    this.#onHolder = onHolder
  }

  get stageCount(): number {
    return this.#stages.size
  }

  /**
   * Sends `value` to `nodes`; `done` is called once `needed` of them hold it, or with an error when that can't be.
   * Takes a reference of its own to the value.
   * @throws CacheError OVERLOADED
   */
  begin(
    value: LargeValue,
    nodes: readonly NodeIndex[],
    needed: number,
    done: (error: CacheError | undefined) => void,
  ): number {
    if (this.#pendingBytes + value.totalBytes > this.#bytesMax) {
      throw new CacheError(
        'OVERLOADED',
        `${this.#pendingBytes} bytes of large values are being written: try again`,
      )
    }
    this.#lastStageId = (this.#lastStageId + 1) >>> 0
    const stageId = this.#lastStageId
    const stage: Stage = {
      stageId,
      value: value.retain(),
      holders: new Set(),
      refused: new Set(),
      sent: new Set(),
      nodes: [...nodes],
      waiting: { needed, done },
    }
    this.#stages.set(stageId, stage)
    this.#pendingBytes += value.totalBytes
    for (const node of nodes) this.#enqueue(node, stage)
    if (needed === 0) this.#settle(stage, undefined)
    return stageId
  }

  /** Keeps a value that this node got as a backup, for whoever may need it from here later. @returns its stage */
  keep(value: LargeValue): number {
    this.#lastStageId = (this.#lastStageId + 1) >>> 0
    const stageId = this.#lastStageId
    this.#stages.set(stageId, {
      stageId,
      value: value.retain(),
      holders: new Set(),
      refused: new Set(),
      sent: new Set(),
      nodes: [],
      waiting: undefined,
    })
    return stageId
  }

  /** Whether `node` still lacks the stage; if so the stage is put on its way again when it is not. */
  missing(node: NodeIndex, stageId: number): boolean {
    const stage = this.#stages.get(stageId)
    if (stage === undefined || stage.holders.has(node)) return false
    this.#enqueue(node, stage)
    return true
  }

  /** Nobody needs the stage any more: peers that have some of it and did not apply it forget it too. */
  end(stageId: number): void {
    const stage = this.#stages.get(stageId)
    if (stage === undefined) return
    this.#stages.delete(stageId)
    this.#settle(stage, new CacheError('ABORTED', 'the write was given up'))
    for (const [node, lane] of this.#lanes) {
      const at = lane.transfers.findIndex((transfer) => transfer.stage === stage)
      if (at >= 0) lane.transfers.splice(at, 1)
      // Also when its record left the backlog: a peer that lags then may hold the bytes and never get the record.
      if (stage.nodes.includes(node)) lane.stream?.send(encodeStageState(FrameType.stageDrop, stageId, false))
    }
    stage.value.release()
  }

  linkUp(node: NodeIndex, stream: FrameStream): void {
    const lane = this.#lane(node)
    lane.stream = stream
    lane.blocked = false
    for (const stage of this.#stages.values()) {
      if (stage.waiting !== undefined && stage.nodes.includes(node)) this.#enqueue(node, stage)
    }
    this.#pump(node, lane)
    // Replicas that waited for a stage the old stream did not bring ask for it again.
    this.#onHolder(node)
  }

  /** What the peer held of stages is forgotten with its stream: it may have restarted. */
  linkDown(node: NodeIndex): void {
    const lane = this.#lane(node)
    lane.stream = undefined
    lane.steps.stop()
    lane.transfers.length = 0
    for (const stage of this.#stages.values()) {
      stage.holders.delete(node)
      stage.refused.delete(node)
      stage.sent.delete(node)
    }
  }

  drained(node: NodeIndex): void {
    const lane = this.#lane(node)
    lane.blocked = false
    this.#pump(node, lane)
  }

  /** The peer's answer to a stage. */
  answered(node: NodeIndex, stageId: number, ok: boolean): void {
    const stage = this.#stages.get(stageId)
    if (stage === undefined) return
    stage.sent.delete(node)
    if (!ok) {
      stage.refused.add(node)
      const { waiting } = stage
      const left = stage.nodes.filter((one) => !stage.refused.has(one)).length
      if (waiting !== undefined && left < waiting.needed) {
        this.#settle(
          stage,
          new CacheError('OVERLOADED', 'the replicas have no room for this value: try again later'),
        )
      }
      return
    }
    stage.holders.add(node)
    if (stage.waiting === undefined) {
      this.#onHolder(node)
      return
    }
    // Counted anew each time: a peer whose stream broke in between is no holder any more.
    if (stage.holders.size >= stage.waiting.needed) this.#settle(stage, undefined)
  }

  close(): void {
    for (const stageId of [...this.#stages.keys()]) this.end(stageId)
    for (const lane of this.#lanes.values()) lane.steps.stop()
  }

  #settle(stage: Stage, error: CacheError | undefined): void {
    const { waiting } = stage
    if (waiting === undefined) return
    stage.waiting = undefined
    this.#pendingBytes -= stage.value.totalBytes
    waiting.done(error)
  }

  #enqueue(node: NodeIndex, stage: Stage): void {
    const lane = this.#lane(node)
    if (lane.stream === undefined && stage.waiting === undefined) return
    if (stage.sent.has(node) || lane.transfers.some((transfer) => transfer.stage === stage)) return
    if (stage.refused.has(node)) stage.refused.delete(node)
    if (!stage.nodes.includes(node)) stage.nodes.push(node)
    lane.transfers.push({ stage, offset: 0 })
    this.#pump(node, lane)
  }

  #pump(node: NodeIndex, lane: Lane): void {
    const { stream, transfers } = lane
    while (stream !== undefined && lane.stream === stream && !lane.blocked && !lane.steps.isResting) {
      const transfer = transfers.shift()
      if (transfer === undefined) return
      const { stage, offset } = transfer
      const { value } = stage
      const bytes = Math.min(UPLOAD_CHUNK_BYTES, value.totalBytes - offset)
      transfer.offset += bytes
      // Behind the others: so they take turns.
      if (transfer.offset < value.totalBytes) transfers.push(transfer)
      else stage.sent.add(node)
      const head = encodeStageHead(stage.stageId, value.totalBytes, offset, bytes)
      // Sent from where it lies, and pinned as long: the stage may end before.
      value.retain()
      if (!stream.sendParts(head, value.views(offset, bytes), () => value.release())) lane.blocked = true
      lane.steps.spend(bytes)
    }
  }

  #lane(node: NodeIndex): Lane {
    let lane = this.#lanes.get(node)
    if (lane === undefined) {
      const added: Lane = {
        stream: undefined,
        transfers: [],
        blocked: false,
        steps: this.#pace.steps(() => this.#pump(node, added)),
      }
      lane = added
      this.#lanes.set(node, lane)
    }
    return lane
  }
}
