/**
 * Values as they are stored, with their codec byte: for a gateway and for tools, which pass on what others encoded.
 */

import { CacheError } from '../../kernel/errors.ts'
import { ValueCodec } from './value-codec.ts'

/** A value with its codec byte (wire/operations.ts). */
export class RawValue {
  readonly codec: number
  readonly bytes: Uint8Array

  constructor(codec: number, bytes: Uint8Array) {
    this.codec = codec
    this.bytes = bytes
  }
}

export class RawValueCodec extends ValueCodec {
  constructor() {
    super({ serializer: 'msgpack', compressFromBytes: Number.POSITIVE_INFINITY, rawBytesMax: 0 })
  }

  override encode(value: unknown): void {
    if (!(value instanceof RawValue)) throw new CacheError('INTERNAL', 'this client stores raw values only')
    this.codec = value.codec
    this.bytes = value.bytes
    this.start = 0
    this.end = value.bytes.length
  }

  override decode(codec: number, bytes: Uint8Array, start: number, end: number, owned = false): RawValue {
    const part = bytes.subarray(start, end)
    return new RawValue(codec, owned ? part : new Uint8Array(part))
  }
}
