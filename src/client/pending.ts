/**
 * Operations under way on one stream, by request id.
 *
 * Ids rise by one per operation, so the table is a ring of parallel arrays: no map, no object per operation. A call (what
 * the application waits for) may stand for many operations, told apart by a slot number.
 */

import type { ByteReader, ByteWriter } from '../kernel/bytes.ts'
import { CacheError } from '../kernel/errors.ts'
import type { OperationIds } from './operation-ids.ts'
import type { Target } from './target.ts'

/** How far an operation had come when it failed: not sent; sent without an answer; refused by the node. */
export type FailureStage = 'unsent' | 'lost' | 'answered'

/** What a call sees of the node it is sent to. */
export interface Link {
  /** The node's configured name, its address until that is known. */
  readonly name: string
  readonly address: string
  /** Whether nothing should be sent there now. */
  readonly isDown: boolean
  /** The session under which writes are numbered there. */
  readonly ids: OperationIds
  /** @throws CacheError when it can't be sent there now. */
  submit(call: Call, slot: number, target: Target): void
}

/** What the application waits for. Implementations hold no resources but themselves. */
export interface Call {
  /** Monotonic milliseconds. */
  readonly deadlineMs: number
  /** Whether an operation that was sent and not answered may have changed something. */
  readonly isWrite: boolean
  /** Whether the value may exceed what an operations stream carries. */
  readonly lane: 'operations' | 'bulk'
  /** Which replica may answer. */
  readonly readKind: number
  /** A node that must be asked whatever the topology says. */
  readonly link: Link | undefined
  /** Says where the operation goes. @throws CacheError when it can't go anywhere. */
  locate(slot: number, target: Target): void
  /** Appends the operation. */
  encode(slot: number, w: ByteWriter, target: Target, link: Link): void
  /**
   * A result arrived that is no error. Must read its payload exactly, even when nobody waits for it any more: the next
   * result stands behind it. @throws CacheError PROTOCOL_ERROR when it is malformed.
   */
  result(slot: number, status: number, r: ByteReader, link: Link, requestId: number): void
  /** The operation has failed for good. */
  reject(slot: number, error: CacheError): void
  /** Counts another attempt and returns how many there were besides the first. */
  nextAttempt(slot: number): number
  /** Whether anyone still waits for this slot. */
  isSettled(slot: number): boolean
  /** The operation was sent and no answer came: whatever comes later, it may have taken effect. */
  lost(slot: number): void
  wasLost(slot: number): boolean
}

/** Operations of one client that are not answered; shared by all its streams. */
export interface PendingBudget {
  count: number
  readonly max: number
}

/** Counts one more. @throws CacheError OVERLOADED when there is no room. */
export function reserve(budget: PendingBudget): void {
  if (budget.count >= budget.max) {
    throw new CacheError(
      'OVERLOADED',
      `${budget.max} operations are pending (maxPending): wait for some before issuing more`,
    )
  }
  budget.count++
}

/** A request frame: open (still growing), queued, or sent. */
export class Frame {
  readonly number: number
  readonly firstId: number
  count = 0
  /** Operations that are not answered, cancelled or failed. */
  live = 0
  /** The earliest deadline of its operations. */
  deadlineMs: number = Number.POSITIVE_INFINITY
  state: 'open' | 'queued' | 'sent' = 'open'
  /** What is sent, from the moment the frame is closed until all its operations are answered. */
  message: Uint8Array | undefined
  bytes = 0

  constructor(number: number, firstId: number) {
    this.number = number
    this.firstId = firstId
  }
}

const SLOTS_MIN = 1024
const SLOTS_MAX = 1 << 20

export class PendingRing {
  #calls: (Call | undefined)[] = new Array<Call | undefined>(SLOTS_MIN).fill(undefined)
  #frames: (Frame | undefined)[] = new Array<Frame | undefined>(SLOTS_MIN).fill(undefined)
  #ids: Uint32Array = new Uint32Array(SLOTS_MIN)
  #slots: Int32Array = new Int32Array(SLOTS_MIN)
  /** Where the operation starts in its frame; −1: nobody waits for it any more. */
  #starts: Int32Array = new Int32Array(SLOTS_MIN)
  #ends: Int32Array = new Int32Array(SLOTS_MIN)
  #mask = SLOTS_MIN - 1
  size = 0

  /** @throws CacheError OVERLOADED when an old operation still holds the place and the ring is at its limit. */
  put(id: number, call: Call, slot: number, frame: Frame, start: number, end: number): void {
    while (this.#calls[id & this.#mask] !== undefined) this.#grow()
    const at = id & this.#mask
    this.#calls[at] = call
    this.#frames[at] = frame
    this.#ids[at] = id
    this.#slots[at] = slot
    this.#starts[at] = start
    this.#ends[at] = end
    this.size++
  }

  /** The position of an operation under way, or −1. */
  find(id: number): number {
    const at = id & this.#mask
    return this.#calls[at] !== undefined && this.#ids[at] === id ? at : -1
  }

  call(at: number): Call {
    return this.#calls[at] as Call
  }

  frame(at: number): Frame {
    return this.#frames[at] as Frame
  }

  slot(at: number): number {
    return this.#slots[at] as number
  }

  start(at: number): number {
    return this.#starts[at] as number
  }

  end(at: number): number {
    return this.#ends[at] as number
  }

  /** The place stays taken until the answer comes, which is read and dropped. */
  abandon(at: number): void {
    this.#starts[at] = -1
  }

  remove(at: number): void {
    this.#calls[at] = undefined
    this.#frames[at] = undefined
    this.size--
  }

  /** The ids under way, in no particular order. */
  ids(): number[] {
    const ids: number[] = []
    for (let at = 0; at < this.#calls.length; at++) {
      if (this.#calls[at] !== undefined) ids.push(this.#ids[at] as number)
    }
    return ids
  }

  #grow(): void {
    const size = this.#calls.length
    if (size === SLOTS_MAX) {
      throw new CacheError(
        'OVERLOADED',
        'an operation has been pending while a million followed it; wait for it to end',
      )
    }
    const calls = this.#calls
    const frames = this.#frames
    const ids = this.#ids
    const slots = this.#slots
    const starts = this.#starts
    const ends = this.#ends
    this.#calls = new Array<Call | undefined>(size * 2).fill(undefined)
    this.#frames = new Array<Frame | undefined>(size * 2).fill(undefined)
    this.#ids = new Uint32Array(size * 2)
    this.#slots = new Int32Array(size * 2)
    this.#starts = new Int32Array(size * 2)
    this.#ends = new Int32Array(size * 2)
    this.#mask = size * 2 - 1
    this.size = 0
    for (let at = 0; at < size; at++) {
      const call = calls[at]
      if (call === undefined) continue
      const [slot, start, end] = [slots[at] as number, starts[at] as number, ends[at] as number]
      this.put(ids[at] as number, call, slot, frames[at] as Frame, start, end)
    }
  }
}
