/** Valid frames of every kind a client can send, as bodies: what fuzzing starts from. */

import { ByteWriter } from '../../src/kernel/bytes.ts'
import { integerBetween, type Random, uniform } from '../../src/kernel/random.ts'
import { writeAtomicCheck } from '../../src/wire/atomic.ts'
import { beginFrame, FRAME_HEADROOM, FrameType } from '../../src/wire/frames.ts'
import { encodeHello } from '../../src/wire/handshake.ts'
import {
  beginRequest,
  Codec,
  Flag,
  Opcode,
  writeOperationId,
  writeOperationStart,
  writeTarget,
} from '../../src/wire/operations.ts'

/** Bytes of a REQUEST's header: type, two numbers, and a watermark below 128. */
export const REQUEST_HEADER_BYTES = 10

const encoder = new TextEncoder()
const TAGS = [encoder.encode('news'), encoder.encode('sport')]
const OPCODES = Object.values(Opcode)

export class RequestMaker {
  readonly #random: Random
  readonly #keys: Uint8Array[]
  readonly #partitions: number
  readonly #regions: number
  readonly #w: ByteWriter = new ByteWriter(4096)
  #number = 0
  #counter = 0
  uploads = 0

  constructor(random: Random, options: { keys: number; partitions: number; regions: number }) {
    this.#random = random
    this.#partitions = options.partitions
    this.#regions = options.regions
    // A common hashtag for some, so that atomic groups and batches meet.
    this.#keys = Array.from({ length: options.keys }, (_, i) =>
      encoder.encode(i % 3 === 0 ? `{tag}${i}` : `k${i}`),
    )
  }

  /** A REQUEST with one to six operations; `opcode`: only of this kind. */
  request(opcode?: Opcode): Uint8Array {
    const w = this.#w
    w.clear()
    beginRequest(w, ++this.#number, integerBetween(this.#random, 0, 1 << 20), 1)
    for (let count = integerBetween(this.#random, 1, 6); count > 0; count--) {
      this.#operation(opcode ?? (OPCODES[integerBetween(this.#random, 0, OPCODES.length - 1)] as Opcode))
    }
    return w.bytes.slice(FRAME_HEADROOM, w.length)
  }

  /** UPLOAD frames of one value, followed by the REQUEST that stores it. */
  uploaded(bytes: number): Uint8Array[] {
    const bodies: Uint8Array[] = []
    const uploadId = ++this.uploads
    for (let offset = 0; offset < bytes; offset += 60_000) {
      const w = new ByteWriter(64)
      beginFrame(w, FrameType.upload)
      w.uint32(uploadId)
      w.varint(bytes)
      w.varint(offset)
      w.raw(new Uint8Array(Math.min(60_000, bytes - offset)).fill(uploadId))
      bodies.push(w.bytes.slice(FRAME_HEADROOM, w.length))
    }
    bodies.push(this.request(Opcode.setUploaded))
    return bodies
  }

  cancel(): Uint8Array {
    const w = new ByteWriter(64)
    // The same shape: numbers of requests, or of uploads.
    beginFrame(w, uniform(this.#random) < 0.5 ? FrameType.cancel : FrameType.uploadDrop)
    for (let i = integerBetween(this.#random, 0, 8); i > 0; i--)
      w.uint32(integerBetween(this.#random, 0, 1 << 20))
    return w.bytes.slice(FRAME_HEADROOM, w.length)
  }

  #operation(opcode: Opcode): void {
    const random = this.#random
    const w = this.#w
    const timeoutMs = uniform(random) < 0.2 ? integerBetween(random, 1, 5000) : 0
    const durability = integerBetween(random, 0, 3) << 2
    switch (opcode) {
      case Opcode.get:
      case Opcode.getEntry:
      case Opcode.has:
      case Opcode.ttl:
        writeOperationStart(w, opcode, integerBetween(random, 0, 3) << 2, timeoutMs)
        this.#target()
        return
      case Opcode.set:
      case Opcode.setUploaded:
        this.#write(opcode, durability, timeoutMs, true)
        return
      case Opcode.delete:
        this.#write(opcode, durability, timeoutMs, true)
        return
      case Opcode.expire:
      case Opcode.touch:
      case Opcode.increment:
        this.#write(opcode, durability, timeoutMs, false)
        if (opcode === Opcode.increment) {
          w.float64(integerBetween(random, -5, 5))
          w.float64(0)
        }
        return
      case Opcode.atomic:
        this.#atomic(durability, timeoutMs)
        return
      case Opcode.scan:
        writeOperationStart(w, opcode, 0, timeoutMs)
        w.varint(integerBetween(random, 0, this.#regions - 1))
        w.varint(0)
        w.varint(integerBetween(random, 0, this.#partitions - 1))
        w.varint(integerBetween(random, 0, 63))
        w.varint(integerBetween(random, 0, 4096))
        w.text(['', '*', 'k*', 'k?', '[a-k]*'][integerBetween(random, 0, 4)] as string)
        return
      case Opcode.clear:
        writeOperationStart(w, opcode, durability, timeoutMs)
        w.varint(integerBetween(random, 0, this.#regions - 1))
        w.varint(0)
        w.varint(integerBetween(random, 0, this.#partitions - 1))
        w.varint(this.#id())
        w.text(['', 'k1', '{tag}'][integerBetween(random, 0, 2)] as string)
        return
      case Opcode.stats:
        writeOperationStart(w, opcode, 0, 0)
        w.varint(integerBetween(random, 0, this.#regions - 1))
        return
      default:
        writeOperationStart(w, opcode, 0, 0)
        w.varint(3)
        w.raw(new Uint8Array(3))
    }
  }

  #write(opcode: Opcode, durability: number, timeoutMs: number, conditional: boolean): void {
    const random = this.#random
    const w = this.#w
    const isSet = opcode === Opcode.set || opcode === Opcode.setUploaded
    const condition = conditional && uniform(random) < 0.4 ? integerBetween(random, 1, 3) : 0
    const ttl = uniform(random) < 0.4 || opcode === Opcode.expire
    const tags = isSet && uniform(random) < 0.2
    writeOperationStart(
      w,
      opcode,
      durability | (condition << 4) | (ttl ? Flag.ttl : 0) | (tags ? Flag.tags : 0),
      timeoutMs,
    )
    this.#target()
    writeOperationId(w, this.#id())
    if (ttl) w.varint(integerBetween(random, 1, 500))
    if (condition === 3) {
      w.varint(1)
      w.varint(integerBetween(random, 0, 100))
    }
    if (!isSet) return
    if (tags) {
      w.varint(TAGS.length)
      for (const tag of TAGS) w.blob(tag)
    }
    w.uint8(Codec.bytes)
    if (opcode === Opcode.set) w.blob(new Uint8Array(integerBetween(random, 0, 40)))
    else w.uint32(this.uploads)
  }

  #atomic(durability: number, timeoutMs: number): void {
    const random = this.#random
    const w = this.#w
    const key = this.#key(true)
    const checks = integerBetween(random, 0, 2)
    const mutations = integerBetween(random, 0, 3)
    writeOperationStart(w, Opcode.atomic, durability, timeoutMs)
    writeTarget(w, 0, 0, key, 0, key.length)
    writeOperationId(w, this.#id())
    w.varint(checks + mutations)
    for (let i = 0; i < checks; i++) {
      const checked = this.#key(true)
      const kind = (['absent', 'present', 'version', 'value'] as const)[integerBetween(random, 0, 3)]
      if (kind === 'version')
        writeAtomicCheck(w, 0, 0, checked, 0, checked.length, { kind, partitionEpoch: 1, sequence: 3 })
      else if (kind === 'value')
        writeAtomicCheck(w, 0, 0, checked, 0, checked.length, { kind, codec: 0, value: new Uint8Array(4) })
      else writeAtomicCheck(w, 0, 0, checked, 0, checked.length, { kind: kind ?? 'absent' })
    }
    for (let i = 0; i < mutations; i++) {
      const opcode = ([Opcode.set, Opcode.delete, Opcode.increment] as const)[integerBetween(random, 0, 2)]
      const changed = this.#key(true)
      writeOperationStart(w, opcode ?? Opcode.set, 0, 0)
      writeTarget(w, 0, 0, changed, 0, changed.length)
      w.varint(0)
      if (opcode === Opcode.set) {
        w.uint8(0)
        w.blob(new Uint8Array(integerBetween(random, 0, 20)))
      } else if (opcode === Opcode.increment) {
        w.float64(1)
        w.float64(0)
      }
    }
  }

  #target(): void {
    const key = this.#key(false)
    writeTarget(this.#w, integerBetween(this.#random, 0, this.#regions - 1), 0, key, 0, key.length)
  }

  /** @param tagged one of those that share a partition */
  #key(tagged: boolean): Uint8Array {
    const at = integerBetween(this.#random, 0, this.#keys.length - 1)
    return this.#keys[tagged ? at - (at % 3) : at] as Uint8Array
  }

  #id(): number {
    return uniform(this.#random) < 0.5 ? 0 : 1 + (++this.#counter % 100)
  }
}

export function helloBody(
  session: string,
  lane: 'operations' | 'bulk' = 'operations',
  streamNumber = 1,
): Uint8Array {
  return encodeHello({
    versionMin: 1,
    versionMax: 1,
    lane,
    session,
    streamNumber,
    clusterId: '',
    clientName: 'test',
    token: '',
    timeoutMs: 1000,
  }).slice(FRAME_HEADROOM)
}
