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
import type { Outcome, OutcomeSink } from '../replication/outcome.ts'
import type { WriteRequest } from '../replication/primary.ts'
import type { StagedValue } from '../replication/stage-outbox.ts'
import { beginFrame, FrameType, finishFrame } from '../wire/frames.ts'
import { decodeHello, encodeError, encodeWelcome, type Hello, negotiate } from '../wire/handshake.ts'
import { Opcode, type Operation } from '../wire/operations.ts'
import { writeErrorResult } from '../wire/results.ts'
import type { FrameHandler, FrameStream } from '../wire/transport.ts'
import type { DataPlane } from './data-plane.ts'
import type { Dispatcher } from './dispatcher.ts'
import { Downloads } from './downloads.ts'
import type { NodeOptions } from './options.ts'
import { RequestQueue } from './request-queue.ts'
import { ResponseWriter } from './response-writer.ts'
import { TopologyPush } from './topology-push.ts'
import { UploadedWrites } from './uploaded-writes.ts'

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
/** Operations carried out before other work gets a turn. */
const SLICE_OPERATIONS = 2048
const FOREIGN_SESSIONS_MAX = 64

type State = 'greeting' | 'open' | 'closed'

export class ClientSession implements FrameHandler, OutcomeSink {
  readonly #ports: SessionPorts
  readonly #stream: FrameStream
  readonly remoteAddress: string
  #state: State = 'greeting'
  hello: Hello | undefined
  #sessionLow = 0
  #sessionHigh = 0
  #timer: Timer | undefined
  readonly #requests: RequestQueue
  readonly #responses: ResponseWriter
  /** Where results are written: the open frame of `#responses`. */
  readonly #out: ByteWriter
  #sliceDue = false
  /** Whether operations are being carried out: what completes meanwhile must not begin to carry out the next. */
  #isBusy = false
  #paused = false
  /** Operations whose outcome is still to come, besides those of `#uploaded`. */
  #waiting = 0
  /** Bytes that results hold while they wait. */
  #heldBytes = 0
  readonly #uploaded: UploadedWrites
  readonly #topology: TopologyPush
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

  constructor(stream: FrameStream, remoteAddress: string, ports: SessionPorts) {
    this.#stream = stream
    this.#ports = ports
    this.remoteAddress = remoteAddress
    this.#requests = new RequestQueue(ports.options.operationsMax)
    this.#responses = new ResponseWriter(stream, ports.scheduler)
    this.#out = this.#responses.results
    this.#topology = new TopologyPush(stream, ports)
    this.#downloads = new Downloads(stream)
    this.#uploaded = new UploadedWrites({
      clock: ports.clock,
      scheduler: ports.scheduler,
      valueBytesMax: ports.options.valueBytesMax,
      timeoutMs: (op) => this.#timeoutMs(op),
      write: (dispatcher, op, body, requestId, staged) =>
        this.#write(dispatcher, op, body, requestId, staged),
      refused: (requestId, error) => this.#writeError(requestId, error),
      rested: () => this.#throttle(),
    })
    this.#timer = ports.scheduler.after(HELLO_TIMEOUT_MS, () =>
      this.#refuse(new CacheError('PROTOCOL_ERROR', `no HELLO within ${HELLO_TIMEOUT_MS} ms`)),
    )
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
    this.#responses.flush(0)
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
    if (this.hello?.lane !== 'bulk') this.#topology.push(plane)
    this.#proceed()
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
    this.#uploaded.sweep(clock.monotonicMs() - options.timeoutMaxMs)
  }

  /** Whether all that was begun is decided. Values on their way were read: sending them does no harm to whoever takes over. */
  get isSettled(): boolean {
    return this.#waiting === 0 && this.#uploaded.waiting === 0
  }

  /** Whether a large value is on its way, or who owns what is still to be told. */
  get isSending(): boolean {
    return this.#downloads.count > 0 || this.#topology.isDue
  }

  close(): void {
    if (this.#state === 'closed') return
    this.#responses.flush(0)
    this.#stream.close()
    this.#end()
  }

  #greet(body: Uint8Array): void {
    const r = this.#requests.reader.reset(body)
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
          this.#upload(this.#requests.reader.reset(body, 1))
          return
        }
        this.#requests.push(body.slice())
        this.#proceed()
        return
      case FrameType.request:
        if (this.hello?.lane === 'operations') this.#ports.dataPlane()?.replicator.pace.sawSmall()
        this.#requests.push(body)
        this.#proceed()
        return
      case FrameType.uploadDrop:
        this.#requests.push(body)
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
        if (this.#requests.body === undefined && !this.#nextRequest()) break
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
    return this.#requests.isEmpty && !this.#sliceDue && !this.#isBusy && !this.#isBlocked()
  }

  #isBlocked(): boolean {
    const { options } = this.#ports
    return (
      this.#waiting + this.#uploaded.waiting >= options.operationsMax ||
      this.#heldBytes + this.#stream.queuedBytes > options.creditBytes
    )
  }

  #throttle(): void {
    this.#setPaused(this.#uploaded.isResting || !this.#requests.isEmpty)
  }

  #setPaused(paused: boolean): void {
    if (paused === this.#paused) return
    this.#paused = paused
    if (paused) this.#stream.pause()
    else this.#stream.resume()
  }

  /** Takes up the next request, and what stands in front of it. @returns whether there is one */
  #nextRequest(): boolean {
    const requests = this.#requests
    for (;;) {
      switch (requests.take()) {
        case undefined:
          return false
        case FrameType.request:
          this.#advanceWatermark(requests.firstIncomplete)
          return true
        case FrameType.upload:
          this.#upload(requests.reader)
          break
        default:
          while (requests.hasNext) this.#uploaded.drop(requests.reader.uint32())
      }
    }
  }

  #advanceWatermark(firstIncomplete: number): void {
    const plane = this.#ports.dataPlane()
    if (plane === undefined || firstIncomplete === 0) return
    // When there are too many sessions, its writes are told so one by one; reads go on.
    const session = plane.replicator.operations.open(this.#sessionLow, this.#sessionHigh)
    // Frames that move nothing must not keep a session alive here that peers have forgotten.
    if (session !== undefined && firstIncomplete > session.watermark) {
      session.lastWriteMs = this.#ports.clock.monotonicMs()
      plane.replicator.advanceWatermark(session, firstIncomplete)
    }
  }

  /** @returns how many operations were carried out. */
  #carryOut(budget: number): number {
    const requests = this.#requests
    const { op, body } = requests
    if (body === undefined) return 0
    let count = 0
    while (requests.hasNext && count < budget) {
      count++
      if (!requests.next()) continue
      const { requestId } = requests
      if (requests.takeCancellation()) {
        if (op.opcode === Opcode.setUploaded) this.#uploaded.drop(op.uploadId)
        writeErrorResult(this.#out, requestId, 'ABORTED', 'cancelled before it was carried out')
        continue
      }
      this.#execute(op, body, requestId)
      if (this.#responses.isFull) {
        this.#responses.flush(0)
        if (this.#isBlocked()) break
      }
    }
    if (!requests.hasNext) {
      requests.finish()
      this.#responses.flush(requests.frameNumber)
    }
    return count
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
          this.#uploaded.set(plane, op, body, requestId)
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
    this.#uploaded.chunk(plane, r)
    if (this.#uploaded.isResting) this.#throttle()
  }

  #cancel(r: ByteReader): void {
    const isParked = !this.#requests.isEmpty
    while (r.remaining > 0) {
      const requestId = r.uint32()
      this.#uploaded.cancel(requestId)
      this.#downloads.cancel(requestId)
      if (isParked) this.#requests.cancel(requestId)
    }
  }

  #writeOutcome(outcome: Outcome): void {
    if (outcome.large !== undefined) {
      try {
        this.#download?.(outcome.requestId, outcome.large)
      } catch (error) {
        const { code, message } = toCacheError(error)
        writeErrorResult(this.#out, outcome.requestId, code, message)
        return
      }
    }
    this.#responses.outcome(outcome)
  }

  #writeError(requestId: number, error: CacheError): void {
    if (this.#state !== 'open') return
    writeErrorResult(this.#out, requestId, error.code, error.message)
    this.#written()
  }

  /** A result that had to wait was written. */
  #written(): void {
    if (this.#responses.isFull) this.#responses.flush(0)
    else this.#responses.flushSoon()
    if (this.#paused) this.#proceed()
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
    this.#topology.close()
    this.#responses.close()
    this.#requests.clear()
    this.#uploaded.close()
    this.#downloads.close()
    this.#ports.ended(this)
  }
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
