/**
 * Large values, on a stream of their own so that they never delay small frames.
 *
 * A value to store is uploaded in chunks, in turn with other uploads, and then named by a write on the same stream; a
 * value to read arrives in chunks behind its result. A few transfers run at a time per node; the others wait.
 */

import { type ByteReader, ByteWriter } from '../kernel/bytes.ts'
import { CacheError, toCacheError } from '../kernel/errors.ts'
import type { Scheduler, Timer } from '../kernel/scheduler.ts'
import { beginFrame, FrameType, finishFrame, UPLOAD_CHUNK_BYTES } from '../wire/frames.ts'
import { Status } from '../wire/results.ts'
import type { Connection } from './connection.ts'
import type { PooledCopy } from './copy-pool.ts'
import type { Call, FailureStage, Link } from './pending.ts'
import type { Target } from './target.ts'
import type { TurnClock } from './turn-clock.ts'

/** Transfers that run at a time per node. */
const ACTIVE_MAX = 4
/** Room for a chunk's type, numbers and offset. */
const CHUNK_HEADER_BYTES = 32

/** A call of one operation whose value may be large. */
export interface BulkCall extends Call {
  readonly lane: 'bulk'
  /** The call the application waits for. */
  readonly origin: unknown
  /** What to upload before the operation is sent; undefined for a read. */
  readonly upload: PooledCopy | undefined
  uploadId: number
  /** After a result of status `chunked`: how many bytes follow. */
  readonly downloadBytes: number
  /** All of them have arrived. */
  downloaded(bytes: Uint8Array): void
}

/** What transfers need of the node they go to. */
export interface BulkHost extends Link {
  readonly clock: TurnClock
  readonly scheduler: Scheduler
  /** Largest value the node accepts, in bytes. */
  readonly valueBytesMax: number
  /** Counts an operation that waits outside a batcher. @throws CacheError OVERLOADED. */
  reserve(): void
  release(): void
  /** An operation failed: it is decided elsewhere what becomes of it. */
  report(call: Call, slot: number, error: CacheError, stage: FailureStage): void
}

export class BulkTransfers {
  readonly #link: BulkHost
  readonly #open: (transfers: BulkTransfers) => Connection
  #connection: Connection | undefined
  readonly #queue: Transfer[] = []
  readonly #active = new Set<Transfer>()
  /** Uploads with bytes left to send, in turn. */
  #uploading: Transfer[] = []
  readonly #downloads = new Map<number, Transfer>()
  #uploadIds = 0
  #blocked = false

  constructor(link: BulkHost, open: (transfers: BulkTransfers) => Connection) {
    this.#link = link
    this.#open = open
  }

  /** @throws CacheError UNAVAILABLE when the node is down, OVERLOADED when too much waits. */
  submit(call: Call, slot: number, target: Target): void {
    const connection = this.#connect()
    const transfer = new Transfer(call as BulkCall, slot, target, this.#link)
    transfer.onAnswer = (status, requestId) => this.#answered(transfer, status, requestId)
    this.#link.reserve()
    this.#queue.push(transfer)
    transfer.timer = this.#link.scheduler.after(
      Math.max(0, call.deadlineMs - this.#link.clock.nowMs()),
      () => {
        const error = new CacheError('TIMEOUT', `node ${this.#link.name} did not answer in time`, {
          node: this.#link.name,
        })
        this.#giveUp(transfer, error)
      },
    )
    if (connection.isReady) this.#pump()
  }

  abandon(call: Call, error: CacheError): void {
    for (const transfer of [...this.#queue, ...this.#active]) {
      if (transfer.call.origin === call) this.#giveUp(transfer, error)
    }
  }

  /** The node is held dead: everything that needs it is decided anew. */
  giveUp(why: string): void {
    this.#connection?.giveUp(why)
  }

  /** Dials at once if it waits to do so. */
  retryNow(): void {
    this.#connection?.retryNow()
  }

  close(error: CacheError): void {
    this.#connection?.close(error)
    this.lost(error)
  }

  /** The stream is open. */
  ready(): void {
    this.#blocked = false
    this.#pump()
  }

  /** The stream's buffer has room again. */
  drained(): void {
    this.#blocked = false
    this.#sendChunks()
  }

  /** The stream is gone: everything that needs it is decided anew. */
  lost(error: CacheError): void {
    this.#blocked = false
    for (const transfer of [...this.#active, ...this.#queue]) {
      // Its operation, if it was not sent, must not go out on the next stream: there the upload it names does not exist.
      if (transfer.stage === 'asked') this.#connection?.batcher.abandon(transfer, error)
      this.#fail(transfer, error, transfer.stage === 'downloading' ? 'lost' : 'unsent')
    }
  }

  /** Bytes of a value arrived. Those of a transfer that was given up are dropped. */
  value(requestId: number, bytes: Uint8Array): void {
    const transfer = this.#downloads.get(requestId)
    if (transfer === undefined) return
    const { buffer } = transfer
    if (buffer === undefined || bytes.length === 0 || transfer.received + bytes.length > buffer.length) {
      throw new CacheError('PROTOCOL_ERROR', `node ${this.#link.name} sent more of a value than it announced`)
    }
    buffer.set(bytes, transfer.received)
    transfer.received += bytes.length
    if (transfer.received < buffer.length) return
    this.#finish(transfer)
    transfer.call.downloaded(buffer)
  }

  /** An operation on the bulk stream failed. @returns the call behind it. */
  failed(call: Call, error: CacheError, stage: FailureStage): void {
    if (call instanceof Transfer) this.#fail(call, error, stage)
  }

  #connect(): Connection {
    this.#connection ??= this.#open(this)
    const down = this.#connection.downError
    if (down !== undefined) throw down
    this.#connection.connect()
    return this.#connection
  }

  #pump(): void {
    while (this.#active.size < ACTIVE_MAX) {
      const transfer = this.#queue.shift()
      if (transfer === undefined) break
      this.#active.add(transfer)
      const { upload } = transfer.call
      if (upload === undefined) {
        this.#request(transfer)
      } else {
        this.#uploadIds = (this.#uploadIds + 1) >>> 0
        transfer.call.uploadId = this.#uploadIds
        transfer.stage = 'uploading'
        this.#uploading.push(transfer)
      }
    }
    this.#sendChunks()
  }

  #sendChunks(): void {
    const connection = this.#connection
    while (!this.#blocked && connection?.isReady === true) {
      const transfer = this.#uploading.shift()
      if (transfer === undefined) return
      const copy = transfer.call.upload
      if (copy === undefined || copy.isFree) {
        const message = 'an upload of a write that is over'
        this.#fail(transfer, new CacheError('INTERNAL', message), 'unsent')
        continue
      }
      const upload = copy.bytes
      const end = Math.min(upload.length, transfer.sent + UPLOAD_CHUNK_BYTES)
      const head = uploadHead(transfer.call.uploadId, upload.length, transfer.sent, end)
      const part = upload.subarray(transfer.sent, end)
      copy.retain()
      this.#blocked = !connection.sendPart(head, part, () => copy.release())
      transfer.sent = end
      if (end < upload.length) this.#uploading.push(transfer)
      else this.#request(transfer)
    }
  }

  #request(transfer: Transfer): void {
    transfer.stage = 'asked'
    try {
      transfer.locate(transfer.slot, transfer.target)
      this.#connection?.submit(transfer, transfer.slot, transfer.target)
    } catch (error) {
      this.#fail(transfer, toCacheError(error), 'unsent')
    }
  }

  #answered(transfer: Transfer, status: number, requestId: number): void {
    if (status !== Status.chunked) {
      this.#finish(transfer)
      return
    }
    if (!this.#active.has(transfer)) return
    const { downloadBytes } = transfer.call
    if (downloadBytes === 0 || downloadBytes > this.#link.valueBytesMax) {
      throw new CacheError(
        'PROTOCOL_ERROR',
        `node ${this.#link.name} announced a value of ${downloadBytes} bytes`,
      )
    }
    transfer.stage = 'downloading'
    transfer.requestId = requestId
    transfer.buffer = Buffer.allocUnsafeSlow(downloadBytes)
    this.#downloads.set(requestId, transfer)
  }

  #giveUp(transfer: Transfer, error: CacheError): void {
    if (transfer.stage === 'asked') {
      // Its own deadline may run a little ahead of the batcher's: the batcher knows what was sent.
      this.#connection?.batcher.abandon(transfer, error)
      return
    }
    if (transfer.stage === 'downloading') this.#connection?.batcher.cancel([transfer.requestId])
    this.#fail(transfer, error, transfer.stage === 'downloading' ? 'lost' : 'unsent')
  }

  #fail(transfer: Transfer, error: CacheError, stage: FailureStage): void {
    if (transfer.sent > 0 && stage === 'unsent' && transfer.stage !== 'finished') this.#dropUpload(transfer)
    if (this.#finish(transfer)) this.#link.report(transfer.call, transfer.slot, error, stage)
  }

  /** No write will name what was uploaded: the node need not keep it until the stream ends. */
  #dropUpload(transfer: Transfer): void {
    const connection = this.#connection
    if (connection?.isReady === true)
      this.#blocked = !connection.send(uploadDropFrame(transfer.call.uploadId))
  }

  /** @returns false when it was finished before. */
  #finish(transfer: Transfer): boolean {
    if (transfer.stage === 'finished') return false
    this.#downloads.delete(transfer.requestId)
    const queued = this.#queue.indexOf(transfer)
    if (queued >= 0) this.#queue.splice(queued, 1)
    if (transfer.stage === 'uploading')
      this.#uploading = this.#uploading.filter((other) => other !== transfer)
    this.#active.delete(transfer)
    transfer.stage = 'finished'
    transfer.timer?.cancel()
    this.#link.release()
    if (this.#connection?.isReady === true) this.#pump()
    return true
  }
}

/** One transfer. To the batcher it is the call, and passes everything on to the one the application waits for. */
class Transfer implements Call {
  readonly call: BulkCall
  readonly slot: number
  readonly target: Target
  readonly link: Link
  readonly lane = 'bulk'
  stage: 'queued' | 'uploading' | 'asked' | 'downloading' | 'finished' = 'queued'
  timer: Timer | undefined
  sent = 0
  requestId = -1
  received = 0
  buffer: Uint8Array | undefined
  onAnswer: (status: number, requestId: number) => void = () => {}

  constructor(call: BulkCall, slot: number, target: Target, link: Link) {
    this.call = call
    this.slot = slot
    this.target = target
    this.link = link
  }

  get deadlineMs(): number {
    return this.call.deadlineMs
  }
  get isWrite(): boolean {
    return this.call.isWrite
  }
  get readKind(): number {
    return this.call.readKind
  }

  locate(slot: number, target: Target): void {
    this.call.locate(slot, target)
  }

  encode(slot: number, w: ByteWriter, target: Target, link: Link): void {
    this.call.encode(slot, w, target, link)
  }

  result(slot: number, status: number, r: ByteReader, link: Link, requestId: number): void {
    this.call.result(slot, status, r, link, requestId)
    this.onAnswer(status, requestId)
  }

  reject(slot: number, error: CacheError): void {
    this.call.reject(slot, error)
  }

  nextAttempt(slot: number): number {
    return this.call.nextAttempt(slot)
  }

  isSettled(slot: number): boolean {
    return this.call.isSettled(slot)
  }

  lost(slot: number): void {
    this.call.lost(slot)
  }

  wasLost(slot: number): boolean {
    return this.call.wasLost(slot)
  }
}

/** The beginning of an UPLOAD of the bytes [from, to), which are sent from where they lie. */
function uploadHead(uploadId: number, totalBytes: number, from: number, to: number): Uint8Array {
  const w = new ByteWriter(CHUNK_HEADER_BYTES)
  beginFrame(w, FrameType.upload)
  w.uint32(uploadId)
  w.varint(totalBytes)
  w.varint(from)
  return finishFrame(w, to - from)
}

function uploadDropFrame(uploadId: number): Uint8Array {
  const w = new ByteWriter(CHUNK_HEADER_BYTES)
  beginFrame(w, FrameType.uploadDrop)
  w.uint32(uploadId)
  return finishFrame(w)
}
