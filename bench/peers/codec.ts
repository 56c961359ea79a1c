/**
 * How the other clients' values become bytes, and what is read from them: as in ringcache's default serializer, its own
 * reader of plain values included, so that every peer pays the same for it.
 */

import { Packr } from 'msgpackr'
import { MsgpackCodec } from '../../src/client/codecs/msgpack.ts'
import type { UserRecord } from './records.ts'

const packr = new Packr({
  useRecords: false,
  mapsAsObjects: true,
  variableMapSize: true,
  moreTypes: true,
  useBigIntExtension: true,
  useToJSON: false,
  copyBuffers: true,
})

const codec = new MsgpackCodec()

/** The bytes are the caller's to keep. */
export function encode(value: UserRecord): Buffer {
  return packr.pack(value)
}

export function decode(bytes: Uint8Array): UserRecord {
  return codec.decode(bytes, 0, bytes.length) as UserRecord
}

/** What a get brought: nothing, or a record in bytes. */
export function decodeFound(bytes: Uint8Array | null | undefined): UserRecord | undefined {
  return bytes === null || bytes === undefined ? undefined : decode(bytes)
}
