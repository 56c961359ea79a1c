/**
 * MessagePack by msgpackr, made exact.
 *
 * Values that it holds exactly are written in its fast form: objects as maps, Date as timestamp, Buffer as bin, other typed
 * arrays and large BigInts as extensions. All others become a value graph, an extension of type 0x47 that holds the
 * graph's table as MessagePack. Records with shared structures are off: a value has to be readable by itself.
 */

import { Packr, RESET_BUFFER_MODE, REUSE_BUFFER_MODE } from 'msgpackr'
import { CacheError } from '../../kernel/errors.ts'
import { asBuffer } from './compression.ts'
import { NOT_PLAIN, PlainReader } from './plain-reader.ts'
import { isPlain } from './plain-value.ts'
import { readGraph, writeGraph } from './value-graph.ts'

const GRAPH_TYPE = 0x47
const EXT_32 = 0xc9
const GRAPH_HEADER_BYTES = 6
/** Longer values are left to msgpackr: a text out of a value may keep all of the value's text in memory. */
const PLAIN_BYTES_MAX = 64 * 1024

/** Bytes inside a larger buffer. */
export interface ByteRange {
  bytes: Uint8Array
  start: number
  end: number
}

/** What msgpackr returns in reuse mode: its own buffer, with the range of the value. */
type ReusedBuffer = Buffer & { start: number; end: number }

export class MsgpackCodec {
  readonly #packr = new Packr({
    useRecords: false,
    mapsAsObjects: true,
    variableMapSize: true,
    moreTypes: true,
    useBigIntExtension: true,
    useToJSON: false,
    copyBuffers: true,
  })
  readonly #range = { start: 0, end: 0 }
  readonly #plainReader = new PlainReader((bytes, start, end) => this.#unpack(bytes, start, end))

  /** Sets `into` to the encoded bytes, which stay valid until the next call. */
  encode(value: unknown, into: ByteRange): void {
    if (isPlain(value)) {
      this.#pack(value, into)
      return
    }
    const table = this.#packr.pack(writeGraph(value))
    const bytes = Buffer.allocUnsafe(GRAPH_HEADER_BYTES + table.length)
    bytes[0] = EXT_32
    bytes.writeUInt32BE(table.length, 1)
    bytes[5] = GRAPH_TYPE
    bytes.set(table, GRAPH_HEADER_BYTES)
    into.bytes = bytes
    into.start = 0
    into.end = bytes.length
  }

  /** @throws CacheError SERIALIZATION when the bytes are not one MessagePack value. */
  decode(bytes: Uint8Array, start: number, end: number): unknown {
    const buffer = asBuffer(bytes)
    const isGraph =
      bytes[start] === EXT_32 && end - start > GRAPH_HEADER_BYTES && bytes[start + 5] === GRAPH_TYPE
    if (!isGraph && end - start <= PLAIN_BYTES_MAX) {
      const value = this.#plainReader.read(buffer, start, end)
      if (value !== NOT_PLAIN) return value
    }
    try {
      if (end <= start) throw new RangeError('there are no bytes')
      const value = this.#unpack(buffer, isGraph ? start + GRAPH_HEADER_BYTES : start, end)
      return isGraph ? readGraph(value) : value
    } catch (cause) {
      if (cause instanceof CacheError) throw cause
      throw new CacheError('SERIALIZATION', 'a stored value is not valid MessagePack', { cause })
    }
  }

  #unpack(bytes: Buffer, start: number, end: number): unknown {
    const range = this.#range
    range.start = start
    range.end = end
    return this.#packr.unpack(bytes, range)
  }

  #pack(value: unknown, into: ByteRange): void {
    const reused = this.#packr.pack(value, REUSE_BUFFER_MODE | RESET_BUFFER_MODE) as ReusedBuffer
    into.bytes = reused
    into.start = reused.start
    into.end = reused.end
  }
}
