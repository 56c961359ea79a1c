/**
 * Stored values in a form for people, and back. A value is written readably only if reading that gives the same bytes again, which
 * is tried for each; any other, and what is large, keeps its stored bytes in base64. So an entry comes back as it was, whoever
 * wrote it and with whatever serializer.
 */

import { isUtf8 } from 'node:buffer'
import { compress, decompress } from '../../client/codecs/compression.ts'
import { RawValue } from '../../client/codecs/raw-value.ts'
import { ValueCodec } from '../../client/codecs/value-codec.ts'
import { ByteReader, ByteWriter } from '../../kernel/bytes.ts'
import { CacheError } from '../../kernel/errors.ts'
import { Codec } from '../../wire/operations.ts'
import { bytesOf, fromTaggedJson, NO_FORM, toTaggedJson } from './tagged-json.ts'

/** Longer values, uncompressed, keep their stored bytes: JSON may take seven times as many. */
const READABLE_BYTES_MAX = 4 * 1024 * 1024
/** As the client does by default. */
const COMPRESS_FROM_BYTES = 1024
const COUNTER_BYTES = 8

/** How a value stands in a line: one of `value` (with `form`) and `stored`. */
export interface WrittenValue {
  readonly value?: unknown
  /** How it is stored, when that does not follow from the value: `json`: by the json serializer; `counter`. */
  readonly form?: 'json' | 'counter'
  /** The bytes as they are stored, compressed or not, with their codec byte. */
  readonly stored?: { readonly codec: number; readonly base64: string }
}

export class ReadableValues {
  readonly #values = new ValueCodec({
    serializer: 'msgpack',
    compressFromBytes: Number.POSITIVE_INFINITY,
    rawBytesMax: READABLE_BYTES_MAX,
  })

  /** The members of a WrittenValue as JSON text, without the braces around them. */
  write(raw: RawValue): string {
    let readable: string | undefined
    try {
      readable = this.#writeReadable(raw)
    } catch (error) {
      // Stored in a way that this release does not read, or damaged: it is passed on as it is.
      if (!(error instanceof CacheError)) throw error
    }
    return readable ?? `"stored":{"codec":${raw.codec},"base64":"${bufferOf(raw.bytes).toString('base64')}"}`
  }

  /** @throws CacheError SERIALIZATION naming what is wrong */
  read(written: WrittenValue): RawValue {
    const { stored } = written
    if (stored !== undefined) {
      const { codec } = stored
      if (!Number.isInteger(codec) || codec < 0 || codec > 0xff)
        throw new CacheError('SERIALIZATION', 'stored.codec is a number from 0 to 255')
      return new RawValue(codec, bytesOf(stored.base64, 'stored.base64'))
    }
    const raw = this.#encode(written)
    if (raw.bytes.length < COMPRESS_FROM_BYTES) return raw
    const compressed = compress(raw.bytes)
    return compressed === undefined ? raw : new RawValue(raw.codec | Codec.lz4, compressed)
  }

  /** Undefined when the form for people would not give back the same bytes. */
  #writeReadable(raw: RawValue): string | undefined {
    if (raw.bytes.length > READABLE_BYTES_MAX) return undefined
    const codec = raw.codec & ~Codec.lz4
    const bytes = raw.codec === codec ? raw.bytes : decompress(new ByteReader(raw.bytes), READABLE_BYTES_MAX)
    const written = this.#form(codec, bytes)
    if (written === undefined) return undefined
    const text = JSON.stringify(written)
    const again = this.#encode(JSON.parse(text) as WrittenValue)
    return again.codec === codec && bufferOf(again.bytes).equals(bytes) ? text.slice(1, -1) : undefined
  }

  #form(codec: number, bytes: Uint8Array): WrittenValue | undefined {
    const form = codec & Codec.mask
    if (form === Codec.custom || (form === Codec.text && !isUtf8(bytes))) return undefined
    const value = this.#values.decode(codec, bytes, 0, bytes.length)
    // JSON is in JSON what it is, tags or not.
    if (form === Codec.json) return { value, form: 'json' }
    const json = toTaggedJson(value)
    if (json === NO_FORM) return undefined
    return form === Codec.counter ? { value: json, form: 'counter' } : { value: json }
  }

  #encode({ value, form }: WrittenValue): RawValue {
    if (form === 'json') return new RawValue(Codec.json, Buffer.from(JSON.stringify(value), 'utf8'))
    const decoded = fromTaggedJson(value)
    if (form === 'counter') {
      if (typeof decoded !== 'number') throw new CacheError('SERIALIZATION', 'a counter is a number')
      const w = new ByteWriter(COUNTER_BYTES)
      w.float64(decoded)
      return new RawValue(Codec.counter, w.toBytes())
    }
    this.#values.encode(decoded)
    const { codec, bytes, start, end } = this.#values
    return new RawValue(codec, new Uint8Array(bytes.subarray(start, end)))
  }
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
