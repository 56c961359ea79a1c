/**
 * The results of one client's stream on their way out: those of a request frame in one RESPONSE that answers it, those that had
 * to wait together with others that became due in the same turn.
 *
 * Results are written where they will be sent from: `results` is the frame that is open, and every result is appended to it. A
 * frame that has grown to its target leaves at once, whatever else is still to come.
 */

import { ByteWriter } from '../kernel/bytes.ts'
import type { Scheduler } from '../kernel/scheduler.ts'
import type { Outcome } from '../replication/outcome.ts'
import {
  beginFrame,
  FRAME_HEADROOM,
  FrameType,
  RESPONSE_FRAME_BYTES_TARGET,
  sendFrame,
} from '../wire/frames.ts'
import { Opcode } from '../wire/operations.ts'
import { Status, writeResult } from '../wire/results.ts'
import type { FrameStream } from '../wire/transport.ts'

const ANSWERS_OFFSET = FRAME_HEADROOM + 1
const EMPTY_BYTES = ANSWERS_OFFSET + 4
/** To begin with; it grows to what the stream's results need. */
const WRITER_BYTES = 1024

export class ResponseWriter {
  /** The open frame. */
  readonly results: ByteWriter = new ByteWriter(WRITER_BYTES)
  readonly #stream: FrameStream
  readonly #scheduler: Scheduler
  #flushDue = false
  #closed = false

  constructor(stream: FrameStream, scheduler: Scheduler) {
    this.#stream = stream
    this.#scheduler = scheduler
    this.#begin()
  }

  /** Whether the open frame has grown to what a frame should hold. */
  get isFull(): boolean {
    return this.results.length >= RESPONSE_FRAME_BYTES_TARGET
  }

  /** Writes what an operation came to. */
  outcome(outcome: Outcome): void {
    const w = this.results
    writeResult(w, outcome.requestId, outcome.status)
    if (isRead(outcome.opcode)) {
      if (outcome.payload !== undefined) w.raw(outcome.payload)
      return
    }
    switch (outcome.status) {
      case Status.ok:
        break
      case Status.conditionFailed:
        if (outcome.payload !== undefined) w.raw(outcome.payload)
        return
      default:
        return
    }
    switch (outcome.opcode) {
      case Opcode.set:
      case Opcode.setUploaded:
        w.varint(outcome.partitionEpoch)
        w.varint(outcome.sequence)
        return
      case Opcode.increment:
        w.float64(outcome.number)
        return
      case Opcode.clear:
        w.varint(outcome.number)
        return
      case Opcode.atomic:
        if (outcome.payload !== undefined) w.raw(outcome.payload)
        return
      default:
    }
  }

  /** Sends the results written so far; `answers` is the frame they complete, or 0. */
  flush(answers: number): void {
    const w = this.results
    if (answers === 0 && w.length === EMPTY_BYTES) return
    w.patchUint32(ANSWERS_OFFSET, answers)
    sendFrame(this.#stream, w)
    this.#begin()
  }

  flushSoon(): void {
    if (this.#flushDue) return
    this.#flushDue = true
    // Acknowledgements of several replicas may lie ready to be read: their results share a frame.
    this.#scheduler.nextTurn(() => {
      this.#flushDue = false
      if (!this.#closed) this.flush(0)
    })
  }

  /** Nothing leaves by itself any more. */
  close(): void {
    this.#closed = true
  }

  #begin(): void {
    beginFrame(this.results, FrameType.response)
    this.results.uint32(0)
  }
}

function isRead(opcode: number): boolean {
  return opcode === Opcode.get || opcode === Opcode.getEntry || opcode === Opcode.has || opcode === Opcode.ttl
}
