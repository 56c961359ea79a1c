/**
 * Values to bytes and back: chooses the form, compresses, and reads every form whatever this client writes itself.
 *
 * The codec byte: its low three bits name the form, 0x08 says compressed, 0x10 (with `bytes`) that it was a Node.js
 * Buffer rather than a Uint8Array. Strings are stored as UTF-8 text and byte arrays as they are, so that clients in other
 * languages read them without MessagePack.
 */

import { ByteReader } from '../../kernel/bytes.ts'
import { CacheError } from '../../kernel/errors.ts'
import { Codec } from '../../wire/operations.ts'
import { asBuffer, compress, decompress } from './compression.ts'
import { type ByteRange, MsgpackCodec } from './msgpack.ts'
import { isWellFormed } from './plain-value.ts'

/** With `Codec.bytes`: the value was a Buffer. */
const BUFFER_BIT = 0x10
const COUNTER_BYTES = 8

/**
 * Turns values into bytes and back, in a form of its own. Implementations must accept in `decode` what other clients of
 * the same cluster wrote with them; values of the built-in forms never reach them.
 */
export interface Serializer {
  encode(value: unknown): Uint8Array
  /** The bytes belong to the caller only for the duration of the call: copy what is kept. */
  decode(bytes: Uint8Array): unknown
}

export interface ValueCodecOptions {
  readonly serializer: 'msgpack' | 'json' | Serializer
  /** Values of at least this many bytes are compressed; Infinity: none. */
  readonly compressFromBytes: number
  /** A compressed value that claims to be larger than this is refused. */
  readonly rawBytesMax: number
}

export class ValueCodec implements ByteRange {
  /** The result of the last `encode`, valid until the next. */
  bytes: Uint8Array = new Uint8Array(0)
  start = 0
  end = 0
  codec = 0
  readonly #options: ValueCodecOptions
  readonly #msgpack = new MsgpackCodec()
  readonly #reader = new ByteReader(this.bytes)

  constructor(options: ValueCodecOptions) {
    this.#options = options
  }

  /** Leaves the encoded value in `codec` and `bytes[start..end)`. @throws CacheError SERIALIZATION naming what can't be stored. */
  encode(value: unknown): void {
    this.#encodeRaw(value)
    if (this.end - this.start < this.#options.compressFromBytes) return
    const compressed = compress(this.bytes.subarray(this.start, this.end))
    if (compressed === undefined) return
    this.#set(this.codec | Codec.lz4, compressed)
  }

  /**
   * @param owned the buffer holds this value only, and may become part of it
   * @throws CacheError SERIALIZATION when the bytes are not what the codec says.
   */
  decode(codec: number, bytes: Uint8Array, start: number, end: number, owned = false): unknown {
    if (codec & Codec.lz4) {
      const raw = decompress(this.#reader.reset(bytes, start, end), this.#options.rawBytesMax)
      return this.#decodeRaw(codec & ~Codec.lz4, raw, 0, raw.length, true)
    }
    return this.#decodeRaw(codec, bytes, start, end, owned)
  }

  #encodeRaw(value: unknown): void {
    if (typeof value === 'string' && isWellFormed(value)) {
      this.#set(Codec.text, Buffer.from(value, 'utf8'))
      return
    }
    if (value instanceof Uint8Array) {
      const isBuffer = Object.getPrototypeOf(value) === Buffer.prototype
      if (isBuffer || Object.getPrototypeOf(value) === Uint8Array.prototype) {
        this.#set(isBuffer ? Codec.bytes | BUFFER_BIT : Codec.bytes, value)
        return
      }
    }
    const { serializer } = this.#options
    if (serializer === 'msgpack') {
      this.codec = Codec.msgpack
      this.#encodeMsgpack(value)
    } else if (serializer === 'json') {
      this.#set(Codec.json, encodeJson(value))
    } else {
      this.#set(Codec.custom, encodeCustom(serializer, value))
    }
  }

  #encodeMsgpack(value: unknown): void {
    try {
      this.#msgpack.encode(value, this)
    } catch (cause) {
      if (cause instanceof CacheError) throw cause
      // A getter or toJSON of the value threw, or it is too large for memory.
      throw new CacheError('SERIALIZATION', `the value could not be read: ${String(cause)}`, { cause })
    }
  }

  #decodeRaw(codec: number, bytes: Uint8Array, start: number, end: number, owned: boolean): unknown {
    switch (codec & Codec.mask) {
      case Codec.msgpack:
        return this.#msgpack.decode(bytes, start, end)
      case Codec.text:
        return asBuffer(bytes).toString('utf8', start, end)
      case Codec.bytes: {
        // A copy, for the frame around it would otherwise stay in memory as long as the value does.
        const view = bytes.subarray(start, end)
        if (codec & BUFFER_BIT) return owned ? asBuffer(view) : Buffer.from(view)
        return owned ? new Uint8Array(view.buffer, view.byteOffset, view.length) : new Uint8Array(view)
      }
      case Codec.counter:
        if (end - start !== COUNTER_BYTES)
          throw new CacheError('SERIALIZATION', 'a counter is not eight bytes long')
        return this.#reader.reset(bytes, start, end).float64()
      case Codec.json:
        return decodeJson(asBuffer(bytes).toString('utf8', start, end))
      case Codec.custom:
        return this.#decodeCustom(bytes.subarray(start, end))
      default:
        throw new CacheError('SERIALIZATION', `a value has the unknown codec ${codec}: update this client`)
    }
  }

  #decodeCustom(bytes: Uint8Array): unknown {
    const { serializer } = this.#options
    if (typeof serializer === 'string') {
      throw new CacheError(
        'SERIALIZATION',
        'the value was stored with a custom serializer: connect with the same one',
      )
    }
    try {
      return serializer.decode(bytes)
    } catch (cause) {
      throw new CacheError('SERIALIZATION', 'the serializer could not decode a value', { cause })
    }
  }

  #set(codec: number, bytes: Uint8Array): void {
    this.codec = codec
    this.bytes = bytes
    this.start = 0
    this.end = bytes.length
  }
}

function encodeJson(value: unknown): Uint8Array {
  let text: string | undefined
  try {
    text = JSON.stringify(value)
  } catch (cause) {
    throw new CacheError('SERIALIZATION', `the value has no JSON form: ${String(cause)}`, { cause })
  }
  if (text === undefined) {
    throw new CacheError(
      'SERIALIZATION',
      `${typeof value} has no JSON form: store null, or use the msgpack serializer`,
    )
  }
  return Buffer.from(text, 'utf8')
}

function decodeJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new CacheError('SERIALIZATION', 'a stored value is not valid JSON', { cause })
  }
}

function encodeCustom(serializer: Serializer, value: unknown): Uint8Array {
  let bytes: unknown
  try {
    bytes = serializer.encode(value)
  } catch (cause) {
    throw new CacheError('SERIALIZATION', 'the serializer could not encode a value', { cause })
  }
  if (bytes instanceof Uint8Array) return bytes
  throw new CacheError('SERIALIZATION', 'the serializer must return a Uint8Array')
}
