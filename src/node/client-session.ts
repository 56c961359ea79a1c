/**
 * One client's stream at a node: handshake, requests in, results out.
 *
 * A request frame is carried out operation by operation in the order it was written. Its immediate results leave in one
 * RESPONSE that answers it; results that wait for replicas leave in the turn after they became due.
 *
 * Bounds: while more than `operationsMax` operations or `creditBytes` of responses are outstanding, the stream is not read:
 * flow control slows the client. A frame is carried out in slices, so that no client holds the event loop.
 */

import type { LargeValue } from '../engine/engine.ts'
import { ByteReader, ByteWriter } from '../kernel/bytes.ts'
import type { Clock } from '../kernel/clock.ts'
import { CacheError, toCacheError } from '../kernel/errors.ts'
import type { Log } from '../kernel/log.ts'
import type { Scheduler, Timer } from '../kernel/scheduler.ts'
import type { BulkSteps } from '../replication/bulk-pace.ts'
import type { Outcome, OutcomeSink } from '../replication/outcome.ts'
import type { WriteRequest } from '../replication/primary.ts'
import type { StagedValue } from '../replication/stage-outbox.ts'
import { readAtomicMember } from '../wire/atomic.ts'
import {
  beginFrame,
  FRAME_HEADROOM,
  FrameType,
  finishFrame,
  RESPONSE_FRAME_BYTES_TARGET,
  sendFrame,
} from '../wire/frames.ts'
import { decodeHello, encodeError, encodeWelcome, type Hello, negotiate } from '../wire/handshake.ts'
import { Opcode, Operation, readOperation } from '../wire/operations.ts'
import { Status, writeErrorResult, writeResult } from '../wire/results.ts'
import type { FrameHandler, FrameStream } from '../wire/transport.ts'
import type { DataPlane } from './data-plane.ts'
import type { Dispatcher } from './dispatcher.ts'
import { Downloads } from './downloads.ts'
import type { NodeOptions } from './options.ts'
import { Uploads } from './uploads.ts'

export interface SessionPorts {
  readonly clock: Clock
  readonly scheduler: Scheduler
  readonly log: Log
  readonly options: NodeOptions
  readonly incarnation: string
  /** Undefined while no topology is committed. */
  dataPlane(): DataPlane | undefined
  /** The node takes on nothing more: another one is about to take over. */
  isStopping(): boolean
  /** The session said HELLO: what it supersedes is to be closed. @throws CacheError when it is refused */
  admitted(session: ClientSession, hello: Hello): void
  ended(session: ClientSession): void
}

/** A stream that has not said HELLO within this time is closed. */
const HELLO_TIMEOUT_MS = 5000
/** A client is told of a newer topology at once, and of those that follow it no more often than this. */
const PUSH_PAUSE_MS = 20
/** Operations carried out before other work gets a turn. */
const SLICE_OPERATIONS = 2048
const ANSWERS_OFFSET = FRAME_HEADROOM + 1
/** To begin with; it grows to what the stream's results need. */
const WRITER_BYTES = 1024
const FOREIGN_SESSIONS_MAX = 64

type State = 'greeting' | 'open' | 'closed'

/** A large write between its upload and its ordering. */
interface Staging {
  readonly giveUp: () => void
  readonly timer: Timer
}

export class ClientSession implements FrameHandler, OutcomeSink {
  readonly #ports: SessionPorts
  readonly #stream: FrameStream
  readonly remoteAddress: string
  #state: State = 'greeting'
  hello: Hello | undefined
  #sessionLow = 0
  #sessionHigh = 0
  #timer: Timer | undefined
  readonly #frames: Uint8Array[] = []
  readonly #reader: ByteReader = new ByteReader(new Uint8Array(0))
  readonly #op: Operation = new Operation()
  readonly #member: Operation = new Operation()
  /** The frame being carried out, and how far. */
  #frame: Uint8Array | undefined
  #frameNumber = 0
  #nextRequestId = 0
  readonly #out: ByteWriter = new ByteWriter(WRITER_BYTES)
  #flushDue = false
  #sliceDue = false
  /** Whether operations are being carried out: what completes meanwhile must not begin to carry out the next. */
  #isBusy = false
  #paused = false
  /** Of uploads. */
  #steps: BulkSteps | undefined
  /** Writes that wait for replicas, and large values being staged. */
  #waiting = 0
  /** Bytes that results hold while they wait. */
  #heldBytes = 0
  /** When a topology was pushed last. */
  #pushedMs = Number.NEGATIVE_INFINITY
  /** A newer one waits for the pause to end. */
  #pushTimer: Timer | undefined
  readonly #staging = new Map<number, Staging>()
  #uploads: Uploads | undefined
  readonly #downloads: Downloads
  #download: ((requestId: number, value: LargeValue) => void) | undefined
  /** Gets results of reads that had to wait. */
  readonly #reads: OutcomeSink = {
    waits: (outcome) => {
      this.#waiting++
      this.waits(outcome)
    },
    completed: (outcome) => {
      if (!outcome.waits) this.#waiting++
      this.completed(outcome)
    },
    failed: (outcome, error) => {
      if (!outcome.waits) this.#waiting++
      this.failed(outcome, error)
    },
  }
  /** Sessions besides its own whose operation ids the stream has used. */
  readonly #foreign = new Set<string>()
  /** Requests cancelled before they were carried out. */
  readonly #cancelled = new Set<number>()

  constructor(stream: FrameStream, remoteAddress: string, ports: SessionPorts) {
    this.#stream = stream
    this.#ports = ports
    this.remoteAddress = remoteAddress
    this.#downloads = new Downloads(stream)
    this.#timer = ports.scheduler.after(HELLO_TIMEOUT_MS, () =>
      this.#refuse(new CacheError('PROTOCOL_ERROR', `no HELLO within ${HELLO_TIMEOUT_MS} ms`)),
    )
    this.#begin()
  }

  frame(body: Uint8Array): void {
    if (this.#state === 'closed') return
    try {
      if (this.#state === 'greeting') this.#greet(body)
      else this.#receive(body)
    } catch (error) {
      this.#refuse(toCacheError(error))
    }
  }

  drained(): void {
    if (this.#state !== 'open') return
    this.#downloads.drained()
    this.#proceed()
  }

  closed(): void {
    this.#end()
  }

  completed(outcome: Outcome): void {
    this.#waiting--
    if (this.#state !== 'open') return
    this.#heldBytes -= heldBy(outcome)
    this.#writeOutcome(outcome)
    this.#written()
    if (outcome.large === undefined) return
    // The result first, then the chunks.
    this.#flush(0)
    this.#downloads.pump()
  }

  failed(outcome: Outcome, error: CacheError): void {
    this.#waiting--
    this.#heldBytes -= heldBy(outcome)
    this.#writeError(outcome.requestId, error)
  }

  waits(outcome: Outcome): void {
    this.#heldBytes += heldBy(outcome)
  }

  /** The first topology was committed, or it changed. */
  pushTopology(plane: DataPlane): void {
    if (this.#state !== 'open') return
    const expected = this.hello?.clusterId ?? ''
    if (expected !== '' && expected !== plane.clusterId) {
      this.#refuse(wrongCluster(plane.clusterId, expected))
      return
    }
    // The client hears of it on its stream for operations.
    if (this.hello?.lane !== 'bulk') this.#pushSoon(plane)
    this.#proceed()
  }

  /** While nodes come and go, records follow each other within milliseconds: one of many is enough. */
  #pushSoon(plane: DataPlane): void {
    const pauseMs = this.#pushedMs + PUSH_PAUSE_MS - this.#ports.clock.monotonicMs()
    if (pauseMs <= 0) this.#push(plane)
    else this.#pushTimer ??= this.#ports.scheduler.after(pauseMs, () => this.#pushNewest())
  }

  #pushNewest(): void {
    this.#pushTimer = undefined
    const plane = this.#ports.dataPlane()
    if (this.#state === 'open' && plane !== undefined) this.#push(plane)
  }

  #push(plane: DataPlane): void {
    this.#pushedMs = this.#ports.clock.monotonicMs()
    const { topologyFrame } = plane
    this.#stream.send(this.#stream.copies ? topologyFrame : topologyFrame.slice())
  }

  /** The node is about to stop: the client sends its next operations elsewhere. */
  goAway(): void {
    if (this.#state !== 'open') return
    const w = new ByteWriter(16)
    beginFrame(w, FrameType.goAway)
    this.#stream.send(finishFrame(w))
  }

  /** Gives up what the client has begun and not gone on with. */
  sweep(): void {
    const { clock, options } = this.#ports
    this.#uploads?.sweep(clock.monotonicMs() - options.timeoutMaxMs)
  }

  /** Whether all that was begun is decided. Values on their way were read: sending them does no harm to whoever takes over. */
  get isSettled(): boolean {
    return this.#waiting === 0
  }

  /** Whether a large value is on its way, or who owns what is still to be told. */
  get isSending(): boolean {
    return this.#downloads.count > 0 || this.#pushTimer !== undefined
  }

  close(): void {
    if (this.#state === 'closed') return
    this.#flush(0)
    this.#stream.close()
    this.#end()
  }

  #greet(body: Uint8Array): void {
    const r = this.#reader.reset(body)
    if (r.uint8() !== FrameType.hello) {
      throw new CacheError('PROTOCOL_ERROR', 'the first frame is not HELLO: is this a ringcache client?')
    }
    const hello = decodeHello(r)
    const { options, incarnation } = this.#ports
    const plane = this.#ports.dataPlane()
    if (hello.clusterId !== '' && plane !== undefined && plane.clusterId !== hello.clusterId) {
      throw wrongCluster(plane.clusterId, hello.clusterId)
    }
    this.hello = hello
    this.#sessionLow = sessionWord(hello.session, 0)
    this.#sessionHigh = sessionWord(hello.session, 1)
    this.#ports.admitted(this, hello)
    this.#timer?.cancel()
    this.#state = 'open'
    if (hello.lane === 'bulk') {
      this.#download = (requestId, value) => this.#downloads.start(requestId, value)
      this.#stream.widen?.()
    }
    this.#stream.send(
      encodeWelcome({
        version: negotiate(hello.versionMin, hello.versionMax),
        clusterId: plane?.clusterId ?? '',
        nodeId: options.nodeId,
        incarnation,
        keyBytesMax: options.keyBytesMax,
        valueBytesMax: options.valueBytesMax,
        creditBytes: options.creditBytes,
        operationsMax: options.operationsMax,
        topology: plane?.clientTopology ?? new Uint8Array(0),
      }),
    )
  }

  #receive(body: Uint8Array): void {
    switch (body[0]) {
      // Uploads keep their place among requests: a set comes behind the chunks it names.
      case FrameType.upload:
        if (this.#isFree()) {
          this.#upload(this.#reader.reset(body, 1))
          return
        }
        this.#frames.push(body.slice())
        this.#proceed()
        return
      case FrameType.request:
        if (this.hello?.lane === 'operations') this.#ports.dataPlane()?.replicator.pace.sawSmall()
        this.#frames.push(body)
        this.#proceed()
        return
      case FrameType.uploadDrop:
        this.#frames.push(body)
        this.#proceed()
        return
      case FrameType.cancel:
        this.#cancel(new ByteReader(body, 1))
        return
      default:
        throw new CacheError('PROTOCOL_ERROR', `unexpected frame type 0x${(body[0] ?? 0).toString(16)}`)
    }
  }

  /** Carries out what is queued, until it is done, blocked or has had its slice. */
  #proceed(): void {
    if (this.#state !== 'open' || this.#sliceDue || this.#isBusy) return
    let budget = SLICE_OPERATIONS
    this.#isBusy = true
    try {
      while (!this.#isBlocked()) {
        if (this.#frame === undefined && !this.#nextFrame()) break
        budget -= this.#carryOut(budget)
        if (budget <= 0) {
          this.#sliceDue = true
          this.#ports.scheduler.nextTurn(() => {
            this.#sliceDue = false
            this.#proceed()
          })
          break
        }
      }
    } catch (error) {
      this.#refuse(toCacheError(error))
      return
    } finally {
      this.#isBusy = false
    }
    this.#downloads.pump()
    this.#throttle()
  }

  /** Whether a frame that arrives now is carried out now. */
  #isFree(): boolean {
    const isParked = this.#frame !== undefined || this.#frames.length > 0
    return !isParked && !this.#sliceDue && !this.#isBusy && !this.#isBlocked()
  }

  #isBlocked(): boolean {
    const { options } = this.#ports
    return (
      this.#waiting >= options.operationsMax ||
      this.#heldBytes + this.#stream.queuedBytes > options.creditBytes
    )
  }

  #throttle(): void {
    const isResting = this.#steps?.isResting === true
    this.#setPaused(isResting || this.#frame !== undefined || this.#frames.length > 0)
  }

  #setPaused(paused: boolean): void {
    if (paused === this.#paused) return
    this.#paused = paused
    if (paused) this.#stream.pause()
    else this.#stream.resume()
  }

  #nextFrame(): boolean {
    let body = this.#frames.shift()
    while (body !== undefined && body[0] !== FrameType.request) {
      const r = this.#reader.reset(body, 1)
      if (body[0] === FrameType.upload) this.#upload(r)
      else this.#dropUploads(r)
      body = this.#frames.shift()
    }
    if (body === undefined) return false
    const r = this.#reader.reset(body, 1)
    this.#frame = body
    this.#frameNumber = r.uint32()
    this.#nextRequestId = r.uint32()
    const firstIncomplete = r.varint()
    const plane = this.#ports.dataPlane()
    if (plane !== undefined && firstIncomplete > 0) {
      // When there are too many sessions, its writes are told so one by one; reads go on.
      const session = plane.replicator.operations.open(this.#sessionLow, this.#sessionHigh)
      // Frames that move nothing must not keep a session alive here that peers have forgotten.
      if (session !== undefined && firstIncomplete > session.watermark) {
        session.lastWriteMs = this.#ports.clock.monotonicMs()
        plane.replicator.advanceWatermark(session, firstIncomplete)
      }
    }
    return true
  }

  #dropUploads(r: ByteReader): void {
    while (r.remaining > 0) {
      const uploadId = r.uint32()
      this.#uploads?.drop(uploadId)
    }
  }

  /** @returns how many operations were carried out. */
  #carryOut(budget: number): number {
    const r = this.#reader
    const body = this.#frame
    if (body === undefined) return 0
    let count = 0
    while (r.remaining > 0 && count < budget) {
      const requestId = this.#nextRequestId
      this.#nextRequestId = (requestId + 1) >>> 0
      count++
      const op = this.#op
      readOperation(r, op)
      if (op.opcode === Opcode.atomic) this.#skipMembers(r, op)
      if (op.opcode === Opcode.none) continue
      if (this.#cancelled.size > 0 && this.#cancelled.delete(requestId)) {
        if (op.opcode === Opcode.setUploaded) this.#uploads?.drop(op.uploadId)
        writeErrorResult(this.#out, requestId, 'ABORTED', 'cancelled before it was carried out')
        continue
      }
      this.#execute(op, body, requestId)
      if (this.#out.length >= RESPONSE_FRAME_BYTES_TARGET) {
        this.#flush(0)
        if (this.#isBlocked()) break
      }
    }
    if (r.remaining === 0) {
      this.#frame = undefined
      this.#cancelled.clear()
      this.#flush(this.#frameNumber)
    }
    return count
  }

  /** Leaves in `valueStart..valueEnd` where the members of an atomic group are. */
  #skipMembers(r: ByteReader, op: Operation): void {
    op.valueStart = r.at
    for (let i = 0; i < op.count; i++) readAtomicMember(r, this.#member)
    op.valueEnd = r.at
  }

  #execute(op: Operation, body: Uint8Array, requestId: number): void {
    const before = this.#out.length
    try {
      const plane = this.#ports.dataPlane()
      if (plane === undefined) {
        throw new CacheError('NOT_READY', 'the cluster is still starting: no topology is committed yet')
      }
      if (this.#ports.isStopping())
        throw new CacheError('NOT_READY', 'this node is stopping: another one takes over in a moment')
      const { dispatcher } = plane
      switch (op.opcode) {
        case Opcode.get:
        case Opcode.getEntry:
        case Opcode.has:
        case Opcode.ttl:
          dispatcher.read(op, body, requestId, this.#out, this.#download, this.#reads, this.#timeoutMs(op))
          return
        case Opcode.scan:
          dispatcher.scan(op, body, requestId, this.#out)
          return
        case Opcode.stats:
          dispatcher.stats(op, requestId, this.#out)
          return
        case Opcode.setUploaded:
          this.#setUploaded(plane, op, body, requestId)
          return
        default:
          this.#write(dispatcher, op, body, requestId, undefined)
      }
    } catch (error) {
      // Nothing half-written stays in front of the error.
      this.#out.length = before
      const cacheError = toCacheError(error)
      if (cacheError.code === 'INTERNAL') {
        this.#ports.log.error('an operation failed unexpectedly', { error: cacheError })
      }
      writeErrorResult(this.#out, requestId, cacheError.code, cacheError.message)
    }
  }

  #write(
    dispatcher: Dispatcher,
    op: Operation,
    body: Uint8Array,
    requestId: number,
    staged: StagedValue | undefined,
  ): void {
    const replica = dispatcher.writable(op, body)
    const own = op.session === ''
    if (!own) this.#checkForeign(op.session)
    const request: WriteRequest = {
      op,
      body,
      sessionLow: own ? this.#sessionLow : sessionWord(op.session, 0),
      sessionHigh: own ? this.#sessionHigh : sessionWord(op.session, 1),
      requestId,
      sink: this,
      deadlineMs: this.#ports.clock.monotonicMs() + this.#timeoutMs(op),
      staged,
    }
    this.#waiting++
    try {
      dispatcher.write(replica, request)
    } catch (error) {
      this.#waiting--
      throw error
    }
  }

  /** A client has a few sessions besides the stream's; one that has many more uses up the table of all. */
  #checkForeign(session: string): void {
    if (this.#foreign.has(session)) return
    if (this.#foreign.size >= FOREIGN_SESSIONS_MAX) {
      throw new CacheError(
        'INVALID_ARGUMENT',
        `ids of more than ${FOREIGN_SESSIONS_MAX} other sessions on one stream; use the stream's own`,
      )
    }
    this.#foreign.add(session)
  }

  #timeoutMs(op: Operation): number {
    const asked = op.timeoutMs > 0 ? op.timeoutMs : (this.hello?.timeoutMs ?? 0)
    const { timeoutMaxMs } = this.#ports.options
    return asked > 0 ? Math.min(asked, timeoutMaxMs) : timeoutMaxMs
  }

  #upload(r: ByteReader): void {
    const plane = this.#ports.dataPlane()
    if (plane === undefined) return
    this.#uploads ??= new Uploads(plane.engine, this.#ports.options.valueBytesMax, plane.uploadRoom)
    this.#steps ??= plane.replicator.pace.steps(() => this.#throttle())
    const bytes = r.remaining
    this.#uploads.chunk(r, this.#ports.clock.monotonicMs())
    this.#steps.spend(bytes)
    if (this.#steps.isResting) this.#throttle()
  }

  #setUploaded(plane: DataPlane, op: Operation, body: Uint8Array, requestId: number): void {
    const upload = this.#uploads?.take(op.uploadId)
    if (upload === undefined) {
      throw new CacheError('INVALID_ARGUMENT', `there is no upload ${op.uploadId} on this stream`)
    }
    if (upload instanceof Uint8Array) {
      // Small enough to be an ordinary set: key and value just lie in two places.
      const joined = new Uint8Array(body.length + upload.length)
      joined.set(body)
      joined.set(upload, body.length)
      op.valueStart = body.length
      op.valueEnd = joined.length
      this.#write(plane.dispatcher, op, joined, requestId, undefined)
      return
    }
    try {
      this.#stage(plane, op, body, requestId, upload)
    } finally {
      upload.release()
    }
  }

  /** Sends the value to the replicas; the operation is ordered once enough of them hold it. */
  #stage(plane: DataPlane, op: Operation, body: Uint8Array, requestId: number, value: LargeValue): void {
    if (this.#staging.has(requestId)) {
      throw new CacheError(
        'INVALID_ARGUMENT',
        `request ${requestId} is still under way: number requests in turn`,
      )
    }
    const replica = plane.dispatcher.writable(op, body)
    const own: Operation = Object.assign(new Operation(), op)
    let waits = false
    let settled = false
    const finish = (error: CacheError | undefined, staged: StagedValue | undefined): void => {
      if (settled) return
      settled = true
      if (waits) {
        this.#waiting--
        this.#staging.get(requestId)?.timer.cancel()
        this.#staging.delete(requestId)
      }
      if (staged === undefined || this.#state !== 'open') {
        if (staged !== undefined) plane.replicator.stages.end(staged)
        if (error !== undefined) this.#writeError(requestId, error)
        return
      }
      try {
        this.#write(plane.dispatcher, own, body, requestId, staged)
      } catch (thrown) {
        this.#writeError(requestId, toCacheError(thrown))
      } finally {
        plane.replicator.stages.end(staged)
      }
    }
    const giveUp = plane.replicator.stages.begin(replica, value, (staged, error) => finish(error, staged))
    if (settled) return
    waits = true
    this.#waiting++
    const timer = this.#ports.scheduler.after(this.#timeoutMs(op), () => {
      const late = new CacheError(
        'TIMEOUT',
        'the value did not reach enough replicas in time; nothing was changed',
      )
      finish(late, undefined)
      giveUp()
    })
    this.#staging.set(requestId, {
      timer,
      giveUp: () => {
        finish(new CacheError('ABORTED', 'cancelled before it was carried out'), undefined)
        giveUp()
      },
    })
  }

  #cancel(r: ByteReader): void {
    const parked = this.#frame !== undefined || this.#frames.length > 0
    while (r.remaining > 0) {
      const requestId = r.uint32()
      this.#staging.get(requestId)?.giveUp()
      this.#downloads.cancel(requestId)
      if (parked && this.#cancelled.size < this.#ports.options.operationsMax) this.#cancelled.add(requestId)
    }
  }

  #writeOutcome(outcome: Outcome): void {
    const w = this.#out
    if (outcome.large !== undefined) {
      try {
        this.#download?.(outcome.requestId, outcome.large)
      } catch (error) {
        const { code, message } = toCacheError(error)
        writeErrorResult(w, outcome.requestId, code, message)
        return
      }
    }
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

  #writeError(requestId: number, error: CacheError): void {
    if (this.#state !== 'open') return
    writeErrorResult(this.#out, requestId, error.code, error.message)
    this.#written()
  }

  /** A result that had to wait was written. */
  #written(): void {
    if (this.#out.length >= RESPONSE_FRAME_BYTES_TARGET) this.#flush(0)
    else this.#flushSoon()
    if (this.#paused) this.#proceed()
  }

  #begin(): void {
    beginFrame(this.#out, FrameType.response)
    this.#out.uint32(0)
  }

  #flushSoon(): void {
    if (this.#flushDue) return
    this.#flushDue = true
    // Acknowledgements of several replicas may lie ready to be read: their results share a frame.
    this.#ports.scheduler.nextTurn(() => {
      this.#flushDue = false
      if (this.#state === 'open') this.#flush(0)
    })
  }

  /** Sends the results written so far; `answers` is the frame they complete, or 0. */
  #flush(answers: number): void {
    const w = this.#out
    if (answers === 0 && w.length === ANSWERS_OFFSET + 4) return
    w.patchUint32(ANSWERS_OFFSET, answers)
    sendFrame(this.#stream, w)
    this.#begin()
  }

  /** Tells the client why, then ends the stream. */
  #refuse(error: CacheError): void {
    if (this.#state === 'closed') return
    this.#ports.log.warn('a client stream was refused', {
      code: error.code,
      reason: error.message,
      remoteAddress: this.remoteAddress,
    })
    this.#stream.send(encodeError(error.code, error.message))
    this.#stream.close()
    this.#end()
  }

  #end(): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#timer?.cancel()
    this.#pushTimer?.cancel()
    this.#pushTimer = undefined
    this.#frames.length = 0
    this.#frame = undefined
    for (const staging of [...this.#staging.values()]) staging.giveUp()
    this.#uploads?.close()
    this.#steps?.stop()
    this.#downloads.close()
    this.#ports.ended(this)
  }
}

function isRead(opcode: number): boolean {
  return opcode === Opcode.get || opcode === Opcode.getEntry || opcode === Opcode.has || opcode === Opcode.ttl
}

function heldBy(outcome: Outcome): number {
  return outcome.waits ? (outcome.payload?.length ?? 0) : 0
}

/** The low (0) or high (1) half of a session's 64 bits. */
function sessionWord(session: string, half: 0 | 1): number {
  return Number.parseInt(session.slice(8 * half, 8 * half + 8), 16) >>> 0
}

function wrongCluster(own: string, expected: string): CacheError {
  return new CacheError(
    'WRONG_CLUSTER',
    `this node belongs to cluster ${own}, the client expects ${expected}: the cluster was started anew, or the address is wrong; connect again`,
  )
}
