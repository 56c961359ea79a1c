/**
 * A client reduced to frames: what a test needs to say exactly which bytes go to which node, with which operation id.
 */

import { ByteReader, ByteWriter } from '../../src/kernel/bytes.ts'
import type { CacheError } from '../../src/kernel/errors.ts'
import { encodeKey } from '../../src/kernel/key.ts'
import { beginFrame, FrameType, finishFrame } from '../../src/wire/frames.ts'
import { decodeError, decodeWelcome, encodeHello, type Welcome } from '../../src/wire/handshake.ts'
import {
  beginRequest,
  Flag,
  Opcode,
  writeOperationId,
  writeOperationStart,
  writeTarget,
} from '../../src/wire/operations.ts'
import { readErrorResult, Status } from '../../src/wire/results.ts'
import type { Dialer, FrameStream } from '../../src/wire/transport.ts'

export interface RawResult {
  readonly status: number
  readonly error: CacheError | undefined
  /** Stands behind the status. */
  readonly reader: ByteReader
}

export interface WriteFields {
  readonly counter?: number
  readonly durability?: number
  readonly condition?: { readonly epoch: number; readonly sequence: number } | 'absent' | 'present'
  readonly ttlMs?: number
  readonly timeoutMs?: number
  readonly regionId?: number
}

export class RawClient {
  readonly #stream: FrameStream
  #frameNumber = 0
  #requestId = 0
  #uploadId = 0
  firstIncomplete = 0
  welcome: Welcome | undefined
  error: CacheError | undefined
  ended = false
  readonly #waiting = new Map<number, (result: RawResult) => void>()
  /** Opcodes of what was asked: late results of several operations may share a frame. */
  readonly #opcodes = new Map<number, number>()
  readonly #opened: ((ok: boolean) => void)[] = []

  constructor(
    dialer: Dialer,
    address: string,
    session: string,
    lane: 'operations' | 'bulk' = 'operations',
    streamNumber = 1,
  ) {
    this.#stream = dialer.open(
      address,
      { service: 'cache', lane },
      {
        frame: (body) => this.#frame(body),
        drained: () => {},
        closed: (error) => {
          this.ended = true
          this.error ??= error
          for (const opened of this.#opened.splice(0)) opened(false)
          const { error: reason } = this
          for (const resolve of this.#waiting.values())
            resolve({ status: -1, error: reason, reader: new ByteReader(new Uint8Array(0)) })
          this.#waiting.clear()
        },
      },
    )
    this.#stream.send(
      encodeHello({
        versionMin: 1,
        versionMax: 1,
        lane,
        session,
        streamNumber,
        clusterId: '',
        clientName: 'raw',
        token: '',
        timeoutMs: 2000,
      }),
    )
  }

  opened(): Promise<boolean> {
    if (this.welcome !== undefined || this.ended) return Promise.resolve(this.welcome !== undefined)
    return new Promise((resolve) => this.#opened.push(resolve))
  }

  send(message: Uint8Array): void {
    this.#stream.send(message)
  }

  close(): void {
    this.#stream.close()
  }

  /** Sends one operation in a frame of its own; `write` appends it. */
  request(write: (w: ByteWriter) => void): Promise<RawResult> {
    const w = new ByteWriter(256)
    const requestId = ++this.#requestId
    beginRequest(w, ++this.#frameNumber, requestId, this.firstIncomplete)
    const opcodeAt = w.length
    write(w)
    this.#opcodes.set(requestId, w.bytes[opcodeAt] as number)
    return new Promise((resolve) => {
      if (this.ended) {
        resolve({ status: -1, error: this.error, reader: new ByteReader(new Uint8Array(0)) })
        return
      }
      this.#waiting.set(requestId, resolve)
      this.#stream.send(finishFrame(w))
    })
  }

  get(key: string, flags = 0, regionId = 0): Promise<RawResult> {
    return this.request((w) => {
      writeOperationStart(w, Opcode.get, flags, 0)
      target(w, key, regionId)
    })
  }

  set(key: string, value: Uint8Array, fields: WriteFields = {}): Promise<RawResult> {
    return this.request((w) => {
      writeStart(w, Opcode.set, key, fields)
      w.uint8(0)
      w.blob(value)
    })
  }

  delete(key: string, fields: WriteFields = {}): Promise<RawResult> {
    return this.request((w) => writeStart(w, Opcode.delete, key, fields))
  }

  expire(key: string, ttlMs: number, fields: WriteFields = {}): Promise<RawResult> {
    return this.request((w) => writeStart(w, Opcode.expire, key, { ...fields, ttlMs }))
  }

  increment(key: string, by: number, fields: WriteFields = {}): Promise<RawResult> {
    return this.request((w) => {
      writeStart(w, Opcode.increment, key, fields)
      w.float64(by)
      w.float64(0)
    })
  }

  /** Uploads the value in chunks and stores it. */
  setLarge(key: string, value: Uint8Array, fields: WriteFields = {}): Promise<RawResult> {
    const uploadId = ++this.#uploadId
    for (const frame of uploadFrames(uploadId, value, 60 * 1024)) this.#stream.send(frame)
    return this.request((w) => {
      writeStart(w, Opcode.setUploaded, key, fields)
      w.uint8(0)
      w.uint32(uploadId)
    })
  }

  #frame(body: Uint8Array): void {
    const r = new ByteReader(body, 1)
    switch (body[0]) {
      case FrameType.welcome:
        this.welcome = decodeWelcome(r)
        for (const opened of this.#opened.splice(0)) opened(true)
        return
      case FrameType.error:
        this.error = decodeError(r)
        return
      case FrameType.response:
        r.uint32()
        if (r.remaining > 0) this.#result(r)
        return
      default:
    }
  }

  #result(r: ByteReader): void {
    while (r.remaining > 0) {
      const requestId = r.uint32()
      const status = r.uint8()
      const start = r.at
      const error = status >= Status.error ? readErrorResult(r, status, '') : undefined
      if (error === undefined) skipPayload(r, status, this.#opcodes.get(requestId) ?? 0)
      this.#opcodes.delete(requestId)
      const resolve = this.#waiting.get(requestId)
      this.#waiting.delete(requestId)
      resolve?.({ status, error, reader: new ByteReader(r.bytes, start, r.at) })
    }
  }
}

/** Moves past the payload; reads come alone in their frames. */
function skipPayload(r: ByteReader, status: number, opcode: number): void {
  if (status === Status.absent) return
  const isSet = opcode === Opcode.set || opcode === Opcode.setUploaded
  if (status === Status.ok && isSet) {
    r.varint()
    r.varint()
  } else if (status === Status.ok && opcode === Opcode.increment) {
    r.float64()
  } else if (
    status === Status.ok &&
    (opcode === Opcode.delete || opcode === Opcode.touch || opcode === Opcode.expire)
  ) {
    return
  } else if (status === Status.conditionFailed && opcode === Opcode.atomic) {
    r.varint()
  } else if (status === Status.conditionFailed) {
    const shown = r.uint8()
    if (shown === 0) return
    r.varint()
    r.varint()
    r.skip(24)
    for (let tags = r.varint(); tags > 0; tags--) r.blob()
    r.uint8()
    if (shown === 1) r.blob()
  } else {
    r.at = r.end
  }
}

function target(w: ByteWriter, key: string, regionId: number): void {
  const bytes = new Uint8Array(key.length * 3)
  const length = encodeKey(key, bytes, 0)
  writeTarget(w, regionId, 0, bytes, 0, length)
}

function writeStart(w: ByteWriter, opcode: Opcode, key: string, fields: WriteFields): void {
  const { condition } = fields
  let flags = (fields.durability ?? 0) << 2
  if (fields.ttlMs !== undefined) flags |= Flag.ttl
  if (condition === 'absent') flags |= 1 << 4
  else if (condition === 'present') flags |= 2 << 4
  else if (condition !== undefined) flags |= 3 << 4
  writeOperationStart(w, opcode, flags, fields.timeoutMs ?? 0)
  target(w, key, fields.regionId ?? 0)
  writeOperationId(w, fields.counter ?? 0)
  if (fields.ttlMs !== undefined) w.varint(fields.ttlMs)
  if (typeof condition === 'object') {
    w.varint(condition.epoch)
    w.varint(condition.sequence)
  }
}

/** UPLOAD frames for a value, to be followed by `setUploaded` on the same bulk stream. */
export function uploadFrames(uploadId: number, value: Uint8Array, chunkBytes: number): Uint8Array[] {
  const frames: Uint8Array[] = []
  for (let offset = 0; offset < value.length; offset += chunkBytes) {
    const w = new ByteWriter(chunkBytes + 64)
    beginFrame(w, FrameType.upload)
    w.uint32(uploadId)
    w.varint(value.length)
    w.varint(offset)
    w.raw(value, offset, Math.min(value.length, offset + chunkBytes))
    frames.push(finishFrame(w))
  }
  return frames
}
