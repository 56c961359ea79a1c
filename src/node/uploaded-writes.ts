/**
 * Writes whose value a client sends in chunks first: from the first chunk until the operation is ordered or refused.
 *
 * Chunks arrive in steps, so that small operations beside them don't wait (replication/bulk-pace.ts). The set that names an upload
 * sends the value to the replicas; it is carried out once enough of them hold it, given up at its deadline, when the client cancels
 * it, or with the stream. An upload that turned out small is written like any other value.
 */

import type { LargeValue } from '../engine/engine.ts'
import type { ByteReader } from '../kernel/bytes.ts'
import type { Clock } from '../kernel/clock.ts'
import { CacheError, toCacheError } from '../kernel/errors.ts'
import type { Scheduler, Timer } from '../kernel/scheduler.ts'
import type { BulkSteps } from '../replication/bulk-pace.ts'
import type { StagedValue } from '../replication/stage-outbox.ts'
import { Operation } from '../wire/operations.ts'
import type { DataPlane } from './data-plane.ts'
import type { Dispatcher } from './dispatcher.ts'
import { Uploads } from './uploads.ts'

export interface UploadedWritesPorts {
  readonly clock: Clock
  readonly scheduler: Scheduler
  readonly valueBytesMax: number
  timeoutMs(op: Operation): number
  /** Carries the write out, now that its value is here. @throws CacheError when it is refused */
  write(
    dispatcher: Dispatcher,
    op: Operation,
    body: Uint8Array,
    requestId: number,
    staged: StagedValue | undefined,
  ): void
  /** A write that had to wait for its replicas is refused. */
  refused(requestId: number, error: CacheError): void
  /** The rest between two steps is over. */
  rested(): void
}

/** A large write between its upload and its ordering. */
interface Staging {
  readonly giveUp: () => void
  readonly timer: Timer
}

export class UploadedWrites {
  readonly #ports: UploadedWritesPorts
  readonly #staging = new Map<number, Staging>()
  #uploads: Uploads | undefined
  #steps: BulkSteps | undefined
  #closed = false

  constructor(ports: UploadedWritesPorts) {
    this.#ports = ports
  }

  /** Writes that wait for their replicas to hold the value. */
  get waiting(): number {
    return this.#staging.size
  }

  /** Whether no chunk is to be taken until `rested`. */
  get isResting(): boolean {
    return this.#steps?.isResting === true
  }

  /**
   * An UPLOAD frame; `r` stands behind the type byte.
   * @throws CacheError PROTOCOL_ERROR when chunks don't follow each other
   */
  chunk(plane: DataPlane, r: ByteReader): void {
    this.#uploads ??= new Uploads(plane.engine, this.#ports.valueBytesMax, plane.uploadRoom)
    this.#steps ??= plane.replicator.pace.steps(() => this.#ports.rested())
    const bytes = r.remaining
    this.#uploads.chunk(r, this.#ports.clock.monotonicMs())
    this.#steps.spend(bytes)
  }

  /** The client does not want the upload any more. */
  drop(uploadId: number): void {
    this.#uploads?.drop(uploadId)
  }

  /**
   * A set that names its upload.
   * @throws CacheError when it is refused: then nothing happened.
   */
  set(plane: DataPlane, op: Operation, body: Uint8Array, requestId: number): void {
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
      this.#ports.write(plane.dispatcher, op, joined, requestId, undefined)
      return
    }
    try {
      this.#stage(plane, op, body, requestId, upload)
    } finally {
      upload.release()
    }
  }

  /** The client gives the request up: does nothing when it does not wait here. */
  cancel(requestId: number): void {
    this.#staging.get(requestId)?.giveUp()
  }

  /** Gives up uploads that stand still since before `beforeMs`, a monotonic time. */
  sweep(beforeMs: number): void {
    this.#uploads?.sweep(beforeMs)
  }

  close(): void {
    this.#closed = true
    for (const staging of [...this.#staging.values()]) staging.giveUp()
    this.#uploads?.close()
    this.#steps?.stop()
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
    const { stages } = plane.replicator
    const own: Operation = Object.assign(new Operation(), op)
    let settled = false
    const finish = (error: CacheError | undefined, staged: StagedValue | undefined): void => {
      if (settled) return
      settled = true
      this.#staging.get(requestId)?.timer.cancel()
      this.#staging.delete(requestId)
      if (staged === undefined || this.#closed) {
        if (staged !== undefined) stages.end(staged)
        if (error !== undefined) this.#ports.refused(requestId, error)
        return
      }
      try {
        this.#ports.write(plane.dispatcher, own, body, requestId, staged)
      } catch (thrown) {
        this.#ports.refused(requestId, toCacheError(thrown))
      } finally {
        stages.end(staged)
      }
    }
    const giveUp = stages.begin(replica, value, (staged, error) => finish(error, staged))
    if (settled) return
    const timer = this.#ports.scheduler.after(this.#ports.timeoutMs(op), () => {
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
}
