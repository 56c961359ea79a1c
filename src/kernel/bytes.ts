/**
 * Reading and writing bytes. Frames are made of little-endian fixed-width integers and unsigned LEB128 varints
 * (7 bits a byte, lowest first, as protobuf's). Both classes are reusable and allocate nothing per field.
 *
 * The reader trusts nothing: reading past the end throws PROTOCOL_ERROR, never returns undefined.
 */

import { CacheError } from './errors.ts'

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true })
const TWO_32 = 0x1_0000_0000
const NOTHING = new Uint8Array(0)
/** Longer texts go through the encoder; the length of one up to this takes one byte. */
const ASCII_TEXT_MAX = 127
const SLAB_BYTES_MIN = 4 * 1024
const SLAB_BYTES_MAX = 128 * 1024
/** A writer that once grew beyond this does not stay that large. */
const RETAINED_BYTES_MAX = 512 * 1024

/**
 * Hands out pieces of memory that are written once and soon forgotten, cut from larger buffers: a buffer of its own for
 * each of many thousand frames a second would keep the garbage collector busy. A piece keeps its whole slab alive.
 */
class Slab {
  #bytes: Uint8Array = NOTHING
  #used = 0
  #isUsed = false

  /** `length` bytes with undefined contents. */
  take(length: number): Uint8Array {
    // Many writers write one frame only: to them a slab would be waste.
    if (!this.#isUsed) {
      this.#isUsed = true
      return new Uint8Array(length)
    }
    // Large pieces would waste what is left of a slab, and keep its neighbours' memory.
    if (length > SLAB_BYTES_MAX / 4) return new Uint8Array(Buffer.allocUnsafeSlow(length).buffer)
    if (length > this.#bytes.length - this.#used) {
      const ample = Math.min(SLAB_BYTES_MAX, Math.max(SLAB_BYTES_MIN, 8 * length))
      this.#bytes = new Uint8Array(Buffer.allocUnsafeSlow(ample).buffer)
      this.#used = 0
    }
    const piece = this.#bytes.subarray(this.#used, this.#used + length)
    this.#used += length
    return piece
  }
}

/** A growable buffer. `bytes` is replaced when it grows, so don't hold on to it between writes. */
export class ByteWriter {
  bytes: Uint8Array
  length = 0
  #view: DataView
  readonly #slab = new Slab()

  constructor(capacityBytes = 1024) {
    this.bytes = new Uint8Array(capacityBytes)
    this.#view = new DataView(this.bytes.buffer)
  }

  /** Makes room for `count` more bytes. */
  reserve(count: number): void {
    const needed = this.length + count
    if (needed <= this.bytes.length) return
    const grown = new Uint8Array(Math.max(needed, this.bytes.length * 2))
    grown.set(this.bytes.subarray(0, this.length))
    this.bytes = grown
    this.#view = new DataView(grown.buffer)
  }

  uint8(value: number): void {
    this.reserve(1)
    this.bytes[this.length++] = value
  }

  uint16(value: number): void {
    this.reserve(2)
    this.#view.setUint16(this.length, value, true)
    this.length += 2
  }

  uint32(value: number): void {
    this.reserve(4)
    this.#view.setUint32(this.length, value, true)
    this.length += 4
  }

  /** An integer 0..2^48 − 1. */
  uint48(value: number): void {
    this.reserve(6)
    this.#view.setUint32(this.length, value % TWO_32, true)
    this.#view.setUint16(this.length + 4, Math.floor(value / TWO_32), true)
    this.length += 6
  }

  float64(value: number): void {
    this.reserve(8)
    this.#view.setFloat64(this.length, value, true)
    this.length += 8
  }

  /** An integer 0..2^53 − 1, in 1 to 8 bytes. */
  varint(value: number): void {
    this.reserve(8)
    let rest = value
    while (rest >= 0x8000_0000) {
      this.bytes[this.length++] = (rest % 128) | 0x80
      rest = Math.floor(rest / 128)
    }
    while (rest >= 0x80) {
      this.bytes[this.length++] = (rest & 0x7f) | 0x80
      rest >>>= 7
    }
    this.bytes[this.length++] = rest
  }

  raw(source: Uint8Array, start = 0, end: number = source.length): void {
    const count = end - start
    this.reserve(count)
    // A plain loop beats the call overhead of set() for the short runs that keys and small values are.
    if (count <= 48) {
      const { bytes, length } = this
      for (let i = 0; i < count; i++) bytes[length + i] = source[start + i] as number
    } else {
      this.bytes.set(start === 0 && end === source.length ? source : source.subarray(start, end), this.length)
    }
    this.length += count
  }

  /** Length as a varint, then the UTF-8 bytes. */
  text(value: string): void {
    if (this.#asciiText(value)) return
    const bytes = encoder.encode(value)
    this.varint(bytes.length)
    this.raw(bytes)
  }

  /** Length as a varint, then the bytes. */
  blob(value: Uint8Array): void {
    this.varint(value.length)
    this.raw(value)
  }

  /** Overwrites four bytes written earlier. */
  patchUint32(at: number, value: number): void {
    this.#view.setUint32(at, value, true)
  }

  /** A copy of what was written. */
  toBytes(): Uint8Array {
    return this.bytes.slice(0, this.length)
  }

  /** The bytes written, as a copy that the caller owns; the writer starts afresh. */
  take(): Uint8Array {
    const { length } = this
    const taken = this.#slab.take(length)
    taken.set(length === this.bytes.length ? this.bytes : this.bytes.subarray(0, length))
    this.length = 0
    if (this.bytes.length > RETAINED_BYTES_MAX) {
      this.bytes = new Uint8Array(SLAB_BYTES_MIN)
      this.#view = new DataView(this.bytes.buffer)
    }
    return taken
  }

  /** The bytes written, in place: they hold good until the writer is used again. */
  lend(): Uint8Array {
    const lent = this.bytes.subarray(0, this.length)
    this.length = 0
    if (this.bytes.length > RETAINED_BYTES_MAX) {
      this.bytes = new Uint8Array(SLAB_BYTES_MIN)
      this.#view = new DataView(this.bytes.buffer)
    }
    return lent
  }

  clear(): void {
    this.length = 0
  }

  /** Names are short and ASCII nearly always: a plain loop takes a tenth of what an encoder does. */
  #asciiText(value: string): boolean {
    const { length } = value
    if (length > ASCII_TEXT_MAX) return false
    this.reserve(1 + length)
    const { bytes } = this
    const at = this.length + 1
    for (let i = 0; i < length; i++) {
      const unit = value.charCodeAt(i)
      // Nothing is written yet as far as readers are concerned: `length` stands where it stood.
      if (unit >= 0x80) return false
      bytes[at + i] = unit
    }
    bytes[at - 1] = length
    this.length = at + length
    return true
  }
}

/** Reads from `bytes[at..end)`. Reusable through `reset`. */
export class ByteReader {
  bytes: Uint8Array
  at: number
  end: number
  #view: DataView

  constructor(bytes: Uint8Array, start = 0, end: number = bytes.length) {
    this.bytes = bytes
    this.at = start
    this.end = end
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  reset(bytes: Uint8Array, start = 0, end: number = bytes.length): this {
    if (bytes !== this.bytes) {
      this.bytes = bytes
      this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    }
    this.at = start
    this.end = end
    return this
  }

  get remaining(): number {
    return this.end - this.at
  }

  uint8(): number {
    if (this.at >= this.end) throw truncated()
    return this.bytes[this.at++] as number
  }

  uint16(): number {
    return this.#view.getUint16(this.skip(2), true)
  }

  uint32(): number {
    return this.#view.getUint32(this.skip(4), true)
  }

  uint48(): number {
    const at = this.skip(6)
    return this.#view.getUint32(at, true) + this.#view.getUint16(at + 4, true) * TWO_32
  }

  float64(): number {
    return this.#view.getFloat64(this.skip(8), true)
  }

  varint(): number {
    const { bytes, end } = this
    let at = this.at
    if (at >= end) throw truncated()
    let byte = bytes[at++] as number
    if (byte < 0x80) {
      this.at = at
      return byte
    }
    let value = byte & 0x7f
    let factor = 128
    for (;;) {
      if (at >= end) throw truncated()
      byte = bytes[at++] as number
      value += (byte & 0x7f) * factor
      if (byte < 0x80) break
      factor *= 128
      if (factor > 2 ** 49) throw new CacheError('PROTOCOL_ERROR', 'a varint is longer than 8 bytes')
    }
    if (value > Number.MAX_SAFE_INTEGER) {
      throw new CacheError('PROTOCOL_ERROR', 'a varint is larger than 2^53 − 1')
    }
    this.at = at
    return value
  }

  /** Passes over `count` bytes and returns where they start. */
  skip(count: number): number {
    const start = this.at
    if (count > this.end - start) throw truncated()
    this.at = start + count
    return start
  }

  /** A view of the next `count` bytes, not a copy. */
  raw(count: number): Uint8Array {
    const start = this.skip(count)
    return this.bytes.subarray(start, start + count)
  }

  text(bytesMax = 65_536): string {
    const count = this.varint()
    if (count > bytesMax) {
      throw new CacheError('PROTOCOL_ERROR', `a text of ${count} bytes exceeds the ${bytesMax} allowed here`)
    }
    try {
      return decoder.decode(this.raw(count))
    } catch (cause) {
      throw new CacheError('PROTOCOL_ERROR', 'a text is not valid UTF-8', { cause })
    }
  }

  blob(): Uint8Array {
    return this.raw(this.varint())
  }
}

function truncated(): CacheError {
  return new CacheError('PROTOCOL_ERROR', 'the frame ends in the middle of a field')
}

/** How many bytes `varint` takes for this value, 1..8. */
export function varintBytes(value: number): number {
  let bytes = 1
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) bytes++
  return bytes
}
