/**
 * gRPC's framing of messages inside an HTTP/2 stream: a byte 0 (not compressed), the length as a big-endian 32-bit integer,
 * the message (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, "Length-Prefixed-Message").
 */

import { CacheError } from '../../kernel/errors.ts'

const PREFIX_BYTES = 5

/** To begin with; each buffer after that is large enough for some messages of the size that did not fit. */
const BUFFER_BYTES_MIN = 4 * 1024
const BUFFER_BYTES_MAX = 128 * 1024
const MESSAGES_PER_BUFFER = 8

/** A buffer in which messages lie one behind the other until they are written. */
interface OutBuffer {
  readonly bytes: Uint8Array
  used: number
  /** Messages in it that are not written yet. */
  unwritten: number
}

/**
 * Puts messages behind their prefixes, in memory that is used again once they are written. Fresh memory for each would lie
 * outside V8's young generation: every 8 MiB of it began a collection of the whole heap, several a second on a busy node.
 */
export class MessageWriter {
  #buffer: OutBuffer = emptyBuffer(0)
  #spare: OutBuffer | undefined
  /** Where the messages that are not written yet lie, in their order. */
  readonly #queue: OutBuffer[] = []
  /** To be called once for each message, in their order, when its bytes are not needed any more. */
  readonly written = (): void => {
    const buffer = this.#queue.shift()
    if (buffer === undefined || --buffer.unwritten > 0) return
    buffer.used = 0
    if (buffer !== this.#buffer && buffer.bytes.length <= BUFFER_BYTES_MAX) this.#spare = buffer
  }

  /** The message behind its prefix, copied; or the beginning of one, of which `moreBytes` follow. */
  frame(message: Uint8Array, moreBytes = 0): Uint8Array {
    const framed = this.#take(PREFIX_BYTES + message.length)
    const length = message.length + moreBytes
    framed[0] = 0
    framed[1] = length >>> 24
    framed[2] = length >>> 16
    framed[3] = length >>> 8
    framed[4] = length
    framed.set(message, PREFIX_BYTES)
    return framed
  }

  #take(length: number): Uint8Array {
    let buffer = this.#buffer
    if (length > BUFFER_BYTES_MAX) {
      // One of its own, which is not kept.
      buffer = emptyBuffer(length)
    } else if (length > buffer.bytes.length - buffer.used) {
      buffer = this.#nextBuffer(length)
      this.#buffer = buffer
    }
    const start = buffer.used
    buffer.used += length
    buffer.unwritten++
    this.#queue.push(buffer)
    return buffer.bytes.subarray(start, start + length)
  }

  #nextBuffer(length: number): OutBuffer {
    const spare = this.#spare
    this.#spare = undefined
    if (spare !== undefined && length <= spare.bytes.length) return spare
    const ample = Math.max(BUFFER_BYTES_MIN, MESSAGES_PER_BUFFER * length)
    return emptyBuffer(Math.max(length, Math.min(BUFFER_BYTES_MAX, ample)))
  }
}

function emptyBuffer(length: number): OutBuffer {
  return { bytes: new Uint8Array(Buffer.allocUnsafeSlow(length).buffer), used: 0, unwritten: 0 }
}

/** Larger buffers are not kept for the next message. */
const SPARE_BYTES_MAX = 512 * 1024

/** Cuts messages out of what arrives. A message that lies in one chunk is a view of it. */
export class MessageReader {
  readonly #messageBytesMax: number
  #chunk: Uint8Array | undefined
  #at = 0
  readonly #prefix = new Uint8Array(PREFIX_BYTES)
  #prefixBytes = 0
  /** A message that spans chunks, and how much of it is there. */
  #message: Uint8Array | undefined
  #messageBytes = 0
  /** What the message that was returned last was put together in, and such a buffer that is free. */
  #lent: Uint8Array | undefined
  #spare: Uint8Array | undefined

  constructor(messageBytesMax: number) {
    this.#messageBytesMax = messageBytesMax
  }

  /** To be called only when `next` has returned undefined. */
  push(chunk: Uint8Array): void {
    this.#chunk = chunk
    this.#at = 0
  }

  /** Whether bytes are there that make no whole message yet. */
  get isInside(): boolean {
    return this.#message !== undefined || this.#prefixBytes > 0
  }

  /** The next whole message, if it is there. @throws CacheError PROTOCOL_ERROR when it is compressed or too large. */
  next(): Uint8Array | undefined {
    const chunk = this.#chunk
    if (chunk === undefined) return undefined
    if (this.#message === undefined) {
      if (!this.#readPrefix(chunk)) return undefined
      const length = this.#length()
      this.#prefixBytes = 0
      this.#lent = undefined
      if (chunk.length - this.#at >= length) {
        const message = chunk.subarray(this.#at, this.#at + length)
        this.#consume(chunk, length)
        return message
      }
      this.#lent = this.#buffer(length)
      this.#message = this.#lent.subarray(0, length)
      this.#messageBytes = 0
    }
    const message = this.#message
    const count = Math.min(message.length - this.#messageBytes, chunk.length - this.#at)
    message.set(chunk.subarray(this.#at, this.#at + count), this.#messageBytes)
    this.#messageBytes += count
    this.#consume(chunk, count)
    if (this.#messageBytes < message.length) return undefined
    this.#message = undefined
    return message
  }

  /**
   * The message that was returned last is done with. A buffer for each of thousands a second, in most of which large values
   * arrive, would keep the garbage collector busy.
   */
  done(): void {
    const buffer = this.#lent
    if (this.#message !== undefined || buffer === undefined) return
    this.#lent = undefined
    if (buffer.length <= SPARE_BYTES_MAX) this.#spare = buffer
  }

  #buffer(length: number): Uint8Array {
    const spare = this.#spare
    this.#spare = undefined
    if (spare !== undefined && spare.length >= length) return spare
    return new Uint8Array(Buffer.allocUnsafeSlow(length).buffer)
  }

  #readPrefix(chunk: Uint8Array): boolean {
    while (this.#prefixBytes < PREFIX_BYTES) {
      if (this.#at === chunk.length) {
        this.#chunk = undefined
        return false
      }
      this.#prefix[this.#prefixBytes++] = chunk[this.#at++] as number
    }
    return true
  }

  #length(): number {
    const prefix = this.#prefix
    if (prefix[0] !== 0)
      throw new CacheError('PROTOCOL_ERROR', 'a compressed gRPC message: send it uncompressed')
    const length =
      (prefix[1] as number) * 2 ** 24 +
      (((prefix[2] as number) << 16) | ((prefix[3] as number) << 8) | (prefix[4] as number))
    if (length > this.#messageBytesMax) {
      throw new CacheError(
        'PROTOCOL_ERROR',
        `a gRPC message of ${length} bytes exceeds ${this.#messageBytesMax}`,
      )
    }
    return length
  }

  #consume(chunk: Uint8Array, count: number): void {
    this.#at += count
    if (this.#at === chunk.length) this.#chunk = undefined
  }
}
