/**
 * Operation ids and their outcomes (RIFL: Lee et al., "Implementing Linearizability at Large Scale and Low Latency", SOSP
 * 2015). A retried write is answered with what its first attempt came to, instead of being done again.
 *
 * Each session has a ring of outcomes, indexed by its counter, from its watermark (the smallest counter the client has
 * not finished) up. Invariants:
 * - an outcome at or above the watermark is never forgotten, except with its whole session, `idleMs` after the last write
 *   of it: longer than any client retries;
 * - a counter below the watermark is refused as stale;
 * - a ring that would have to span more than `windowMax` counters refuses the write (OVERLOADED) before it is done, and so
 *   does a table of more than `bytesMax`: one client must not take the memory of all.
 *
 * Bounds hold where a write is admitted, at its primary. What primaries logged is kept without question: a replica that
 * refused would contradict them. So a node keeps at most what all primaries together admit.
 *
 * Cost: 32 bytes an outcome, in typed arrays; O(1) to find and record.
 */

import { CacheError } from '../kernel/errors.ts'

export interface OperationTableOptions {
  /** Counters between a session's watermark and its newest write. Default 131,072. */
  readonly windowMax?: number
  /** Sessions kept at one time. Default 10,000. */
  readonly sessionsMax?: number
  /** A session without a write for this long is forgotten, in milliseconds. Default 60,000: twice the longest timeout. */
  readonly idleMs?: number
  /** Bytes of all sessions together. Default 128 MiB. */
  readonly bytesMax?: number
  /** Broken by a test: only so many of a session's newest outcomes are found again. */
  readonly foundMax?: number
}

/** What all sessions of a table share. */
interface Room {
  readonly windowMax: number
  readonly bytesMax: number
  readonly foundMax: number
  heldBytes: number
}

/** What one write came to. */
export interface KeptOutcome {
  readonly counter: number
  readonly epoch: number
  readonly sequence: number
  /** NaN: none. */
  readonly number: number
  readonly payload: Uint8Array | undefined
}

const INITIAL_SLOTS = 64
const SLOT_BYTES = 32

/** The outcomes of one session. `found` fields hold the last outcome `find` returned. */
export class SessionOutcomes {
  readonly low: number
  readonly high: number
  watermark = 0
  lastWriteMs = 0
  readonly #room: Room
  #heldBytes = 0
  #mask = INITIAL_SLOTS - 1
  #newest = 0
  #counter: Float64Array = new Float64Array(INITIAL_SLOTS)
  #partition: Int32Array = new Int32Array(INITIAL_SLOTS)
  #epoch: Uint32Array = new Uint32Array(INITIAL_SLOTS)
  #sequence: Float64Array = new Float64Array(INITIAL_SLOTS)
  #number: Float64Array = new Float64Array(INITIAL_SLOTS)
  /** Results of batches, which are more than a number. */
  readonly #payloads = new Map<number, Uint8Array>()

  foundPartition = 0
  foundEpoch = 0
  foundSequence = 0
  foundNumber: number = Number.NaN
  foundPayload: Uint8Array | undefined

  constructor(low: number, high: number, room: Room) {
    this.low = low
    this.high = high
    this.#room = room
    this.#counter.fill(-1)
    this.#hold(INITIAL_SLOTS * SLOT_BYTES)
  }

  /** Whether this counter has an outcome; if so it is in the `found` fields. */
  find(counter: number): boolean {
    const slot = counter & this.#mask
    if (this.#counter[slot] !== counter || counter < this.watermark) return false
    if (this.#newest - counter >= this.#room.foundMax) return false
    this.foundPartition = this.#partition[slot] as number
    this.foundEpoch = this.#epoch[slot] as number
    this.foundSequence = this.#sequence[slot] as number
    this.foundNumber = this.#number[slot] as number
    this.foundPayload = this.#payloads.size === 0 ? undefined : this.#payloads.get(counter)
    return true
  }

  /**
   * Whether an outcome of this counter can be kept; grows the ring when it has to.
   * @throws CacheError STALE_OPERATION, or OVERLOADED.
   */
  admit(counter: number): void {
    if (counter < this.watermark) {
      throw new CacheError(
        'STALE_OPERATION',
        `operation ${counter} lies below its session's watermark ${this.watermark}: the client had finished it before`,
      )
    }
    const span = counter - this.watermark + 1
    const { windowMax, bytesMax, heldBytes } = this.#room
    if (span > windowMax) {
      throw new CacheError(
        'OVERLOADED',
        `the session has ${span} writes between its oldest unfinished one and this: wait for some to finish`,
      )
    }
    const slots = this.#mask + 1
    const needed = span <= slots ? 0 : (powerOfTwo(span) - slots) * SLOT_BYTES
    if (heldBytes + needed > bytesMax) {
      throw new CacheError(
        'OVERLOADED',
        `outcomes of unfinished writes take ${heldBytes} bytes, as many as are allowed: wait for some to finish`,
      )
    }
    if (span > slots) this.#grow(span)
  }

  /** Makes room for an outcome that a primary logged. @throws CacheError PROTOCOL_ERROR: no primary admits such a one. */
  reserve(counter: number): void {
    const span = counter - this.watermark + 1
    if (span <= this.#mask + 1) return
    if (span > 2 * this.#room.windowMax) {
      throw new CacheError(
        'PROTOCOL_ERROR',
        `operation ${counter} of a session that stands at ${this.watermark}`,
      )
    }
    this.#grow(span)
  }

  /** Keeps the outcome of a counter that `admit` or `reserve` made room for. */
  record(
    counter: number,
    partition: number,
    epoch: number,
    sequence: number,
    number: number,
    payload: Uint8Array | undefined,
  ): void {
    if (counter < this.watermark) return
    if (counter > this.#newest) this.#newest = counter
    const slot = counter & this.#mask
    this.#counter[slot] = counter
    this.#partition[slot] = partition
    this.#epoch[slot] = epoch
    this.#sequence[slot] = sequence
    this.#number[slot] = number
    if (payload === undefined) return
    this.#hold(payload.length - (this.#payloads.get(counter)?.length ?? 0))
    this.#payloads.set(counter, payload)
  }

  advance(watermark: number): void {
    if (watermark <= this.watermark) return
    // Outcomes below it need no clearing: a slot counts only while its counter matches, and smaller ones are refused.
    this.watermark = watermark
    if (this.#payloads.size === 0) return
    for (const [counter, payload] of this.#payloads) {
      if (counter >= watermark) continue
      this.#payloads.delete(counter)
      this.#hold(-payload.length)
    }
  }

  /** Forgets the outcomes of one partition: its log is to be learned anew. */
  forget(partition: number): void {
    for (let slot = 0; slot <= this.#mask; slot++) {
      if (this.#partition[slot] !== partition) continue
      const counter = this.#counter[slot] as number
      this.#counter[slot] = -1
      const payload = this.#payloads.get(counter)
      if (payload === undefined) continue
      this.#payloads.delete(counter)
      this.#hold(-payload.length)
    }
  }

  /** Outcomes at or above the watermark that belong to the partition. */
  outcomesOf(partition: number): KeptOutcome[] {
    const outcomes: KeptOutcome[] = []
    for (let slot = 0; slot <= this.#mask; slot++) {
      const counter = this.#counter[slot] as number
      if (counter < this.watermark || this.#partition[slot] !== partition) continue
      outcomes.push({
        counter,
        epoch: this.#epoch[slot] as number,
        sequence: this.#sequence[slot] as number,
        number: this.#number[slot] as number,
        payload: this.#payloads.get(counter),
      })
    }
    return outcomes
  }

  /** The session is forgotten: what it held is free. */
  release(): void {
    this.#hold(-this.#heldBytes)
  }

  get slots(): number {
    return this.#mask + 1
  }

  #hold(bytes: number): void {
    this.#heldBytes += bytes
    this.#room.heldBytes += bytes
  }

  #grow(span: number): void {
    const slots = powerOfTwo(span)
    this.#hold((slots - this.slots) * SLOT_BYTES)
    const old = { counter: this.#counter, partition: this.#partition, epoch: this.#epoch }
    const { [0]: sequence, [1]: number } = [this.#sequence, this.#number]
    const oldSlots = this.#mask + 1
    this.#mask = slots - 1
    this.#counter = new Float64Array(slots).fill(-1)
    this.#partition = new Int32Array(slots)
    this.#epoch = new Uint32Array(slots)
    this.#sequence = new Float64Array(slots)
    this.#number = new Float64Array(slots)
    for (let i = 0; i < oldSlots; i++) {
      const counter = old.counter[i] as number
      if (counter < this.watermark) continue
      const slot = counter & this.#mask
      this.#counter[slot] = counter
      this.#partition[slot] = old.partition[i] as number
      this.#epoch[slot] = old.epoch[i] as number
      this.#sequence[slot] = sequence[i] as number
      this.#number[slot] = number[i] as number
    }
  }
}

export class OperationTable {
  readonly #room: Room
  readonly #sessionsMax: number
  readonly #idleMs: number
  /** By the low half of the session; the few that share it stand in one list. */
  readonly #sessions = new Map<number, SessionOutcomes[]>()
  #count = 0
  #last: SessionOutcomes | undefined

  constructor(options: OperationTableOptions = {}) {
    this.#room = {
      windowMax: options.windowMax ?? 131_072,
      bytesMax: options.bytesMax ?? 128 * 1024 * 1024,
      foundMax: options.foundMax ?? Number.POSITIVE_INFINITY,
      heldBytes: 0,
    }
    this.#sessionsMax = options.sessionsMax ?? 10_000
    this.#idleMs = options.idleMs ?? 60_000
  }

  get sessionCount(): number {
    return this.#count
  }

  /** Bytes that all sessions hold. */
  get heldBytes(): number {
    return this.#room.heldBytes
  }

  /**
   * The session's outcomes, for a client of this node.
   * @throws CacheError OVERLOADED when they would be the first of a session too many.
   */
  admit(low: number, high: number): SessionOutcomes {
    const session = this.open(low, high)
    if (session === undefined) {
      throw new CacheError('OVERLOADED', `${this.#count} client sessions are open: close some clients`)
    }
    return session
  }

  /** As `admit`; undefined when they would be the first of a session too many. */
  open(low: number, high: number): SessionOutcomes | undefined {
    if (this.#count < this.#sessionsMax) return this.session(low, high)
    return this.#sessions.get(low)?.find((one) => one.high === high)
  }

  /** The session's outcomes, which begin to be kept at the first call. */
  session(low: number, high: number): SessionOutcomes {
    const last = this.#last
    if (last !== undefined && last.low === low && last.high === high) return last
    let list = this.#sessions.get(low)
    let found = list?.find((one) => one.high === high)
    if (found === undefined) {
      found = new SessionOutcomes(low, high, this.#room)
      if (list === undefined) {
        list = []
        this.#sessions.set(low, list)
      }
      list.push(found)
      this.#count++
    }
    this.#last = found
    return found
  }

  /** Forgets sessions without a write for `idleMs`. */
  sweep(nowMs: number): void {
    for (const [low, list] of this.#sessions) {
      const kept = list.filter((one) => nowMs - one.lastWriteMs < this.#idleMs)
      if (kept.length === list.length) continue
      for (const one of list) if (!kept.includes(one)) one.release()
      this.#count -= list.length - kept.length
      if (kept.length === 0) this.#sessions.delete(low)
      else this.#sessions.set(low, kept)
      this.#last = undefined
    }
  }

  *all(): Generator<SessionOutcomes> {
    for (const list of this.#sessions.values()) yield* list
  }

  /** Forgets the outcomes of one partition. */
  forget(partition: number): void {
    for (const session of this.all()) session.forget(partition)
  }

  /** Forgets everything. */
  close(): void {
    for (const session of this.all()) session.release()
    this.#sessions.clear()
    this.#count = 0
    this.#last = undefined
  }
}

/** The smallest power of two that is at least `n` and INITIAL_SLOTS. */
function powerOfTwo(n: number): number {
  let power = INITIAL_SLOTS
  while (power < n) power *= 2
  return power
}
