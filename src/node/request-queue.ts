/**
 * What one client asks, in the order it was written, and how far it is carried out.
 *
 * A queue of frames, and a cursor over the operations of the REQUEST that is in turn. Chunks of uploads keep their place among
 * requests, for a set comes behind the chunks it names. The requests of a frame are numbered in turn from its first; a cancellation of one
 * that is still to come is kept until its frame is through.
 *
 * `op` is read anew for each operation, and keys and values stay where they are in `body`: an operation costs no object. How much may lie
 * here is up to whoever reads the stream.
 */

import { ByteReader } from '../kernel/bytes.ts'
import { readAtomicMember } from '../wire/atomic.ts'
import { FrameType } from '../wire/frames.ts'
import { Opcode, Operation, readOperation } from '../wire/operations.ts'

export class RequestQueue {
  /** What `next` has read. */
  readonly op: Operation = new Operation()
  requestId = 0
  /** Number of the REQUEST in turn. */
  frameNumber = 0
  /** The client has finished all operations below it, as the REQUEST in turn says; 0: it says nothing. */
  firstIncomplete = 0
  /** Stands in the frame in turn, behind what was read of it. */
  readonly reader: ByteReader = new ByteReader(new Uint8Array(0))
  readonly #cancelledMax: number
  readonly #frames: Uint8Array[] = []
  readonly #member: Operation = new Operation()
  #body: Uint8Array | undefined
  #nextRequestId = 0
  /** Requests cancelled before they were carried out. */
  readonly #cancelled = new Set<number>()

  constructor(cancelledMax: number) {
    this.#cancelledMax = cancelledMax
  }

  get isEmpty(): boolean {
    return this.#body === undefined && this.#frames.length === 0
  }

  /** The REQUEST in turn. */
  get body(): Uint8Array | undefined {
    return this.#body
  }

  /** Whether the frame in turn has more operations. */
  get hasNext(): boolean {
    return this.reader.remaining > 0
  }

  push(frame: Uint8Array): void {
    this.#frames.push(frame)
  }

  /** Takes up the next frame. @returns its type: of a REQUEST the operations come with `next`, any other is left to `reader` */
  take(): number | undefined {
    const frame = this.#frames.shift()
    if (frame === undefined) return undefined
    const r = this.reader.reset(frame, 1)
    const type = frame[0]
    if (type !== FrameType.request) return type
    this.#body = frame
    this.frameNumber = r.uint32()
    this.#nextRequestId = r.uint32()
    this.firstIncomplete = r.varint()
    return type
  }

  /**
   * Reads the next operation into `op`. Of an atomic group, `valueStart..valueEnd` is where its members are.
   * @returns false when nothing is asked in its place
   * @throws CacheError PROTOCOL_ERROR when it is malformed
   */
  next(): boolean {
    const { op, reader } = this
    this.requestId = this.#nextRequestId
    this.#nextRequestId = (this.requestId + 1) >>> 0
    readOperation(reader, op)
    if (op.opcode === Opcode.atomic) this.#skipMembers(op)
    return op.opcode !== Opcode.none
  }

  /** A request that is still to come is not to be carried out. */
  cancel(requestId: number): void {
    if (this.#cancelled.size < this.#cancelledMax) this.#cancelled.add(requestId)
  }

  /** Whether the operation just read was cancelled; its cancellation is done with then. */
  takeCancellation(): boolean {
    return this.#cancelled.size > 0 && this.#cancelled.delete(this.requestId)
  }

  /** The REQUEST in turn is carried out. */
  finish(): void {
    this.#body = undefined
    this.#cancelled.clear()
  }

  clear(): void {
    this.#frames.length = 0
    this.#body = undefined
  }

  #skipMembers(op: Operation): void {
    op.valueStart = this.reader.at
    for (let i = 0; i < op.count; i++) readAtomicMember(this.reader, this.#member)
    op.valueEnd = this.reader.at
  }
}
