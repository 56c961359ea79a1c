/**
 * How the other clients' values become bytes: msgpackr with the settings of ringcache's default serializer, so that every
 * peer pays the same for it.
 */

import { Packr } from 'msgpackr'
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

/** The bytes are the caller's to keep. */
export function encode(value: UserRecord): Buffer {
  return packr.pack(value)
}

export function decode(bytes: Uint8Array): UserRecord {
  return packr.unpack(bytes) as UserRecord
}

/** What a get brought: nothing, or a record in bytes. */
export function decodeFound(bytes: Uint8Array | null | undefined): UserRecord | undefined {
  return bytes === null || bytes === undefined ? undefined : decode(bytes)
}
