/**
 * Values of the unary calls: the gateway's client neither encodes nor decodes them, so that a caller in another language gets,
 * and gives, bytes and their encoding.
 */

import { decompress } from '../../client/codecs/compression.ts'
import { RawValue } from '../../client/codecs/raw-value.ts'
import { ByteReader } from '../../kernel/bytes.ts'
import { CacheError } from '../../kernel/errors.ts'
import { Codec } from '../../wire/operations.ts'
import type { EncodingName, ValueMessage } from './cache-service.ts'

const NAMES: Readonly<Record<number, EncodingName>> = {
  [Codec.bytes]: 'BYTES',
  [Codec.msgpack]: 'MSGPACK',
  [Codec.json]: 'JSON',
  [Codec.text]: 'TEXT',
  [Codec.counter]: 'COUNTER',
  [Codec.custom]: 'CUSTOM',
}
const CODECS = new Map(Object.entries(NAMES).map(([codec, name]) => [name, Number(codec)]))

/** @param acceptLz4 leave a compressed value compressed */
export function valueMessage(value: RawValue, acceptLz4: boolean, rawBytesMax: number): ValueMessage {
  const encoding = NAMES[value.codec & Codec.mask]
  if (encoding === undefined) {
    throw new CacheError(
      'UNSUPPORTED',
      `the value has the codec ${value.codec}, which this node does not know`,
    )
  }
  const compressed = (value.codec & Codec.lz4) !== 0
  if (!compressed || acceptLz4) return { data: value.bytes, encoding, lz4: compressed }
  return { data: decompress(new ByteReader(value.bytes), rawBytesMax), encoding, lz4: false }
}

/** @throws CacheError INVALID_ARGUMENT when the message is no value that can be stored. */
export function rawValueOf(message: ValueMessage | null | undefined): RawValue {
  if (message === null || message === undefined)
    throw new CacheError('INVALID_ARGUMENT', 'a set needs a value')
  const codec = CODECS.get(message.encoding)
  if (codec === undefined || codec === Codec.counter) {
    throw new CacheError(
      'INVALID_ARGUMENT',
      `a value cannot be set with the encoding ${message.encoding}; give BYTES, MSGPACK, JSON, TEXT or CUSTOM (counters are created by Increment)`,
    )
  }
  return new RawValue(message.lz4 ? codec | Codec.lz4 : codec, message.data)
}
