/**
 * Turns operations into request frames.
 *
 * An operation is written straight into the open frame when it is issued. One frame is in flight at a time; the next one
 * leaves, at the end of the turn or the next, once the response that answers it has arrived, so that the batch grows with the load and
 * nothing waits while the node is idle. Results that had to wait at the node (for a quorum) come later, in any order.
 *
 * The deadlines of all operations are watched by one timer. An operation given up before its frame was sent is
 * overwritten in place by one that does nothing; afterwards the node is told to stop working on it.
 */

import { ByteWriter } from '../kernel/bytes.ts'
import { CacheError } from '../kernel/errors.ts'
import type { Scheduler, Timer } from '../kernel/scheduler.ts'
import { beginFrame, FRAME_HEADROOM, FrameType, finishFrame, sealFrame } from '../wire/frames.ts'
import { beginRequest, Opcode } from '../wire/operations.ts'
import {
  type Call,
  type FailureStage,
  Frame,
  type Link,
  type PendingBudget,
  PendingRing,
  reserve,
} from './pending.ts'
import type { Target } from './target.ts'
import type { TurnClock } from './turn-clock.ts'

/** A frame's body is closed before it would exceed this: an HTTP/2 window of 64 KiB holds it with its framing. */
const FRAME_BODY_BYTES_MAX = 60 * 1024
/** Deadlines that lie closer together than this are handled together. */
const DEADLINE_GRAIN_MS = 10
/** A frame that is not answered for so long, in milliseconds, shows that the node hangs. */
const ANSWER_TIMEOUT_MS = 5_000
const FIRST_FRAME_BYTES = 1024
/** Ids in one CANCEL frame. */
const CANCEL_MAX = 4096

export interface BatcherOptions {
  readonly link: Link
  readonly clock: TurnClock
  readonly scheduler: Scheduler
  readonly budget: PendingBudget
  /** How many frames may be in flight. */
  readonly window: number
  /** Decides whether a failed operation is tried again. */
  failed(call: Call, slot: number, error: CacheError, stage: FailureStage): void
  /** A frame has been waiting for its answer for too long. */
  stuck(): void
}

export class Batcher {
  readonly ring: PendingRing = new PendingRing()
  readonly #options: BatcherOptions
  readonly #writer = new ByteWriter(FIRST_FRAME_BYTES)
  #send: ((message: Uint8Array) => void) | undefined
  #creditBytes = 0
  #operationsMax = 0
  /** Frames that are not finished, in the order of their numbers; the last one may be open. */
  #frames: Frame[] = []
  #framesDone = 0
  readonly #queue: Frame[] = []
  #open: Frame | undefined
  #inFlight = 0
  #sentAtMs = 0
  #latencyMs = 0
  #sentBytes = 0
  #sentLive = 0
  #nextId = 1
  #nextFrame = 1
  #flushScheduled = false
  #timer: Timer | undefined
  #timerMs = Number.POSITIVE_INFINITY
  readonly #flush = (): void => {
    this.#flushScheduled = false
    this.#sendFrames()
  }

  constructor(options: BatcherOptions) {
    this.#options = options
  }

  /** Moving average over frames, in milliseconds, from sending one to its answer. */
  get latencyMs(): number {
    return this.#latencyMs
  }

  /** Operations that were sent and not answered. */
  get sentLive(): number {
    return this.#sentLive
  }

  /** Writes the operation into the open frame. @throws CacheError OVERLOADED, or what encoding it throws. */
  add(call: Call, slot: number, target: Target): void {
    const { budget, link } = this.#options
    reserve(budget)
    const frame = this.#open ?? this.#begin()
    const w = this.#writer
    const start = w.length
    try {
      call.encode(slot, w, target, link)
      if (w.length - FRAME_HEADROOM > FRAME_BODY_BYTES_MAX && frame.count > 0) this.#move(call, slot, start)
      else this.#register(call, slot, frame, start)
    } catch (error) {
      budget.count--
      if (frame === this.#open) w.length = start
      throw error
    }
    if (!this.#flushScheduled && this.#inFlight < this.#options.window && this.#send !== undefined)
      this.#schedule()
  }

  /** The stream is ready: what is queued leaves now. */
  start(send: (message: Uint8Array) => void, creditBytes: number, operationsMax: number): void {
    this.#send = send
    this.#creditBytes = creditBytes
    this.#operationsMax = operationsMax
    this.#inFlight = 0
    this.#schedule()
  }

  /** No frame leaves until `start` is called again. Those that were sent are still answered. */
  hold(): void {
    this.#send = undefined
  }

  /** The stream is gone: what was sent fails, what was not sent stays. */
  stop(error: CacheError): void {
    this.hold()
    this.#inFlight = 0
    this.#report(
      this.#takeAll((frame) => frame.state === 'sent'),
      error,
      'lost',
    )
  }

  /** Fails what was not sent. */
  failUnsent(error: CacheError): void {
    const failures = this.#takeAll((frame) => frame.state !== 'sent')
    this.#queue.length = 0
    if (this.#open !== undefined) {
      this.#open.state = 'queued'
      this.#open = undefined
      this.#writer.clear()
    }
    this.#report(failures, error, 'unsent')
  }

  /** The response that answers a frame has been read. */
  answered(frameNumber: number): void {
    if (frameNumber !== 0 && this.#inFlight > 0) {
      this.#inFlight--
      this.#latencyMs += (this.#options.clock.nowMs() - this.#sentAtMs - this.#latencyMs) / 16
    }
    if (this.#send !== undefined && (this.#queue.length > 0 || this.#open !== undefined)) this.#schedule()
  }

  /** An operation is over: its place is free. */
  finish(at: number): void {
    const frame = this.ring.frame(at)
    this.ring.remove(at)
    this.#options.budget.count--
    this.#retire(frame)
  }

  /** Gives up every operation of a call: what was not sent is taken back, the node is told about the rest. */
  abandon(call: Call, error: CacheError): void {
    const cancelled: number[] = []
    for (const id of this.ring.ids()) {
      const at = this.ring.find(id)
      if (at >= 0 && this.ring.call(at) === call) this.#giveUp(at, id, error, cancelled)
    }
    this.cancel(cancelled)
  }

  close(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.hold()
  }

  #register(call: Call, slot: number, frame: Frame, start: number): void {
    this.ring.put(this.#nextId, call, slot, frame, start, this.#writer.length)
    this.#nextId = (this.#nextId + 1) >>> 0
    frame.count++
    frame.live++
    if (call.deadlineMs < frame.deadlineMs) {
      frame.deadlineMs = call.deadlineMs
      if (call.deadlineMs < this.#timerMs) this.#arm(call.deadlineMs)
    }
  }

  /** The operation just written, at `start`, doesn't fit: it becomes the first of the next frame. */
  #move(call: Call, slot: number, start: number): void {
    const w = this.#writer
    const operation = w.bytes.slice(start, w.length)
    w.length = start
    this.#close()
    const frame = this.#begin()
    const moved = w.length
    w.raw(operation)
    this.#register(call, slot, frame, moved)
  }

  #begin(): Frame {
    const frame = new Frame(this.#nextFrame, this.#nextId)
    this.#nextFrame = this.#nextFrame === 0xffff_ffff ? 1 : this.#nextFrame + 1
    beginRequest(this.#writer, frame.number, frame.firstId, this.#options.link.ids.firstIncomplete)
    this.#open = frame
    this.#frames.push(frame)
    return frame
  }

  /** Closes the open frame and queues it. */
  #close(): void {
    const frame = this.#open
    if (frame === undefined) return
    this.#open = undefined
    frame.state = 'queued'
    frame.bytes = this.#writer.length
    const message = this.#writer.take()
    sealFrame(message)
    frame.message = message
    this.#queue.push(frame)
  }

  #schedule(): void {
    if (this.#flushScheduled) return
    this.#flushScheduled = true
    const { scheduler } = this.#options
    // While others are under way, results of several nodes may lie ready to be read: what they set off shares a frame.
    if (this.#sentLive > 0) scheduler.nextTurn(this.#flush)
    else scheduler.endOfTurn(this.#flush)
  }

  #sendFrames(): void {
    while (this.#send !== undefined && this.#inFlight < this.#options.window) {
      if (this.#queue.length === 0) this.#close()
      const frame = this.#queue[0]
      if (frame === undefined) return
      if (frame.live === 0) {
        // Everything in it was given up.
        this.#queue.shift()
        frame.message = undefined
        continue
      }
      if (this.#sentLive > 0 && !this.#hasCredit(frame)) return
      this.#queue.shift()
      frame.state = 'sent'
      this.#inFlight++
      this.#sentBytes += frame.bytes
      this.#sentLive += frame.live
      this.#sentAtMs = this.#options.clock.nowMs()
      this.#send(frame.message as Uint8Array)
    }
  }

  #hasCredit(frame: Frame): boolean {
    return (
      this.#sentBytes + frame.bytes <= this.#creditBytes &&
      this.#sentLive + frame.count <= this.#operationsMax
    )
  }

  /** One operation less in a frame. */
  #retire(frame: Frame): void {
    frame.live--
    if (frame.state === 'sent') this.#sentLive--
    if (frame.live > 0) return
    if (frame.state === 'sent') this.#sentBytes -= frame.bytes
    if (frame.state !== 'open') frame.message = undefined
    this.#framesDone++
    if (this.#framesDone >= 64 && this.#framesDone * 2 >= this.#frames.length) {
      this.#frames = this.#frames.filter((other) => other.live > 0 || other.state === 'open')
      this.#framesDone = 0
    }
  }

  /** Takes every operation of these frames out of the ring. */
  #takeAll(matches: (frame: Frame) => boolean): Failure[] {
    const failures: Failure[] = []
    for (const frame of [...this.#frames]) {
      if (frame.live === 0 || !matches(frame)) continue
      for (let n = 0; n < frame.count; n++) {
        const at = this.ring.find((frame.firstId + n) >>> 0)
        if (at < 0 || this.ring.frame(at) !== frame) continue
        const abandoned = this.ring.start(at) < 0
        if (!abandoned) failures.push({ call: this.ring.call(at), slot: this.ring.slot(at) })
        this.finish(at)
      }
    }
    return failures
  }

  #report(failures: readonly Failure[], error: CacheError, stage: FailureStage): void {
    for (const { call, slot } of failures) this.#options.failed(call, slot, error, stage)
  }

  #giveUp(at: number, id: number, error: CacheError, cancelled: number[]): void {
    const start = this.ring.start(at)
    if (start < 0) return
    const call = this.ring.call(at)
    const slot = this.ring.slot(at)
    const frame = this.ring.frame(at)
    if (frame.state === 'sent') {
      this.ring.abandon(at)
      cancelled.push(id)
      this.#options.failed(call, slot, error, 'lost')
      return
    }
    const bytes = frame.message ?? this.#writer.bytes
    blank(bytes, start, this.ring.end(at))
    this.finish(at)
    this.#options.failed(call, slot, error, 'unsent')
  }

  /** Tells the node that nobody waits for these any more. */
  cancel(ids: readonly number[]): void {
    if (this.#send === undefined) return
    for (let from = 0; from < ids.length; from += CANCEL_MAX) {
      const w = new ByteWriter(16 + 4 * Math.min(CANCEL_MAX, ids.length - from))
      beginFrame(w, FrameType.cancel)
      for (const id of ids.slice(from, from + CANCEL_MAX)) w.uint32(id)
      this.#send(finishFrame(w))
    }
  }

  #arm(deadlineMs: number): void {
    this.#timer?.cancel()
    const nowMs = this.#options.clock.nowMs()
    const dueMs = Math.min(deadlineMs, nowMs + ANSWER_TIMEOUT_MS)
    this.#timerMs = dueMs
    this.#timer = this.#options.scheduler.after(Math.max(0, dueMs - nowMs) + DEADLINE_GRAIN_MS, () => {
      this.#timer = undefined
      // After a stall of the event loop timers run before what arrived meanwhile is read: let that be read first.
      const { scheduler } = this.#options
      scheduler.nextTurn(() => scheduler.nextTurn(() => this.#expire()))
    })
  }

  #expire(): void {
    this.#timerMs = Number.POSITIVE_INFINITY
    const nowMs = this.#options.clock.nowMs()
    const cancelled: number[] = []
    let nextMs = Number.POSITIVE_INFINITY
    for (const frame of [...this.#frames]) {
      if (frame.live === 0) continue
      if (frame.deadlineMs <= nowMs) this.#expireFrame(frame, nowMs, cancelled)
      nextMs = Math.min(nextMs, frame.deadlineMs)
    }
    this.cancel(cancelled)
    if (this.#inFlight > 0) {
      if (nowMs - this.#sentAtMs >= ANSWER_TIMEOUT_MS) this.#options.stuck()
      else nextMs = Math.min(nextMs, this.#sentAtMs + ANSWER_TIMEOUT_MS)
    }
    if (nextMs < this.#timerMs) this.#arm(nextMs)
  }

  #expireFrame(frame: Frame, nowMs: number, cancelled: number[]): void {
    const { link } = this.#options
    let nextMs = Number.POSITIVE_INFINITY
    for (let n = 0; n < frame.count; n++) {
      const id = (frame.firstId + n) >>> 0
      const at = this.ring.find(id)
      if (at < 0 || this.ring.frame(at) !== frame || this.ring.start(at) < 0) continue
      const { deadlineMs } = this.ring.call(at)
      if (deadlineMs > nowMs) {
        nextMs = Math.min(nextMs, deadlineMs)
        continue
      }
      const what = frame.state === 'sent' ? 'did not answer in time' : 'could not be asked in time'
      const error = new CacheError('TIMEOUT', `node ${link.name} ${what}`, { node: link.name })
      this.#giveUp(at, id, error, cancelled)
    }
    frame.deadlineMs = nextMs
  }
}

interface Failure {
  readonly call: Call
  readonly slot: number
}

/** Overwrites an operation by one that does nothing and has the same length. */
function blank(bytes: Uint8Array, start: number, end: number): void {
  const length = end - start
  bytes[start] = Opcode.none
  bytes[start + 1] = 0
  if (length - 3 < 0x80) {
    bytes[start + 2] = length - 3
    return
  }
  const rest = length - 5
  bytes[start + 2] = (rest & 0x7f) | 0x80
  bytes[start + 3] = ((rest >>> 7) & 0x7f) | 0x80
  bytes[start + 4] = rest >>> 14
}
