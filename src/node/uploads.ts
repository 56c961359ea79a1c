/**
 * Values that a client sends in chunks before the set that stores them. They belong to the stream they came on and go with
 * it. Bounded per stream: UPLOADS_MAX at a time and four of the largest value in bytes; and over all streams of the node. An
 * upload that stands still gives its room back. What is beyond is not kept, and the set that names it is told why.
 */

import { type Engine, INLINE_VALUE_BYTES_MAX, type LargeValue } from '../engine/engine.ts'
import type { ByteReader } from '../kernel/bytes.ts'
import { CacheError, toCacheError } from '../kernel/errors.ts'

const UPLOADS_MAX = 256

export interface Upload {
  readonly totalBytes: number
  /** Where the bytes go; a small value needs no blocks. */
  target: LargeValue | Uint8Array | undefined
  refusal: CacheError | undefined
  receivedBytes: number
  /** Monotonic time of its newest chunk. */
  lastMs: number
}

/** What all streams of a node share. */
export class UploadRoom {
  readonly bytesMax: number
  heldBytes = 0

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax
  }
}

export class Uploads {
  readonly #engine: Engine
  readonly #valueBytesMax: number
  readonly #room: UploadRoom
  readonly #uploads = new Map<number, Upload>()
  #heldBytes = 0

  constructor(engine: Engine, valueBytesMax: number, room: UploadRoom) {
    this.#engine = engine
    this.#valueBytesMax = valueBytesMax
    this.#room = room
  }

  /**
   * An UPLOAD frame; `r` stands behind the type byte.
   * @throws CacheError PROTOCOL_ERROR when chunks don't follow each other
   */
  chunk(r: ByteReader, nowMs: number): void {
    const uploadId = r.uint32()
    const totalBytes = r.varint()
    const offset = r.varint()
    if (offset === 0) {
      this.drop(uploadId)
      if (this.#uploads.size >= UPLOADS_MAX)
        throw new CacheError('PROTOCOL_ERROR', `more than ${UPLOADS_MAX} uploads`)
      this.#begin(uploadId, totalBytes)
    }
    const upload = this.#uploads.get(uploadId)
    const bytes = r.remaining
    if (
      upload === undefined ||
      upload.totalBytes !== totalBytes ||
      upload.receivedBytes !== offset ||
      offset + bytes > totalBytes
    ) {
      throw new CacheError('PROTOCOL_ERROR', `a chunk of upload ${uploadId} is out of place`)
    }
    if (upload.target instanceof Uint8Array) {
      upload.target.set(r.bytes.subarray(r.at, r.end), offset)
    } else {
      upload.target?.append(r.bytes, r.at, r.end)
    }
    upload.receivedBytes += bytes
    upload.lastMs = nowMs
  }

  /** Gives up what has stood still since `sinceMs`. */
  sweep(sinceMs: number): void {
    for (const upload of this.#uploads.values()) {
      if (upload.target === undefined || upload.lastMs > sinceMs) continue
      this.#release(upload)
      upload.refusal = new CacheError('TIMEOUT', 'the upload stood still for too long; send the value again')
    }
  }

  /** Hands over a whole upload, which is forgotten here. @throws CacheError why it was refused, or INVALID_ARGUMENT */
  take(uploadId: number): LargeValue | Uint8Array {
    const upload = this.#uploads.get(uploadId)
    if (upload === undefined)
      throw new CacheError('INVALID_ARGUMENT', `there is no upload ${uploadId} on this stream`)
    const { target } = upload
    if (upload.refusal === undefined && target !== undefined && upload.receivedBytes === upload.totalBytes) {
      this.#uploads.delete(uploadId)
      this.#hold(-upload.totalBytes)
      return target
    }
    this.drop(uploadId)
    throw upload.refusal ?? new CacheError('INVALID_ARGUMENT', `upload ${uploadId} is not complete`)
  }

  drop(uploadId: number): void {
    const upload = this.#uploads.get(uploadId)
    if (upload === undefined) return
    this.#uploads.delete(uploadId)
    this.#release(upload)
  }

  close(): void {
    for (const uploadId of [...this.#uploads.keys()]) this.drop(uploadId)
  }

  #begin(uploadId: number, totalBytes: number): void {
    let target: LargeValue | Uint8Array | undefined
    let refusal: CacheError | undefined
    if (totalBytes > this.#valueBytesMax) {
      refusal = new CacheError(
        'VALUE_TOO_LARGE',
        `the value has ${totalBytes} bytes encoded; at most ${this.#valueBytesMax} are allowed (limits.value)`,
      )
    } else if (this.#heldBytes + totalBytes > 4 * this.#valueBytesMax) {
      refusal = new CacheError(
        'OVERLOADED',
        'too many large values are being written on this stream: try again',
      )
    } else if (this.#room.heldBytes + totalBytes > this.#room.bytesMax) {
      refusal = new CacheError(
        'OVERLOADED',
        'too many large values are being written to this node: try again',
      )
    } else {
      try {
        target =
          totalBytes > INLINE_VALUE_BYTES_MAX
            ? this.#engine.newLargeValue(totalBytes)
            : new Uint8Array(totalBytes)
        this.#hold(totalBytes)
      } catch (error) {
        refusal = toCacheError(error)
      }
    }
    this.#uploads.set(uploadId, { totalBytes, target, refusal, receivedBytes: 0, lastMs: 0 })
  }

  #release(upload: Upload): void {
    const { target } = upload
    if (target === undefined) return
    upload.target = undefined
    this.#hold(-upload.totalBytes)
    if (!(target instanceof Uint8Array)) target.release()
  }

  #hold(bytes: number): void {
    this.#heldBytes += bytes
    this.#room.heldBytes += bytes
  }
}
